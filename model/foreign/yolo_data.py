"""What goes with YOLO's labels: the names of the classes, and which pictures are which split."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from configs.yaml_reader import LARGEST_CONFIG_BYTES, read_text_file
from ground.errors import ConfigError
from model.foreign.form import Folder, Losses

NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
_KEYS = {"test": "test", "val": "eval", "valid": "eval", "train": "train"}  # the last one wins


class YoloData(NamedTuple):
    """What is said once for all pictures.

    Attributes:
        names: class names by number, as they are written: `null`, `yes` and `010` too.
        has_keypoints: whether lines have key points behind the box.
        splits: the split of each picture that is placed.
    """

    names: dict[int, str]
    has_keypoints: bool
    splits: dict[str, str]


def read_yolo_data(folder: Folder, losses: Losses) -> YoloData:
    """Returns what the first YAML with `names` says, else lists of names and of pictures.

    Paths were written on another machine, perhaps: the longest end of each that is here counts.
    """
    for name in folder.ending(".yaml", ".yml"):
        found = _read_yaml(folder.root / name, losses)
        if isinstance(found, dict) and isinstance(found.get("names"), list | dict):
            near = os.path.dirname(name)
            paths = ((key, near, path) for key in _KEYS for path in _texts(found.get(key)))
            names = _by_number(found["names"])
            return YoloData(names, "kpt_shape" in found, _placed(folder, paths))
    lists = [(os.path.basename(name), name) for name in sorted(folder.ending(".txt"))]
    paths = ((key, "", name) for key in _KEYS for base, name in lists if base == f"{key}.txt")
    names = {}
    for name in folder.names:
        if os.path.basename(name) in NAME_FILES and not names:
            lines = lines_of(folder.root / name)
            names = {place: line for place, line in enumerate(lines) if line}
    return YoloData(names, False, _placed(folder, paths))


def lines_of(path: Path) -> list[str]:
    """Returns the lines of a text file, without blanks around them."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines()]


def _read_yaml(path: Path, losses: Losses) -> Any:
    """Returns a YAML file's value, all scalars as they are written; None where it is none."""
    try:
        text = read_text_file(path, LARGEST_CONFIG_BYTES)
        return yaml.load(text, Loader=yaml.BaseLoader)
    except (ConfigError, yaml.YAMLError, RecursionError, ValueError):
        losses["YAML files that cannot be read"] += 1
        return None


def _by_number(given: Any) -> dict[int, str]:
    pairs = given.items() if isinstance(given, dict) else enumerate(given)
    return {
        int(key): str(value).strip()
        for key, value in pairs
        if str(key).isdecimal() and str(value).strip()
    }


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _placed(folder: Folder, paths: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Returns the split of each picture of paths, each with its key and what it is relative to."""
    return {
        picture: _KEYS[key]
        for key, near, path in paths
        for picture in _pictures(folder, near, path)
    }


def _pictures(folder: Folder, near: str, path: str) -> Iterator[str]:
    """Yields the pictures of a folder, or of a list's lines."""
    if path.lower().endswith(".txt"):
        lists = set(folder.ending(".txt"))
        for place in _ends(near, path):
            if place in lists:
                lines = filter(None, lines_of(folder.root / place))
                yield from filter(None, (folder.picture(line, place) for line in lines))
                return
        return
    for place in _ends(near, path):
        within = [picture for picture in folder.pictures if picture.startswith(f"{place}/")]
        if within:
            yield from within
            return


def _ends(near: str, path: str) -> Iterator[str]:
    r"""Yields what a path may mean below the data folder, the longest first.

    >>> list(_ends("", "C:\\set\\train"))
    ['C:/set/train', 'set/train', 'train']
    """
    parts = PurePosixPath(path.replace("\\", "/")).parts
    named = [part for part in parts if part not in ("/", "..", ".")]
    for start in range(len(named)):
        for front in dict.fromkeys((near, "")):
            yield os.path.normpath(os.path.join(front, *named[start:]))

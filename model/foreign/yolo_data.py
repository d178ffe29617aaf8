"""What goes with YOLO's labels: the names of the classes, and which pictures are which split."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from configs.yaml_reader import LARGEST_CONFIG_BYTES, read_text_file
from ground.errors import ConfigError
from model.coco.edges import marked_encoding
from model.encoded.files import shown
from model.foreign.form import Folder, Losses, encoding_of

NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
_NOTHING = ("", "~", "null")  # as YAML writes it
_KEYS = {"test": "test", "val": "eval", "valid": "eval", "train": "train"}  # the last one wins


class _Named(NamedTuple):
    """Where pictures of a split are said to be.

    Attributes:
        key: the key that names the split, one of `_KEYS`.
        path: a folder, or a list of pictures.
        near: the folder of the file that says it.
        base: `path` of that file, which the path counts from; "" where it has none.
    """

    key: str
    path: str
    near: str = ""
    base: str = ""


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
            near, base = os.path.dirname(name), next(iter(_texts(found.get("path"))), "")
            named = (_Named(key, p, near, base) for key in _KEYS for p in _texts(found.get(key)))
            names = _by_number(found["names"])
            return YoloData(names, "kpt_shape" in found, _placed(folder, named, losses))
    lists = [(os.path.basename(name), name) for name in sorted(folder.ending(".txt"))]
    named = (_Named(key, name) for key in _KEYS for base, name in lists if base == f"{key}.txt")
    names = {}
    for name in folder.names:
        if os.path.basename(name) in NAME_FILES and not names:
            names = _names_in(folder.root / name, losses)
    return YoloData(names, False, _placed(folder, named, losses))


def lines_of(path: Path) -> list[str]:
    """Returns the lines of a text file, without blanks around them."""
    content = path.read_bytes()
    return _lines(content.decode(marked_encoding(content) or "utf-8", "replace"))


def _names_in(path: Path, losses: Losses) -> dict[int, str]:
    """Returns the names of a file that has one a line, by number."""
    lines = _lines(path.read_text(encoding_of(path, losses), "replace"))
    return {place: line for place, line in enumerate(lines) if line}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.lstrip("\ufeff").splitlines()]


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
    return [v for v in values if isinstance(v, str) and v.strip().lower() not in _NOTHING]


def _placed(folder: Folder, paths: Iterable[_Named], losses: Losses) -> dict[str, str]:
    """Returns the split of each picture of paths; a path without a picture is counted."""
    splits: dict[str, str] = {}
    for named in paths:
        found = _pictures(folder, named, losses)
        if not found:
            what = f"{named.key}: {shown(named.path)}"
            losses[f"splits without a picture here (`{what}`)"] += 1
        splits.update(dict.fromkeys(found, _KEYS[named.key]))
    return splits


def _pictures(folder: Folder, named: _Named, losses: Losses) -> list[str]:
    """Returns the pictures of a folder, or of a list's lines."""
    places = _places(named)
    if named.path.lower().endswith(".txt"):
        lists = set(folder.ending(".txt"))
        place = next((place for place in places if place in lists), None)
        return _listed(folder, place, losses) if place else []
    pictures = (*folder.pictures, *folder.others)
    within = (
        [p for p in pictures if place == "." or p.startswith(f"{place}/")] for place in places
    )
    return next(filter(None, within), [])


def _listed(folder: Folder, place: str, losses: Losses) -> list[str]:
    """Returns the pictures of a list's lines; a line without one is counted."""
    lines = list(filter(None, lines_of(folder.root / place)))
    found = list(filter(None, (folder.picture(line, place) for line in lines)))
    if found:  # else the list is counted as a whole
        losses["lines of lists without a picture here"] += len(lines) - len(found)
    return found


def _places(named: _Named) -> Iterator[str]:
    r"""Yields what a path may mean below the data folder: what it says, then its ends.

    >>> list(_places(_Named("train", "C:\\set\\train")))
    ['C:/set/train', 'C:/set/train', 'set/train', 'train']
    >>> list(_places(_Named("val", "../b", base="set/a")))
    ['set/b', 'set/a/b', 'a/b', 'b']
    """
    path = os.path.join(*(part.replace("\\", "/") for part in (named.base, named.path)))
    fronts = tuple(dict.fromkeys((named.near, "")))
    for front in fronts:
        yield os.path.normpath(os.path.join(front, path))
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..", ".")]
    for start in range(len(parts)):
        for front in fronts:
            yield os.path.normpath(os.path.join(front, *parts[start:]))

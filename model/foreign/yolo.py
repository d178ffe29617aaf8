"""YOLO: a text file a picture, a line an object, shares of the picture's sides."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.yaml_reader import read_yaml_file
from ground.errors import ConfigError
from model.foreign.form import (
    Folder,
    ForeignObject,
    ForeignPicture,
    Losses,
    number,
    picture_size,
)

_NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
_OTHER_TEXTS = (*_NAME_FILES, "train.txt", "val.txt", "valid.txt", "test.txt", "notes.txt")
_FEWEST_CORNERS = 6  # numbers of a polygon


def read_yolo(folder: Folder, losses: Losses) -> Iterator[ForeignPicture]:
    """Yields all pictures below folders with labels; one without a label file has no objects."""
    names, has_keypoints = class_names(folder)
    labels = set(label_files(folder))
    tops = {name.split("/")[0] for name in labels if "/" in name} | {"images"}
    for picture in folder.pictures:
        label = next((path for path in _label_paths(picture) if path in labels), None)
        if label is None and "/" in picture and picture.split("/")[0] not in tops:
            continue
        size = picture_size(folder.root / picture)
        if size is None:
            losses["pictures that cannot be read"] += 1
            continue
        lines = _lines(folder.root / label) if label else []
        found = (_object(line, size, names, has_keypoints, losses) for line in lines)
        yield ForeignPicture(picture, *size, [each for each in found if each], None)


def class_names(folder: Folder) -> tuple[dict[int, str], bool]:
    """Returns the class names by number, and whether lines have key points behind the box."""
    for name in folder.ending(".yaml", ".yml"):
        try:
            found = read_yaml_file(folder.root / name)
        except ConfigError:
            continue
        if isinstance(found, dict) and isinstance(found.get("names"), list | dict):
            given = found["names"]
            pairs: Any = given.items() if isinstance(given, dict) else enumerate(given)
            names = {int(key): str(value) for key, value in pairs if str(key).isdigit()}
            return names, "kpt_shape" in found
    for name in folder.names:
        if os.path.basename(name) in _NAME_FILES:
            lines = _lines(folder.root / name)
            return {place: line for place, line in enumerate(lines) if line}, False
    return {}, False


def label_files(folder: Folder) -> list[str]:
    """Returns the text files that go with a picture."""
    texts = {n for n in folder.ending(".txt") if os.path.basename(n).lower() not in _OTHER_TEXTS}
    wanted = {path for picture in folder.pictures for path in _label_paths(picture)}
    return sorted(texts & wanted)


def _label_paths(picture: str) -> list[str]:
    """Returns where the labels of a picture may be: beside it, or in `labels` for `images`."""
    stem = os.path.splitext(picture)[0]
    parts = stem.split("/")
    swapped = [
        "/".join([*parts[:at], "labels", *parts[at + 1 :]])
        for at, part in enumerate(parts[:-1])
        if part.lower() in ("images", "jpegimages", "img")
    ]
    return [f"{place}.txt" for place in (*reversed(swapped), stem, f"labels/{stem}")]


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines()]


def _object(
    line: str,
    size: tuple[int, int],
    names: dict[int, str],
    has_keypoints: bool,
    losses: Losses,
) -> ForeignObject | None:
    """Returns the object of a line: class and box, or class and polygon."""
    words = line.split()
    if not words:
        return None
    numbers = [number(word) for word in words]
    if None in numbers or len(numbers) < 5 or not float(numbers[0] or 0.0).is_integer():
        losses["lines that are no object"] += 1
        return None
    class_, *rest = [float(value or 0.0) for value in numbers]
    name = names.get(int(class_), f"class {int(class_)}")
    height, width = size
    if has_keypoints or len(rest) == 5:
        losses["key points" if has_keypoints else "scores behind boxes"] += 1
        rest = rest[:4]
    if len(rest) == 4:
        x, y, w, h = rest[0] * width, rest[1] * height, rest[2] * width, rest[3] * height
        return ForeignObject(name, (), (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    if len(rest) % 2 or len(rest) < _FEWEST_CORNERS:
        losses["lines that are no object"] += 1
        return None
    ring = [
        value * side for value, side in zip(rest, (width, height) * (len(rest) // 2), strict=True)
    ]
    return ForeignObject(name, [ring])

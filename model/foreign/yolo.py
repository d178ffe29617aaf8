"""YOLO: a text file a picture, a line an object, shares of the picture's sides."""

import os
from collections.abc import Collection, Iterator, Sequence

from model.foreign.form import (
    Folder,
    ForeignObject,
    ForeignPicture,
    Losses,
    number,
)
from model.foreign.yolo_data import NAME_FILES, lines_of, read_yolo_data

_OTHER_TEXTS = (*NAME_FILES, "train.txt", "val.txt", "valid.txt", "test.txt", "notes.txt")
_PICTURE_FOLDERS = ("images", "jpegimages", "img")
_FEWEST_CORNERS = 6  # numbers of a polygon


def read_yolo(folder: Folder, losses: Losses) -> Iterator[ForeignPicture]:
    """Yields all pictures below folders with labels; one without a label file has no objects."""
    data = read_yolo_data(folder, losses)
    names, has_keypoints, splits = data.names, data.has_keypoints, data.splits
    pictures = (*folder.pictures, *folder.others)
    labels = {_label_key(name): name for name in label_files(folder, pictures)}
    losses["label files without their picture"] += _orphans(folder, labels.values())
    tops = {_top(name) for name in labels.values()} | {"", *_PICTURE_FOLDERS}
    for picture in pictures:
        label = next((labels[path] for path in _label_paths(picture) if path in labels), None)
        split = splits.get(picture)
        if label is None and split is None and _top(picture) not in tops:
            losses["pictures of folders without labels"] += 1
            continue
        size = folder.size(picture, losses)
        if size is None:
            continue
        lines = lines_of(folder.root / label) if label else []
        found = (_object(line, size, names, has_keypoints, losses) for line in lines)
        yield ForeignPicture(picture, *size, [each for each in found if each], split)


def label_files(folder: Folder, pictures: Sequence[str]) -> list[str]:
    """Returns the text files that go with one of these pictures."""
    texts = {n for n in folder.ending(".txt") if os.path.basename(n).lower() not in _OTHER_TEXTS}
    wanted = {path for picture in pictures for path in _label_paths(picture)}
    return sorted(name for name in texts if _label_key(name) in wanted)


def _top(name: str) -> str:
    """Returns the first folder of a path in lower case; "" for a file beside the folders."""
    return name.lower().rpartition("/")[0].partition("/")[0]


def _label_key(name: str) -> str:
    """Returns a label file's name with its ending, and folders called `labels`, in lower case."""
    *folders, base = name.split("/")
    lowered = [part.lower() if part.lower() == "labels" else part for part in folders]
    return "/".join([*lowered, base[:-4] + base[-4:].lower()])


def _orphans(folder: Folder, labels: Collection[str]) -> int:
    """Returns how many text files beside labels have no picture."""
    folders = {os.path.dirname(name) for name in labels}
    known = set(labels)
    return sum(
        os.path.dirname(name) in folders
        and name not in known
        and os.path.basename(name).lower() not in _OTHER_TEXTS
        and not os.path.basename(name).lower().startswith("readme")
        for name in folder.ending(".txt")
    )


def _label_paths(picture: str) -> list[str]:
    """Returns keys of where its labels may be: beside a picture, or in `labels` for `images`."""
    stem = os.path.splitext(picture)[0]
    parts = stem.split("/")
    swapped = [
        "/".join([*parts[:at], "labels", *parts[at + 1 :]])
        for at, part in enumerate(parts[:-1])
        if part.lower() in _PICTURE_FOLDERS
    ]
    places = (*reversed(swapped), stem, f"labels/{stem}")
    return [_label_key(f"{place}.txt") for place in places]


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
    if names and int(class_) not in names:
        losses["class numbers without a name (they are called `class 7`)"] += 1
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

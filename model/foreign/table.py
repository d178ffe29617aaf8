"""A CSV table of boxes: a row an object, as Roboflow and the TensorFlow tutorials write it."""

import csv
from collections.abc import Iterator
from pathlib import Path

from model.foreign.form import (
    Folder,
    ForeignObject,
    ForeignPicture,
    Losses,
    number,
    picture_size,
)

_COLUMNS = {"filename", "class", "xmin", "ymin", "xmax", "ymax"}


def is_table(path: Path) -> bool:
    """Returns whether a CSV file has the columns of such a table."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
        return _COLUMNS <= {name.strip() for name in stream.readline().split(",")}


def read_table(folder: Folder, losses: Losses) -> Iterator[ForeignPicture]:
    """Yields the pictures of the tables below a folder."""
    for name in folder.ending(".csv"):
        if not is_table(folder.root / name):
            continue
        by_picture: dict[str, list[ForeignObject]] = {}
        with open(folder.root / name, encoding="utf-8-sig", errors="replace", newline="") as stream:
            for row in csv.DictReader(stream, skipinitialspace=True):
                picture = folder.picture((row["filename"] or "").strip(), name)
                corners = [number(row[key]) for key in ("xmin", "ymin", "xmax", "ymax")]
                if picture is None or None in corners or not (row["class"] or "").strip():
                    losses["rows without a picture, a class or a box"] += 1
                    continue
                found = ForeignObject(row["class"].strip(), (), tuple(corners))  # type: ignore[arg-type]
                by_picture.setdefault(picture, []).append(found)
        for picture, objects in by_picture.items():
            size = picture_size(folder.root / picture)
            if size is None:
                losses["pictures that cannot be read"] += 1
            else:
                yield ForeignPicture(picture, *size, objects, None)

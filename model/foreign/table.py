"""A CSV table of boxes: a row an object, as Roboflow and the TensorFlow tutorials write it."""

import csv
from collections.abc import Iterator
from pathlib import Path

from ground.errors import DatasetError
from model.foreign.form import (
    Folder,
    ForeignObject,
    ForeignPicture,
    Losses,
    count_other,
    encoding_of,
    number,
    said_encoding,
    stated_size,
)

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_COLUMNS = {"filename", "class", *_CORNERS}
_LONGEST_HEADER = 1 << 14


def is_table(path: Path) -> bool:
    """Returns whether a CSV file has the columns of such a table."""
    with open(path, encoding=said_encoding(path), errors="replace", newline="") as stream:
        return _COLUMNS <= set(_header(stream.readline(_LONGEST_HEADER))[0])


def _header(line: str) -> tuple[list[str], str]:
    """Returns the names of the columns in lower case, and what stands between them."""
    between = max(",;\t", key=line.count)
    return [name.strip(' "\r\n\ufeff').lower() for name in line.split(between)], between


def _rows(path: Path, losses: Losses) -> Iterator[dict[str, str]]:
    """Yields the rows of a table, each cell by its column, numbers with a point.

    Raises:
        DatasetError: a line is none of a table.
    """
    encoding = encoding_of(path, losses)
    with open(path, encoding=encoding, errors="replace", newline="") as stream:
        columns, between = _header(stream.readline(_LONGEST_HEADER))
        lines = csv.reader(stream, delimiter=between, skipinitialspace=True)
        try:
            for cells in lines:
                if any("\0" in cell for cell in cells):
                    raise csv.Error("line contains NUL")  # what Python says itself before 3.11
                if cells:
                    padded = [*cells, *[""] * len(columns)]
                    row = dict(zip(columns, map(str.strip, padded), strict=False))
                    if between != ",":  # 10,5 of a German Excel
                        row |= {key: row[key].replace(",", ".") for key in _CORNERS}
                    yield row
        except csv.Error as error:
            raise DatasetError(f"{path}, line {lines.line_num + 1}: {error}") from None


def read_table(folder: Folder, losses: Losses) -> Iterator[ForeignPicture]:
    """Yields the pictures of the tables below a folder."""
    for name in folder.ending(".csv"):
        if not is_table(folder.root / name):
            count_other(folder.root / name, losses)
            continue
        by_picture: dict[str, list[ForeignObject]] = {}
        sizes: dict[str, tuple[str | None, str | None]] = {}
        for row in _rows(folder.root / name, losses):
            picture = folder.picture(row["filename"], name) if row["filename"] else None
            corners = [number(row[key]) for key in _CORNERS]
            if picture is None or None in corners or not row["class"]:
                losses["rows without a picture, a class or a box"] += 1
                continue
            found = ForeignObject(row["class"], (), tuple(corners))  # type: ignore[arg-type]
            by_picture.setdefault(picture, []).append(found)
            sizes[picture] = (row.get("width"), row.get("height"))
        for picture, objects in by_picture.items():
            size = folder.size(picture, losses)
            if size is not None:
                yield ForeignPicture(picture, *stated_size(*sizes[picture], size), objects, None)

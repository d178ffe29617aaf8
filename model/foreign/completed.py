"""A copy of a COCO file whose pictures have the names and sizes of the files that are there."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.coco.stream import ANNOTATIONS, CATEGORIES, IMAGES, iterate_file
from model.coco.values import integer_at
from model.foreign.coco_file import write_coco
from model.foreign.form import Folder, Losses, picture_size


def complete(folder: Folder, annotations: Path, out: Path) -> Losses:
    """Writes the copy; returns what was mended, or could not be, counted by words.

    File names become paths below the data folder.

    Args:
        folder: the data folder.
        annotations: the COCO file.
        out: the copy.

    Raises:
        DatasetError: the file is cut off or no JSON.
        OutputError: there is a file that is not as we wrote it.
    """
    done: Losses = Counter()
    beside = os.path.relpath(annotations, folder.root)
    lists: list[tuple[str, Iterator[str]]] = [
        (CATEGORIES, _entries(annotations, CATEGORIES)),
        (IMAGES, (_text(_mended(e, folder, beside, done)) for e in _raw(annotations, IMAGES))),
        (ANNOTATIONS, _entries(annotations, ANNOTATIONS)),
    ]
    write_coco(out, f"{annotations.name}, with the names and sizes of the files", lists)
    return done


def _mended(image: Any, folder: Folder, beside: str, done: Losses) -> Any:
    name = image.get("file_name") if isinstance(image, dict) else None
    picture = folder.picture(name, beside) if isinstance(name, str) else None
    if picture is None:
        done["pictures that are nowhere"] += 1
        return image
    if picture != name:
        done["file names that got their folder"] += 1
    mended = {**image, "file_name": picture}
    if not all((integer_at(image, key) or 0) > 0 for key in ("height", "width")):
        size = picture_size(folder.root / picture)
        if size is not None:
            done["sizes that were missing"] += 1
            mended |= {"height": size[0], "width": size[1]}
    return mended


def _entries(path: Path, wanted: str) -> Iterator[str]:
    return (_text(entry) for entry in _raw(path, wanted))


def _raw(path: Path, wanted: str) -> Iterator[Any]:
    return (entry for key, entry in iterate_file(path, {}) if key == wanted)


def _text(entry: Any) -> str:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))

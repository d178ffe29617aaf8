"""Label Studio: a JSON list of tasks, or its short form JSON_MIN, with shares of 100."""

import math
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.coco.stream import BARE_LIST, iterate_file
from model.foreign.form import (
    OTHER_ENDINGS,
    PICTURE_ENDINGS,
    Folder,
    ForeignObject,
    ForeignPicture,
    Losses,
    Ring,
    count_other,
    ellipse,
    has_key,
    number,
)

_SHORT_LENGTH = 8  # of the code that an upload gets in front of its name, before a `-`
_LABELS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")


def is_label_studio(path: Path) -> bool:
    """Returns whether a JSON file is a list with results: the first tasks may have none yet."""
    with open(path, "rb") as stream:
        head = stream.read(1 << 10)
    is_list = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    return is_list and has_key(path, "result", *_LABELS[:3])


def read_label_studio(folder: Folder, losses: Losses) -> Iterator[ForeignPicture]:
    """Yields the pictures of the tasks, one task in memory at a time."""
    for name in folder.ending(".json"):
        if not is_label_studio(folder.root / name):
            count_other(folder.root / name, losses)
            continue
        for key, task in iterate_file(folder.root / name, {}):
            if key == BARE_LIST and isinstance(task, dict):
                yield from _picture(folder, name, task, losses)


def _picture(
    folder: Folder, name: str, task: dict[str, Any], losses: Losses
) -> Iterator[ForeignPicture]:
    fields = task["data"] if isinstance(task.get("data"), dict) else task
    picture = next(filter(None, (_file(folder, name, value) for value in fields.values())), None)
    if picture is None:
        losses["annotations without their picture"] += 1
        return
    size = folder.size(picture, losses)
    if size is None:
        return
    rows = list(_results(task, losses))
    if rows or task.get("annotations"):
        objects = [each for row in rows if (each := _object(row, size, losses))]
        yield ForeignPicture(picture, *size, objects, None)
    else:
        losses["tasks without an annotation"] += 1


def _file(folder: Folder, name: str, value: Any) -> str | None:
    """Returns the picture that a field of a task means, in the forms of uploads and of storages."""
    if not isinstance(value, str) or "." not in value:
        return None
    try:
        address = urllib.parse.urlsplit(value)
    except ValueError:  # a text with brackets
        return None
    local = re.search(r"(?:^|&)d=([^&]*)", address.query)
    quoted = local[1] if local else address.path
    for path in (urllib.parse.unquote(quoted), quoted, urllib.parse.unquote_plus(quoted)):
        if not path.lower().endswith((*PICTURE_ENDINGS, *OTHER_ENDINGS)):
            continue
        base = path.rpartition("/")[2]
        code, dash, own = base.partition("-")
        for named in (path.lstrip("/"), base, own if dash and len(code) == _SHORT_LENGTH else ""):
            if named and (found := folder.picture(named, name)):
                return found
    return None


def _results(task: dict[str, Any], losses: Losses) -> Iterator[dict[str, Any]]:
    """Yields the rows of the last annotation that was not cancelled, or of the short form."""
    annotations = task.get("annotations")
    if isinstance(annotations, list):
        whole = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
        if len(whole) > 1:
            losses["earlier annotations of one picture"] += len(whole) - 1
        rows = whole[-1].get("result") if whole else []
        yield from (row for row in rows or [] if isinstance(row, dict))
        return
    for field in task.values():
        if isinstance(field, list):
            yield from ({"value": row} for row in field if isinstance(row, dict))


def _object(row: dict[str, Any], size: tuple[int, int], losses: Losses) -> ForeignObject | None:
    value = row.get("value")
    if not isinstance(value, dict):
        return None
    labels = next((value[key] for key in _LABELS if isinstance(value.get(key), list)), None)
    height, width = size
    kind = str(row.get("type") or next((key for key in value if key.endswith("labels")), "?"))
    if not labels:
        if kind not in ("choices", "textarea", "rating", "relation"):
            losses[f"results of the kind {kind[:20]}"] += 1
        return None
    if len(labels) > 1:
        losses["further labels of one shape"] += len(labels) - 1
    name = str(labels[0]).strip()
    if isinstance(value.get("points"), list):
        numbers = [number(v) for p in value["points"] if isinstance(p, list) for v in p[:2]]
        if None in numbers or len(numbers) < 6 or len(numbers) % 2:
            losses["shapes without corners"] += 1
            return None
        return ForeignObject(name, [_scaled(numbers, width, height)])  # type: ignore[arg-type]
    return _by_numbers(name, value, width, height, losses)


def _by_numbers(
    name: str, value: dict[str, Any], width: int, height: int, losses: Losses
) -> ForeignObject | None:
    """Returns a rectangle, turned or not, or an ellipse."""
    keys = ("x", "y", "radiusX", "radiusY") if "radiusX" in value else ("x", "y", "width", "height")
    numbers = [number(value.get(key)) for key in keys]
    if None in numbers:
        losses["shapes without numbers"] += 1
        return None
    x, y, w, h = _scaled(numbers, width, height)  # type: ignore[arg-type]
    if "radiusX" in value:
        return ForeignObject(name, [ellipse(x, y, w, h)])
    turn = math.radians(number(value.get("rotation")) or 0.0)
    if not turn:
        return ForeignObject(name, (), (x, y, x + w, y + h))
    cos, sin = math.cos(turn), math.sin(turn)  # clockwise around the upper left corner
    corners = ((0.0, 0.0), (w, 0.0), (w, h), (0.0, h))
    return ForeignObject(
        name, [[v for a, b in corners for v in (x + a * cos - b * sin, y + a * sin + b * cos)]]
    )


def _scaled(numbers: Ring, width: int, height: int) -> Ring:
    sides = (width, height) * (len(numbers) // 2)
    return [value * side / 100 for value, side in zip(numbers, sides, strict=True)]

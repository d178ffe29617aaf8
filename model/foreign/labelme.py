"""LabelMe: a JSON file a picture, with shapes."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.foreign.form import (
    LARGEST_TEXT_BYTES,
    Folder,
    ForeignObject,
    ForeignPicture,
    Losses,
    Ring,
    count_other,
    ellipse,
    has_key,
    number,
    read_text,
    stated_size,
)

_SHAPES = "shapes"
_BESIDE = ("imagePath", "imageData", "imageHeight", "imageWidth")


def is_labelme(path: Path) -> bool:
    """Returns whether a JSON file has LabelMe's keys, wherever: a picture in it may be between."""
    if path.stat().st_size > LARGEST_TEXT_BYTES:
        return False
    return has_key(path, _SHAPES) and has_key(path, *_BESIDE)


def read_labelme(folder: Folder, losses: Losses) -> Iterator[ForeignPicture]:
    """Yields the pictures of LabelMe's JSON files."""
    for name in folder.ending(".json"):
        content = _content(folder.root / name, losses)
        if content is None:
            continue
        named = content.get("imagePath")
        picture = folder.own_picture(named if isinstance(named, str) else "", name)
        if picture is None:
            losses["annotations without their picture"] += 1
            continue
        size = folder.size(picture, losses)
        if size is None:
            continue
        size = stated_size(content.get("imageWidth"), content.get("imageHeight"), size)
        yield ForeignPicture(picture, *size, _objects(content.get(_SHAPES), losses), None)


def _content(path: Path, losses: Losses) -> dict[str, Any] | None:
    """Returns what is in a file of LabelMe's; None for another file, which is counted."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError):
        losses["files that are no JSON in UTF-8"] += 1
        return None
    if not isinstance(content, dict) or _SHAPES not in content:
        count_other(path, losses)
        return None
    return content


def _objects(shapes: Any, losses: Losses) -> list[ForeignObject]:
    """Returns the objects; shapes of one label and one group are one object."""
    grouped: dict[Any, list[ForeignObject]] = {}
    for place, shape in enumerate(shapes if isinstance(shapes, list) else []):
        found = _object(shape, losses) if isinstance(shape, dict) else None
        if found is not None:
            group = shape.get("group_id")
            key = ("one", place) if group is None else (found.name, str(group))
            grouped.setdefault(key, []).append(found)
    return [_merged(parts) for parts in grouped.values()]


def _merged(parts: list[ForeignObject]) -> ForeignObject:
    rings = [ring for part in parts for ring in part.rings]
    if len(rings) >= len(parts):
        return ForeignObject(parts[0].name, rings)
    boxes = [part.box for part in parts if part.box]
    box = tuple(
        f(side) for f, side in zip((min, min, max, max), zip(*boxes, strict=True), strict=True)
    )
    return ForeignObject(parts[0].name, (), box)


def _object(shape: dict[str, Any], losses: Losses) -> ForeignObject | None:
    label, kind = shape.get("label"), shape.get("shape_type") or "polygon"
    name = "" if label is None else str(label).strip()
    points = _points(shape.get("points"))
    if not name or points is None:
        losses["shapes without a label or corners"] += 1
        return None
    xs, ys = points[0::2], points[1::2]
    if kind in ("rectangle", "mask") and len(points) >= 4:
        if kind == "mask":
            losses["bitmaps (their boxes stay)"] += 1
        return ForeignObject(name, (), (min(xs), min(ys), max(xs), max(ys)))
    if kind == "circle" and len(points) == 4:
        radius = math.hypot(xs[1] - xs[0], ys[1] - ys[0])
        return ForeignObject(name, [ellipse(xs[0], ys[0], radius, radius)])
    if kind in ("polygon", "rotation", "oriented_rectangle") and len(points) >= 6:
        return ForeignObject(name, [points])
    losses[f"shapes of the kind {str(kind)[:20]}"] += 1
    return None


def _points(value: Any) -> Ring | None:
    """Returns [x, y, x, y, ...] of a list of pairs; None where it is none."""
    pairs = value if isinstance(value, list) else []
    numbers = [number(v) for pair in pairs if isinstance(pair, list) for v in pair[:2]]
    if not numbers or len(numbers) % 2 or None in numbers:
        return None
    return numbers  # type: ignore[return-value]

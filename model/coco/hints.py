"""What fits instead, found by looking: pictures that are missing, boxes in another format.

The work is bounded: samples of a few hundred entries, and so many names of a folder.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from model.coco.boxes import bbox_in_pixels, meant_box, xywh_to_yxyx
from model.coco.names import find_picture
from model.coco.survey import Survey
from model.coco.values import meant_integer
from model.encoded.files import shown

_MOST_NAMES = 50_000
_FORMATS = ("xywh", "xyxy", "cxcywh", "xywh_shares", "xyxy_shares", "cxcywh_shares")
_FEWEST_BOXES = 4
_FEWEST_IDS = 2  # of one alone nothing can be told
_NO_FOLDERS: Mapping[str, str] = {}
_TOLERANCE_PX = 1.0
_ENOUGH_FIT = 0.8  # share of the boxes


def why_missing(
    names: Sequence[str],
    folder: str,
    prefix: str = "",
    other_folders: Mapping[str, str] = _NO_FOLDERS,
) -> str:
    """Returns what fits the names of pictures that are not in a folder, with the setting.

    Args:
        names: names as a COCO file has them.
        folder: where they were looked for.
        prefix: `data.picture_prefix`.
        other_folders: folders of the other splits, by split.
    """
    found = [find_picture(folder, name, prefix) for name in names]
    endings = sum(place.code == "picture_ending_differs" for place in found)
    if endings:
        return (
            f"{endings} of {len(names)} looked for are there with another ending or case: set "
            "data.policies.picture_ending_differs=mend"
        )
    missing = [
        name
        for name, place in zip(names, found, strict=True)
        if not os.path.lexists(os.path.join(folder, place.name))
    ]
    if not missing:
        return ""
    for split, other in other_folders.items():
        number = sum(os.path.lexists(os.path.join(other, n.removeprefix(prefix))) for n in missing)
        if number * 2 > len(missing):
            return (
                f"{number} of {len(names)} looked for are in the pictures of split {split!r} "
                f"({other}): are the folders or the annotations of the splits swapped?"
            )
    return _where_they_are(missing, len(names), folder)


def _where_they_are(missing: Sequence[str], looked_for: int, folder: str) -> str:
    """Returns where, in a folder, the files of missing names are, with the setting."""
    places = _places(folder)
    if not places:
        return f"{folder} holds no pictures"
    prefixes: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    for name in missing:
        base = name.replace("\\", "/").rpartition("/")[2]
        where = places.get(base, [])
        if "" in where and base != name:
            prefixes[name[: len(name) - len(base)]] += 1
        elif len(where) == 1 and where[0]:
            folders[where[0]] += 1
    if prefixes:
        front, number = prefixes.most_common(1)[0]
        return (
            f"{number} of {looked_for} looked for are there without {front!r} in front: set "
            f"data.picture_prefix={front}"
        )
    if folders:
        below, number = folders.most_common(1)[0]
        return (
            f"{number} of {looked_for} looked for lie in its folder {below!r}: give that one as "
            f"the picture folder (in the config: what it says now, with /{below} behind it)"
        )
    example = next(iter(places))
    return (
        f"the file names {shown(missing[0])}, the folder holds {shown(example)}: do they belong "
        "together?"
    )


def _places(folder: str) -> dict[str, list[str]]:
    """Returns the folders, below `folder`, of each name; those of the first names alone."""
    places: dict[str, list[str]] = {}
    files = (
        (os.path.relpath(root, folder), name)
        for root, _, names in os.walk(folder)
        for name in names
    )
    for below, name in islice(files, _MOST_NAMES):
        places.setdefault(name, []).append("" if below == "." else below)
    return places


def box_note(survey: Survey, stated: str) -> str | None:
    """Returns a line where the boxes of a file are plainly in another format than stated."""
    best = format_of_boxes(survey.images, survey.annotations, stated)
    if best is None:
        return None
    if best.endswith("shares") and not stated.endswith("shares"):
        return f"all boxes lie within 0 and 1: if these are shares, set data.box_format={best}"
    return (
        f"as {stated}, most boxes do not cover their polygons or leave the picture; as {best} they "
        f"fit: set data.box_format={best}"
    )


def note_on_unknown_categories(survey: Survey) -> str | None:
    """Returns a line where the objects' category ids look like something else than ids."""
    known = {category["id"] for category in survey.categories}
    stated = {id_ for id_ in survey.objects if id_ is not None}
    if survey.objects[None] == survey.objects.total() > 0:
        return "no `category_id` is a whole number: write the `id` of the entry in `categories`"
    looks = "" if stated <= known else as_positions(stated, known, "categories")
    if not looks:
        return None
    return f"of the objects' category ids {len(stated & known)} of {len(stated)} are known; {looks}"


def format_of_boxes(images: Sequence[Any], entries: Sequence[Any], stated: str) -> str | None:
    """Returns the format in which boxes plainly are, where it is not the stated one.

    Args:
        images: entries of `images`.
        entries: annotations or detections, with `image_id`, `bbox` and perhaps `segmentation`.
        stated: the box format, one of `data.box_format`.
    """
    fits: Counter[str] = Counter()
    looked_at = 0
    sizes = _sizes(images)
    for entry in entries:
        size = _size_of(entry, sizes)
        box = meant_box(entry.get("bbox")) if size else None
        if size is None or box is None or box.format is not None:
            continue
        around = _around_polygons(entry.get("segmentation"))
        looked_at += 1
        for format_ in _FORMATS:
            fits[format_] += _is_fit(bbox_in_pixels(box.numbers, format_, *size), around, size)
        if max(map(abs, box.numbers)) <= 1:
            fits["shares"] += 1
    if looked_at < _FEWEST_BOXES or (fits[stated] * 2 > looked_at and fits["shares"] < looked_at):
        return None
    if fits["shares"] == looked_at and not stated.endswith("shares"):
        return max(_FORMATS[3:], key=lambda format_: fits[format_])
    best = max(_FORMATS, key=lambda format_: fits[format_])
    return None if best == stated or fits[best] < _ENOUGH_FIT * looked_at else best


def _sizes(images: Sequence[Any]) -> dict[int, tuple[int, int]]:
    sizes = {}
    for image in images:
        if isinstance(image, dict):
            id_, height, width = (meant_integer(image.get(k)) for k in ("id", "height", "width"))
            if id_ is not None and height and width and height > 0 and width > 0:
                sizes[id_] = (height, width)
    return sizes


def _size_of(annotation: Any, sizes: dict[int, tuple[int, int]]) -> tuple[int, int] | None:
    if not isinstance(annotation, dict):
        return None
    image_id = meant_integer(annotation.get("image_id"))
    return None if image_id is None else sizes.get(image_id)


def _around_polygons(segmentation: Any) -> tuple[float, float, float, float] | None:
    """Returns [x0, y0, x1, y1] around polygons in COCO's own form, None for all others."""
    if not isinstance(segmentation, list) or not segmentation:
        return None
    numbers: list[float] = []
    for ring in segmentation:
        if not isinstance(ring, list) or len(ring) % 2:
            return None
        numbers += ring
    if len(numbers) < 6 or not all(type(n) in (int, float) and abs(n) < 1e9 for n in numbers):
        return None
    xs, ys = numbers[0::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _is_fit(
    bbox: tuple[float, float, float, float],
    around: tuple[float, float, float, float] | None,
    size: tuple[int, int],
) -> bool:
    """Returns whether a box lies over its polygons, or without them inside the picture."""
    ymin, xmin, ymax, xmax = xywh_to_yxyx(bbox)
    if xmax <= xmin or ymax <= ymin:
        return False
    if around is None:
        far = max(-xmin, -ymin, xmax - size[1], ymax - size[0])
        return far <= _TOLERANCE_PX
    x0, y0, x1, y1 = around
    shared = max(0.0, min(xmax, x1) - max(xmin, x0)) * max(0.0, min(ymax, y1) - max(ymin, y0))
    union = (xmax - xmin) * (ymax - ymin) + (x1 - x0) * (y1 - y0) - shared
    return shared > 0.5 * union


def as_positions(ids: set[int], known: set[int], key: str) -> str:
    """Returns whether ids are counted from 0 or from 1 in place of those that are known.

    Args:
        ids: that are stated.
        known: that there are.
        key: name of the list that has the known ones.
    """
    number = len(known)
    if not known or len(ids) < _FEWEST_IDS:
        return ""
    for first in (0, 1):
        if not ids <= set(range(first, first + number)):
            continue
        if known == set(range(1 - first, 1 - first + number)):
            change = "add" if first == 0 else "subtract"
            return f"they are counted from {first}, `{key}` from {1 - first}: {change} 1"
        return (
            f"they look like positions in `{key}`, counted from {first}: write the `id` of the "
            "entry there"
        )
    return ""

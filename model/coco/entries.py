"""Checks entries of `images` and `annotations`.

The only module besides `model/coco_metrics.py` where boxes are COCO's `[x, y, width, height]`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from pycocotools import mask as coco_mask

from model.coco.masks import compressed_rle
from model.coco.policies import Judge
from model.coco.values import integer, shortened
from model.examples import Category

# COCO rounds to 0.01 pixels, so that a box at the border may reach over it by that much.
_BORDER_TOLERANCE_PX = 0.01


@dataclasses.dataclass(frozen=True)
class Picture:
    """An entry of `images`: sizes in pixels."""

    id: int
    file_name: str
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class CocoObject:
    """A checked entry of `annotations`.

    Attributes:
        annotation_id: its id in the COCO file.
        category_id: likewise.
        label: the category's label for the model, from 1.
        name: the category's name.
        bbox: `[x, y, width, height]` as the file has it, in pixels.
        area: as the file has it, in pixels.
        is_crowd: whether it is a region of many objects.
        box_norm: `[ymin, xmin, ymax, xmax]`, clipped to the picture, as shares of its sides.
        segmentation: JSON of COCO's compressed RLE; empty where there is no mask.
    """

    annotation_id: int
    category_id: int
    label: int
    name: str
    bbox: tuple[float, float, float, float]
    area: float
    is_crowd: bool
    box_norm: tuple[float, float, float, float]
    segmentation: bytes


def parse_picture(image: Any) -> Picture:
    """Returns an entry of `images` as a `Picture`.

    >>> parse_picture({"id": 3, "file_name": "a.jpg", "height": 4, "width": 5.0})
    Picture(id=3, file_name='a.jpg', height=4, width=5)

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(image, dict):
        raise ValueError(f"expected an object, got {shortened(image)}")
    id_ = integer(image.get("id"))
    if id_ is None:
        raise ValueError(f"`id` is no integer: {shortened(image.get('id'))}")
    name = image.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"`file_name` is no file name: {shortened(name)}")
    name.encode()  # a lone surrogate is a ValueError too
    height, width = integer(image.get("height")), integer(image.get("width"))
    if height is None or width is None or height < 1 or width < 1:
        raise ValueError(
            "`height` and `width` are not positive integers: "
            f"{shortened(image.get('height'))} and {shortened(image.get('width'))}"
        )
    return Picture(id_, name, height, width)


def parse_object(
    annotation: Any,
    place: int,
    is_repeated_id: bool,
    height: int,
    width: int,
    categories: Mapping[int, Category],
    judge: Judge,
) -> CocoObject:
    """Returns an entry of `annotations`, checked; its flaws are noted with `judge`.

    Args:
        annotation: the entry.
        place: its position in the file, from 0.
        is_repeated_id: whether an earlier entry has the same id.
        height: of its picture, in pixels.
        width: likewise.
        categories: the label map by COCO id.
        judge: of this record.

    Raises:
        LeftOut: a flaw's policy leaves the object out.
    """
    annotation_id = integer(annotation.get("id"))
    if annotation_id is None:
        judge.note("bad_annotation_id", f"id {shortened(annotation.get('id'))}")
        annotation_id = -1 - place
    elif is_repeated_id:
        judge.note("duplicate_annotation_id", f"id {annotation_id} came before")
    category_id = integer(annotation.get("category_id"))
    if category_id is None or category_id not in categories:
        found = shortened(annotation.get("category_id"))
        judge.leave_out("unknown_category", f"category_id {found}")
    bbox = _bbox(annotation.get("bbox"), judge)
    is_crowd = annotation.get("iscrowd", 0)
    if is_crowd not in (0, 1):
        judge.leave_out("bad_iscrowd", f"iscrowd {shortened(is_crowd)}")
    category = categories[category_id]
    return CocoObject(
        annotation_id=annotation_id,
        category_id=category_id,
        label=category["label"],
        name=category["name"],
        bbox=bbox,
        area=_area(annotation.get("area"), bbox, judge),
        is_crowd=bool(is_crowd),
        box_norm=_box_norm(bbox, height, width, judge),
        segmentation=_segmentation(annotation.get("segmentation"), height, width, judge),
    )


def _bbox(value: Any, judge: Judge) -> tuple[float, float, float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(type(v) in (int, float) and math.isfinite(v) for v in value)
    ):
        judge.leave_out("bad_bbox", f"bbox {shortened(value)}")
    x, y, width, height = map(float, value)
    return x, y, width, height


def _area(value: Any, bbox: tuple[float, float, float, float], judge: Judge) -> float:
    if type(value) in (int, float) and math.isfinite(value) and value >= 0:
        return float(value)
    judge.note("bad_area", f"area {shortened(value)}")
    return bbox[2] * bbox[3]


def _box_norm(
    bbox: tuple[float, float, float, float], height: int, width: int, judge: Judge
) -> tuple[float, float, float, float]:
    """Returns the box `[ymin, xmin, ymax, xmax]` clipped to the picture, as shares of its sides."""
    x, y, box_width, box_height = bbox
    if box_width <= 0 or box_height <= 0:
        judge.note("box_without_area", f"bbox {list(bbox)}")
    xmax, ymax = x + max(box_width, 0.0), y + max(box_height, 0.0)
    if xmax <= 0 or ymax <= 0 or x >= width or y >= height:
        judge.note("box_outside", f"bbox {list(bbox)} in a picture of {width} x {height}")
    elif max(-x, -y, xmax - width, ymax - height) > _BORDER_TOLERANCE_PX:
        judge.note("box_crosses_border", f"bbox {list(bbox)} in a picture of {width} x {height}")
    return (
        min(max(y, 0.0), height) / height,
        min(max(x, 0.0), width) / width,
        min(max(ymax, 0.0), height) / height,
        min(max(xmax, 0.0), width) / width,
    )


def _segmentation(value: Any, height: int, width: int, judge: Judge) -> bytes:
    try:
        rle = compressed_rle(value, height, width)
    except ValueError as error:
        judge.note("bad_segmentation", str(error))
        return b""
    if rle is None:
        return b""
    if coco_mask.area(rle) == 0 and judge.note("mask_without_pixels", "draws no pixel"):
        return b""
    # Of all characters that counts can have, JSON escapes the backslash alone.
    counts = rle["counts"].replace("\\", "\\\\")
    return f'{{"size":[{height},{width}],"counts":"{counts}"}}'.encode()

"""Checks entries of `images` and `annotations`.

What is plainly meant is taken and noted under a reason of its own; what is not is left to the
reason's policy. COCO's boxes `[x, y, width, height]` are known to `model/coco/` and
`model/evaluation/coco_numbers.py` alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from pycocotools import mask as coco_mask

from configs.schema import DataConfig
from model.coco.boxes import bbox_in_pixels, meant_box, xywh_to_yxyx
from model.coco.json_text import RepeatedKeys
from model.coco.masks import Mask, read_mask
from model.coco.policies import Judge
from model.coco.values import is_text, meant_integer, meant_number, shortened
from model.examples import Category

# COCO rounds to 0.01 pixels, so that a box at the border may reach over it by that much.
_BORDER_TOLERANCE_PX = 0.01
_LARGEST_AREA = 1e18
_MISSING = object()
# Where other tools have the name of a picture's file; LVIS has its address alone.
_OTHER_NAME_KEYS = ("filename", "fileName", "name", "path", "image", "coco_url", "url")


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
        category_id: its id in the COCO file.
        label: the category's label for the model, from 1.
        name: the category's name.
        bbox: `[x, y, width, height]` in pixels, not clipped.
        area: area as the file has it, in pixels.
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


class Forms(NamedTuple):
    """How the values of a file are meant, by its owner's word (`data.box_format` and so on)."""

    box_format: str = "xywh"
    crowds: str = "ignore"

    @classmethod
    def of(cls, data: DataConfig) -> "Forms":
        """Returns what a config says."""
        return cls(data.box_format, data.crowds)


AS_COCO = Forms()


def parse_picture(image: Any, judge: Judge, max_picture_pixels: int | None = None) -> Picture:
    """Returns an entry of `images` as a `Picture`; its flaws are noted with `judge`.

    Args:
        image: the entry.
        judge: what judges this record.
        max_picture_pixels: limit of the stated height x width; None where the file decides.

    Raises:
        LeftOut: a flaw's policy leaves the picture out.
    """
    bad = "bad_picture_record"
    if not isinstance(image, dict):
        judge.leave_out(bad, f"expected an object, got {shortened(image)}")
    if isinstance(image, RepeatedKeys):
        judge.leave_out(bad, f"a key stands twice in {shortened(image)}")
    id_, height, width = (meant_integer(image.get(key)) for key in ("id", "height", "width"))
    if id_ is None:
        judge.leave_out(bad, f"`id` is no integer: {shortened(image.get('id'))}")
    name = image.get("file_name")
    if not isinstance(name, str) or not name.strip() or "\0" in name or not is_text(name):
        other = next((key for key in _OTHER_NAME_KEYS if isinstance(image.get(key), str)), None)
        hint = f" (rename its `{other}`)" if name is None and other else ""
        judge.leave_out(bad, f"`file_name` is no file name: {shortened(name)}{hint}")
    if height is None or width is None or height < 1 or width < 1:
        judge.leave_out(
            bad,
            "`height` and `width` are not positive integers: "
            f"{shortened(image.get('height'))} and {shortened(image.get('width'))} (write those of "
            "the file)",
        )
    if max_picture_pixels is not None and height * width > max_picture_pixels:
        judge.leave_out("picture_too_large", f"stated as {width} x {height} pixels")
    odd = [key for key in ("id", "height", "width") if type(image[key]) is not int]
    if odd:
        judge.note(
            "picture_numbers_in_other_form",
            ", ".join(f"{key} {shortened(image[key])}" for key in odd),
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
    forms: Forms = AS_COCO,
) -> CocoObject:
    """Returns an entry of `annotations`, checked; its flaws are noted with `judge`.

    Args:
        annotation: the entry.
        place: its position in the file, from 0.
        is_repeated_id: whether an earlier entry has the same id.
        height: height of its picture, in pixels.
        width: width of its picture, in pixels.
        categories: the label map by COCO id.
        judge: what judges this record.
        forms: how values are meant.

    Raises:
        LeftOut: a flaw's policy leaves the object out.
    """
    if isinstance(annotation, RepeatedKeys):
        judge.leave_out("bad_annotation", "a key stands twice in it")
    annotation_id = _annotation_id(annotation.get("id"), place, is_repeated_id, judge)
    category_id = meant_integer(annotation.get("category_id"))
    if category_id is None or category_id not in categories:
        found = shortened(annotation.get("category_id"))
        judge.leave_out("unknown_category", f"category_id {found}")
    _note_id_forms(annotation, judge)
    stated_bbox = _stated_bbox(annotation.get("bbox"), height, width, forms, judge)
    is_crowd = _is_crowd(annotation.get("iscrowd", _MISSING), judge)
    mask: Mask | None = None
    if stated_bbox is None:
        mask = _mask(annotation.get("segmentation", _MISSING), height, width, judge)
        bbox = _box_of_mask(annotation.get("bbox"), mask, judge)
    else:
        bbox = stated_bbox
    area = _area(annotation.get("area", _MISSING), bbox, height, width, forms, judge)
    box_norm = _box_norm(bbox, height, width, judge)
    if stated_bbox is not None:
        mask = _mask(annotation.get("segmentation", _MISSING), height, width, judge)
    category = categories[category_id]
    return CocoObject(
        annotation_id=annotation_id,
        category_id=category["id"],
        label=category["label"],
        name=category["name"],
        bbox=bbox,
        area=area,
        is_crowd=is_crowd and forms.crowds != "objects",
        box_norm=box_norm,
        segmentation=b"" if mask is None else _encoded(mask, height, width),
    )


def _annotation_id(value: Any, place: int, is_repeated: bool, judge: Judge) -> int:
    """Returns the id of an entry, or one that no other has where it has none."""
    annotation_id = meant_integer(value)
    if annotation_id is None:
        judge.note("bad_annotation_id", f"id {shortened(value)}")
        return -1 - place
    if is_repeated:
        judge.note("duplicate_annotation_id", f"id {annotation_id} came before")
    return annotation_id


def _note_id_forms(annotation: dict[str, Any], judge: Judge) -> None:
    """Notes ids that are whole numbers as text or floats."""
    odd = [
        f"{key} {shortened(annotation[key])}"
        for key in ("id", "image_id", "category_id")
        if type(annotation.get(key)) in (float, str) and meant_integer(annotation[key]) is not None
    ]
    if odd:
        judge.note("ids_in_other_form", ", ".join(odd))


def _stated_bbox(
    value: Any, height: int, width: int, forms: Forms, judge: Judge
) -> tuple[float, float, float, float] | None:
    """Returns the box that an object states, None where it states none."""
    if value is None or value == []:
        return None
    box = meant_box(value)
    if box is None:
        judge.leave_out("bad_bbox", f"bbox {shortened(value)}")
    if box.has_text:
        judge.note("numbers_in_other_form", f"bbox {shortened(value)}")
    if box.odd_form:
        judge.note("box_in_other_form", f"{box.odd_form}: {shortened(value)}")
    if box.format is not None:
        return bbox_in_pixels(box.numbers, box.format, height, width)
    return bbox_in_pixels(box.numbers, forms.box_format, height, width)


def _box_of_mask(value: Any, mask: Mask | None, judge: Judge) -> tuple[float, float, float, float]:
    if mask is None:
        judge.leave_out("bad_bbox", f"bbox {shortened(value)}")
    judge.note("box_missing", f"bbox {shortened(value)}")
    return mask.box


def _is_crowd(value: Any, judge: Judge) -> bool:
    if type(value) is int and value in (0, 1):
        return value == 1
    if value is _MISSING:
        return False
    if value is None:
        judge.note("null_for_missing", "iscrowd null")
        return False
    flag = value if isinstance(value, bool) else meant_integer(value)
    if flag not in (0, 1):
        judge.leave_out("bad_iscrowd", f"iscrowd {shortened(value)}")
    judge.note("flag_in_other_form", f"iscrowd {shortened(value)}")
    return bool(flag)


def _area(
    value: Any,
    bbox: tuple[float, float, float, float],
    height: int,
    width: int,
    forms: Forms,
    judge: Judge,
) -> float:
    if value is _MISSING or value is None:
        judge.note(*(("area_missing", "no area") if value is _MISSING else _NULL_AREA))
        return bbox[2] * bbox[3]
    area = meant_number(value)
    if area is None or not 0 <= area <= _LARGEST_AREA:
        judge.note("bad_area", f"area {shortened(value)}")
        return bbox[2] * bbox[3]
    if isinstance(value, str):
        judge.note("numbers_in_other_form", f"area {shortened(value)}")
    if "shares" in forms.box_format and area <= 1:
        return area * height * width
    return area


_NULL_AREA = ("null_for_missing", "area null")


def _box_norm(
    bbox: tuple[float, float, float, float], height: int, width: int, judge: Judge
) -> tuple[float, float, float, float]:
    """Returns the box `[ymin, xmin, ymax, xmax]` clipped to the picture, as shares of its sides."""
    if min(bbox[2:]) <= 0:
        judge.note("box_without_area", f"bbox {list(bbox)}")
    sides = (max(side, 0.0) for side in bbox[2:])
    ymin, xmin, ymax, xmax = xywh_to_yxyx([*bbox[:2], *sides])
    if xmax <= 0 or ymax <= 0 or xmin >= width or ymin >= height:
        judge.note("box_outside", f"bbox {list(bbox)} in a picture of {width} x {height}")
    elif max(-xmin, -ymin, xmax - width, ymax - height) > _BORDER_TOLERANCE_PX:
        judge.note("box_crosses_border", f"bbox {list(bbox)} in a picture of {width} x {height}")
    return (
        min(max(ymin, 0.0), height) / height,
        min(max(xmin, 0.0), width) / width,
        min(max(ymax, 0.0), height) / height,
        min(max(xmax, 0.0), width) / width,
    )


def _mask(value: Any, height: int, width: int, judge: Judge) -> Mask | None:
    if value is _MISSING:
        return None
    if value is None:
        judge.note("null_for_missing", "segmentation null")
        return None
    try:
        mask = read_mask(value, height, width)
    except ValueError as error:
        judge.note("bad_segmentation", str(error))
        return None
    if mask is None:
        return None
    if mask.text_numbers:
        judge.note("numbers_in_other_form", "segmentation with numbers as text")
    if mask.odd_form:
        judge.note("mask_in_other_form", mask.odd_form)
    if mask.bad_rings:
        judge.note("bad_ring", mask.bad_rings)
    if coco_mask.area(mask.rle) == 0 and judge.note("mask_without_pixels", "draws no pixel"):
        return None
    return mask


def _encoded(mask: Mask, height: int, width: int) -> bytes:
    # Of all characters that counts can have, JSON escapes the backslash alone.
    counts = mask.rle["counts"].replace("\\", "\\\\")
    return f'{{"size":[{height},{width}],"counts":"{counts}"}}'.encode()

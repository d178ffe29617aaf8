"""Streams a COCO JSON and checks its records; knows nothing of TensorFlow, Beam or files' places.

The only module besides `model/coco_metrics.py` where boxes are COCO's `[x, y, width, height]`.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NoReturn

import ijson
from pycocotools import mask as coco_mask

from components.coco_example_gen.policies import DROP, MEND, REFUSE, Flaw
from configs.errors import DatasetError
from configs.schema import Policy
from model.examples import Category

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_INT64_LIMIT = 2**63
# COCO rounds to 0.01 pixels, so that a box at the border may reach over it by that much.
_BORDER_TOLERANCE_PX = 0.01
# The run-length code of a polygon takes memory by its length; COCO's never leave the picture far.
_POLYGON_REACH = 10


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


class LeftOut(Exception):
    """A flaw's policy leaves the record out; the flaw is the last one noted."""


class Judge:
    """Notes the flaws of one record and applies their policies."""

    def __init__(self, policies: Mapping[str, Policy]):
        self._policies = policies
        self.flaws: list[Flaw] = []

    def note(self, code: str, detail: str) -> bool:
        """Notes a flaw and returns whether it is to be mended.

        Raises:
            LeftOut: its policy is to drop or to refuse.
        """
        policy = self._policies[code]
        self.flaws.append(Flaw(code, policy, detail))
        if policy in (DROP, REFUSE):
            raise LeftOut
        return policy == MEND

    def leave_out(self, code: str, detail: str) -> NoReturn:
        """Notes a flaw that can only be dropped or refused.

        Raises:
            LeftOut: always.
        """
        self.note(code, detail)
        raise LeftOut


def read_categories(path: str | os.PathLike[str]) -> list[Category]:
    """Returns the label map of a COCO file: labels count from 1 in the order of category ids.

    Raises:
        DatasetError: the file is missing or no COCO JSON, or has no categories, or one without an
            integer id and a name, or two with the same id.
    """
    with _open(path) as stream:
        lists = list(_guarded(ijson.items(stream, "categories", use_float=True), stream, path))
    if not lists or not isinstance(lists[0], list) or not lists[0]:
        _check_lists(path)
        raise DatasetError(f"{path}: `categories` is empty: a detector needs at least one class")
    names: dict[int, str] = {}
    for number, category in enumerate(lists[0]):
        id_ = integer(category.get("id")) if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        if id_ is None or not isinstance(name, str) or not name:
            raise DatasetError(
                f"{path}: category {number} has no integer `id` and `name`: {_short(category)}"
            )
        if id_ in names:
            raise DatasetError(
                f"{path}: categories {names[id_]!r} and {name!r} both have the id {id_}"
            )
        names[id_] = name
    return [
        {"id": id_, "name": names[id_], "label": label}
        for label, id_ in enumerate(sorted(names), 1)
    ]


def iterate_images(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields the entries of `images` in the file's order, one in memory at a time.

    Raises:
        DatasetError: the file is missing, cut off, no COCO JSON, or lists no picture.
    """
    number = 0
    for number, image in enumerate(_items(path, "images.item"), 1):  # noqa: B007
        yield image
    if not number:
        _check_lists(path)
        raise DatasetError(f"{path}: `images` is empty: there is nothing to convert")


def iterate_annotations(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields the entries of `annotations` in the file's order, one in memory at a time.

    Raises:
        DatasetError: the file is missing, cut off or no COCO JSON. An empty list is none.
    """
    number = 0
    for number, annotation in enumerate(_items(path, "annotations.item"), 1):  # noqa: B007
        yield annotation
    if not number:
        _check_lists(path)


def parse_picture(image: Any) -> Picture:
    """Returns an entry of `images` as a `Picture`.

    >>> parse_picture({"id": 3, "file_name": "a.jpg", "height": 4, "width": 5.0})
    Picture(id=3, file_name='a.jpg', height=4, width=5)

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(image, dict):
        raise ValueError(f"expected an object, got {_short(image)}")
    id_ = integer(image.get("id"))
    if id_ is None:
        raise ValueError(f"`id` is no integer: {_short(image.get('id'))}")
    name = image.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"`file_name` is no file name: {_short(name)}")
    name.encode()  # a lone surrogate is a ValueError too
    height, width = integer(image.get("height")), integer(image.get("width"))
    if height is None or width is None or height < 1 or width < 1:
        raise ValueError(
            "`height` and `width` are not positive integers: "
            f"{_short(image.get('height'))} and {_short(image.get('width'))}"
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
        judge.note("bad_annotation_id", f"id {_short(annotation.get('id'))}")
        annotation_id = -1 - place
    elif is_repeated_id:
        judge.note("duplicate_annotation_id", f"id {annotation_id} came before")
    category_id = integer(annotation.get("category_id"))
    if category_id is None or category_id not in categories:
        judge.leave_out("unknown_category", f"category_id {_short(annotation.get('category_id'))}")
    bbox = _bbox(annotation.get("bbox"), judge)
    is_crowd = annotation.get("iscrowd", 0)
    if is_crowd not in (0, 1):
        judge.leave_out("bad_iscrowd", f"iscrowd {_short(is_crowd)}")
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


def integer(value: Any) -> int | None:
    """Returns an integer of 64 bits; None where `value` is none. 3.0 counts as 3, True does not.

    >>> integer(3.0), integer("3"), integer(True), integer(2**63)
    (3, None, None, None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -_INT64_LIMIT <= value < _INT64_LIMIT else None


def compressed_rle(segmentation: Any, height: int, width: int) -> dict[str, Any] | None:
    """Returns COCO's compressed RLE of a `segmentation`, None where there is none.

    Polygons, uncompressed and compressed RLE are taken; the mask is what pycocotools draws.

    >>> compressed_rle([[0, 0, 2, 0, 2, 1, 0, 1]], 2, 3)
    {'size': [2, 3], 'counts': '01102'}
    >>> compressed_rle([], 2, 3) is None
    True

    Raises:
        ValueError: what is wrong with it.
    """
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, list):
        for polygon in segmentation:
            _check_polygon(polygon, height, width)
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation, dict):
        counts = _run_lengths(segmentation, height, width)
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    else:
        raise ValueError(f"expected polygons or an object, got {_short(segmentation)}")
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def _bbox(value: Any, judge: Judge) -> tuple[float, float, float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(type(v) in (int, float) and math.isfinite(v) for v in value)
    ):
        judge.leave_out("bad_bbox", f"bbox {_short(value)}")
    x, y, width, height = map(float, value)
    return x, y, width, height


def _area(value: Any, bbox: tuple[float, float, float, float], judge: Judge) -> float:
    if type(value) in (int, float) and math.isfinite(value) and value >= 0:
        return float(value)
    judge.note("bad_area", f"area {_short(value)}")
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


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
        raise ValueError(f"expected a list of numbers as polygon, got {_short(polygon)}")
    # pycocotools would take four numbers for a box.
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"a polygon of {len(polygon)} numbers; expected x, y of 3 corners or more")
    reach = _POLYGON_REACH * max(height, width)
    is_near = -reach <= min(polygon) and max(polygon) <= reach
    if not (is_near and math.isfinite(sum(polygon))):  # NaN is neither smallest nor largest
        raise ValueError(f"a polygon far outside the picture: {_short(polygon)}")


def _run_lengths(rle: dict[str, Any], height: int, width: int) -> list[int]:
    """Returns the lengths of the runs of a mask, checked; pycocotools would trust them.

    Raises:
        ValueError: the size or the lengths do not fit the picture.
    """
    if rle.get("size") != [height, width]:
        raise ValueError(f"a run-length code of size {_short(rle.get('size'))}")
    counts = rle.get("counts")
    if isinstance(counts, str):
        counts = decode_counts(counts)
    if not isinstance(counts, list) or not all(type(c) is int and c >= 0 for c in counts):
        raise ValueError("`counts` are neither run lengths nor their compressed form")
    if sum(counts) != height * width:
        raise ValueError(f"run lengths of {sum(counts)} pixels, the picture has {height * width}")
    return counts


def decode_counts(compressed: str) -> list[int]:
    """Returns the run lengths behind COCO's compressed `counts`.

    Each is a number in groups of five bits, lowest first, a character (from "0") a group; from
    the fourth on it is the difference to the last but one.

    >>> decode_counts("01102")
    [0, 1, 1, 1, 3]

    Reference: rleFrString in maskApi.c of cocodataset/cocoapi, which reads on past the end.

    Raises:
        ValueError: a character is no group, or the last number does not end.
    """
    counts: list[int] = []
    number, shift = 0, 0
    for character in compressed:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise ValueError(f"`counts` have a character that cannot be: {character!r}")
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number, shift = 0, 0
    if shift:
        raise ValueError("`counts` end in the middle of a number")
    return counts


def _items(path: str | os.PathLike[str], prefix: str) -> Iterator[Any]:
    with _open(path) as stream:
        yield from _guarded(ijson.items(stream, prefix, use_float=True), stream, path)


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a JSON file behind its byte order mark, if it has one."""
    try:
        stream = open(path, "rb")
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    if stream.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
        stream.seek(0)
    return stream


def _guarded(items: Iterator[Any], stream: BinaryIO, path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields `items`; what the JSON reader raises becomes one line.

    Raises:
        DatasetError: the file is cut off or not JSON, with about the place.
    """
    try:
        yield from items
    except (ijson.JSONError, UnicodeDecodeError) as error:
        problem = str(error).splitlines()[0] if str(error) else "no JSON"
        raise DatasetError(
            f"{path}: cut off or not JSON before byte {stream.tell()} ({problem}): copy it anew"
        ) from None


def _check_lists(path: str | os.PathLike[str]) -> None:
    """Checks the top level of a file in which a list seemed to be empty.

    Raises:
        DatasetError: it is no object, or `images`, `annotations` or `categories` is no list.
    """
    kinds: dict[str, str] = {}
    key: str | None = None
    with _open(path) as stream:
        for prefix, event, value in _guarded(ijson.parse(stream), stream, path):
            if not prefix and event == "map_key":
                key = value
            elif key is not None and prefix == key and key not in kinds:
                kinds[key] = event
            elif not prefix and event not in ("start_map", "end_map"):
                raise DatasetError(f"{path}: no COCO JSON file (it holds no object)")
    for wanted in ("images", "annotations", "categories"):
        if wanted not in kinds:
            found = ", ".join(f"`{name}`" for name in list(kinds)[:6]) or "nothing"
            raise DatasetError(
                f"{path}: has no `{wanted}` (found {found}): "
                "expected a COCO instances file, such as instances_train2017.json"
            )
        if kinds[wanted] != "start_array":
            raise DatasetError(f"{path}: `{wanted}` is no list")


def _short(value: Any) -> str:
    """Returns a value for a message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""COCO's masks: polygons and run lengths, checked before C code sees them."""

import math
from typing import Any

from pycocotools import mask as coco_mask

from model.coco.values import shortened

# The run-length code of a polygon takes memory by its length; COCO's never leave the picture far.
_POLYGON_REACH = 10


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
        raise ValueError(f"expected polygons or an object, got {shortened(segmentation)}")
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
        raise ValueError(f"expected a list of numbers as polygon, got {shortened(polygon)}")
    # pycocotools would take four numbers for a box.
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"a polygon of {len(polygon)} numbers; expected x, y of 3 corners or more")
    reach = _POLYGON_REACH * max(height, width)
    is_near = -reach <= min(polygon) and max(polygon) <= reach
    if not (is_near and math.isfinite(sum(polygon))):  # NaN is neither smallest nor largest
        raise ValueError(f"a polygon far outside the picture: {shortened(polygon)}")


def _run_lengths(rle: dict[str, Any], height: int, width: int) -> list[int]:
    """Returns the lengths of the runs of a mask, checked; pycocotools would trust them.

    Raises:
        ValueError: the size or the lengths do not fit the picture.
    """
    if rle.get("size") != [height, width]:
        raise ValueError(f"a run-length code of size {shortened(rle.get('size'))}")
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

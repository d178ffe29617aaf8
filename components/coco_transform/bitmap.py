"""From a COCO mask to the bitmap that training reads, and the pixels that it covers."""

import io
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_mask

from components.coco_transform.turn import Turn

Bits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int32] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bitmap:
    """A mask.

    Attributes:
        png: a one-channel PNG, 1 bit a pixel.
        box: [4] float64, yxyx, pixels of the upright picture: what the bitmap covers exactly.
        side: the longer side of the bitmap, in its pixels.
        bounds: the rectangle of the mask's pixels, [x, y, width, height] in the RLE's frame.
        fidelity: IoU of the mask with what the bitmap gives back; 1 where it is exact.
    """

    png: bytes
    box: npt.NDArray[np.float64]
    side: int
    bounds: tuple[int, int, int, int]
    fidelity: float = 1.0


def object_bitmap(
    segmentation: bytes, frame: Literal["box", "picture"], max_side: int, turn: Turn
) -> Bitmap | None:
    """Returns the bitmap of one object, None where its mask has no pixel.

    Args:
        segmentation: the JSON of COCO's compressed RLE, as in `records.SEGMENTATION`, not b"".
        frame: "box": the rectangle of the mask's own pixels and one more on each side, where the
            picture has one, at their resolution, or at `max_side` where a side is longer;
            "picture": the whole picture, exact. (The zeros around let a reader interpolate at the
            mask's edge as it would in the whole picture.)
        max_side: largest side of a bitmap in the "box" frame.
        turn: from the RLE's frame to the upright picture.
    """
    rle = json.loads(segmentation)
    x, y, width, height = (int(value) for value in coco_mask.toBbox(rle))
    if width == 0 or height == 0:
        return None
    bits = coco_mask.decode(rle).view(bool)  # of zeros and ones
    picture_height, picture_width = bits.shape
    top, left, bottom, right = 0, 0, picture_height, picture_width
    if frame == "box":
        top, left = max(y - 1, 0), max(x - 1, 0)
        bottom, right = min(y + height + 1, bottom), min(x + width + 1, right)
    crop = turn.pixels(bits[top:bottom, left:right])
    box = np.asarray([[top, left, bottom, right]], np.float64)
    box = turn.boxes(box, picture_height, picture_width)[0]
    bounds = (x, y, width, height)
    if frame != "box" or max(crop.shape) <= max_side:
        return Bitmap(_png(crop), box, max(crop.shape), bounds)
    small = shrunk(crop, max_side)
    return Bitmap(_png(small), box, max(small.shape), bounds, _fidelity(crop, small))


def shrunk(bits: Bits, max_side: int) -> Bits:
    """Returns a bitmap no side of which exceeds `max_side`.

    Each new pixel is set where at least half of the area that it covers is; exact, in integers.
    """
    height, width = bits.shape
    rows, columns = min(height, max_side), min(width, max_side)
    if (rows, columns) == (height, width):
        return bits
    # In units of 1 / (rows * columns) pixels, a new pixel has the area height * width.
    small = height * width * 4 < np.iinfo(np.int32).max  # 4: part sums before they are cut
    counts: Counts = bits.astype(np.int32) if small else bits.astype(np.int64)
    areas = _summed(_summed(counts, rows).T, columns).T
    is_set: Bits = np.greater_equal(areas * 2, height * width)
    return is_set


def _fidelity(bits: Bits, small: Bits) -> float:
    """Returns the IoU of a mask with a smaller bitmap of it, each of whose pixels covers its part.

    Training reads between the pixels, which comes nearer: this is a lower bound.
    """
    rows, columns = (
        np.arange(side) * part // side for side, part in zip(bits.shape, small.shape, strict=True)
    )
    drawn = small[rows].take(columns, axis=1)
    return float(np.count_nonzero(bits & drawn) / np.count_nonzero(bits | drawn))


def _summed(values: Counts, parts: int) -> Counts:
    """Returns [parts, m]: `values` [n, m] summed over `parts` equal parts, times `parts`.

    A part may begin and end within a row of `values`, which then counts by its share.

    Args:
        values: [n, m], at least 0.
        parts: at most n.
    """
    n = len(values)
    whole, share = np.divmod(np.arange(parts + 1) * n, parts)
    sums = np.add.reduceat(values, whole[:-1], axis=0) * parts
    cut = np.multiply(share[:-1, None], values[whole[:-1]], dtype=values.dtype)
    sums -= cut
    sums[:-1] += cut[1:]  # what one part has too much, the one before has too little
    return sums


def _png(bits: Bits) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(bits)).save(stream, "PNG")
    return stream.getvalue()

"""The average precision of one class on many resamples of the pictures at once.

A curve of precision over recall is the running sums of the pictures' counts along the detections
by falling score. Its rows are the detections that are right, or neither right nor wrong, at some
threshold. The others only lower the precision of the rows that follow; they are summed up to the
next row by one sparse product.

I pictures, T = 10 IoU thresholds, B resamples, U rows of a curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from model.evaluation.matching import IOU_THRESHOLDS

_T = len(IOU_THRESHOLDS)
_RECALLS = 101  # points at which COCO reads a curve
# A recall of 0.30 may lack a little after rounding to float32; the next smaller count lacks more.
_ROUNDING = 2e-7
_NEARLY_NOTHING = np.float32(1e-30)  # for 0 / 0; is gone as soon as 1 is added
_ROWS = 12  # of a curve at once


@dataclass(frozen=True)
class Curve:
    """The rows of one class and one range of size, by falling score.

    Attributes:
        image: [U] positions of the pictures.
        right: [U, T] float32, 1 where the row is right.
        ignored: [V, T] float32, 1 where it is neither right nor wrong, of V rows that are so.
        ignored_image: [V] positions of their pictures.
        ignored_before: [U] how many of the V there are up to each row.
        counted: [U, I], how many detections of each picture, of whatever kind, are after the row
            before and up to each row.
    """

    image: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    ignored_image: np.ndarray
    ignored_before: np.ndarray
    counted: sparse.csr_matrix

    @classmethod
    def of(
        cls, image: np.ndarray, right: np.ndarray, ignored: np.ndarray, num_pictures: int
    ) -> "Curve":
        """Returns the curve of some detections.

        Args:
            image: [D] positions of the pictures, by falling score.
            right: [D] uint16; bit t: right at threshold t.
            ignored: [D] uint16; bit t: neither right nor wrong at threshold t.
            num_pictures: I.
        """
        rows = np.flatnonzero((right != 0) | (ignored != 0))
        is_ignored = ignored[rows] != 0
        bounds = np.append(0, rows + 1)
        count = int(bounds[-1])
        ones = np.ones(count, np.float32)
        shape = (len(rows), num_pictures)
        return cls(
            image[rows],
            flags(right[rows]),
            flags(ignored[rows][is_ignored]),
            image[rows][is_ignored],
            np.cumsum(is_ignored),
            sparse.csr_matrix((ones, image[:count].astype(np.int32), bounds), shape=shape),
        )


def flags(bits: np.ndarray) -> np.ndarray:
    """Returns [n, T] float32 of [n] uint16."""
    return ((bits[:, None] >> np.arange(_T, dtype=np.uint16)) & 1).astype(np.float32)


def average_precision(curve: Curve, counts: np.ndarray, to_find: np.ndarray) -> np.ndarray:
    """Returns [T, B] the precision at COCO's recalls, its mean; NaN where nothing is to be found.

    Rows are worked through in blocks, for what fits into a processor's cache is many times as fast;
    the last block first, for the precision at a recall is the best at that recall or a higher one.

    Args:
        curve: U rows.
        counts: [I, B] float32, how often each picture was drawn.
        to_find: [B] objects.
    """
    shape = (_T, len(to_find))
    area, best_later = np.zeros((2, *shape), np.float32)
    scale = ((_RECALLS - 1) / np.maximum(to_find, 1) * (1 + _ROUNDING)).astype(np.float32)
    rooms = np.empty((3, min(_ROWS, len(curve.image)), *shape), np.float32)
    blocks = [slice(start, start + _ROWS) for start in range(0, len(curve.image), _ROWS)]
    judged, ignored, before = _sums(curve, counts, blocks)
    for n, block in reversed(list(enumerate(blocks))):
        image = curve.image[block]
        right, precision, other = rooms[:, : len(image)]
        np.multiply(curve.right[block, :, None], counts[image, None, :], out=right)
        right[0] += before[n]
        _add_up(right)
        _divide(right, judged[block], ignored, curve.ignored_before[block], precision, other)
        np.maximum(precision[-1], best_later, out=precision[-1])
        for above, row in zip(precision[-2::-1], precision[:0:-1], strict=True):
            np.maximum(above, row, out=above)
        best_later[:] = precision[0]
        # How many of COCO's recalls 0.01, 0.02, ... each row is the first to reach.
        np.floor(np.multiply(right, scale, out=right), out=right)
        np.subtract(right[1:], right[:-1], out=other[1:])
        np.subtract(right[0], np.floor(before[n] * scale), out=other[0])
        area += np.einsum("utb,utb->tb", precision, other)
    area += best_later  # Recall 0.00 is reached by the first right one.
    return np.where(to_find > 0, area / _RECALLS, np.float32(np.nan))


def _sums(
    curve: Curve, counts: np.ndarray, blocks: Sequence[slice]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what there is so far.

    Returns:
        Detections up to each row [U, B]; those of them that are neither right nor wrong, up to
        each v of the V [1 + V, T, B]; the right ones before each block [., T, B].
    """
    shape = (_T, counts.shape[1])
    judged = curve.counted @ counts
    judged[:1] += _NEARLY_NOTHING
    _add_up(judged)
    ignored = np.zeros((len(curve.ignored) + 1, *shape), np.float32)
    mine = counts[curve.ignored_image, None, :]
    np.multiply(curve.ignored[:, :, None], mine, out=ignored[1:])
    _add_up(ignored)
    before = np.zeros((len(blocks), *shape), np.float32)
    for n, block in enumerate(blocks[:-1]):
        np.matmul(curve.right[block].T, counts[curve.image[block]], out=before[n + 1])
    _add_up(before)
    return judged, ignored, before


def _divide(
    right: np.ndarray,
    judged: np.ndarray,
    ignored: np.ndarray,
    ignored_before: np.ndarray,
    precision: np.ndarray,
    room: np.ndarray,
) -> None:
    """Writes the precision of a block of rows [u, T, B]."""
    if not ignored_before[-1]:
        np.divide(right, judged[:, None, :], out=precision)
        return
    if ignored_before[0] == ignored_before[-1]:
        np.subtract(judged[:, None, :], ignored[ignored_before[0]], out=room)
    else:
        np.take(ignored, ignored_before, axis=0, out=room, mode="clip")
        np.subtract(judged[:, None, :], room, out=room)
    if room[0].min() < 1:  # They only grow from row to row.
        np.maximum(room, _NEARLY_NOTHING, out=room)
    np.divide(right, room, out=precision)


def _add_up(values: np.ndarray) -> None:
    """Turns values into their running sums along the first axis.

    NumPy's own `cumsum` goes along the rows one number at a time; this takes a row at once.
    """
    for above, row in pairwise(values):
        np.add(above, row, out=row)

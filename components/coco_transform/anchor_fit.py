"""How well anchors fit the objects of a data set by their shapes alone, wherever they lie.

It is for comparing anchors that nobody had thought of when the records were read, so it is given
counts by shape: a data set of any size takes the same time and memory.
"""

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from configs.model_schema import AnchorConfig
from model.anchor_proposal import STRIDES

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_SIDES_AN_OCTAVE, _LOWEST_SIDE, _HIGHEST_SIDE = 8, -1, 12  # log2 of pixels
_ASPECTS_AN_OCTAVE, _WIDEST = 8, 4  # log2 of height / width, to both sides
_SIDES = (_HIGHEST_SIDE - _LOWEST_SIDE) * _SIDES_AN_OCTAVE + 1
_ASPECTS = 2 * _WIDEST * _ASPECTS_AN_OCTAVE + 1
SHAPE_BINS = (_SIDES, _ASPECTS)
_COVERED = 0.5


class Fit(NamedTuple):
    """How well anchors fit objects, whose places in the grid of cells are not known.

    Attributes:
        mean_iou: mean IoU of the objects with the anchor that fits each best.
        covered: share of the objects for which that is 0.5 or more.
    """

    mean_iou: float
    covered: float

    @property
    def score(self) -> float:
        """Both numbers in one, so that neither may rise at the other's cost."""
        return self.mean_iou + self.covered


def count_shapes(extents: Floats) -> Counts:
    """Returns int64 `SHAPE_BINS`: how many boxes there are of each side and aspect.

    Args:
        extents: [n, 2] heights and widths above 0, pixels of the resized picture.
    """
    logs = np.log2(np.maximum(extents, 1e-9))
    sides = (logs.mean(axis=1) - _LOWEST_SIDE) * _SIDES_AN_OCTAVE
    aspects = (logs[:, 0] - logs[:, 1] + _WIDEST) * _ASPECTS_AN_OCTAVE
    rows = np.clip(np.rint(sides), 0, _SIDES - 1).astype(np.int64)
    columns = np.clip(np.rint(aspects), 0, _ASPECTS - 1).astype(np.int64)
    counts = np.bincount(rows * _ASPECTS + columns, minlength=_SIDES * _ASPECTS)
    return counts.reshape(SHAPE_BINS)


def fit(shapes: Counts, anchors: AnchorConfig) -> Fit:
    """Returns how well anchors fit boxes; zeros without boxes.

    The overlap is that with an anchor a quarter of its stride away on both axes: the mean
    distance of an object's middle from the nearest of the grid.

    Args:
        shapes: what `count_shapes` gives.
        anchors: the anchors.
    """
    rows, columns = np.nonzero(shapes)
    if not len(rows):
        return Fit(0.0, 0.0)
    sides = 2.0 ** (rows / _SIDES_AN_OCTAVE + _LOWEST_SIDE)
    aspects = 2.0 ** (columns / _ASPECTS_AN_OCTAVE - _WIDEST)
    extents = np.stack([sides * aspects**0.5, sides / aspects**0.5])
    best = np.zeros(len(rows))
    levels = zip(anchors.sizes_px, STRIDES, strict=True)
    for (size, stride), ratio in itertools.product(levels, anchors.aspect_ratios):
        anchor = np.asarray([[size * ratio**0.5], [size / ratio**0.5]])
        along = np.minimum(np.minimum(extents, anchor), (extents + anchor) / 2 - stride / 4)
        overlap = np.prod(np.maximum(along, 0.0), axis=0)
        union = np.prod(extents, axis=0) + np.prod(anchor) - overlap
        best = np.maximum(best, overlap / union)
    weights = shapes[rows, columns] / shapes.sum()
    return Fit(float(best @ weights), float((best >= _COVERED) @ weights))

"""Anchor sizes and ratios that fit the objects of a data set better, from their shapes alone.

k-means with the IoU as its measure, over shapes that are sizes times ratios, as anchors are; it is
given counts by shape, so that a data set of any size takes the same time and memory.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.coco_transform.anchor_coverage import STRIDES
from configs.model_schema import AnchorConfig

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_SIDES_AN_OCTAVE, _LOWEST_SIDE, _HIGHEST_SIDE = 8, -1, 12  # log2 of pixels
_ASPECTS_AN_OCTAVE, _WIDEST = 8, 4  # log2 of height / width, to both sides
_SIDES = (_HIGHEST_SIDE - _LOWEST_SIDE) * _SIDES_AN_OCTAVE + 1
_ASPECTS = 2 * _WIDEST * _ASPECTS_AN_OCTAVE + 1
SHAPE_BINS = (_SIDES, _ASPECTS)

_STEPS = tuple(2.0 ** (octaves / 8) for octaves in (-6, -3, -2, -1, 1, 2, 3, 6))
_ROUNDS = 12
_MOST_SHAPES = 3000  # the most frequent; a spread like COCO's has 5,500, the others hold 3 %
# A judgement: below it other anchors are no reason to train anew.
_WORTH_TELLING = 0.02
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
        """What is made as high as it gets: neither number may rise at the other's cost."""
        return self.mean_iou + self.covered


class FittedAnchors(NamedTuple):
    """Anchors that fit, and how those that were given do.

    Attributes:
        sizes_px: sizes of P2 ... P6, rising: whole pixels.
        aspect_ratios: height / width, rising, as many as were given.
        given: the fit of the anchors that were given.
        fitted: the fit of these.
    """

    sizes_px: tuple[float, ...]
    aspect_ratios: tuple[float, ...]
    given: Fit
    fitted: Fit

    @property
    def is_better(self) -> bool:
        """Whether the difference is worth a change."""
        return self.fitted.score - self.given.score >= _WORTH_TELLING

    @property
    def fragment(self) -> str:
        """The anchors as lines of a config."""
        sizes = ", ".join(f"{size:g}" for size in self.sizes_px)
        ratios = ", ".join(f"{ratio:g}" for ratio in self.aspect_ratios)
        return f"model:\n  anchors:\n    sizes_px: [{sizes}]\n    aspect_ratios: [{ratios}]\n"


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


def fit_anchors(shapes: Counts, anchors: AnchorConfig) -> FittedAnchors | None:
    """Returns anchors that fit boxes, with the number of ratios as it is; None without boxes.

    The number of ratios stays, since with another one pretrained weights do not fit the network.

    Args:
        shapes: what `count_shapes` gives.
        anchors: those that the model has now.
    """
    objects = _Objects(shapes)
    if not len(objects.weights):
        return None

    def score(sizes: Floats, ratios: Floats) -> float:
        return objects.fit(sizes, ratios).score

    given = (np.asarray(anchors.sizes_px), np.asarray(anchors.aspect_ratios))
    starts = [given, objects.quantiles(len(anchors.sizes_px), len(anchors.aspect_ratios))]
    # By the mean first: the share of what is covered is level in most directions.
    near = [_climb(lambda *one: objects.fit(*one).mean_iou, *start) for start in starts]
    ends = [_climb(score, *start) for start in near]
    found = max(ends, key=lambda one: score(*one))
    sizes = _rising(np.round(found[0]), 1.0)
    ratios = _rising(np.round(found[1] * 20) / 20, 0.05)
    return FittedAnchors(
        tuple(sizes.tolist()),
        tuple(np.round(ratios, 2).tolist()),
        objects.fit(*given),
        objects.fit(sizes, ratios),
    )


class _Objects:
    """The shapes that occur, with their shares."""

    def __init__(self, shapes: Counts) -> None:
        frequent = np.argsort(-shapes.reshape(-1), kind="stable")[:_MOST_SHAPES]
        rows, columns = np.unravel_index(frequent[shapes.reshape(-1)[frequent] > 0], SHAPE_BINS)
        sides = 2.0 ** (rows / _SIDES_AN_OCTAVE + _LOWEST_SIDE)
        aspects = 2.0 ** (columns / _ASPECTS_AN_OCTAVE - _WIDEST)
        self.weights = shapes[rows, columns] / max(shapes[rows, columns].sum(), 1)
        self._sides, self._aspects = sides, aspects
        self._extents = np.stack([sides * aspects**0.5, sides / aspects**0.5])

    def quantiles(self, sizes: int, ratios: int) -> tuple[Floats, Floats]:
        """Returns sizes and ratios with equally many objects around each."""
        return self._spread(self._sides, sizes), self._spread(self._aspects, ratios)

    def _spread(self, values: Floats, number: int) -> Floats:
        order = np.argsort(values, kind="stable")
        shares = np.cumsum(self.weights[order])
        wanted = (np.arange(number) + 0.5) / number
        places = np.minimum(np.searchsorted(shares, wanted), len(order) - 1)
        chosen: Floats = values[order][places] * np.linspace(0.99, 1.01, number)
        return chosen

    def fit(self, sizes: Floats, ratios: Floats) -> Fit:
        """Returns how well anchors fit."""
        best = self._best(sizes, ratios)
        covered = float((best >= _COVERED) @ self.weights)
        return Fit(float(best @ self.weights), covered)

    def _best(self, sizes: Floats, ratios: Floats) -> Floats:
        """Returns [shapes] IoU with the best anchor, a quarter of its stride away on both axes.

        That is the mean distance of an object's middle from the nearest of the grid.
        """
        pairs = np.asarray(list(itertools.product(range(len(sizes)), ratios)))
        strides = np.asarray(STRIDES)[pairs[:, 0].astype(int)]
        sides = sizes[pairs[:, 0].astype(int)]
        anchors = np.stack([sides * pairs[:, 1] ** 0.5, sides / pairs[:, 1] ** 0.5])
        boxes, others = self._extents[:, :, None], anchors[:, None, :]
        along = np.minimum(np.minimum(boxes, others), (boxes + others) / 2 - strides / 4)
        overlap = np.prod(np.maximum(along, 0.0), axis=0)
        union = np.prod(boxes, axis=0) + np.prod(others, axis=0) - overlap
        best: Floats = np.max(overlap / union, axis=1)
        return best


def _climb(
    measure: Callable[[Floats, Floats], float], sizes: Floats, ratios: Floats
) -> tuple[Floats, Floats]:
    """Returns the sizes and ratios that no single step makes better."""
    values = np.concatenate([np.sort(sizes), np.sort(ratios)]).astype(np.float64)
    number, best = len(sizes), measure(np.sort(sizes), np.sort(ratios))
    for _ in range(_ROUNDS):
        before = best
        for place in range(len(values)):
            for step in _STEPS:
                tried = values.copy()
                tried[place] *= step
                if (np.diff(tried[:number]) <= 0).any() or (np.diff(tried[number:]) <= 0).any():
                    continue
                if (found := measure(tried[:number], tried[number:])) > best:
                    values, best = tried, found
        if best - before < 1e-4:
            break
    return values[:number], values[number:]


def _rising(values: Floats, step: float) -> Floats:
    """Returns rounded values, each at least a step above the one before."""
    result = np.maximum(np.sort(values), step)
    for place in range(1, len(result)):
        result[place] = max(result[place], result[place - 1] + step)
    return result

"""Large pictures in tiles: where they lie, and how what was found in them becomes one list.

A detector sees a picture at a bounded size, so that small objects of a large picture vanish. A tile
is a part of it at its own size. A picture is cut where its longer side is more than one and a half
times a tile's; the last tile of a row or column is moved inwards, so that all are of one size.

What is found in all tiles, and in the whole picture, is put
together by this rule:

1. A detection of a tile is *cut* where its box comes to an edge of the tile that is not one of the
   picture's (within 1 % of the tile's side): the object may go on beyond.
2. Whole detections come before cut ones, of each those that score more before the others.
3. In this order one is dropped where it overlaps one of its category, kept before and found in
   another tile or in the whole picture, by more than the model's own limit (IoU,
   `model.detections.nms_iou`); or, if it is cut, where more than half of it lies within
   such a one that scores at least half as much.

So an object that fits into the overlap of two tiles is whole in one of them, and a larger one is
whole in the picture. Masks travel with their boxes.

Letters: T tiles, n detections.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ground.errors import ConfigError
from model.prediction.detections import Detections

DEFAULT_OVERLAP = 0.25
LARGEST_OVERLAP = 0.75
_LARGE = 1.5  # sides of a tile
_CUT_SHARE = 0.01  # of the tile's side
_COVERED_SHARE = 0.5
_SCORE_SHARE = 0.5


class Window(NamedTuple):
    """A tile's place in its picture, pixels."""

    ymin: int
    xmin: int
    ymax: int
    xmax: int


@dataclass(frozen=True)
class Tiling:
    """How pictures are cut.

    Attributes:
        side_px: side of the square tiles, pixels of the picture.
        overlap: what neighbours have in common, as a share of the side.
    """

    side_px: int
    overlap: float = DEFAULT_OVERLAP

    def __post_init__(self) -> None:
        if self.side_px < 1 or not 0 <= self.overlap <= LARGEST_OVERLAP:
            raise ConfigError(
                f"tiles of {self.side_px} px that overlap by {self.overlap}: expected a side of at "
                f"least 1 and an overlap of 0 to {LARGEST_OVERLAP}"
            )

    def applies(self, height: int, width: int) -> bool:
        """Returns whether a picture is cut."""
        return max(height, width) > _LARGE * self.side_px

    def windows(self, height: int, width: int) -> list[Window]:
        """Returns the tiles of a picture, row by row.

        >>> [w[1::2] for w in Tiling(100, 0.2).windows(50, 250)]
        [(0, 100), (80, 180), (150, 250)]
        """
        return [
            Window(y, x, y + min(self.side_px, height), x + min(self.side_px, width))
            for y in self._starts(height)
            for x in self._starts(width)
        ]

    def _starts(self, length: int) -> Iterator[int]:
        step = max(1, round(self.side_px * (1 - self.overlap)))
        for start in range(0, length, step):
            yield max(0, min(start, length - self.side_px))
            if start + self.side_px >= length:
                return


def merged_tiles(
    parts: Sequence[tuple[Window, Detections]], height: int, width: int, iou_threshold: float
) -> Detections:
    """Returns what was found in a picture, best first, from its tiles and the whole of it.

    Args:
        parts: a window and what was found in it, boxes as shares of the window's sides.
        height: height of the picture, pixels.
        width: width of the picture, pixels.
        iou_threshold: overlap above which one of two detections of a category falls.
    """
    boxes = np.concatenate([_in_picture(found.boxes_norm, window) for window, found in parts])
    cut = np.concatenate([_is_cut(found.boxes_norm, w, height, width) for w, found in parts])
    part = np.repeat(np.arange(len(parts)), [len(found.scores) for _, found in parts])
    scores = np.concatenate([found.scores for _, found in parts])
    classes = np.concatenate([found.category_ids for _, found in parts])
    order = np.lexsort((-scores, cut))
    kept = order[_kept(boxes[order], scores[order], classes[order], part[order], cut[order],
                       iou_threshold)]  # fmt: skip
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    masks = None
    if all(found.masks is not None for _, found in parts):
        masks = np.concatenate([found.masks for _, found in parts])[kept]
    sides = np.array([height, width, height, width])
    return Detections((boxes[kept] / sides).astype(np.float32), scores[kept], classes[kept], masks)


def _in_picture(boxes_norm: npt.NDArray[np.float32], window: Window) -> npt.NDArray[np.float64]:
    """Returns boxes [n, 4] in pixels of the picture."""
    sides = np.array([window.ymax - window.ymin, window.xmax - window.xmin] * 2)
    return boxes_norm.astype(np.float64) * sides + [window.ymin, window.xmin] * 2


def _is_cut(
    boxes_norm: npt.NDArray[np.float32], window: Window, height: int, width: int
) -> npt.NDArray[np.bool_]:
    """Returns whether each box [n, 4] comes to an edge of the tile within the picture."""
    low, high = boxes_norm[:, :2] <= _CUT_SHARE, boxes_norm[:, 2:] >= 1 - _CUT_SHARE
    inner_low = np.array([window.ymin > 0, window.xmin > 0])
    inner_high = np.array([window.ymax < height, window.xmax < width])
    cut: npt.NDArray[np.bool_] = ((low & inner_low) | (high & inner_high)).any(axis=1)
    return cut


def _kept(
    boxes: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    part: npt.NDArray[np.int64],
    cut: npt.NDArray[np.bool_],
    iou_threshold: float,
) -> npt.NDArray[np.bool_]:
    """Returns which detections [n], in the order of the rule, are kept."""
    areas = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    kept = np.ones(len(boxes), bool)
    for n in range(len(boxes)):
        if not kept[n]:
            continue
        later = np.flatnonzero(kept[n + 1 :] & (classes[n + 1 :] == classes[n])) + n + 1
        later = later[part[later] != part[n]]
        ends = np.minimum(boxes[n, 2:], boxes[later, 2:])
        sides = np.maximum(ends - np.maximum(boxes[n, :2], boxes[later, :2]), 0)
        common = sides[:, 0] * sides[:, 1]
        falls = common > iou_threshold * (areas[n] + areas[later] - common)
        covered = common > _COVERED_SHARE * areas[later]
        falls |= cut[later] & covered & (scores[n] >= _SCORE_SHARE * scores[later])
        kept[later[falls]] = False
    return kept

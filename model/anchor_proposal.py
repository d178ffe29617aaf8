"""Anchors proposed for the boxes of a data set: sizes for P2-P6 and aspect ratios.

The one home of the rule: `tfx-rcnn init` asks by `propose_anchors`, with all boxes at hand;
CocoTransform, which sees boxes a few at a time and on many machines, counts them in a `BoxShapes`.
"""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.model_schema import AnchorConfig

STRIDES = (4, 8, 16, 32, 64)  # of P2 ... P6
# An anchor of less than two strides leaves gaps between its neighbours that a box falls into.
_FEWEST_STRIDES = 2.0
_STEPS = (1.5, 2.0)  # from one level's size to the next; 2 is 1612.03144's
_SMALLEST, _LARGEST = 8.0, 32.0  # size on P2
_SHARES = (0.05, 0.95)  # of the boxes, that the sizes are spread over
_BEYOND = 1.5  # the largest anchor over the larger of these
_RATIOS = (0.5, 1.0, 2.0)
_FAR_RATIO = 4.0  # added, or its inverse, where enough boxes are so slim
_SLIM = 2.0**1.5  # half way from 2 to 4
_ENOUGH = 0.05
# So fine that sizes, which are whole pixels, come out as from the boxes themselves but for a few
# in a thousand; within these sides (pixels) there are a million and a half of counts at most.
_SIDES_AN_OCTAVE = 65536
_LEAST_SIDE, _MOST_SIDE = 2.0**-10, 2.0**14


def propose_anchors(heights: npt.ArrayLike, widths: npt.ArrayLike) -> AnchorConfig:
    """Returns anchors for boxes of these sides.

    The sizes grow by one factor from the small boxes to the large ones; the ratios are those of
    1506.01497, and 1/4 or 4 where a twentieth of the boxes is nearer to it than to 1/2 or 2. This
    is a spread that does well in trainings (docs/own_data.md), not the closest fit.

    Args:
        heights: float [N], pixels of the resized pictures, positive; at least one.
        widths: float [N], likewise.

    >>> propose_anchors([16, 32, 64, 128, 256, 512], [16, 32, 64, 128, 256, 512]).sizes_px
    (29.0, 58.0, 116.0, 232.0, 464.0)
    """
    heights, widths = np.asarray(heights, np.float64), np.asarray(widths, np.float64)
    small, large = np.quantile(np.sqrt(heights * widths), _SHARES)
    lying, upright = _slim(heights, widths)
    return _anchors(small, large, float(np.mean(lying)), float(np.mean(upright)))


class BoxShapes:
    """Counts of boxes' shapes, from which the same anchors follow as from the boxes; they add up.

    Memory goes by the number of different sides, which is bounded, not by that of boxes.

    Attributes:
        sides: number of boxes by the root of their area, as a number on a fine scale.
        lying: boxes that are nearer to a ratio of 1/4 than to 1/2.
        upright: boxes that are nearer to 4 than to 2.
    """

    def __init__(self) -> None:
        self.sides: Counter[int] = Counter()
        self.lying = 0
        self.upright = 0

    def add(self, heights: npt.ArrayLike, widths: npt.ArrayLike) -> None:
        """Counts boxes.

        Args:
            heights: float [N], pixels of the resized pictures, positive.
            widths: float [N], likewise.
        """
        heights, widths = np.asarray(heights, np.float64), np.asarray(widths, np.float64)
        sides = np.clip(np.sqrt(heights * widths), _LEAST_SIDE, _MOST_SIDE)
        self.sides.update(np.rint(np.log2(sides) * _SIDES_AN_OCTAVE).astype(np.int64).tolist())
        lying, upright = _slim(heights, widths)
        self.lying += int(np.count_nonzero(lying))
        self.upright += int(np.count_nonzero(upright))

    def merge(self, other: "BoxShapes") -> None:
        """Adds the counts of other boxes."""
        self.sides.update(other.sides)
        self.lying += other.lying
        self.upright += other.upright

    def propose(self) -> AnchorConfig | None:
        """Returns what `propose_anchors` gives for the boxes; None without boxes."""
        number = self.sides.total()
        if not number:
            return None
        places = sorted(self.sides)
        sides = 2.0 ** (np.asarray(places) / _SIDES_AN_OCTAVE)
        small, large = _quantiles(sides, np.asarray([self.sides[place] for place in places]))
        return _anchors(small, large, self.lying / number, self.upright / number)

    def to_json(self) -> dict[str, Any]:
        """Returns the counts as a JSON value; `from_json` reads it back."""
        sides = [list(pair) for pair in sorted(self.sides.items())]
        return {"sides": sides, "lying": self.lying, "upright": self.upright}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "BoxShapes":
        """Returns the counts that `to_json` wrote."""
        shapes = cls()
        shapes.sides.update(dict(value["sides"]))
        shapes.lying, shapes.upright = value["lying"], value["upright"]
        return shapes


def _slim(
    heights: npt.NDArray[np.float64], widths: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Returns bool [N]: which boxes are lying, and which are upright."""
    ratios = heights / widths
    return ratios < 1 / _SLIM, ratios > _SLIM


def _quantiles(values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> list[float]:
    """Returns the quantiles of `_SHARES`, as of values that are there so many times each."""
    ends = np.cumsum(counts)
    found = []
    for share in _SHARES:
        place = (ends[-1] - 1) * share
        below = np.floor(place)
        at = np.searchsorted(ends, [below, min(below + 1, ends[-1] - 1)], side="right")
        found.append(float(np.quantile(values[at], place - below)))
    return found


def _anchors(small: float, large: float, lying: float, upright: float) -> AnchorConfig:
    """Returns anchors for boxes of which nine tenths are within two sides, and shares are slim."""
    largest = _BEYOND * large
    if largest > small * _STEPS[1] ** 4:  # too far apart for five levels: half way between both
        small = (small * largest / _STEPS[1] ** 4) ** 0.5
    first = float(np.clip(small, _SMALLEST, _LARGEST))
    step = float(np.clip((largest / first) ** (1 / 4), *_STEPS))
    wanted = [first * step**level for level in range(len(STRIDES))]
    sizes = [
        float(round(max(size, _FEWEST_STRIDES * stride)))
        for size, stride in zip(wanted, STRIDES, strict=True)
    ]
    return AnchorConfig(
        sizes_px=tuple(itertools.accumulate(sizes, max)),
        aspect_ratios=(
            *([1 / _FAR_RATIO] if lying >= _ENOUGH else []),
            *_RATIOS,
            *([_FAR_RATIO] if upright >= _ENOUGH else []),
        ),
    )

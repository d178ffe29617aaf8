"""Anchors that fit the boxes of a data set: sizes for P2-P6 and aspect ratios."""

import itertools

import numpy as np
import numpy.typing as npt

from configs.model_schema import AnchorConfig

_STRIDES = (4, 8, 16, 32, 64)  # of P2 ... P6
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


def propose_anchors(heights: npt.ArrayLike, widths: npt.ArrayLike) -> AnchorConfig:
    """Returns anchors for boxes of these sides.

    The sizes grow by one factor from the small boxes to the large ones; the ratios are those of
    1506.01497, and 1/4 or 4 where a twentieth of the boxes is nearer to it than to 1/2 or 2. This
    is a spread that does well in trainings (docs/own_data.md) for a model that is not there yet;
    what fits the boxes of a data set closest, for one that is, the data report says.

    Args:
        heights: float [N], pixels of the resized pictures, positive; at least one.
        widths: float [N], likewise.

    >>> propose_anchors([16, 32, 64, 128, 256, 512], [16, 32, 64, 128, 256, 512]).sizes_px
    (29.0, 58.0, 116.0, 232.0, 464.0)
    """
    heights, widths = np.asarray(heights, np.float64), np.asarray(widths, np.float64)
    small, large = np.quantile(np.sqrt(heights * widths), _SHARES)
    largest = _BEYOND * large
    if largest > small * _STEPS[1] ** 4:  # too far apart for five levels: half way between both
        small = (small * largest / _STEPS[1] ** 4) ** 0.5
    first = float(np.clip(small, _SMALLEST, _LARGEST))
    step = float(np.clip((largest / first) ** (1 / 4), *_STEPS))
    wanted = [first * step**level for level in range(len(_STRIDES))]
    sizes = [
        float(round(max(size, _FEWEST_STRIDES * stride)))
        for size, stride in zip(wanted, _STRIDES, strict=True)
    ]
    ratios = heights / widths
    lying = [1 / _FAR_RATIO] if np.mean(ratios < 1 / _SLIM) >= _ENOUGH else []
    upright = [_FAR_RATIO] if np.mean(ratios > _SLIM) >= _ENOUGH else []
    growing = tuple(itertools.accumulate(sizes, max))
    return AnchorConfig(
        sizes_px=growing,
        aspect_ratios=(*lying, *_RATIOS, *upright),
    )

"""What chance alone may do to a change of a number, from resamples of the pictures. Pure.

K changes are judged together (the classes of one condition): each in units of its own spread, and
the interval of each so wide that all K hold at the stated level. With more classes a single one
must stand out more, or every tenth data set would refuse a model that is as good as the other.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

FEWEST_PICTURES = 10  # with objects; a resample of fewer says nothing of chance
# A change this many standard errors beyond what can be told is told 4 times of 5.
_POWER = 0.84
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Change:
    """A change of a number, and what of it may be chance.

    Attributes:
        value: the number now, less the number before.
        low: lower end of the interval that holds the true change at the level asked for.
        high: upper end.
        chance_of_drop: the probability that chance alone makes a change as low as this, were the
            number truly no lower than the drop that is allowed.
        chance_of_gain: the probability of a change as high as this, were the true gain less than
            the one asked for.
        detectable: the smallest true change that such a set of pictures shows 4 times of 5.
    """

    value: float
    low: float
    high: float
    chance_of_drop: float
    chance_of_gain: float
    detectable: float


def changes_and_chance(
    values: Array, deviations: Array, confidence: float, beyond: float = 0.0
) -> list[Change]:
    """Returns K changes that are judged together.

    Args:
        values: [K] the changes.
        deviations: [K, B] of each on B resamples from its value; NaN where a resample has nothing
            to be found.
        confidence: level of the intervals, two-sided.
        beyond: the drop that is allowed, or the gain that is asked for.

    Example:
        >>> spread = np.linspace(-0.02, 0.02, 999)[None]
        >>> change, = changes_and_chance(np.array([-0.05]), spread, 0.95)
        >>> round(change.low, 3), round(change.high, 3), change.chance_of_drop
        (-0.069, -0.031, 0.002)
    """
    resamples = deviations.shape[1]
    spread = np.nan_to_num(np.nanstd(deviations, axis=1))
    unit = np.where(spread > 0, spread, 1.0)
    scaled = np.nan_to_num(deviations / unit[:, None])
    lowest, highest = np.sort(scaled.min(axis=0)), np.sort(scaled.max(axis=0))
    rank = max(int((1 - confidence) * (resamples + 1) / 2) - 1, 0)
    down, up = float(lowest[rank]), float(highest[resamples - 1 - rank])
    reach = (up - down) / 2 + _POWER
    return [
        Change(
            value=float(value),
            low=float(value - up * se),
            high=float(value - down * se),
            chance_of_drop=_share((lowest <= (value + beyond + _ROUNDING) / one).sum(), resamples),
            chance_of_gain=_share((highest >= (value - beyond - _ROUNDING) / one).sum(), resamples),
            detectable=float(reach * se),
        )
        for value, se, one in zip(values, spread, unit, strict=True)
    ]


def _share(count: int, resamples: int) -> float:
    """Returns a two-sided probability; never 0, for there might be one more resample.

    >>> _share(0, 999), _share(999, 999)
    (0.002, 1.0)
    """
    return min(1.0, 2 * (1 + int(count)) / (resamples + 1))

"""Random numbers that are a function of what they are for: no state, no order."""

import enum

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


class Purpose(enum.IntEnum):
    """What a random number is for; two purposes never share one."""

    RECORD_ORDER = 0
    STEP_ORDER = 1
    SCALE = 2
    FLIP = 3
    SHORT_SIDE = 4
    TOP = 5
    LEFT = 6
    CROP_SHARE = 7
    ROTATION = 8
    IS_RECOLORED = 9
    BRIGHTNESS = 10
    CONTRAST = 11
    SATURATION = 12
    HUE = 13
    IS_PASTED_ON = 14
    PARTNER = 15
    PASTED_OBJECTS = 16
    IS_MOSAIC = 17
    MEMBER = 18
    CENTRE = 19
    PLACE = 20


def hashes(*keys: npt.ArrayLike) -> Hashes:
    """Returns uint64 hashes of integer keys, broadcast against each other; at least 1-d.

    Each key is added to the state and mixed by SplitMix64's finaliser.

    Reference: Steele et al., Fast splittable pseudorandom number generators (OOPSLA 2014), and
        Vigna's splitmix64.c.
    """
    state = np.zeros(1, np.uint64)
    for key in keys:
        state = _mixed(state + np.asarray(key, np.int64).astype(np.uint64) + _GOLDEN)
    return state


def uniforms(*keys: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns float64 in [0, 1), uniform, one for each combination of `keys` as in `hashes`."""
    return (hashes(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: Hashes) -> Hashes:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))

"""One line of a parity run: what was compared, how near it is, what is allowed."""

from typing import Any, NamedTuple

import numpy as np


class Check(NamedTuple):
    """A comparison that passes or not; `detail` has both numbers."""

    name: str
    passes: bool
    detail: str


def difference(name: str, ours: Any, theirs: Any, allowed: float) -> Check:
    """Compares arrays of equal shape by their largest absolute difference."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        return Check(name, False, f"shape {list(ours.shape)}, theirs {list(theirs.shape)}")
    largest = np.abs(ours - theirs).max(initial=0.0)
    scale = np.abs(theirs).max(initial=0.0)
    share = f" ({largest / scale:.2g} of the largest number)" if scale else ""
    detail = f"off by {largest:.2g}{share}, allowed {allowed:.2g}"
    return Check(name, bool(largest <= allowed), detail)


def minimum(name: str, ours: float, allowed: float) -> Check:
    """Passes where a number is at least `allowed`."""
    return Check(name, bool(ours >= allowed), f"{ours:.6g}, at least {allowed:.6g}")


def equality(name: str, ours: Any, theirs: Any) -> Check:
    """Passes where both are equal; shows them if they are short."""
    if ours == theirs:
        return Check(name, True, "equal")
    return Check(name, False, f"{str(ours)[:80]}, theirs {str(theirs)[:80]}")

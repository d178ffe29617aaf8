"""What the readers of others' weights share: a tensor with its own name, patterns of names."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Tensor(NamedTuple):
    """An array and what its file calls it."""

    name: str
    array: np.ndarray


def first_match(names: Iterable[tuple[str, str, list[int]]], name: str) -> str | None:
    r"""Returns the template of the first pattern that is the whole of `name`, filled in.

    Args:
        names: pattern, template, and what is taken off the first groups (numbers).
        name: to be matched.

    >>> first_match([(r"res(\d)\.(\w+)", "layer{0}.{1}", [1])], "res3.conv")
    'layer2.conv'
    """
    for pattern, template, offsets in names:
        match = re.fullmatch(pattern, name)
        if match:
            groups: list[str] = list(match.groups())
            shifted = [str(int(g) - o) for g, o in zip(groups, offsets, strict=False)]
            return template.format(*shifted, *groups[len(offsets) :])
    return None


def with_background(array: np.ndarray, rows: int) -> np.ndarray:
    """Returns `array` with so many rows of zeros in front, for the background."""
    return np.concatenate([np.zeros_like(array[:1]).repeat(rows, axis=0), array])

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


def in_stage(name: str, stage: int) -> str:
    """Returns the name that a later stage of a cascade gives to a tensor of the box head.

    torchvision has no cascade; the first stage bears the plain names.

    >>> in_stage("roi_heads.box_head.fc6.weight", 2)
    'roi_heads.box_head_2.fc6.weight'
    """
    if stage == 1:
        return name
    return re.sub(r"^roi_heads\.box_(head|predictor)\.", rf"roi_heads.box_\1_{stage}.", name)


def without_stage(name: str) -> str:
    """Returns the plain name of a tensor of a box head: undoes `in_stage`."""
    return re.sub(r"^roi_heads\.box_(head|predictor)_\d+\.", r"roi_heads.box_\1.", name)

"""Weights of EfficientNet-Lite0 classifiers, by the paths of our backbone.

Layers are named `stem`, `block07/depthwise`, `head`, `classifier`; each but the last has `kernel`
and its norm's `bn/gamma`, `bn/beta`, `bn/mean`, `bn/variance`. Axes are TensorFlow's, as ours are.
`head` and `classifier` lie behind C5: the detector has no use for them.
"""

import re
from collections.abc import Mapping

import numpy as np

from model.weights.tensors import Tensor

_NORM_WEIGHTS = {
    "gamma": "gamma",
    "beta": "beta",
    "mean": "moving_mean",
    "variance": "moving_variance",
}


def is_efficientnet_lite(names: set[str]) -> bool:
    """Returns whether these are names of such a classifier."""
    return "block00/depthwise/bn/mean" in names


def by_our_paths(state: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Returns by our paths what a file holds of a backbone."""
    paths = {name: our_path(name) for name in state}
    return {path: Tensor(name, state[name]) for name, path in paths.items() if path is not None}


def our_path(name: str) -> str | None:
    """Returns the path of our variable, None for what is not of the backbone.

    >>> our_path("block07/depthwise/bn/mean")
    'backbone/block07/depthwise/norm/moving_mean'
    """
    match = re.fullmatch(r"(stem|block\d\d/(?:expand|depthwise|project))/(kernel|bn/(\w+))", name)
    if match is None:
        return None
    layer, weight, norm_weight = match.groups()
    if norm_weight is not None:
        weight = f"norm/{_NORM_WEIGHTS.get(norm_weight, norm_weight)}"
    return f"backbone/{layer}/{weight}"

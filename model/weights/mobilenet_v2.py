"""Weights of a MobileNetV2 whose norms were multiplied into its kernels, by the paths of ours.

Layers have keras.applications' names (`block_3_expand`), each with `kernel` and `bias`. The norms
behind them are set so that they add the bias and change nothing else: factor 1, mean 0 and a
variance of 1 less epsilon. `predictions` lies behind C5: the detector has no use for it.
"""

from collections.abc import Mapping

import numpy as np

from model.weights.tensors import Tensor

_NORM_EPSILON = 1e-3  # keras.applications'
_NORMS = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}  # of the others: the layer's name and _BN


def is_mobilenet_v2(names: set[str]) -> bool:
    """Returns whether these are names of such a file."""
    return "expanded_conv_depthwise/bias" in names


def by_our_paths(state: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Returns by our paths what a file holds of a backbone."""
    found = {}
    for name, array in state.items():
        layer, _, weight = name.rpartition("/")
        norm = f"backbone/{_NORMS.get(layer, f'{layer}_BN')}"
        if weight == "kernel":
            found[f"backbone/{layer}/kernel"] = Tensor(name, array)
        elif weight == "bias":
            found[f"{norm}/beta"] = Tensor(name, array)
            found[f"{norm}/gamma"] = Tensor(name, np.ones_like(array))
            found[f"{norm}/moving_mean"] = Tensor(name, np.zeros_like(array))
            variance = np.full_like(array, 1.0 - _NORM_EPSILON)
            found[f"{norm}/moving_variance"] = Tensor(name, variance)
    return found

"""Weights of torchvision's ResNets and R-CNN detectors (versions 1 and 2) <-> ours.

A state dict is {name: array}, as `numpy.savez` of a PyTorch one. Names of old and new files are
known (`rpn.head.conv.0.0.weight` was `rpn.head.conv.weight`), and a classifier's file, which begins
with `conv1.weight`, is a backbone. A box head with convolutions has all its layers numbered there
(`box_head.5.weight`); between reading and writing the fully connected ones are fc6, fc7, as in one
without. Axis orders differ: convolutions are out, in, row, column there and row, column, in, out
here; boxes are x-first there and y-first here; what enters fc6 is flattened channel, row, column
there and row, column, channel here. Class 0 has box deltas and a mask there, which nothing reads:
they are left out here, and zero in what is written back.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ground.errors import ModelError
from model.weights.tensors import first_match, in_stage

State = dict[str, np.ndarray]

_BODY = "backbone.body."
_SWAP_X_AND_Y = [1, 0, 3, 2]  # of (dx, dy, dw, dh)
_NORM_WEIGHTS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Prefix of our path -> their layer; {0}, {1} are the groups, less one where theirs count from 0.
_LAYERS = [
    (r"fpn/lateral_c(\d)", "backbone.fpn.inner_blocks.{0}.0", [2]),
    (r"fpn/lateral_c(\d)/norm", "backbone.fpn.inner_blocks.{0}.1", [2]),
    (r"fpn/output_p(\d)", "backbone.fpn.layer_blocks.{0}.0", [2]),
    (r"fpn/output_p(\d)/norm", "backbone.fpn.layer_blocks.{0}.1", [2]),
    (r"rpn/conv", "rpn.head.conv.0.0", []),
    (r"rpn/conv(\d+)", "rpn.head.conv.{0}.0", [1]),
    (r"rpn/objectness", "rpn.head.cls_logits", []),
    (r"rpn/deltas", "rpn.head.bbox_pred", []),
    (r"box_head/conv(\d+)", "roi_heads.box_head.{0}.0", [1]),
    (r"box_head/conv(\d+)/norm", "roi_heads.box_head.{0}.1", [1]),
    (r"box_head/fc(\d+)", "roi_heads.box_head.fc{0}", [-5]),
    (r"box_head/class_logits", "roi_heads.box_predictor.cls_score", []),
    (r"box_head/deltas", "roi_heads.box_predictor.bbox_pred", []),
    (r"mask_head/conv(\d+)", "roi_heads.mask_head.{0}.0", [1]),
    (r"mask_head/conv(\d+)/norm", "roi_heads.mask_head.{0}.1", [1]),
    (r"mask_head/upsample", "roi_heads.mask_predictor.conv5_mask", []),
    (r"mask_head/mask", "roi_heads.mask_predictor.mask_fcn_logits", []),
]


class _Axes(NamedTuple):
    """Two functions on arrays, each the other's inverse."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]


def from_torchvision(state: Mapping[str, np.ndarray], shapes: Mapping[str, Iterable[int]]) -> State:
    """Returns what a state dict holds for a detector: {our path: array}.

    Args:
        state: state dict of a detector or of a classifier.
        shapes: shapes of our variables, by path; those that the state dict lacks are left out.

    Raises:
        ModelError: an array has another shape than the variable.
    """
    names = current_names(state)
    state = {names[name]: np.asarray(array) for name, array in state.items()}
    weights = {}
    for path, name in counterparts(shapes).items():
        if name not in state:
            continue
        array = in_our_axes(path, state[name], tuple(shapes[path]))
        if array is None:
            raise ModelError(
                f"weights of torchvision: {name} has shape {list(state[name].shape)}, which does "
                f"not fit {path} with shape {list(shapes[path])}"
            )
        weights[path] = array
    return weights


def in_our_axes(path: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Returns torchvision's array as one of our variables wants it, None where it does not fit.

    Args:
        path: path of our variable.
        array: what torchvision has for it.
        shape: shape of our variable.
    """
    try:
        array = _axes(path, shape).to_ours(array)
    except (ValueError, IndexError):
        return None
    return np.ascontiguousarray(array, np.float32) if array.shape == shape else None


def to_torchvision(weights: Mapping[str, np.ndarray]) -> State:
    """Returns a state dict with the names of current files: the inverse of `from_torchvision`.

    Raises:
        ModelError: a weight has no counterpart there (a group norm, a cascade, another
            backbone).
    """
    state, names = {}, counterparts(weights)
    convolutions = len([path for path in weights if re.fullmatch(r"box_head/conv\d+/kernel", path)])
    for path, array in weights.items():
        if path not in names or path != _without_stage(path):
            raise ModelError(f"weight {path} has no counterpart in torchvision")
        name = _counted_on(names[path], convolutions)
        state[name] = np.ascontiguousarray(_axes(path, array.shape).to_theirs(array))
    return state


def counterparts(paths: Collection[str]) -> dict[str, str]:
    """Returns {our path: torchvision's name} of the variables of a detector that have one there.

    Only norms over a batch have one in pyramid and heads: those whose moving mean is in `paths`.
    """
    names = {}
    for path in paths:
        layer, _, _ = path.rpartition("/")
        is_of_head = layer.endswith("/norm") and not layer.startswith("backbone/")
        name = torchvision_name(path)
        if name is not None and (not is_of_head or f"{layer}/moving_mean" in paths):
            names[path] = name
    return names


def torchvision_name(path: str) -> str | None:
    """Returns the current torchvision name of one of our variables, None if there is none.

    A norm is taken for one over a batch (`counterparts` knows better).

    >>> torchvision_name("backbone/c3_block1/projection/norm/moving_mean")
    'backbone.body.layer2.0.downsample.1.running_mean'
    """
    of_cascade = re.match(r"box_head_(\d+)/", path)
    if of_cascade:
        plain = torchvision_name(_without_stage(path))
        return None if plain is None else in_stage(plain, int(of_cascade[1]))
    layer, _, weight = path.rpartition("/")
    if layer.startswith("backbone/"):
        return _body_name(layer.removeprefix("backbone/"), weight)
    if layer == "mask_head":  # upsample_kernel, mask_bias, ...
        part, _, weight = weight.partition("_")
        layer = f"{layer}/{part}"
    if layer.endswith("/norm"):
        theirs = _NORM_WEIGHTS.get(weight)
    else:
        theirs = "bias" if weight == "bias" else "weight"
    name = first_match(_LAYERS, layer)
    return None if name is None or theirs is None else f"{name}.{theirs}"


def _body_name(layer: str, weight: str) -> str | None:
    """Returns the name of a weight of the ResNet; `layer` as "c2_block1/conv1" or ".../norm"."""
    layer, is_norm = layer.removesuffix("/norm"), layer.endswith("/norm")
    if (is_norm and weight not in _NORM_WEIGHTS) or (not is_norm and weight != "kernel"):
        return None
    weight = _NORM_WEIGHTS[weight] if is_norm else "weight"
    if layer == "stem":
        return f"{_BODY}{'bn1' if is_norm else 'conv1'}.{weight}"
    match = re.fullmatch(r"c(\d)_block(\d+)/(conv(\d)|projection)", layer)
    if match is None:
        return None
    block = f"{_BODY}layer{int(match[1]) - 1}.{int(match[2]) - 1}"
    if match[3] == "projection":
        return f"{block}.downsample.{int(is_norm)}.{weight}"
    return f"{block}.{'bn' if is_norm else 'conv'}{match[4]}.{weight}"


def current_names(names: Iterable[str]) -> dict[str, str]:
    """Returns {name in a file: its name here}: today's, and box heads' layers fc6, fc7, ..."""
    names = list(names)
    matches = [re.fullmatch(r"roi_heads\.box_head\.(\d+)\.weight", name) for name in names]
    numbers = sorted(int(match[1]) for match in matches if match)
    fully_connected = {number: f"fc{6 + place}" for place, number in enumerate(numbers)}

    def named(match: re.Match[str]) -> str:
        layer = fully_connected.get(int(match[2]), match[2])
        return f"{match[1]}{layer}{match[3]}"

    pattern = re.compile(r"^(roi_heads\.box_head\.)(\d+)(\.(?:weight|bias))$")
    return {name: pattern.sub(named, _current_name(name)) for name in names}


def _counted_on(name: str, convolutions: int) -> str:
    """Returns the name that torchvision gives to a layer behind so many convolutions.

    >>> _counted_on("roi_heads.box_head.fc6.weight", 4)
    'roi_heads.box_head.5.weight'
    """
    match = re.fullmatch(r"roi_heads\.box_head\.fc(\d+)\.(\w+)", name)
    if match is None or not convolutions:
        return name
    # A flattening stands before them, a ReLU after each.
    return f"roi_heads.box_head.{convolutions + 1 + 2 * (int(match[1]) - 6)}.{match[2]}"


def _current_name(name: str) -> str:
    """Returns the name that today's torchvision gives to a tensor of an older file."""
    if re.match(r"(conv1|bn1|layer[1-4])\.", name):
        return _BODY + name
    name = re.sub(r"^(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2", name)
    name = re.sub(r"^(backbone\.fpn\.\w+_blocks\.\d)\.(weight|bias)$", r"\1.0.\2", name)
    return re.sub(
        r"^roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)$",
        lambda match: f"roi_heads.mask_head.{int(match[1]) - 1}.0.{match[2]}",
        name,
    )


def _without_stage(path: str) -> str:
    """Returns the path that a variable of a later stage of a cascade has in a plain detector."""
    return re.sub(r"^box_head_\d+/", "box_head/", path)


def _axes(path: str, shape: tuple[int, ...]) -> _Axes:
    """Returns how the axes of one of our variables, of this shape, are turned."""
    path = _without_stage(path)
    if path == "box_head/fc1/kernel":
        return _Axes(_fc6_to_ours, _fc6_to_theirs)
    if path.startswith("box_head/deltas/"):
        return _Axes(_box_deltas_to_ours, _box_deltas_to_theirs)
    if path.startswith("rpn/deltas/"):
        return _Axes(_rpn_deltas_to_ours, _rpn_deltas_to_theirs)
    if path in ("mask_head/mask_kernel", "mask_head/mask_bias"):
        return _Axes(_masks_to_ours, _masks_to_theirs)
    if path == "mask_head/upsample_kernel":  # there in, out, row, column
        return _Axes(lambda a: a.transpose(2, 3, 0, 1), lambda a: a.transpose(2, 3, 0, 1))
    if len(shape) == 4:
        return _Axes(_convolution_to_ours, _convolution_to_theirs)
    return _Axes(np.transpose, np.transpose)  # dense kernels and vectors


def _convolution_to_ours(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 3, 1, 0)


def _convolution_to_theirs(array: np.ndarray) -> np.ndarray:
    return array.transpose(3, 2, 0, 1)


def _rpn_deltas_to_ours(array: np.ndarray) -> np.ndarray:
    swapped = array.reshape(-1, 4, *array.shape[1:])[:, _SWAP_X_AND_Y].reshape(array.shape)
    return _convolution_to_ours(swapped) if array.ndim == 4 else swapped


def _rpn_deltas_to_theirs(array: np.ndarray) -> np.ndarray:
    array = _convolution_to_theirs(array) if array.ndim == 4 else array
    return array.reshape(-1, 4, *array.shape[1:])[:, _SWAP_X_AND_Y].reshape(array.shape)


def _box_deltas_to_ours(array: np.ndarray) -> np.ndarray:
    classes = array.reshape(-1, 4, *array.shape[1:])[1:, _SWAP_X_AND_Y]
    return classes.reshape(-1, *array.shape[1:]).transpose()


def _box_deltas_to_theirs(array: np.ndarray) -> np.ndarray:
    array = array.transpose()
    classes = array.reshape(-1, 4, *array.shape[1:])[:, _SWAP_X_AND_Y]
    background = np.zeros_like(classes[:1])
    return np.concatenate([background, classes]).reshape(-1, *array.shape[1:])


def _masks_to_ours(array: np.ndarray) -> np.ndarray:
    return array.reshape(array.shape[:2])[1:]


def _masks_to_theirs(array: np.ndarray) -> np.ndarray:
    array = np.concatenate([np.zeros_like(array[:1]), array])
    return array[..., np.newaxis, np.newaxis] if array.ndim == 2 else array


def _fc6_to_ours(array: np.ndarray) -> np.ndarray:
    channels, bins = _fc6_sizes(array.shape[1])
    split = array.reshape(-1, channels, bins, bins)
    return split.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])


def _fc6_to_theirs(array: np.ndarray) -> np.ndarray:
    channels, bins = _fc6_sizes(array.shape[0])
    split = array.reshape(bins, bins, channels, -1)
    return split.transpose(3, 2, 0, 1).reshape(array.shape[1], -1)


def _fc6_sizes(inputs: int) -> tuple[int, int]:
    """Returns channels and bins a side; torchvision's box head always has 7 x 7 bins."""
    return inputs // 49, 7

"""Which weights a training can start from here, and what detector goes with them."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ground.errors import ModelError
from model.weights import detectron2, efficientnet_lite, files, heads, mobilenet_v2, tensorpack
from model.weights.fetching import ensure_weights
from model.weights.named import NAMED, NamedWeights, cached_path, is_name, named
from model.weights.torchvision import current_names, torchvision_name

# By what a machine can train: the first that is in the cache folder is taken.
_ON_CPU = (
    "imagenet/efficientnet-lite0",
    "imagenet/mobilenet-v2-int8",
    "imagenet/torchvision-resnet18",
    "imagenet/keras-efficientnet-b0",
)
_ON_GPU_WITH_MASKS = (
    "coco/torchvision-mask-rcnn-r50-fpn",
    "coco/detectron2-mask-rcnn-r50-fpn-3x",
)
_ON_GPU = (
    "coco/torchvision-faster-rcnn-r50-fpn",
    "coco/detectron2-faster-rcnn-r50-fpn-3x",
    *_ON_GPU_WITH_MASKS,
    "imagenet/torchvision-resnet50",
    "imagenet/detectron2-msra-r50",
    "imagenet/tensorpack-r50-align-padding",
    "imagenet/keras-resnet50",
)
# Blocks of the third stage, and whether a block has three convolutions -> our backbone.
_RESNETS = {
    (2, False): "resnet18",
    (6, False): "resnet34",
    (6, True): "resnet50",
    (23, True): "resnet101",
    (36, True): "resnet152",
}
_WIDE_STEM = 64  # channels of the first stage that our ResNets have


class StartWeights(NamedTuple):
    """What a training starts from.

    Attributes:
        weights: `model.weights`: a name or an absolute path; None for random ones.
        backbone: `model.backbone.name`.
        preset: `model.preset`.
        is_detector: whether pyramid, RPN and heads come along.
        why: for a person.
        layers: settings below `model.` for layers that a plain detector lacks.
    """

    weights: str | None
    backbone: str
    preset: str | None
    is_detector: bool
    why: str
    layers: Mapping[str, str | int] = MappingProxyType({})


def choose_weights(
    given: str | None, is_cpu: bool, has_masks: bool, say: Callable[[str], None]
) -> StartWeights:
    """Returns what is really there: a given file or name, one of the cache folder, or none.

    Args:
        given: what `--weights` says.
        is_cpu: whether the training runs on CPUs.
        has_masks: whether the detector gets a mask head.
        say: gets lines on what is fetched.

    Raises:
        ModelError: what is given is not there, cannot be fetched, or is not recognised.
    """
    if given is not None and is_name(given):
        ensure_weights(given, say)
        return _of_name(given, "given by --weights")
    if given is not None:
        return _of_file(Path(given))
    wanted = _ON_CPU if is_cpu else (*(_ON_GPU_WITH_MASKS if has_masks else ()), *_ON_GPU)
    for name in wanted:
        if cached_path(NAMED[name]).is_file():
            return _of_name(name, f"in the cache folder ({cached_path(NAMED[name]).parent})")
    folder = cached_path(NAMED[wanted[0]]).parent
    fetched = next(name for name in wanted if NAMED[name].url)
    backbone = "resnet18" if is_cpu else "resnet50"
    why = (
        f"no weights in {folder}: from random ones, with nothing frozen and a norm that learns; "
        f"--weights {fetched} (it is fetched) or FILE learns more from few pictures"
    )
    return StartWeights(None, backbone, None, False, why)


def _of_name(name: str, where: str) -> StartWeights:
    entry: NamedWeights = named(name)
    return _of_entry(name, entry, where)


def _of_entry(weights: str, entry: NamedWeights, where: str) -> StartWeights:
    layers = dict(entry.layers)
    return StartWeights(weights, entry.backbone, entry.preset, entry.has_boxes, where, layers)


def _of_file(path: Path) -> StartWeights:
    """Recognises a file: by its name where it is a published one, else by what is in it."""
    files.check_weights_file(path)
    weights, where = str(path.absolute()), "given by --weights"
    for entry in NAMED.values():
        if entry.file == path.name:
            return _of_entry(weights, entry, where)
    arrays = files.read_weights(path)
    names = set(arrays)
    if efficientnet_lite.is_efficientnet_lite(names):
        return StartWeights(weights, "efficientnet_lite0", None, False, where)
    if mobilenet_v2.is_mobilenet_v2(names):
        return StartWeights(weights, "mobilenet_v2", None, False, where)
    if detectron2.is_detectron2(names):
        theirs, preset = detectron2.by_torchvision_names(arrays, 1e-5), "detectron2"
        arrays = {name: tensor.array for name, tensor in theirs.items()}
    elif tensorpack.is_tensorpack(names):
        theirs, preset = tensorpack.by_torchvision_names(arrays), "tensorpack"
        arrays = {name: tensor.array for name, tensor in theirs.items()}
    else:
        current, preset = current_names(arrays), "torchvision"
        arrays = {current[name]: array for name, array in arrays.items()}
    backbone = _resnet_of(arrays)
    if backbone is None:
        raise ModelError(
            f"weights: init cannot tell which network {os.fspath(path)} is of: write the config "
            "without it, then set model.weights and model.backbone in it (docs/weights.md)"
        )
    is_detector = torchvision_name("rpn/objectness/kernel") in arrays
    return StartWeights(weights, backbone, preset, is_detector, where, heads.heavier_layers(arrays))


def _resnet_of(arrays: dict[str, np.ndarray[Any, Any]]) -> str | None:
    """Returns which ResNet has these tensors, by torchvision's names; None for another network."""
    stem = arrays.get("backbone.body.conv1.weight")
    if stem is None or stem.shape[0] != _WIDE_STEM:
        return None
    blocks = {re.match(r"backbone\.body\.layer3\.(\d+)\.", name) for name in arrays}
    number = len({match[1] for match in blocks if match})
    has_three = "backbone.body.layer3.0.conv3.weight" in arrays
    return _RESNETS.get((number, has_three))

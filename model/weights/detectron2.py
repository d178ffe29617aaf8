"""Weights of Detectron2's R-CNN detectors with FPN and of its ResNets, by torchvision's names.

Both are PyTorch, so arrays have the same axes; what differs besides the names:

- the background is the last class of `cls_score` there and the first in torchvision's;
- `bbox_pred` and the mask `predictor` have no rows for the background, torchvision's have, which
  nothing reads;
- `ImageNetPretrained/MSRA/R-*.pkl` has Caffe2's names, and its norms are a factor and a shift only:
  mean 0 and a variance of 1 less epsilon, as Detectron2's `FrozenBatchNorm2d` reads them.

Reference: detectron2/checkpoint/c2_model_loading.py, detectron2/layers/batch_norm.py.
"""

import re
from collections.abc import Mapping

import numpy as np

from model.weights.tensors import (
    Tensor,
    first_match,
    in_stage,
    with_background,
    without_stage,
)

_PREDICTOR = "roi_heads.box_predictor."
_NORM = r"(weight|bias|running_mean|running_var)"
# Pattern of the current name -> torchvision's; {n} are groups, less the numbers behind.
_NAMES = [
    (r"stem\.conv1\.weight", "backbone.body.conv1.weight", []),
    (rf"stem\.conv1\.norm\.{_NORM}", "backbone.body.bn1.{0}", []),
    (r"res(\d)\.(\d+)\.conv(\d)\.weight", "backbone.body.layer{0}.{1}.conv{2}.weight", [1]),
    (rf"res(\d)\.(\d+)\.conv(\d)\.norm\.{_NORM}", "backbone.body.layer{0}.{1}.bn{2}.{3}", [1]),
    (r"res(\d)\.(\d+)\.shortcut\.weight", "backbone.body.layer{0}.{1}.downsample.0.weight", [1]),
    (
        rf"res(\d)\.(\d+)\.shortcut\.norm\.{_NORM}",
        "backbone.body.layer{0}.{1}.downsample.1.{2}",
        [1],
    ),
    (r"backbone\.fpn_lateral(\d)\.(weight|bias)", "backbone.fpn.inner_blocks.{0}.0.{1}", [2]),
    (rf"backbone\.fpn_lateral(\d)\.norm\.{_NORM}", "backbone.fpn.inner_blocks.{0}.1.{1}", [2]),
    (r"backbone\.fpn_output(\d)\.(weight|bias)", "backbone.fpn.layer_blocks.{0}.0.{1}", [2]),
    (rf"backbone\.fpn_output(\d)\.norm\.{_NORM}", "backbone.fpn.layer_blocks.{0}.1.{1}", [2]),
    (r"proposal_generator\.rpn_head\.conv\.(\w+)", "rpn.head.conv.0.0.{0}", []),
    (r"proposal_generator\.rpn_head\.conv\.conv(\d)\.(\w+)", "rpn.head.conv.{0}.0.{1}", [0]),
    (r"proposal_generator\.rpn_head\.objectness_logits\.(\w+)", "rpn.head.cls_logits.{0}", []),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.(\w+)", "rpn.head.bbox_pred.{0}", []),
    (r"roi_heads\.box_head\.conv(\d)\.(weight|bias)", "roi_heads.box_head.{0}.0.{1}", [1]),
    (rf"roi_heads\.box_head\.conv(\d)\.norm\.{_NORM}", "roi_heads.box_head.{0}.1.{1}", [1]),
    (r"roi_heads\.box_head\.fc(\d)\.(\w+)", "roi_heads.box_head.fc{0}.{1}", [-5]),
    (r"roi_heads\.box_predictor\.(cls_score|bbox_pred)\.(\w+)", _PREDICTOR + "{0}.{1}", []),
    (r"roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)", "roi_heads.mask_head.{0}.0.{1}", [1]),
    (rf"roi_heads\.mask_head\.mask_fcn(\d)\.norm\.{_NORM}", "roi_heads.mask_head.{0}.1.{1}", [1]),
    (r"roi_heads\.mask_head\.deconv\.(\w+)", "roi_heads.mask_predictor.conv5_mask.{0}", []),
    (r"roi_heads\.mask_head\.predictor\.(\w+)", "roi_heads.mask_predictor.mask_fcn_logits.{0}", []),
]
_CAFFE2_LAYERS = {"1": "shortcut", "2a": "conv1", "2b": "conv2", "2c": "conv3"}
_CAFFE2_NORMS = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}


def is_detectron2(names: set[str]) -> bool:
    """Returns whether these are names of a Detectron2 detector or of an MSRA ResNet."""
    marks = ("backbone.bottom_up.", "proposal_generator.", "res2.0.conv1.", "res2_0_branch2a_")
    return any(name.startswith(marks) for name in names)


def by_torchvision_names(state: Mapping[str, np.ndarray], norm_epsilon: float) -> dict[str, Tensor]:
    """Returns by torchvision's names what a Detectron2 file holds of a detector.

    Args:
        state: the file's arrays.
        norm_epsilon: epsilon of the model's backbone; makes norms without statistics exact.
    """
    found = {}
    for name, array in state.items():
        theirs = torchvision_name(name)
        if theirs is not None:
            found[theirs] = Tensor(name, _with_their_classes(theirs, np.asarray(array)))
    return found | _missing_statistics(found, norm_epsilon)


def torchvision_name(name: str) -> str | None:
    """Returns torchvision's name of a Detectron2 or Caffe2 weight, None if it has none.

    >>> torchvision_name("backbone.bottom_up.res3.0.shortcut.norm.bias")
    'backbone.body.layer2.0.downsample.1.bias'
    >>> torchvision_name("res2_1_branch2b_bn_s")
    'backbone.body.layer1.1.bn2.weight'
    """
    of_cascade = re.match(r"roi_heads\.box_(?:head|predictor)\.(\d)\.", name)
    if of_cascade:
        plain = torchvision_name(name.replace(f".{of_cascade[1]}.", ".", 1))
        return None if plain is None else in_stage(plain, int(of_cascade[1]) + 1)
    return first_match(_NAMES, _current_name(name).removeprefix("backbone.bottom_up."))


def _current_name(name: str) -> str:
    """Returns Detectron2's name of a weight in one of Caffe2's ResNet files."""
    if name == "conv1_w":
        return "stem.conv1.weight"
    match = re.fullmatch(r"(?:res_)?conv1_bn_(s|b|rm|riv)", name)
    if match:
        return f"stem.conv1.norm.{_CAFFE2_NORMS[match[1]]}"
    match = re.fullmatch(r"res(\d)_(\d+)_branch(1|2a|2b|2c)_(?:w|bn_(s|b|rm|riv))", name)
    if match is None:
        return name
    layer = f"res{match[1]}.{match[2]}.{_CAFFE2_LAYERS[match[3]]}"
    return f"{layer}.norm.{_CAFFE2_NORMS[match[4]]}" if match[4] else f"{layer}.weight"


def _with_their_classes(name: str, array: np.ndarray) -> np.ndarray:
    """Returns a predictor's weights with classes on the first axis as torchvision has them."""
    name = without_stage(name)
    if name.startswith(f"{_PREDICTOR}cls_score."):
        return np.roll(array, 1, axis=0)  # the background from last to first
    if name.startswith(f"{_PREDICTOR}bbox_pred."):
        return with_background(array, 4)
    if name.startswith("roi_heads.mask_predictor.mask_fcn_logits."):
        return with_background(array, 1)
    return array


def _missing_statistics(found: Mapping[str, Tensor], norm_epsilon: float) -> dict[str, Tensor]:
    """Returns mean and variance of the norms that have a factor only."""
    missing = {}
    for name, (stored_as, array) in found.items():
        layer, _, weight = name.rpartition(".")
        is_norm = re.search(r"\.(bn\d|downsample\.1)$", layer) is not None
        if is_norm and weight == "weight" and f"{layer}.running_mean" not in found:
            variance = np.full_like(array, 1.0 - norm_epsilon)
            missing[f"{layer}.running_mean"] = Tensor(stored_as, np.zeros_like(array))
            missing[f"{layer}.running_var"] = Tensor(stored_as, variance)
    return missing

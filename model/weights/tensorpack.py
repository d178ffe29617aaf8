"""Weights of tensorpack's FasterRCNN example and of its ImageNet ResNets, by torchvision's names.

`ImageNet-R50-AlignPadding.npz`, which AWSDet uses too, is such a ResNet. Kernels are row, column,
in, out; fully connected ones in, out, where the input of fc6 is flattened channel, row, column as
in torchvision. Boxes are x-first, the background is class 0; the mask layer has no background.

"AlignPadding" is `TF_PAD_MODE=False`: a strided window is padded more at the top and left (3 and 2
for 7x7, 1 and 0 for 3x3). On sides that are even that is the same as an equal padding of 3 or 1,
whose last row no window reaches, so `model.backbone.symmetric_padding: true` reproduces it; the
other ImageNet files of tensorpack need `false`. All see BGR.

Reference: tensorpack's examples/FasterRCNN/modeling/{backbone,model_fpn,model_rpn,model_frcnn,
model_mrcnn}.py.
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

_WEIGHTS = {
    "W": "weight",
    "b": "bias",
    "gamma": "weight",
    "beta": "bias",
    "mean/EMA": "running_mean",
    "variance/EMA": "running_var",
}
# Pattern of a layer -> torchvision's; {n} are groups, less the numbers behind.
_LAYERS = [
    (r"conv0", "backbone.body.conv1", []),
    (r"conv0/bn", "backbone.body.bn1", []),
    (r"group(\d)/block(\d+)/conv(\d)", "backbone.body.layer{0}.{1}.conv{2}", [-1]),
    (r"group(\d)/block(\d+)/conv(\d)/bn", "backbone.body.layer{0}.{1}.bn{2}", [-1]),
    (r"group(\d)/block(\d+)/convshortcut", "backbone.body.layer{0}.{1}.downsample.0", [-1]),
    (r"group(\d)/block(\d+)/convshortcut/bn", "backbone.body.layer{0}.{1}.downsample.1", [-1]),
    (r"fpn/lateral_1x1_c(\d)", "backbone.fpn.inner_blocks.{0}.0", [2]),
    (r"fpn/posthoc_3x3_p(\d)", "backbone.fpn.layer_blocks.{0}.0", [2]),
    (r"rpn/conv0", "rpn.head.conv.0.0", []),
    (r"rpn/class", "rpn.head.cls_logits", []),
    (r"rpn/box", "rpn.head.bbox_pred", []),
    (r"fastrcnn/(fc6|fc7)", "roi_heads.box_head.{0}", []),
    (r"fastrcnn/outputs/class", "roi_heads.box_predictor.cls_score", []),
    (r"fastrcnn/outputs/box", "roi_heads.box_predictor.bbox_pred", []),
    (r"maskrcnn/fcn(\d)", "roi_heads.mask_head.{0}.0", []),
    (r"maskrcnn/deconv", "roi_heads.mask_predictor.conv5_mask", []),
    (r"maskrcnn/conv", "roi_heads.mask_predictor.mask_fcn_logits", []),
]


def is_tensorpack(names: set[str]) -> bool:
    """Returns whether these are names of tensorpack's ResNets or detectors."""
    return any(name.startswith(("conv0/", "group0/block0/", "rpn/conv0/")) for name in names)


def by_torchvision_names(state: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Returns by torchvision's names, and with its axes, what a tensorpack file holds."""
    found = {}
    for name, array in state.items():
        theirs = torchvision_name(name)
        if theirs is not None:
            found[theirs] = Tensor(name, _with_their_axes(theirs, np.asarray(array)))
    return found


def torchvision_name(name: str) -> str | None:
    """Returns torchvision's name of a tensorpack weight, None if it has none.

    >>> torchvision_name("group1/block0/convshortcut/bn/variance/EMA")
    'backbone.body.layer2.0.downsample.1.running_var'
    """
    name = name.removesuffix(":0")
    of_cascade = re.fullmatch(r"cascade_rcnn_stage(\d)/(?:head/)?(.+)", name)
    if of_cascade:
        plain = torchvision_name(f"fastrcnn/{of_cascade[2]}")
        return None if plain is None else in_stage(plain, int(of_cascade[1]))
    for ending, weight in _WEIGHTS.items():
        if name.endswith(f"/{ending}"):
            layer = first_match(_LAYERS, name.removesuffix(f"/{ending}"))
            return f"{layer}.{weight}" if layer else None
    return None


def _with_their_axes(name: str, array: np.ndarray) -> np.ndarray:
    """Returns a kernel [out, in, row, column] or [out, in], with torchvision's classes.

    Tensorpack's are [row, column, in, out] and [in, out], and lack the background in places.
    """
    if array.ndim == 4:  # a transposed convolution is row, column, out, in: likewise reversed
        array = array.transpose(3, 2, 0, 1)
    elif array.ndim == 2:
        array = array.transpose()
    if name.startswith("roi_heads.mask_predictor.mask_fcn_logits."):
        return with_background(array, 1)
    if without_stage(name).startswith("roi_heads.box_predictor.bbox_pred.") and len(array) == 4:
        return with_background(array, 4)  # one box for all classes
    return array

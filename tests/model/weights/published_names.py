"""Files with others' names and axes, made from a detector's weights by torchvision's names.

The renaming goes the other way than the readers', from the layers of the published models:
detectron2/modeling/{backbone/resnet,backbone/fpn,proposal_generator/rpn,roi_heads}.py,
tensorpack's examples/FasterRCNN/modeling, Detectron's ResNet blobs.
"""

import re

import numpy as np

_HEADS = {  # torchvision: (Detectron2, tensorpack)
    "rpn.head.conv.0.0": ("proposal_generator.rpn_head.conv", "rpn/conv0"),
    "rpn.head.cls_logits": ("proposal_generator.rpn_head.objectness_logits", "rpn/class"),
    "rpn.head.bbox_pred": ("proposal_generator.rpn_head.anchor_deltas", "rpn/box"),
    "roi_heads.box_head.fc6": ("roi_heads.box_head.fc1", "fastrcnn/fc6"),
    "roi_heads.box_head.fc7": ("roi_heads.box_head.fc2", "fastrcnn/fc7"),
    "roi_heads.box_predictor.cls_score": (
        "roi_heads.box_predictor.cls_score",
        "fastrcnn/outputs/class",
    ),
    "roi_heads.box_predictor.bbox_pred": (
        "roi_heads.box_predictor.bbox_pred",
        "fastrcnn/outputs/box",
    ),
    "roi_heads.mask_predictor.conv5_mask": ("roi_heads.mask_head.deconv", "maskrcnn/deconv"),
    "roi_heads.mask_predictor.mask_fcn_logits": ("roi_heads.mask_head.predictor", "maskrcnn/conv"),
}
for _n in range(4):
    _level = _n + 2
    _HEADS[f"backbone.fpn.inner_blocks.{_n}.0"] = (
        f"backbone.fpn_lateral{_level}",
        f"fpn/lateral_1x1_c{_level}",
    )
    _HEADS[f"backbone.fpn.layer_blocks.{_n}.0"] = (
        f"backbone.fpn_output{_level}",
        f"fpn/posthoc_3x3_p{_level}",
    )
    _HEADS[f"roi_heads.mask_head.{_n}.0"] = (
        f"roi_heads.mask_head.mask_fcn{_n + 1}",
        f"maskrcnn/fcn{_n}",
    )
# The same of Detectron2's new baselines, whose RPN has two convolutions and whose box head four.
_NEW_BASELINE = {
    f"rpn.head.conv.{n}.0": f"proposal_generator.rpn_head.conv.conv{n}" for n in (0, 1)
}
_NEW_BASELINE |= {f"roi_heads.box_head.{n}.0": f"roi_heads.box_head.conv{n + 1}" for n in range(4)}
_NEW_BASELINE["roi_heads.box_head.5"] = "roi_heads.box_head.fc1"
_STATISTICS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "mean/EMA",
    "running_var": "variance/EMA",
}


def as_detectron2(state):
    """A torchvision state dict as a Detectron2 model's."""
    heads = {theirs: names[0] for theirs, names in _HEADS.items()}
    if "rpn.head.conv.1.0.weight" in state:
        heads |= _NEW_BASELINE
    convolutions = [layer for layer in heads if layer.endswith(".0")]
    heads |= {f"{layer.removesuffix('0')}1": f"{heads[layer]}.norm" for layer in convolutions}
    return {
        _detectron2_name(name, heads): _detectron2_classes(name, array)
        for name, array in state.items()
    }


def as_tensorpack(state):
    """A torchvision state dict as tensorpack's npz."""
    return {_tensorpack_name(name): _tensorpack_axes(name, a) for name, a in state.items()}


def as_caffe2_resnet(state):
    """A torchvision ResNet, whose norms have mean 0 and variance 1 - epsilon, as MSRA/R-50.pkl."""
    blobs = {}
    for name, array in state.items():
        layer, _, weight = name.removeprefix("backbone.body.").rpartition(".")
        if not name.startswith("backbone.body.") or weight.startswith("running"):
            continue
        letter = {"weight": "s", "bias": "b"}[weight]
        if layer in ("conv1", "bn1"):
            blobs["conv1_w" if layer == "conv1" else f"res_conv1_bn_{letter}"] = array
            continue
        stage, block, part, number = re.fullmatch(
            r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)", layer
        ).groups()
        is_norm = part == "bn" or (part == "downsample." and number == "1")
        branch = "1" if part == "downsample." else "2" + "abc"[int(number) - 1]
        ending = f"bn_{letter}" if is_norm else "w"
        blobs[f"res{int(stage) + 1}_{block}_branch{branch}_{ending}"] = array
    return blobs


def _detectron2_name(name, heads):
    layer, _, weight = name.rpartition(".")
    if layer in heads:
        return f"{heads[layer]}.{weight}"
    layer = layer.removeprefix("backbone.body.")
    layer = re.sub(r"^(conv1|bn1)$", r"stem.\1", layer)
    layer = re.sub(r"^layer(\d)", lambda match: f"res{int(match[1]) + 1}", layer)
    layer = layer.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    layer = re.sub(r"\.bn(\d)$", r".conv\1.norm", layer)
    return f"backbone.bottom_up.{layer}.{weight}"


def _detectron2_classes(name, array):
    if "cls_score" in name:
        return np.concatenate([array[1:], array[:1]])
    if "box_predictor.bbox_pred" in name:
        return array[4:]
    return array[1:] if "mask_fcn_logits" in name else array


def _tensorpack_name(name):
    layer, _, weight = name.rpartition(".")
    if layer in _HEADS:
        return f"{_HEADS[layer][1]}/{'W' if weight == 'weight' else 'b'}"
    layer = layer.removeprefix("backbone.body.")
    is_norm = "bn" in layer or layer.endswith("downsample.1")
    ending = f"bn/{_STATISTICS[weight]}" if is_norm else "W"
    if layer in ("conv1", "bn1"):
        return f"conv0/{ending}"
    stage, block, part = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", layer).groups()
    part = "convshortcut" if "downsample" in part else f"conv{part[-1]}"
    return f"group{int(stage) - 1}/block{block}/{part}/{ending}"


def _tensorpack_axes(name, array):
    array = array[1:] if "mask_fcn_logits" in name else array
    if array.ndim == 4:
        return np.moveaxis(array, (2, 3), (0, 1)).swapaxes(2, 3)
    return array.T

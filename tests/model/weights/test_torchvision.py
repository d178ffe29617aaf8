import numpy as np
import pytest

from configs.loader import default_config
from configs.model_schema import BackboneConfig, FpnConfig, MaskHeadConfig, ModelConfig, RoiConfig
from ground.errors import ModelError
from model.detector import build_detector
from model.weights.heads import heavier_layers
from model.weights.named import NAMED
from model.weights.torchvision import (
    counterparts,
    current_names,
    from_torchvision,
    to_torchvision,
)


def torchvision_state(channels=8, classes=4):
    """A detector's state dict of torchvision's names and axis orders, every number another one."""
    shapes = {
        "backbone.body.conv1.weight": (8, 3, 7, 7),
        "backbone.body.bn1.running_var": (8,),
        "backbone.body.layer1.0.conv1.weight": (8, 8, 3, 3),
        "backbone.body.layer1.0.bn2.bias": (8,),
        "backbone.body.layer2.0.downsample.0.weight": (16, 8, 1, 1),
        "backbone.body.layer2.0.downsample.1.weight": (16,),
        "backbone.fpn.inner_blocks.3.0.weight": (channels, 64, 1, 1),
        "backbone.fpn.layer_blocks.0.0.bias": (channels,),
        "rpn.head.conv.0.0.weight": (channels, channels, 3, 3),
        "rpn.head.cls_logits.weight": (3, channels, 1, 1),
        "rpn.head.bbox_pred.weight": (12, channels, 1, 1),
        "rpn.head.bbox_pred.bias": (12,),
        "roi_heads.box_head.fc6.weight": (16, channels * 49),
        "roi_heads.box_head.fc7.weight": (16, 16),
        "roi_heads.box_predictor.cls_score.weight": (classes, 16),
        "roi_heads.box_predictor.bbox_pred.weight": (classes * 4, 16),
        "roi_heads.box_predictor.bbox_pred.bias": (classes * 4,),
        "roi_heads.mask_head.0.0.weight": (8, channels, 3, 3),
        "roi_heads.mask_predictor.conv5_mask.weight": (8, 8, 2, 2),
        "roi_heads.mask_predictor.mask_fcn_logits.weight": (classes, 8, 1, 1),
        "roi_heads.mask_predictor.mask_fcn_logits.bias": (classes,),
    }
    start, state = 0, {}
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        state[name] = np.arange(start, start + size, dtype=np.float32).reshape(shape)
        start += size
    return state


@pytest.fixture(scope="module")
def detector():
    config = ModelConfig(
        backbone=BackboneConfig(name="resnet18", width=8),
        fpn=FpnConfig(channels=8),
        roi=RoiConfig(),
        box_head={"hidden_units": 16},
        mask_head=MaskHeadConfig(convolutions=1, channels=8),
    )
    return build_detector(config, num_classes=3)


@pytest.fixture(scope="module")
def shapes(detector):
    return {variable.path: tuple(variable.shape) for variable in detector.variables}


def test_axes_are_turned(shapes):
    state = torchvision_state()
    ours = from_torchvision(state, shapes)
    theirs = state["backbone.body.layer1.0.conv1.weight"]
    assert ours["backbone/c2_block1/conv1/kernel"][0, 2, 3, 5] == theirs[5, 3, 0, 2]
    theirs = state["roi_heads.box_head.fc6.weight"].reshape(16, 8, 7, 7)
    assert ours["box_head/fc1/kernel"].reshape(7, 7, 8, 16)[1, 2, 3, 4] == theirs[4, 3, 1, 2]
    # Anchor 1's dy is their second of four: dx, dy, dw, dh.
    assert ours["rpn/deltas/bias"][4] == state["rpn.head.bbox_pred.bias"][5]
    # Class 1, first after the background, is our first; its dh is their last.
    assert ours["box_head/deltas/bias"][2] == state["roi_heads.box_predictor.bbox_pred.bias"][7]
    theirs = state["roi_heads.mask_predictor.conv5_mask.weight"]
    assert ours["mask_head/upsample_kernel"][0, 1, 2, 3] == theirs[2, 3, 0, 1]
    theirs = state["roi_heads.mask_predictor.mask_fcn_logits.weight"]
    assert ours["mask_head/mask_kernel"][0, 5] == theirs[1, 5, 0, 0]


def test_there_and_back_is_the_same_but_for_the_background(shapes):
    state = torchvision_state()
    back = to_torchvision(from_torchvision(state, shapes))
    assert back.keys() == state.keys()
    for name, array in state.items():
        unread = {"bbox_pred": 4, "mask_fcn_logits": 1} if name.startswith("roi_heads") else {}
        rows = next((n for part, n in unread.items() if part in name), 0)
        np.testing.assert_array_equal(back[name][rows:], array[rows:])
        assert not back[name][:rows].any()


def test_back_and_there_is_the_same(detector, shapes):
    weights = detector.export_weights()
    state = to_torchvision(weights)
    assert len(state) == len(weights)
    again = from_torchvision(state, shapes)
    assert again.keys() == weights.keys()
    for path, array in weights.items():
        np.testing.assert_array_equal(again[path], array)


def test_old_names_and_classifiers_are_known(shapes):
    state = torchvision_state()
    old_names = {
        "rpn.head.conv.0.0.weight": "rpn.head.conv.weight",
        "backbone.fpn.layer_blocks.0.0.bias": "backbone.fpn.layer_blocks.0.bias",
        "roi_heads.mask_head.0.0.weight": "roi_heads.mask_head.mask_fcn1.weight",
        "backbone.body.conv1.weight": "conv1.weight",
        "backbone.body.layer1.0.bn2.bias": "layer1.0.bn2.bias",
    }
    old = {old_names.get(name, name): array for name, array in state.items()}
    assert old.keys() != state.keys()
    ours, from_old = from_torchvision(state, shapes), from_torchvision(old, shapes)
    assert ours.keys() == from_old.keys()
    for path, array in ours.items():
        np.testing.assert_array_equal(from_old[path], array)


def test_another_shape_is_named(shapes):
    state = torchvision_state()
    state["rpn.head.conv.0.0.weight"] = np.zeros((9, 8, 3, 3), np.float32)
    with pytest.raises(ModelError, match=r"rpn\.head\.conv\.0\.0\.weight has shape \[9, 8, 3, 3\]"):
        from_torchvision(state, shapes)


def test_group_norm_has_no_counterpart():
    assert counterparts(["fpn/output_p2/norm/gamma"]) == {}
    of_a_batch = ["fpn/output_p2/norm/gamma", "fpn/output_p2/norm/moving_mean"]
    assert counterparts(of_a_batch) == {
        of_a_batch[0]: "backbone.fpn.layer_blocks.0.1.weight",
        of_a_batch[1]: "backbone.fpn.layer_blocks.0.1.running_mean",
    }
    with pytest.raises(ModelError, match="fpn/output_p2/norm/gamma"):
        to_torchvision({"fpn/output_p2/norm/gamma": np.ones(8)})


# torchvision 0.15's maskrcnn_resnet50_fpn_v2: names and shapes by its modules (Conv2dNormActivation
# is a convolution and its norm; FastRCNNConvFCHead flattens behind four of them).
VERSION_2 = {
    "backbone.body.bn1.running_var": (64,),
    "backbone.fpn.inner_blocks.0.0.weight": (256, 256, 1, 1),
    "backbone.fpn.inner_blocks.3.0.weight": (256, 2048, 1, 1),
    "backbone.fpn.inner_blocks.3.1.weight": (256,),
    "backbone.fpn.layer_blocks.0.0.weight": (256, 256, 3, 3),
    "backbone.fpn.layer_blocks.2.1.running_mean": (256,),
    "rpn.head.conv.0.0.weight": (256, 256, 3, 3),
    "rpn.head.conv.1.0.weight": (256, 256, 3, 3),
    "rpn.head.conv.1.0.bias": (256,),
    "rpn.head.bbox_pred.weight": (12, 256, 1, 1),
    "roi_heads.box_head.0.0.weight": (256, 256, 3, 3),
    "roi_heads.box_head.3.1.bias": (256,),
    "roi_heads.box_head.3.1.running_var": (256,),
    "roi_heads.box_head.5.weight": (1024, 256 * 49),
    "roi_heads.box_head.5.bias": (1024,),
    "roi_heads.box_predictor.cls_score.weight": (91, 1024),
    "roi_heads.box_predictor.bbox_pred.bias": (364,),
    "roi_heads.mask_head.0.0.weight": (256, 256, 3, 3),
    "roi_heads.mask_head.3.1.running_mean": (256,),
    "roi_heads.mask_predictor.conv5_mask.weight": (256, 256, 2, 2),
    "roi_heads.mask_predictor.mask_fcn_logits.weight": (91, 256, 1, 1),
}
# `num_params` of FasterRCNN_ResNet50_FPN_V2_Weights and MaskRCNN_ResNet50_FPN_V2_Weights.
PARAMETERS = {"faster": 43_712_278, "mask": 46_359_409}


def test_the_published_versions_2_are_these_detectors():
    name = "coco/torchvision-mask-rcnn-r50-fpn-v2"
    layers = [f"model.{key}={value}" for key, value in NAMED[name].layers]
    settings = ["model.preset=torchvision", "model.mask_head.convolutions=4", *layers]
    detector = build_detector(default_config(settings).model, num_classes=90)
    state = to_torchvision(detector.export_weights())
    for theirs, shape in VERSION_2.items():
        assert state[theirs].shape == shape, theirs
    assert not {"rpn.head.conv.2.0.weight", "roi_heads.box_head.7.weight"} & state.keys()
    layers_with_norm = {name.rpartition(".")[0] for name in state if name.endswith("running_mean")}
    assert not {f"{layer[:-1]}0.bias" for layer in layers_with_norm} & state.keys()
    sizes = {n: a.size for n, a in state.items() if "running_" not in n}
    of_masks = [n for n in sizes if n.startswith("roi_heads.mask_")]
    assert sum(sizes.values()) == PARAMETERS["mask"]
    assert sum(sizes.values()) - sum(sizes[n] for n in of_masks) == PARAMETERS["faster"]
    assert heavier_layers(current_names(state).values()) == dict(NAMED[name].layers)

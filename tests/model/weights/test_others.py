"""Weights under the published names of others give the same detector."""

import pickle
import re

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from configs.loader import default_config
from configs.model_schema import (
    BackboneConfig,
    BoxHeadConfig,
    FpnConfig,
    MaskHeadConfig,
    RoiConfig,
    RpnConfig,
)
from ground.errors import ModelError
from model.detector import build_detector
from model.layers.convolution import Convolution
from model.layers.resnet import max_pool
from model.weights import detectron2, tensorpack
from model.weights.files import load_start_weights, recognise
from model.weights.torchvision import to_torchvision
from tests.model.small_detector import small_batch, small_config
from tests.model.weights.published_names import as_caffe2_resnet, as_detectron2, as_tensorpack
from tests.model.weights.torch_files import save_legacy, save_zip, tensor

KINDS = {"torchvision": dict, "detectron2": as_detectron2, "tensorpack": as_tensorpack}


def build(seed, num_classes=3, backbone=(), **sections):
    preset = default_config(["model.preset=torchvision"]).model.backbone.model_dump()
    settings = preset | {"name": "resnet50", "width": 8} | dict(backbone)
    config = small_config(
        backbone=BackboneConfig(**settings),
        roi=RoiConfig(samples_per_picture=8),
        **({"mask_head": MaskHeadConfig(resolution=4, convolutions=4, channels=8)} | sections),
    )
    return build_detector(config, num_classes, seed)


@pytest.fixture(scope="module")
def detector():
    detector = build(1)
    rng = np.random.default_rng(0)
    for variable in detector.variables:  # statistics and biases are constant at first
        if "moving_variance" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif len(variable.shape) == 1:
            variable.assign(rng.normal(0.0, 0.1, variable.shape))
    return detector


@pytest.fixture(scope="module")
def weights(detector):
    return detector.export_weights()


@pytest.fixture(scope="module")
def state(weights):
    return to_torchvision(weights)


@pytest.fixture(scope="module")
def blank():
    """Another detector, whose weights each test may change."""
    return build(2)


def write(path, state):
    """Writes a state in the format of the file's suffix."""
    if path.suffix == ".npz":
        np.savez(path, **state)
    elif path.suffix == ".safetensors":
        save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, path)
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"model": state, "__author__": "a"}))
    else:
        save = save_zip if path.suffix == ".pth" else save_legacy
        save(path, {"model": {name: tensor(array) for name, array in state.items()}})
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pkl", ".pth", ".pt"])
def test_every_kind_comes_in_by_every_file(blank, weights, state, tmp_path, kind, suffix):
    path = write(tmp_path / f"a{suffix}", KINDS[kind](state))
    blank.import_weights({name: np.zeros_like(array) for name, array in weights.items()})
    report = load_start_weights(blank, path)
    assert (report.kind, report.initial, report.restarted, report.left_over) == (kind, [], [], [])
    for name, array in blank.export_weights().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


@pytest.mark.parametrize("kind", ["detectron2", "tensorpack"])
def test_detections_are_the_same(detector, blank, state, tmp_path, kind):
    other = blank
    load_start_weights(other, write(tmp_path / "a.npz", KINDS[kind](state)))
    batch = small_batch(pictures=1)
    expected = detector.detect(batch.images, batch.image_sizes)
    found = other.detect(batch.images, batch.image_sizes)
    assert int(expected.num[0]) > 0
    for found_values, value in zip(found, expected, strict=True):
        np.testing.assert_array_equal(found_values, value)


HEAVIER = {
    "rpn": RpnConfig(convolutions=2, test_pre_nms_top_k=16, test_post_nms_top_k=16),
    "fpn": FpnConfig(channels=8, norm="batch_norm"),
    "box_head": BoxHeadConfig(
        convolutions=4,
        convolution_channels=8,
        norm="batch_norm",
        fully_connected=1,
        hidden_units=16,
    ),
    "mask_head": MaskHeadConfig(resolution=4, convolutions=4, channels=8, norm="batch_norm"),
}


@pytest.mark.parametrize("kind", ["torchvision", "detectron2"])
def test_heavier_heads_come_in_and_are_missed_where_they_are_not(blank, tmp_path, kind):
    weights = build(3, **HEAVIER).export_weights()
    rng = np.random.default_rng(3)
    weights = {n: a + rng.uniform(0, 1, a.shape).astype(np.float32) for n, a in weights.items()}
    path = write(tmp_path / "a.npz", KINDS[kind](to_torchvision(weights)))
    report = load_start_weights(other := build(4, **HEAVIER), path)
    assert (report.kind, report.initial, report.left_over) == (kind, [], [])
    assert not [line for line in report.differences if "leaves out" in line]
    for name, array in other.export_weights().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
    [missed] = [
        line for line in load_start_weights(blank, path).differences if "leaves out" in line
    ]
    assert missed.endswith(
        "set model.rpn.convolutions: 2, model.box_head.convolutions: 4, "
        "model.box_head.fully_connected: 1, model.fpn.norm: batch_norm, "
        "model.box_head.norm: batch_norm, model.mask_head.norm: batch_norm"
    )


# As in the published files and in detectron2/checkpoint/c2_model_loading.py.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("backbone.bottom_up.stem.conv1.weight", "backbone.body.conv1.weight"),
        ("backbone.bottom_up.stem.conv1.norm.running_var", "backbone.body.bn1.running_var"),
        ("backbone.bottom_up.res2.0.shortcut.weight", "backbone.body.layer1.0.downsample.0.weight"),
        ("backbone.bottom_up.res5.2.conv3.norm.bias", "backbone.body.layer4.2.bn3.bias"),
        ("backbone.fpn_lateral2.weight", "backbone.fpn.inner_blocks.0.0.weight"),
        ("roi_heads.mask_head.mask_fcn4.bias", "roi_heads.mask_head.3.0.bias"),
        ("backbone.fpn_output5.norm.weight", "backbone.fpn.layer_blocks.3.1.weight"),
        ("proposal_generator.rpn_head.conv.weight", "rpn.head.conv.0.0.weight"),
        ("proposal_generator.rpn_head.conv.conv1.bias", "rpn.head.conv.1.0.bias"),
        ("roi_heads.box_head.conv4.norm.running_var", "roi_heads.box_head.3.1.running_var"),
        ("roi_heads.box_head.fc1.weight", "roi_heads.box_head.fc6.weight"),
        ("roi_heads.box_head.1.conv1.weight", "roi_heads.box_head_2.0.0.weight"),
        ("res4_5_branch2c_w", "backbone.body.layer3.5.conv3.weight"),
        ("res3_0_branch1_bn_b", "backbone.body.layer2.0.downsample.1.bias"),
        ("fc1000_w", None),
        ("pixel_mean", None),
    ],
)
def test_names_of_detectron2(name, expected):
    assert detectron2.torchvision_name(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv0/W", "backbone.body.conv1.weight"),
        ("conv0/bn/mean/EMA", "backbone.body.bn1.running_mean"),
        ("group0/block0/convshortcut/W", "backbone.body.layer1.0.downsample.0.weight"),
        ("group3/block2/conv3/bn/variance/EMA:0", "backbone.body.layer4.2.bn3.running_var"),
        ("fpn/posthoc_3x3_p5/b", "backbone.fpn.layer_blocks.3.0.bias"),
        ("fastrcnn/outputs/box/W", "roi_heads.box_predictor.bbox_pred.weight"),
        ("linear/W", None),
    ],
)
def test_names_of_tensorpack(name, expected):
    assert tensorpack.torchvision_name(name) == expected


def test_classes_and_axes_of_detectron2():
    state = {
        "roi_heads.box_predictor.cls_score.bias": np.array([1.0, 2.0, 9.0]),  # background last
        "roi_heads.box_predictor.bbox_pred.bias": np.arange(8.0),
    }
    found = detectron2.by_torchvision_names(state, 1e-5)
    assert found["roi_heads.box_predictor.cls_score.bias"].array.tolist() == [9.0, 1.0, 2.0]
    deltas = found["roi_heads.box_predictor.bbox_pred.bias"].array
    assert deltas.tolist() == [0, 0, 0, 0, *range(8)]


def test_class_agnostic_boxes_come_in(tmp_path):
    agnostic = build(1, box_head={"hidden_units": 16, "class_agnostic": True})
    weights = agnostic.export_weights()
    file = write(tmp_path / "a.npz", as_detectron2(to_torchvision(weights)))
    other = build(2, box_head={"hidden_units": 16, "class_agnostic": True})
    assert load_start_weights(other, file).initial == []
    name = "box_head/deltas/kernel"
    np.testing.assert_array_equal(other.export_weights()[name], weights[name])


def later_stage(name, kind, stage):
    """The name that a plain detector's tensor of the box head has in a cascade."""
    if kind == "detectron2":
        return re.sub(r"(box_head|box_predictor)\.", rf"\1.{stage - 1}.", name)
    return name.replace("fastrcnn/fc", f"cascade_rcnn_stage{stage}/head/fc").replace(
        "fastrcnn/outputs", f"cascade_rcnn_stage{stage}/outputs"
    )


@pytest.mark.parametrize("kind", ["detectron2", "tensorpack"])
def test_cascades_come_in(tmp_path, kind):
    sections = dict(
        box_head={"hidden_units": 16, "class_agnostic": True}, cascade={}, mask_head=None
    )
    weights = build(1, **sections).export_weights()
    rng = np.random.default_rng(0)
    weights |= {
        path: rng.normal(size=array.shape).astype(np.float32)
        for path, array in weights.items()
        if path.startswith("box_head")
    }
    rest = {path: array for path, array in weights.items() if not path.startswith("box_head")}
    file = KINDS[kind](to_torchvision(rest))
    for stage, head in ((1, "box_head/"), (2, "box_head_2/"), (3, "box_head_3/")):
        plain = {
            path.replace(head, "box_head/"): array
            for path, array in weights.items()
            if path.startswith(head)
        }
        for name, array in KINDS[kind](to_torchvision(plain)).items():
            # tensorpack's one box for all classes has no background's beside it.
            drop = 4 if kind == "tensorpack" and "outputs/box" in name else 0
            file[later_stage(name, kind, stage)] = array[..., drop:]
    other = build(2, **sections)
    report = load_start_weights(other, write(tmp_path / "a.npz", file))
    assert (report.initial, report.restarted, report.left_over) == ([], [], [])
    for path, array in other.export_weights().items():
        np.testing.assert_array_equal(array, weights[path], err_msg=path)
    with pytest.raises(ModelError, match=r"box_head_2/.* has no counterpart in torchvision"):
        to_torchvision(weights)


def test_msra_norms_are_factor_and_shift_exactly(blank, state, tmp_path):
    blobs = as_caffe2_resnet(state) | {"fc1000_w": np.zeros((10, 256), np.float32)}
    assert {"conv1_w", "res_conv1_bn_s", "res2_0_branch2a_w", "res5_2_branch2c_bn_b"} <= set(blobs)
    report = load_start_weights(blank, write(tmp_path / "R-50.pkl", blobs))
    assert (report.kind, report.left_over) == ("detectron2", ["fc1000_w"])
    assert not any(name.startswith("backbone/") for name in report.initial)
    scale, shift = blank.backbone.stem[0].norm.scale_and_shift()
    np.testing.assert_allclose(scale, state["backbone.body.bn1.weight"], rtol=1e-6)
    np.testing.assert_allclose(shift, state["backbone.body.bn1.bias"], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_other_classes_restart_just_the_predictors(weights, state, tmp_path, kind):
    path = write(tmp_path / "a.npz", KINDS[kind](state))
    other = build(2, num_classes=5)
    before = other.export_weights()
    report = load_start_weights(other, path)
    assert report.restarted == [
        "box_head/class_logits/bias",
        "box_head/class_logits/kernel",
        "box_head/deltas/bias",
        "box_head/deltas/kernel",
        "mask_head/mask_bias",
        "mask_head/mask_kernel",
    ]
    for name, array in other.export_weights().items():
        kept = before if name in report.restarted else weights
        np.testing.assert_array_equal(array, kept[name])
    said = "the file has 3 classes, the model 5, so what predicts them starts from initial values"
    assert any(said in line for line in report.lines())


@pytest.mark.parametrize("kind", KINDS)
def test_another_shape_is_refused_and_changes_nothing(blank, weights, state, tmp_path, kind):
    wrong = KINDS[kind](state | {"rpn.head.conv.0.0.bias": np.zeros(9, np.float32)})
    name = next(name for name, array in wrong.items() if array.shape == (9,))
    blank.import_weights({path: np.zeros_like(array) for path, array in weights.items()})
    before = blank.export_weights()
    with pytest.raises(ModelError, match=rf"{name} in .*\[9\].*rpn/conv/bias of shape \[8\]"):
        load_start_weights(blank, write(tmp_path / "a.npz", wrong))
    for path, array in blank.export_weights().items():
        np.testing.assert_array_equal(array, before[path])


def test_predictors_of_as_many_classes_but_another_width_are_refused(blank, state, tmp_path):
    wrong = dict(state)
    wrong["roi_heads.box_predictor.cls_score.weight"] = np.zeros((4, 9), np.float32)
    with pytest.raises(ModelError, match=r"cls_score\.weight"):
        load_start_weights(blank, write(tmp_path / "a.npz", wrong))


def test_the_report_says_what_is_missing_and_what_is_left(blank, state, tmp_path):
    known = {name: a for name, a in state.items() if not name.startswith("roi_heads.mask")}
    known |= {"fc.weight": np.zeros(3), "backbone.body.bn1.num_batches_tracked": np.array(1)}
    report = load_start_weights(blank, write(tmp_path / "a.npz", known))
    assert report.left_over == ["fc.weight"]
    assert {name.split("/")[0] for name in report.initial} == {"mask_head"}
    text = "\n".join(report.lines())
    assert "initial   12 (mask_head/conv1/bias, mask_head/conv1/kernel, " in text
    assert "left over 1 (fc.weight)" in text


@pytest.fixture(scope="module")
def boxes_only():
    """A detector without the mask section, whose weights each test may change."""
    return build(3, mask_head=None)


ALL_KINDS = {"ours": dict} | KINDS


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_mask_section_may_be_dropped(weights, state, detector, boxes_only, tmp_path, kind):
    file = ALL_KINDS[kind](weights if kind == "ours" else state)
    report = load_start_weights(boxes_only, write(tmp_path / "a.npz", file))
    assert (report.kind, report.initial, report.restarted) == (kind, [], [])
    assert len(report.left_over) == 2 * (4 + 2)  # kernels and biases of the mask head's layers
    batch = small_batch(pictures=1)
    expected = detector.detect(batch.images, batch.image_sizes)
    found = boxes_only.detect(batch.images, batch.image_sizes)
    assert found.masks is None and expected.masks is not None
    for found_values, value in zip(found[:-1], expected[:-1], strict=True):
        np.testing.assert_array_equal(found_values, value)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_mask_section_may_be_added(weights, state, blank, tmp_path, kind):
    file = weights if kind == "ours" else state
    file = {name: array for name, array in file.items() if "mask" not in name}
    blank.import_weights({name: np.zeros_like(array) for name, array in weights.items()})
    report = load_start_weights(blank, write(tmp_path / "a.npz", ALL_KINDS[kind](file)))
    assert (report.kind, report.left_over, report.restarted) == (kind, [], [])
    assert len(report.initial) == 2 * (4 + 2)
    for name, array in blank.export_weights().items():
        is_new = name.startswith("mask_head/")
        np.testing.assert_array_equal(array, 0 * array if is_new else weights[name])


def test_a_checkpoints_optimiser_is_no_weight_left_over(weights, boxes_only, tmp_path):
    checkpoint = {f"weights/{name}": array for name, array in weights.items()}
    checkpoint |= {"momentum/rpn/conv/bias": np.zeros(8), "updates": np.array(3)}
    report = load_start_weights(boxes_only, write(tmp_path / "a.safetensors", checkpoint))
    assert report.initial == []
    assert {name.split("/")[1] for name in report.left_over} == {"mask_head"}


def test_conventions_other_than_the_files_are_warned_of(blank, state, tmp_path):
    path = write(tmp_path / "a.npz", as_tensorpack(state))
    [line] = load_start_weights(blank, path).differences
    assert "model.backbone.channel_order bgr, the config has rgb" in line
    fitting = build(2, backbone={"channel_order": "bgr"})
    assert load_start_weights(fitting, path).differences == []


def test_names_of_nobody_are_not_recognised(weights):
    ours = set(weights)
    assert recognise({"conv1/kernel:0", "a"}, ours) is None
    assert recognise({f"weights/{next(iter(ours))}"}, ours) == "ours"


def pad_and_convolve(picture, kernel, before, after):
    """Stride 2 after zero padding of so many rows and columns, by a loop."""
    picture = np.pad(picture, ((before, after), (before, after), (0, 0)))
    size = kernel.shape[0]
    rows = (picture.shape[0] - size) // 2 + 1
    out = np.zeros((rows, rows, kernel.shape[-1]))
    for y in range(rows):
        for x in range(rows):
            window = picture[2 * y : 2 * y + size, 2 * x : 2 * x + size]
            out[y, x] = np.tensordot(window, kernel, axes=3)
    return out


# maybe_reverse_pad(2, 3) and (0, 1) of tensorpack's backbone.py: reversed in "AlignPadding".
@pytest.mark.parametrize(("size", "pads"), [(7, (2, 3)), (3, (0, 1))])
@pytest.mark.parametrize("is_align_padding", [True, False])
def test_strided_convolutions_are_padded_as_in_tensorpack(size, pads, is_align_padding):
    rng = np.random.default_rng(0)
    picture, kernel = rng.normal(size=(32, 32, 2)), rng.normal(size=(size, size, 2, 3))
    before, after = reversed(pads) if is_align_padding else pads
    expected = pad_and_convolve(picture, kernel, before, after)
    layer = Convolution(3, size, stride=2, initializer="zeros", symmetric=is_align_padding)
    layer.build((None, None, None, 2))
    layer.kernel.assign(kernel)
    out = layer(tf.constant(picture[np.newaxis], tf.float32))[0]
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_align_padding", [True, False])
def test_max_pool_is_padded_as_in_tensorpack(is_align_padding):
    picture = np.random.default_rng(0).uniform(size=(8, 8))
    pads = (1, 0) if is_align_padding else (0, 1)
    padded = np.pad(picture, (pads, pads))
    expected = [[padded[y : y + 3, x : x + 3].max() for x in (0, 2, 4, 6)] for y in (0, 2, 4, 6)]
    out = max_pool(tf.constant(picture[np.newaxis, ..., np.newaxis]), is_align_padding)
    np.testing.assert_array_equal(out[0, ..., 0], expected)

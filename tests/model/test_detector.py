from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.loader import default_config, load_config, preset_names
from configs.model_schema import BackboneConfig, BoxHeadConfig, DetectionConfig, MaskHeadConfig
from ground.errors import ModelError
from model.detector import build_detector
from tests.model.small_detector import (
    LOSSES,
    NUM_CLASSES,
    rows,
    small_batch,
    small_config,
    sums_and_denominators,
)

ROOT = Path(__file__).parents[2]
STEP = tf.constant(5, tf.int64)


def compiled(detector, jit=None):
    """`loss_terms` as a graph: sums and denominators by name."""
    function = tf.function(
        lambda batch: detector.loss_terms(batch, 0, STEP), autograph=False, jit_compile=jit
    )
    return lambda batch: sums_and_denominators(function(batch))


@pytest.fixture(scope="module")
def detector():
    return build_detector(small_config(), NUM_CLASSES, seed=1)


@pytest.fixture(scope="module")
def losses(detector):
    return compiled(detector)


def test_losses_of_an_untrained_detector_are_those_of_guessing(losses):
    terms = losses(small_batch())
    assert list(terms) == LOSSES
    means = {name: total / denominator for name, (total, denominator) in terms.items()}
    # Layers that predict start near zero: the losses of an even guess.
    assert means["rpn_objectness"] == pytest.approx(np.log(2), rel=0.05)
    assert means["roi_class"] == pytest.approx(np.log(NUM_CLASSES + 1), rel=0.05)
    assert means["mask"] == pytest.approx(np.log(2), rel=0.05)
    assert terms["rpn_objectness"][1] == 4 * 16
    assert terms["roi_class"][1] == 4 * 8


def test_every_trainable_weight_gets_a_finite_gradient(detector):
    batch = small_batch()
    with tf.GradientTape() as tape:
        terms = detector.loss_terms(batch, 0, STEP)
        loss = tf.add_n([term.sum for term in terms.values()])
    weights = detector.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        assert gradient is not None, weight.path
        gradient = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(gradient).all(), weight.path
        # With three classes one may not be drawn; its weights alone have no gradient.
        assert np.abs(gradient).max() > 0, weight.path


def test_losses_do_not_depend_on_how_the_batch_is_split(losses):
    batch = small_batch(4, empty=[1], crowd=[2])
    whole = losses(batch)
    parts = [losses(rows(batch, [0, 1])), losses(rows(batch, [2, 3]))]
    for name in LOSSES:
        for i in (0, 1):
            assert sum(part[name][i] for part in parts) == pytest.approx(whole[name][i], rel=1e-5)


def heads_with(norm):
    """Sections of a box and a mask head with convolutions and this norm."""
    box_head = BoxHeadConfig(
        convolutions=1, convolution_channels=8, norm=norm, fully_connected=1, hidden_units=16
    )
    mask_head = MaskHeadConfig(resolution=4, convolutions=1, channels=8, norm=norm)
    return {"box_head": box_head, "mask_head": mask_head}


@pytest.mark.parametrize("norm", ["group_norm", "batch_norm", "sync_batch_norm"])
def test_filler_pictures_change_nothing(norm):
    backbone = BackboneConfig(name="resnet18", width=8, norm=norm, frozen_stages=0)
    config = small_config(backbone=backbone, **heads_with(norm))
    batch = small_batch(3, filler=[2])
    results = []
    for index in ([0, 1], [0, 1, 2]):
        detector = build_detector(config, NUM_CLASSES, seed=1)
        results.append(compiled(detector)(rows(batch, index)))
        results.append(detector.export_weights())
    terms, weights, terms_filled, weights_filled = results
    for name in LOSSES:
        assert terms_filled[name] == pytest.approx(terms[name], rel=1e-5)
    for path, values in weights.items():  # moving statistics among them
        np.testing.assert_allclose(weights_filled[path], values, rtol=1e-5, atol=1e-6)


def test_batch_of_fillers_gives_zero_sums(losses):
    for name, term in losses(small_batch(2, filler=[0, 1])).items():
        assert term == (0.0, 0.0), name


def test_pictures_without_objects_train(losses):
    terms = losses(small_batch(2, empty=[0, 1]))
    assert terms["rpn_objectness"][0] > 0
    assert terms["rpn_objectness"][1] == 2 * 16
    assert terms["rpn_box"] == (0.0, 2 * 16)
    assert terms["roi_box"] == (0.0, terms["roi_class"][1])
    assert terms["mask"] == (0.0, 0.0)
    assert np.isfinite([total for total, _ in terms.values()]).all()


def test_crowds_are_no_positives(losses):
    batch = small_batch(2)
    terms = losses(batch._replace(gt_is_crowd=batch.gt_valid))
    assert terms["rpn_box"][0] == 0.0
    assert terms["roi_box"][0] == 0.0
    assert terms["mask"] == (0.0, 0.0)


def test_the_heads_of_the_recipe_train_with_their_norms():
    recipe = load_config(ROOT / "configs" / "mask_rcnn_r50_fpn_lsj_copy_paste_coco.yaml").model
    assert recipe.rpn.convolutions == 2 and recipe.fpn.norm == "sync_batch_norm"
    small = small_config()
    heads = {
        "rpn": small.rpn.model_copy(update={"convolutions": recipe.rpn.convolutions}),
        "fpn": small.fpn.model_copy(update={"norm": recipe.fpn.norm}),
        "box_head": recipe.box_head.model_copy(
            update={"convolution_channels": 8, "hidden_units": 16}
        ),
        "mask_head": recipe.mask_head.model_copy(update={"channels": 8, "resolution": 4}),
    }
    detector = build_detector(small_config(**heads), NUM_CLASSES, seed=1)
    before = detector.export_weights()
    batch = small_batch(2)
    with tf.GradientTape() as tape:
        terms = detector.loss_terms(batch, 0, STEP)
        loss = tf.add_n([term.sum for term in terms.values()])
    weights = detector.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(gradient).all(), weight.path
        if "norm" in weight.path and not weight.path.startswith(("fpn", "backbone")):
            assert np.abs(gradient).max() > 0, weight.path
    norms = {path for path in before if path.endswith("norm/moving_mean")}
    of_heads = {path for path in norms if path.split("/")[0] in ("box_head", "mask_head")}
    assert len(of_heads) == 8 and len(norms) == 16
    after = detector.export_weights()
    assert all(np.abs(after[path] - before[path]).max() > 0 for path in norms)
    detector.loss_terms(batch, 0, STEP, training=False)
    for path, values in detector.export_weights().items():
        np.testing.assert_array_equal(values, after[path], err_msg=path)


def test_detect_returns_boxes_within_the_content():
    detector = build_detector(small_config(), NUM_CLASSES, seed=1)
    batch = small_batch(2)
    found = detector.detect(batch.images, batch.image_sizes)
    boxes, num = found.boxes.numpy(), found.num.numpy()
    assert boxes.shape == (2, 6, 4)
    assert found.masks.shape == (2, 6, 8, 8)
    assert (num > 0).all()
    assert boxes.min() >= 0
    assert boxes[..., 2].max() <= 64
    assert boxes[..., 3].max() <= 56
    used = np.arange(6) < num[:, None]
    assert set(found.classes.numpy()[used]) <= {1, 2, 3}
    assert (found.scores.numpy()[used] > 0.01).all()
    assert (found.scores.numpy()[~used] == 0).all()
    masks = found.masks.numpy()
    assert masks[used].min() > 0.0
    assert masks.max() < 1.0


@pytest.mark.parametrize("num_classes", [1, 7])
def test_the_number_of_classes_is_what_is_asked_for(num_classes):
    detector = build_detector(small_config(), num_classes, seed=1)
    weights = detector.export_weights()
    assert weights["box_head/class_logits/bias"].shape == (num_classes + 1,)
    assert weights["box_head/deltas/bias"].shape == (4 * num_classes,)
    assert weights["mask_head/mask_bias"].shape == (num_classes,)
    batch = small_batch(1)
    batch = batch._replace(gt_classes=tf.minimum(batch.gt_classes, num_classes))
    terms = detector.loss_terms(batch, 0, STEP)
    guess = float(terms["roi_class"].sum / terms["roi_class"].denominator)
    assert guess == pytest.approx(np.log(num_classes + 1), rel=0.05)
    # The last class is found too where its logit is the highest.
    bias = np.zeros(num_classes + 1)
    bias[num_classes] = 5.0
    detector.box_heads[0].class_logits.bias.assign(bias)
    found = detector.detect(batch.images, batch.image_sizes)
    assert found.classes.numpy()[0, 0] == num_classes


def test_a_picture_in_which_nothing_is_found_gives_empty_rows():
    detections = DetectionConfig(max_detections=6, score_threshold=0.99)
    for jit in (False, True):  # the two ways in which masks are computed
        detector = build_detector(small_config(detections=detections), NUM_CLASSES, seed=1, jit=jit)
        found = detector.detect(np.zeros([2, 64, 96, 3], np.uint8), [[64.0, 96.0]] * 2)
        assert found.num.numpy().tolist() == [0, 0]
        assert found.masks.shape == (2, 6, 8, 8)
        assert not any(tensor.numpy().any() for tensor in found)


def test_masks_are_the_same_where_only_rows_in_use_are_computed():
    detections = DetectionConfig(max_detections=60, nms_iou=0.1, score_threshold=0.01)
    batch = small_batch(2)
    found, all_rows = (
        build_detector(small_config(detections=detections), NUM_CLASSES, seed=1, jit=jit).detect(
            batch.images, batch.image_sizes
        )
        for jit in (False, True)
    )
    num = found.num.numpy()
    assert (0 < num).all()
    assert (num < 60).all()
    np.testing.assert_allclose(found.masks, all_rows.masks, atol=1e-6)
    assert found.masks.numpy()[0, : num[0]].min() > 0
    assert found.masks.numpy()[0, num[0] :].max() == 0


def test_detect_takes_any_size_in_a_graph(detector):
    detect = tf.function(
        detector.detect,
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.uint8),
            tf.TensorSpec([None, 2], tf.float32),
        ],
    )
    for side in (32, 96):
        batch = small_batch(2, side_px=side)
        found, eager = (f(batch.images, batch.image_sizes) for f in (detect, detector.detect))
        for tensor, expected in zip(found, eager, strict=True):
            np.testing.assert_allclose(tensor, expected, rtol=1e-4, atol=1e-4)


def test_what_lies_in_the_padding_of_a_picture_is_not_seen(detector):
    batch = small_batch(1)
    images = batch.images.numpy()
    images[:, :, 56:] = 255 - images[:, :, 56:]
    found = detector.detect(batch.images, batch.image_sizes)
    repainted = detector.detect(tf.constant(images), batch.image_sizes)
    np.testing.assert_array_equal(found.scores, repainted.scores)


def test_same_seed_gives_same_weights_and_another_seed_others():
    first, same, other = (
        build_detector(small_config(), NUM_CLASSES, seed=seed).export_weights()
        for seed in (3, 3, 4)
    )
    for path, values in first.items():
        np.testing.assert_array_equal(values, same[path])
    assert np.abs(first["fpn/output_p2/kernel"] - other["fpn/output_p2/kernel"]).max() > 0.01
    kernels = [values for path, values in first.items() if path.endswith("conv2/kernel")]
    assert len({values.tobytes() for values in kernels}) == len(kernels)


def test_weights_go_out_and_in_again(detector):
    weights = detector.export_weights()
    other = build_detector(small_config(), NUM_CLASSES, seed=7)
    other.import_weights(weights)
    batch = small_batch(1)
    found, same = (d.detect(batch.images, batch.image_sizes) for d in (detector, other))
    for tensor, expected in zip(found, same, strict=True):
        np.testing.assert_array_equal(tensor, expected)


def test_wrong_weights_are_refused_and_change_nothing():
    detector = build_detector(small_config(), NUM_CLASSES)
    weights = detector.export_weights()
    with pytest.raises(ModelError, match=r"1 missing .*fpn/lateral_c2/bias"):
        detector.import_weights({k: v for k, v in weights.items() if k != "fpn/lateral_c2/bias"})
    with pytest.raises(ModelError, match=r"1 unknown .*extra"):
        detector.import_weights(weights | {"extra": np.zeros(1)})
    zeros = {path: np.zeros_like(values) for path, values in weights.items()}
    with pytest.raises(ModelError, match=r"mask_head/mask_bias has shape \[4\].*\[3\]"):
        detector.import_weights(zeros | {"mask_head/mask_bias": np.zeros(4)})
    for path, values in detector.export_weights().items():
        np.testing.assert_array_equal(values, weights[path])


def test_paths_are_unique_and_frozen_stages_are_not_trained():
    config = small_config(
        backbone=BackboneConfig(name="resnet18", width=8, norm="group_norm", frozen_stages=2)
    )
    detector = build_detector(config, NUM_CLASSES)
    paths = [variable.path for variable in detector.variables]
    assert len(set(paths)) == len(paths)
    frozen = {variable.path for variable in detector.non_trainable_variables}
    trained = {variable.path for variable in detector.trainable_variables}
    assert frozen | trained == set(paths)
    assert not frozen & trained
    is_frozen = [p.startswith(("backbone/stem", "backbone/c2")) for p in paths]
    assert frozen == {p for p, f in zip(paths, is_frozen, strict=True) if f}


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_every_precision_gives_float32_losses_near_each_other(precision, losses):
    detector = build_detector(small_config(), NUM_CLASSES, seed=1, precision=precision)
    assert {variable.dtype for variable in detector.variables} == {"float32"}
    batch = small_batch(2)
    terms = detector.loss_terms(batch, 0, STEP)
    assert all(term.sum.dtype == tf.float32 for term in terms.values())
    exact = losses(batch)
    for name in ("rpn_objectness", "roi_class"):
        # bfloat16 has 8 bits of mantissa; the sums are those of guessing.
        assert float(terms[name].sum) == pytest.approx(exact[name][0], rel=0.02)


def test_adaptive_sampling_is_refused_under_xla_before_anything_is_built():
    roi = small_config().roi.model_copy(update={"sampling_ratio": 0})
    with pytest.raises(
        ModelError, match=r"sampling_ratio: 0 .*XLA cannot compile.*train\.jit: off"
    ):
        build_detector(small_config(roi=roi), NUM_CLASSES, jit=True)


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_trains_and_detects(preset):
    small = ["backbone.name=resnet18", "backbone.width=8", "fpn.channels=8"]
    small += ["box_head.hidden_units=16", "box_head.convolution_channels=8"]
    small += ["roi.samples_per_picture=16", "mask_head={resolution: 4, channels: 8}"]
    config = default_config([f"model.preset={preset}", *(f"model.{line}" for line in small)])
    detector = build_detector(config.model, NUM_CLASSES)
    batch = small_batch(1)
    with tf.GradientTape() as tape:
        terms = detector.loss_terms(batch, 0, STEP)
        loss = tf.add_n([term.sum for term in terms.values()])
    weights = detector.trainable_variables
    for weight, gradient in zip(
        weights, tape.gradient(loss, [weight.value for weight in weights]), strict=True
    ):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), weight.path
    found = detector.detect(batch.images, batch.image_sizes)
    assert int(found.num[0]) > 0


def test_class_agnostic_boxes():
    config = small_config()
    box_head = config.box_head.model_copy(update={"class_agnostic": True})
    detector = build_detector(small_config(box_head=box_head, mask_head=None), NUM_CLASSES)
    weights = detector.export_weights()
    assert weights["box_head/deltas/kernel"].shape == (16, 4)
    batch = small_batch(2)
    assert list(detector.loss_terms(batch, 0, STEP)) == LOSSES[:-1]
    found = detector.detect(batch.images, batch.image_sizes)
    assert found.masks is None
    assert (found.num.numpy() > 0).all()

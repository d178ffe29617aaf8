import numpy as np
import pytest
import tensorflow as tf

from configs.model_schema import BoxHeadConfig, DetectionConfig
from model.layers.box_head import BoxHead, box_loss_terms, detect_boxes
from model.layers.rois import SampledRois

NUM_CLASSES = 3


CONVOLUTIONS = dict(convolutions=4, convolution_channels=4, fully_connected=1)


def head(policy="float32", **settings):
    config = BoxHeadConfig(hidden_units=16, **settings)
    layer = BoxHead(config, NUM_CLASSES, seed=0, dtype=policy, name="box_head")
    layer.build((None, None, 2, 2, 8))
    return layer


def roi_features():
    return tf.constant(np.random.default_rng(0).normal(size=(2, 5, 2, 2, 8)), tf.float32)


@pytest.mark.parametrize("settings", [{}, CONVOLUTIONS, CONVOLUTIONS | {"norm": "group_norm"}])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_gradients_reach_every_weight(policy, settings):
    layer = head(policy, **settings)
    with tf.GradientTape() as tape:
        logits, deltas = layer(roi_features())
        loss = tf.reduce_sum((logits - 1.0) ** 2) + tf.reduce_sum((deltas - 1.0) ** 2)
    assert (logits.shape, deltas.shape) == ((2, 5, 4), (2, 5, 3, 4))
    assert logits.dtype == deltas.dtype == tf.float32
    weights = [variable.value for variable in layer.trainable_variables]
    for gradient in tape.gradient(loss, weights):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


def test_batch_norm_takes_the_rois_that_were_drawn_in_training_only():
    layer = head(convolutions=1, convolution_channels=4, norm="batch_norm")
    features, valid = roi_features(), np.arange(10).reshape(2, 5) % 3 > 0
    layer.convolutions[0].norm.gamma.assign([0.5, 1.0, 1.5, 2.0])
    untrained = layer(features)[0].numpy()
    trained = layer(features, valid=tf.constant(valid), training=True)[0].numpy()
    kernel = layer.convolutions[0].kernel.numpy()
    drawn = features.numpy()[valid]  # [R, 2, 2, 8]
    maps = np.stack([convolved(x, kernel) for x in drawn])
    mean, variance = maps.mean(axis=(0, 1, 2)), maps.var(axis=(0, 1, 2))
    norm = layer.convolutions[0].norm
    np.testing.assert_allclose(norm.moving_mean, 0.1 * mean, rtol=1e-4)
    unbiased = maps.reshape(-1, 4).var(axis=0, ddof=1)
    np.testing.assert_allclose(norm.moving_variance, 0.9 + 0.1 * unbiased, rtol=1e-4)
    normal = (maps - mean) / np.sqrt(variance + 1e-5) * norm.gamma.numpy()
    hidden = np.maximum(normal.reshape(len(drawn), -1), 0)
    for layer_ in (*layer.hidden, layer.class_logits):
        hidden = hidden @ layer_.kernel.numpy() + layer_.bias.numpy()
        hidden = hidden if layer_ is layer.class_logits else np.maximum(hidden, 0)
    np.testing.assert_allclose(trained[valid], hidden, rtol=1e-3, atol=1e-6)
    # At inference: the moving statistics, which have moved.
    assert np.abs(trained - untrained).max() > 1e-4
    assert np.abs(layer(features)[0].numpy() - untrained).max() > 1e-5


def test_value_of_each_roi_is_its_own():
    layer, features = head(), roi_features()
    logits, deltas = layer(features)
    one_logits, one_deltas = layer(features[1:, 3:4])
    np.testing.assert_allclose(logits[1, 3], one_logits[0, 0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(deltas[1, 3], one_deltas[0, 0], rtol=1e-5, atol=1e-8)


def test_four_convolutions_and_one_fully_connected_layer_by_numpy():
    layer, features = head(**CONVOLUTIONS), roi_features()
    names = [variable.path.removeprefix("box_head/") for variable in layer.variables]
    layers = [*(f"conv{n}" for n in (1, 2, 3, 4)), "fc1", "class_logits", "deltas"]
    assert names == [f"{name}/{weight}" for name in layers for weight in ("kernel", "bias")]
    rng = np.random.default_rng(1)
    for variable in layer.variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    weights = dict(zip(names, [variable.numpy() for variable in layer.variables], strict=True))
    x = features.numpy()[1, 3]  # one RoI, [2, 2, 8]
    for conv in layers[:4]:
        x = np.maximum(convolved(x, weights[f"{conv}/kernel"]) + weights[f"{conv}/bias"], 0)
    x = np.maximum(x.reshape(-1) @ weights["fc1/kernel"] + weights["fc1/bias"], 0)
    logits, deltas = layer(features)
    expected = x @ weights["class_logits/kernel"] + weights["class_logits/bias"]
    np.testing.assert_allclose(logits[1, 3], expected, rtol=1e-4, atol=1e-5)
    expected = x @ weights["deltas/kernel"] + weights["deltas/bias"]
    np.testing.assert_allclose(np.reshape(deltas[1, 3], -1), expected, rtol=1e-4, atol=1e-5)


def convolved(x, kernel):
    """A 3x3 convolution of one map [H, W, C], zeros around it: one product a tap."""
    padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
    height, width = x.shape[:2]
    taps = [(i, j) for i in range(3) for j in range(3)]
    return sum(padded[i : i + height, j : j + width] @ kernel[i, j] for i, j in taps)


def sampled_rois():
    return SampledRois(
        boxes=tf.constant([[[0.0, 0, 10, 10], [0, 0, 5, 5], [1, 1, 2, 2]]]),
        gt_index=tf.constant([[1, 0, 0]]),
        gt_boxes=tf.constant([[[1.0, 0, 11, 10], [0, 0, 10, 10], [0, 0, 10, 10]]]),
        gt_classes=tf.constant([[2, 0, 0]]),
        is_positive=tf.constant([[True, False, False]]),
        is_sampled=tf.constant([[True, True, False]]),
        max_positives=1,
    )


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_loss_by_hand(class_agnostic):
    probabilities = [[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1], [0.25] * 4]
    deltas = np.full((1, 3, 1 if class_agnostic else 3, 4), 100.0, np.float32)
    deltas[0, 0, 0 if class_agnostic else 1] = [0.4, 0.0, 0.5, 0.0]
    terms = box_loss_terms(
        tf.math.log(tf.constant([probabilities])),
        tf.constant(deltas),
        sampled_rois(),
        (10.0, 10.0, 5.0, 5.0),
        BoxHeadConfig(class_agnostic=class_agnostic),
    )
    # The target is dy = 1 / 10, times its weight 10.
    assert float(terms["roi_box"].sum) == pytest.approx(0.6 + 0.5, rel=1e-5)
    assert float(terms["roi_class"].sum) == pytest.approx(-np.log(0.6) - np.log(0.7), rel=1e-5)
    assert float(terms["roi_box"].denominator) == float(terms["roi_class"].denominator) == 2


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_detections_by_hand(class_agnostic):
    # RoI 0: class 1; RoI 1 beside it: class 1, weaker; RoI 2: class 3; RoI 3 is padding.
    probabilities = [
        [0.1, 0.8, 0.05, 0.05],
        [0.3, 0.6, 0.05, 0.05],
        [0.2, 0.0, 0.1, 0.7],
        [0.0, 0.0, 1.0, 0.0],
    ]
    boxes = [[0, 0, 10, 10], [0, 1, 10, 11], [20, 20, 40, 40], [0, 0, 50, 50]]
    deltas = np.zeros((1, 4, 1 if class_agnostic else 3, 4), np.float32)
    deltas[0, 2] = [1.0, 0.0, 0.0, 0.0]  # moved down by a tenth of its height
    found = detect_boxes(
        [tf.math.log(tf.constant([probabilities]) + 1e-9)],
        tf.constant(deltas),
        tf.constant([boxes], tf.float32),
        tf.constant([[True, True, True, False]]),
        tf.constant([[41.0, 100.0]]),
        (10.0, 10.0, 5.0, 5.0),
        (None, 4.0),
        DetectionConfig(score_threshold=0.15, max_detections=5),
    )
    assert found.valid[0].numpy().tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(found.boxes[0, :2], [[0, 0, 10, 10], [22, 20, 41, 40]], rtol=1e-5)
    assert found.classes[0].numpy().tolist() == [1, 3, 0, 0, 0]
    np.testing.assert_allclose(found.scores[0, :2], [0.8, 0.7], rtol=1e-5)

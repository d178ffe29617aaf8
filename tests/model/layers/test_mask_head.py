import numpy as np
import pytest
import tensorflow as tf

from configs.model_schema import MaskHeadConfig
from model.batch import Masks
from model.layers.mask_head import MaskHead, mask_loss_term
from model.layers.rois import SampledRois

NUM_CLASSES = 3


def head(policy="float32", norm="none"):
    config = MaskHeadConfig(resolution=3, convolutions=2, channels=6, norm=norm)
    layer = MaskHead(config, NUM_CLASSES, seed=0, dtype=policy, name="mask_head")
    layer.build((None, None, 3, 3, 8))
    rng = np.random.default_rng(1)
    for variable in (layer.upsample_bias, layer.mask_kernel, layer.mask_bias):
        variable.assign(rng.normal(size=variable.shape))
    return layer


def roi_features():
    return tf.constant(np.random.default_rng(0).normal(size=(2, 4, 3, 3, 8)), tf.float32)


def test_equals_transposed_convolution_and_one_channel_of_all_classes():
    layer, classes = head(), tf.constant([[1, 2, 3, 1], [3, 3, 2, 0]])
    features = tf.reshape(roi_features(), [-1, 3, 3, 8])
    for convolution in layer.convolutions:
        features = tf.nn.relu(convolution(features))
    # TensorFlow's kernel of a transposed convolution is row, column, out, in.
    kernel = tf.transpose(layer.upsample_kernel.value, [0, 1, 3, 2])
    features = tf.nn.conv2d_transpose(features, kernel, [8, 6, 6, 6], 2, "VALID")
    features = tf.nn.relu(features + layer.upsample_bias.value)
    masks = tf.einsum("nyxc,kc->nyxk", features, layer.mask_kernel.value) + layer.mask_bias.value
    masks = tf.reshape(masks, [2, 4, 6, 6, NUM_CLASSES]).numpy()
    out = layer(roi_features(), classes=classes).numpy()
    for n in range(2):
        for roi in range(4):
            column = max(int(classes[n, roi]) - 1, 0)
            np.testing.assert_allclose(out[n, roi], masks[n, roi, ..., column], atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("norm", ["none", "batch_norm", "group_norm"])
def test_gradients_reach_the_weights_of_the_classes_asked_for(policy, norm):
    layer = head(policy, norm)
    valid = tf.fill([2, 4], True)
    with tf.GradientTape() as tape:
        classes = tf.constant([[1, 3, 3, 1]] * 2)
        out = layer(roi_features(), classes=classes, valid=valid, training=True)
        loss = tf.reduce_sum(out**2)
    assert out.dtype == tf.float32
    variables = layer.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    by_path = {}
    for variable, gradient in zip(variables, gradients, strict=True):
        by_path[variable.path] = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(by_path[variable.path]).all()
        assert np.abs(by_path[variable.path]).max() > 0
    kernel = np.abs(by_path["mask_head/mask_kernel"]).max(axis=1)
    assert (kernel > 0).tolist() == [True, False, True]


def test_batch_norm_takes_the_positives_in_training_only():
    layer, classes = head(norm="batch_norm"), tf.constant([[1, 2, 3, 1], [3, 3, 0, 0]])
    features = roi_features().numpy()
    valid = classes.numpy() > 0
    features[~valid] = 1e6  # rows that nobody looks at
    untrained = layer(tf.constant(features), classes=classes).numpy()
    out = layer(tf.constant(features), classes=classes, valid=tf.constant(valid), training=True)
    statistics = [c.norm.moving_mean.numpy() for c in layer.convolutions]
    alone = head(norm="batch_norm")
    rows = tf.constant(features[valid][np.newaxis])  # the six, as RoIs of one picture
    expected = alone(
        rows,
        classes=tf.constant(classes.numpy()[valid][np.newaxis]),
        valid=tf.fill([1, 6], True),
        training=True,
    )
    np.testing.assert_allclose(out.numpy()[valid], expected[0], rtol=1e-4, atol=1e-5)
    for mean, convolution in zip(statistics, alone.convolutions, strict=True):
        np.testing.assert_allclose(mean, convolution.norm.moving_mean, rtol=1e-4, atol=1e-6)
        assert np.abs(mean).max() > 1e-3
    after = layer(tf.constant(features), classes=classes).numpy()
    assert np.abs(after[valid] - untrained[valid]).max() > 1e-3


def test_loss_counts_positives_that_have_a_mask():
    box = [0.0, 0, 4, 4]
    rois = SampledRois(
        boxes=tf.constant([[box] * 4]),
        gt_index=tf.constant([[0, 1, 2, 0]]),
        gt_boxes=tf.constant([[box] * 4]),
        gt_classes=tf.constant([[1, 1, 2, 0]]),
        is_positive=tf.constant([[True, True, True, False]]),
        is_sampled=tf.constant([[True] * 4]),
        max_positives=4,
    )
    gt_masks = Masks(
        bitmaps=tf.tile(tf.constant([1, 0, 1], tf.uint8)[None, :, None, None], [1, 1, 4, 4]),
        boxes=tf.constant([[box] * 3]),
        valid=tf.constant([[True, True, False]]),
    )
    logits = tf.fill([1, 4, 4, 4], np.float32(np.log(3.0)))  # probability 0.75
    term = mask_loss_term(logits, rois, gt_masks)
    # The first mask is all 1, the second all 0; the third has none, the fourth is no positive.
    assert float(term.sum) == pytest.approx(-np.log(0.75) - np.log(0.25), rel=1e-5)
    assert float(term.denominator) == 2

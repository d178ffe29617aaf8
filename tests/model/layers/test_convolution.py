import keras
import numpy as np
import pytest
import tensorflow as tf

from model.layers.convolution import Convolution, DepthwiseConvolution, padding_of

NORMS = ["none", "frozen_batch_norm", "batch_norm", "group_norm"]


def convolution(norm="none", policy="float32", **settings):
    layer = Convolution(
        **({"filters": 4, "kernel_size": 3} | settings),
        norm=norm,
        initializer=keras.initializers.RandomNormal(0, 0.1, seed=3),
        dtype=policy,
        name="conv",
    )
    layer.build((None, None, None, 2))
    rng = np.random.default_rng(1)
    for variable in layer.variables:
        if "kernel" not in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return layer


def features(seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=(2, 6, 6, 2)), tf.float32)


def test_value_by_hand():
    layer = convolution(filters=1)
    layer.kernel.assign(np.ones((3, 3, 2, 1)))
    layer.bias.assign([10.0])
    out = layer(tf.ones([1, 4, 4, 2]))
    # 3x3 windows of two channels; at a corner 2x2 of them lie in the map.
    assert out[0, 1, 1, 0] == 18 + 10
    assert out[0, 0, 0, 0] == 8 + 10


@pytest.mark.parametrize(("symmetric", "first"), [(True, 4), (False, 9)])
def test_padding_of_a_stride(symmetric, first):
    layer = convolution(filters=1, stride=2, symmetric=symmetric)
    layer.kernel.assign(np.stack([np.ones((3, 3)), np.zeros((3, 3))], axis=-1)[..., None])
    layer.bias.assign([0.0])
    out = layer(tf.ones([1, 4, 4, 2]))
    assert out.shape == (1, 2, 2, 1)
    assert out[0, 0, 0, 0] == first
    assert padding_of(1, 2, symmetric) == "SAME"


def test_folded_norm_equals_norm_after_convolution():
    layer = convolution("frozen_batch_norm")
    plain = tf.nn.conv2d(features(), layer.kernel.value, 1, "SAME")
    norm = layer.norm
    expected = (plain - norm.moving_mean.value) / tf.sqrt(norm.moving_variance.value + 1e-5)
    expected = expected * norm.gamma.value + norm.beta.value
    np.testing.assert_allclose(layer(features()), expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_uses_moving_statistics_at_inference_only():
    layer = convolution("batch_norm")
    same = convolution("frozen_batch_norm")
    np.testing.assert_allclose(layer(features()), same(features()), rtol=1e-5)
    valid = tf.constant([True, True])
    trained = layer(features(), valid=valid, training=True)
    centred = (trained - layer.norm.beta.value) / layer.norm.gamma.value
    np.testing.assert_allclose(tf.reduce_mean(centred, axis=[0, 1, 2]), 0.0, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_gradients_reach_every_trainable_weight(norm, policy):
    layer = convolution(norm, policy)
    weights = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        out = layer(features(), valid=tf.constant([True, True]), training=True)
        loss = tf.reduce_sum(tf.square(tf.cast(out, tf.float32) - 1.0))
    assert out.dtype == layer.compute_dtype
    for gradient in tape.gradient(loss, weights):
        assert gradient.dtype == tf.float32
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("norm", NORMS)
def test_names_of_weights(norm):
    names = {variable.path for variable in convolution(norm).variables}
    affine = {"conv/norm/gamma", "conv/norm/beta"}
    moving = {"conv/norm/moving_mean", "conv/norm/moving_variance"}
    expected = {
        "none": {"conv/bias"},
        "group_norm": affine,
        "batch_norm": affine | moving,
        "frozen_batch_norm": affine | moving,
    }
    assert names == expected[norm] | {"conv/kernel"}


def test_depthwise_folds_its_norm_and_filters_each_channel():
    layer = DepthwiseConvolution(
        2, 3, initializer=keras.initializers.RandomNormal(seed=3), norm="frozen_batch_norm"
    )
    layer.build((None, None, None, 2))
    rng = np.random.default_rng(1)
    for variable in layer.norm.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    norm, out = layer.norm, layer(features())
    for channel in range(2):
        alone = features()[..., channel : channel + 1]
        alone = tf.nn.conv2d(alone, layer.kernel.value[:, :, channel : channel + 1], 1, "SAME")
        mean, variance = norm.moving_mean[channel], norm.moving_variance[channel]
        expected = (alone[..., 0] - mean) / tf.sqrt(variance + 1e-5)
        expected = expected * norm.gamma[channel] + norm.beta[channel]
        np.testing.assert_allclose(out[..., channel], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [8, 12, 16])
def test_a_strided_1x1_convolution_reads_every_second_pixel(channels):
    # With few channels TensorFlow's own gradient of the kernel ended the process.
    layer = Convolution(
        16, 1, stride=2, initializer=keras.initializers.RandomNormal(seed=3), name="conv"
    )
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(0)
    for pictures, side in ((1, 16), (3, 10), (2, 7)):
        x = rng.normal(size=(pictures, side, side, channels)).astype(np.float32)
        with tf.GradientTape() as tape:
            y = layer(x)
            loss = tf.reduce_sum(y**2) / 2
        pixels = x[:, ::2, ::2]
        np.testing.assert_allclose(y, pixels @ layer.kernel.numpy()[0, 0], rtol=1e-4, atol=1e-5)
        expected = np.einsum("nhwc,nhwd->cd", pixels, y)
        gradient = tape.gradient(loss, layer.kernel.value)[0, 0]
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)

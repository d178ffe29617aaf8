import numpy as np
import pytest
import tensorflow as tf

from configs.model_schema import FpnConfig
from model.layers.fpn import FeaturePyramid, add_bilinear, add_nearest

CHANNELS = {"c2": 8, "c3": 9, "c4": 10, "c5": 11}


def pyramid_layer(norm="none", policy="float32"):
    layer = FeaturePyramid(FpnConfig(channels=8, norm=norm), CHANNELS, 0, dtype=policy, name="fpn")
    layer.build()
    return layer


def stages(height=64, width=96):
    rng = np.random.default_rng(0)
    return {
        stage: tf.constant(
            rng.normal(size=(2, height >> level, width >> level, channels)), tf.float32
        )
        for level, (stage, channels) in enumerate(CHANNELS.items(), start=2)
    }


def test_shapes_and_p6():
    pyramid = pyramid_layer()(stages())
    assert list(pyramid) == ["p2", "p3", "p4", "p5", "p6"]
    for level in range(2, 6):
        assert pyramid[f"p{level}"].shape == (2, 64 >> level, 96 >> level, 8)
    np.testing.assert_array_equal(pyramid["p6"], pyramid["p5"][:, ::2, ::2])


def test_upsampling_repeats_each_pixel_four_times():
    fine = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 6, 3)), tf.float32)
    coarse = tf.constant(np.random.default_rng(1).normal(size=(2, 2, 3, 3)), tf.float32)
    expected = fine.numpy() + coarse.numpy().repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(add_nearest(fine, coarse), expected)


@pytest.mark.parametrize("jit", [None, True])
def test_bilinear_upsampling_is_that_of_tensorflow(jit):
    fine = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 6, 3)), tf.float32)
    coarse = tf.constant(np.random.default_rng(1).normal(size=(2, 2, 3, 3)), tf.float32)
    expected = fine + tf.image.resize(coarse, (4, 6), "bilinear")
    add = tf.function(add_bilinear, jit_compile=jit)
    np.testing.assert_allclose(add(fine, coarse), expected, atol=1e-6)


def test_upsampling_by_config():
    inputs = stages()
    nearest, bilinear = (
        FeaturePyramid(FpnConfig(channels=8, upsampling=kind), CHANNELS, 0, name="fpn")
        for kind in ("nearest", "bilinear")
    )
    nearest.build()
    bilinear.build()
    plain, smooth = nearest(inputs), bilinear(inputs)
    np.testing.assert_array_equal(plain["p5"], smooth["p5"])
    assert np.abs(plain["p4"] - smooth["p4"]).max() > 0.01


@pytest.mark.parametrize("norm", ["none", "group_norm", "batch_norm"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_gradients_reach_every_weight(norm, policy):
    layer = pyramid_layer(norm, policy)
    weights = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        pyramid = layer(stages(), valid=tf.constant([True, True]), training=True)
        loss = tf.add_n([tf.reduce_sum(tf.cast(p, tf.float32) ** 2) for p in pyramid.values()])
    assert {p.dtype for p in pyramid.values()} == {tf.as_dtype(layer.compute_dtype)}
    for gradient in tape.gradient(loss, weights):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


def test_batch_norm_takes_the_valid_pictures_in_training_only():
    layer, inputs = pyramid_layer("batch_norm"), stages()
    untrained = layer(inputs)["p5"].numpy()
    valid = tf.constant([True, False])
    trained = layer(inputs, valid=valid, training=True)
    for level in ("p2", "p3", "p4", "p5"):  # gamma is 1 and beta 0
        channels = trained[level][0].numpy().reshape(-1, 8)
        np.testing.assert_allclose(channels.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(channels.var(axis=0), 1, atol=1e-3)
    assert np.abs(layer(inputs)["p5"] - untrained).max() > 0.01  # the moving statistics moved


def test_coarse_levels_reach_fine_ones_but_not_the_other_way():
    layer, inputs = pyramid_layer(), stages()
    plain = layer(inputs)
    changed = layer(inputs | {"c5": inputs["c5"] + 1.0})
    assert all(np.abs(changed[p] - plain[p]).max() > 0.01 for p in plain)
    changed = layer(inputs | {"c2": inputs["c2"] + 1.0})
    for level in ("p3", "p4", "p5", "p6"):
        np.testing.assert_array_equal(changed[level], plain[level])

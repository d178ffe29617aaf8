"""Updates against arithmetic by hand, and against Keras over several steps."""

import numpy as np
import pytest
import tensorflow as tf

from configs.schema import OptimizerConfig
from model.training.optimizers import AdamW, Lars, Sgd, build_optimizer, weights_decay


def run(optimizer, gradients, rate=0.1, weight=(1.0, -2.0), decays=True):
    """Returns the weight after one update a gradient."""
    weight = tf.constant(weight)
    slots = {name: tf.zeros_like(weight) for name in optimizer.slot_names}
    for count, gradient in enumerate(gradients, start=1):
        weight, slots = optimizer.update(
            weight,
            tf.constant(gradient),
            slots,
            tf.constant(rate),
            tf.constant(count, tf.int64),
            decays,
        )
    return weight.numpy()


def test_sgd_adds_the_decay_to_the_gradient_and_keeps_momentum():
    optimizer = Sgd(momentum=0.9, weight_decay=0.5)
    # step 1: g = 1 + 0.5 * 1 = 1.5, m = 1.5, w = 1 - 0.15 = 0.85
    # step 2: g = 1 + 0.425 = 1.425, m = 1.35 + 1.425 = 2.775, w = 0.85 - 0.2775 = 0.5725
    assert run(optimizer, [[1.0], [1.0]], weight=[1.0]) == pytest.approx([0.5725])


def test_decay_is_left_away_where_asked():
    # w = 1 - 0.1 * 1
    assert run(Sgd(0.9, 0.5), [[1.0]], weight=[1.0], decays=False) == pytest.approx([0.9])


def test_momentum_takes_a_changed_rate_at_once():
    first = Sgd(momentum=0.9, weight_decay=0.0)
    slots = {"momentum": tf.constant([1.0])}
    weight, _ = first.update(
        tf.constant([0.0]), tf.constant([0.0]), slots, tf.constant(0.01), tf.constant(2), True
    )
    assert weight.numpy() == pytest.approx([-0.009])  # 0.01 * 0.9 * 1


@pytest.mark.parametrize(
    ("ours", "keras_name", "settings"),
    [
        (Sgd(0.9, 0.0), "SGD", {"momentum": 0.9}),
        (Sgd(0.9, 0.0, nesterov=True), "SGD", {"momentum": 0.9, "nesterov": True}),
        # Keras adds epsilon before the bias correction is divided out; 1e-12 makes both negligible.
        (AdamW(0.9, 0.0, epsilon=1e-12), "Adam", {"epsilon": 1e-12}),
        (AdamW(0.9, 0.01, epsilon=1e-12), "AdamW", {"epsilon": 1e-12, "weight_decay": 0.01}),
    ],
)
def test_updates_equal_those_of_keras(ours, keras_name, settings):
    import keras

    generator = np.random.default_rng(0)
    gradients = generator.normal(size=(5, 2)).astype(np.float32)
    variable = keras.Variable(np.asarray([1.0, -2.0], np.float32))
    optimizer = getattr(keras.optimizers, keras_name)(learning_rate=0.1, **settings)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    np.testing.assert_allclose(run(ours, gradients), variable.numpy(), rtol=1e-5)


def test_lars_scales_the_rate_by_the_norms():
    # |w| = 5, |g| = 10, decay 0.1: ratio = 0.001 * 5 / (10 + 0.5)
    # w = 3 - 0.1 * ratio * (6 + 0.1 * 3)
    ratio = 0.005 / 10.5
    expected = [3 - 0.1 * ratio * 6.3, 4 - 0.1 * ratio * 8.4]
    result = run(Lars(0.9, 0.1), [[6.0, 8.0]], weight=[3.0, 4.0])
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_lars_takes_the_plain_rate_for_a_weight_of_zero():
    assert run(Lars(0.9, 0.1), [[1.0, 0.0]], weight=[0.0, 0.0]) == pytest.approx([-0.1, 0.0])


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_configs_name_the_optimizers(name):
    built = build_optimizer(OptimizerConfig(name=name, momentum=0.8, weight_decay=0.3))
    assert type(built).__name__.lower() == name
    assert built.weight_decay == 0.3


def test_norms_and_biases_are_the_vectors():
    vector, matrix = tf.TensorShape([3]), tf.TensorShape([3, 3])
    assert weights_decay(vector, decay_norms_and_biases=True)
    assert not weights_decay(vector, decay_norms_and_biases=False)
    assert weights_decay(matrix, decay_norms_and_biases=False)

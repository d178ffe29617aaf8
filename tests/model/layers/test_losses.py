import numpy as np
import pytest
import tensorflow as tf

from model.layers.losses import binary_cross_entropy, count, cross_entropy, smooth_l1, sum_where


def test_smooth_l1_by_hand():
    x = tf.constant([-2.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_allclose(smooth_l1(x, 1.0), [1.5, 0.125, 0.0, 0.125, 1.5])
    np.testing.assert_allclose(smooth_l1(x, 0.0), [2.0, 0.5, 0.0, 0.5, 2.0])


@pytest.mark.parametrize("beta", [1 / 9, 1.0])
def test_smooth_l1_is_smooth_at_beta(beta):
    x = tf.constant([beta - 1e-4, beta + 1e-4])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = smooth_l1(x, beta)
    np.testing.assert_allclose(tape.gradient(y, x), 1.0, atol=2e-3)
    np.testing.assert_allclose(y[1] - y[0], 2e-4, rtol=0.01)


def test_cross_entropies_by_hand():
    logits = tf.math.log(tf.constant([[[0.2, 0.3, 0.5]]]))
    np.testing.assert_allclose(cross_entropy(logits, tf.constant([[2]])), [[-np.log(0.5)]], 1e-6)
    # sigmoid(log 3) is 0.75.
    loss = binary_cross_entropy(tf.math.log([3.0, 3.0]), tf.constant([1.0, 0.0]))
    np.testing.assert_allclose(loss, -np.log([0.75, 0.25]), rtol=1e-6)


def test_rows_that_are_not_chosen_have_neither_value_nor_gradient():
    chosen = tf.constant([True, False, True])
    values = tf.constant([1.0, np.inf, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = sum_where(chosen, values)
    assert total == 4.0
    np.testing.assert_array_equal(tape.gradient(total, values), [1.0, 0.0, 1.0])
    assert count(chosen) == 2.0

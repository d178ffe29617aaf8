import numpy as np
import pytest
import tensorflow as tf

from configs.model_schema import BoxHeadConfig
from model.layers.losses import (
    binary_cross_entropy,
    box_losses,
    count,
    cross_entropy,
    giou_loss,
    smooth_l1,
    sum_where,
)


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


def test_label_smoothing_by_hand():
    probabilities = np.array([0.2, 0.3, 0.5])
    logits = tf.constant(np.log(probabilities)[None, None] + 7.0, tf.float32)
    # 1512.00567, section 7, epsilon 0.3 and three classes: targets 0.1, 0.1 and 0.7 + 0.1.
    expected = -(0.1 * np.log(0.2) + 0.1 * np.log(0.3) + 0.8 * np.log(0.5))
    loss = cross_entropy(logits, tf.constant([[2]]), smoothing=0.3)
    np.testing.assert_allclose(loss, [[expected]], rtol=1e-5)


def test_giou_loss_by_hand():
    gt = [0.0, 0, 4, 4]
    pred = [
        [0, 0, 4, 4],  # the same: GIoU 1
        [0, 2, 4, 6],  # common 8 of 24, hull 24: 1 / 3
        [2, 2, 6, 6],  # common 4 of 28, hull 36: 1 / 7 - 8 / 36
        [6, 0, 10, 4],  # apart, 2 rows between: 0 - 8 / 40
        [3, 3, 3, 3],  # a point inside: 0 - 0 / 16
    ]
    gious = np.array([1, 1 / 3, 1 / 7 - 8 / 36, -8 / 40, 0])
    loss = giou_loss(tf.constant(pred, tf.float32), tf.constant(gt))
    np.testing.assert_allclose(loss, 1 - gious, rtol=1e-6)
    assert giou_loss(tf.constant([5.0] * 4), tf.constant([5.0] * 4)) == 1.0


def test_giou_pulls_boxes_that_do_not_overlap():
    pred = tf.constant([6.0, 0, 10, 4])
    with tf.GradientTape() as tape:
        tape.watch(pred)
        loss = giou_loss(pred, tf.constant([0.0, 0, 4, 4]))
    # The union is 32 of the hull's 40. The near side: d(-union / hull) = 4 / 40, so that it moves
    # towards the other box; the far side, which moves the hull too: (-4 * 40 + 32 * 4) / 40**2.
    np.testing.assert_allclose(tape.gradient(loss, pred).numpy()[[0, 2]], [0.1, -0.02], rtol=1e-4)


@pytest.mark.parametrize("kind", ["smooth_l1", "giou"])
def test_box_losses_count_positives_only_and_carry_their_weight(kind):
    roi, gt = [0.0, 0, 10, 10], [2.0, 0, 12, 10]
    deltas = tf.constant([[[0.0] * 4, [np.nan] * 4]])
    config = BoxHeadConfig(box_loss=kind, box_loss_weight=3.0)
    with tf.GradientTape() as tape:
        tape.watch(deltas)
        losses = box_losses(
            deltas,
            tf.constant([[roi, [0.0] * 4]]),
            tf.constant([[gt, [0.0] * 4]]),
            tf.constant([[True, False]]),
            config.delta_weights,
            config,
        )
        total = tf.reduce_sum(losses)
    # dy is 2 / 10, times its weight 10; the boxes have 80 of 120 square pixels in common.
    expected = {"smooth_l1": 2.0, "giou": 1 - 80 / 120}[kind]
    np.testing.assert_allclose(losses, [[3 * expected, 0.0]], rtol=1e-5)
    gradient = tape.gradient(total, deltas).numpy()
    assert np.isfinite(gradient).all()
    assert gradient[0, 0, 0] < 0
    assert not gradient[0, 1].any()


def test_rows_that_are_not_chosen_have_neither_value_nor_gradient():
    chosen = tf.constant([True, False, True])
    values = tf.constant([1.0, np.inf, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = sum_where(chosen, values)
    assert total == 4.0
    np.testing.assert_array_equal(tape.gradient(total, values), [1.0, 0.0, 1.0])
    assert count(chosen) == 2.0

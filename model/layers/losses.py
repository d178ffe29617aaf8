"""Losses as sums with a denominator, so that workers can add up both.

Letters: N pictures, R RoIs, K classes. Everything is float32. What is not finite in an unused row
(a filler picture) must not reach the sum: rows are chosen by `tf.where`, not by a product.
"""

from typing import NamedTuple

import tensorflow as tf


class LossTerm(NamedTuple):
    """A loss: `sum` / max(`denominator`, 1), where both may first be added up over workers.

    Attributes:
        sum: float32 scalar, 0 where nothing is counted.
        denominator: float32 scalar, the number of what was sampled; may be 0.
    """

    sum: tf.Tensor
    denominator: tf.Tensor


def count(chosen: tf.Tensor) -> tf.Tensor:
    """Returns the number of True in a bool tensor, float32."""
    return tf.reduce_sum(tf.cast(chosen, tf.float32))


def sum_where(chosen: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns the sum of `values` where `chosen` (same shape) is True; the rest has no gradient."""
    return tf.reduce_sum(tf.where(chosen, values, 0.0))


def binary_cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns the elementwise cross-entropy of sigmoid(logits) and targets in 0-1."""
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)


def cross_entropy(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropy [N, R] of softmax(logits [N, R, K + 1]) and int classes [N, R]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits)


def smooth_l1(differences: tf.Tensor, beta: float) -> tf.Tensor:
    """Returns the elementwise smooth L1 (1504.08083, equation 3), quadratic below `beta`.

    With `beta` 0 it is the absolute value, as in Detectron2 and torchvision.
    """
    absolute = tf.abs(differences)
    if beta == 0.0:
        return absolute
    quadratic = 0.5 * tf.square(differences) / beta
    return tf.where(absolute < beta, quadratic, absolute - 0.5 * beta)

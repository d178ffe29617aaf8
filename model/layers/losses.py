"""Losses as sums with a denominator, so that workers can add up both.

Letters: N pictures, R RoIs or anchors, K classes. Everything is float32. What is not finite in an
unused row (a filler picture) must not reach the sum: rows are chosen by `tf.where`, not a product.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from configs.model_schema import BoxHeadConfig, RpnConfig
from model.ops.boxes import box_areas, decode_deltas, encode_deltas, intersection_areas, sides_of


class LossTerm(NamedTuple):
    """A loss: `sum` / max(`denominator`, 1), where both may first be added up over workers.

    Attributes:
        sum: float32 scalar, 0 where nothing is counted.
        denominator: float32 scalar, the number of what was sampled; may be 0.
    """

    sum: tf.Tensor
    denominator: tf.Tensor


def count(chosen: tf.Tensor) -> tf.Tensor:
    """Returns the number of True in a bool tensor of any shape, a float32 scalar."""
    return tf.reduce_sum(tf.cast(chosen, tf.float32))


def sum_where(chosen: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns the sum of `values` where `chosen` (same shape) is True; the rest has no gradient."""
    return tf.reduce_sum(tf.where(chosen, values, 0.0))


def binary_cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropy of sigmoid(logits) and targets in 0-1, element by element."""
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)


def cross_entropy(logits: tf.Tensor, classes: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """Returns the cross-entropy [N, R] of softmax(logits [N, R, K + 1]) and int classes [N, R].

    With label smoothing (1512.00567, section 7) the target of each of the K + 1 classes is
    `smoothing` / (K + 1), and of the given one 1 - `smoothing` more.
    """
    of_class = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits)
    if smoothing == 0.0:
        return of_class
    of_any = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    return (1.0 - smoothing) * of_class + smoothing * of_any


def box_losses(
    pred_deltas: tf.Tensor,
    boxes: tf.Tensor,
    gt_boxes: tf.Tensor,
    is_positive: tf.Tensor,
    delta_weights: Sequence[float],
    config: RpnConfig | BoxHeadConfig,
) -> tf.Tensor:
    """Returns the box loss [N, R] of each positive anchor or RoI, 0 for the others.

    Args:
        pred_deltas: [N, R, 4].
        boxes: the anchors [R, 4] or RoIs [N, R, 4].
        gt_boxes: [N, R, 4], what the deltas should make of them.
        is_positive: bool [N, R].
        delta_weights: factors on (dy, dx, dh, dw).
        config: `box_loss`, its weight and its beta; limits on the deltas.
    """
    pred_deltas = tf.where(is_positive[..., tf.newaxis], pred_deltas, 0.0)
    if config.box_loss == "giou":
        pred_boxes = decode_deltas(pred_deltas, boxes, delta_weights, config.log_scale_limits)
        losses = giou_loss(pred_boxes, gt_boxes)
    else:
        differences = pred_deltas - encode_deltas(gt_boxes, boxes, delta_weights)
        losses = tf.reduce_sum(smooth_l1(differences, config.smooth_l1_beta), axis=-1)
    return config.box_loss_weight * tf.where(is_positive, losses, 0.0)


def giou_loss(pred_boxes: tf.Tensor, gt_boxes: tf.Tensor) -> tf.Tensor:
    """Returns 1 - GIoU, [...] in 0 to 2, of boxes [..., 4]; 1 where both are points.

    Reference: 1902.09630, algorithm 2.
    """
    common = intersection_areas(sides_of(pred_boxes), sides_of(gt_boxes))
    union = box_areas(pred_boxes) + box_areas(gt_boxes) - common
    starts = tf.minimum(pred_boxes[..., :2], gt_boxes[..., :2])
    ends = tf.maximum(pred_boxes[..., 2:], gt_boxes[..., 2:])
    hull = box_areas(tf.concat([starts, ends], axis=-1))
    iou = tf.math.divide_no_nan(common, union)
    return 1.0 - iou + tf.math.divide_no_nan(hull - union, hull)


def smooth_l1(differences: tf.Tensor, beta: float) -> tf.Tensor:
    """Returns the smooth L1 of each element (1504.08083, equation 3), quadratic below `beta`.

    With `beta` 0 it is the absolute value, as in Detectron2 and torchvision.
    """
    absolute = tf.abs(differences)
    if beta == 0.0:
        return absolute
    quadratic = 0.5 * tf.square(differences) / beta
    return tf.where(absolute < beta, quadratic, absolute - 0.5 * beta)

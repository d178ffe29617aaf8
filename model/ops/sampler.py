"""Random choice of the anchors and RoIs that enter the losses, without state.

Letters: N images, A anchors, R RoIs.
"""

from typing import NamedTuple

import tensorflow as tf

from model.ops.matcher import NEGATIVE, POSITIVE


def random_priorities(
    seed: int | tf.Tensor, step: int | tf.Tensor, image_ids: tf.Tensor, count: int, salt: int
) -> tf.Tensor:
    """Returns random numbers that depend on nothing but the arguments.

    The numbers of a picture are the same in any batch, on any worker and device.

    Args:
        seed: seed of the run, an integer.
        step: number of the training's step, an integer.
        image_ids: [N] int64.
        count: numbers a picture, at most 2**32.
        salt: tells apart uses in the same step.

    Returns:
        [N, count] float32, multiples of 2**-24, uniform in [0, 1).

    Reference: the finaliser of MurmurHash3 (Appleby), by which each key is mixed in.
    """
    pictures = tf.zeros_like(image_ids, tf.uint32)
    for key in (seed, step, salt, image_ids):
        key = tf.cast(key, tf.int64)
        for half in (key & 0xFFFFFFFF, tf.bitwise.right_shift(key, 32) & 0xFFFFFFFF):
            pictures = _mixed(pictures * 5 + tf.cast(half, tf.uint32) + 0x9E3779B9)
    positions = _mixed(tf.cast(tf.range(count), tf.uint32) + 0x9E3779B9)
    # Twice, so that the numbers of two pictures are not those of one in another order.
    numbers = _mixed(_mixed(positions[None, :] + pictures[:, None]) ^ (pictures[:, None] * 9 + 1))
    return tf.cast(tf.bitwise.right_shift(numbers, 8), tf.float32) * 2.0**-24


def _mixed(numbers: tf.Tensor) -> tf.Tensor:
    """Returns uint32 numbers, each bit of which depends on all bits of the one in its place."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        numbers = (numbers ^ tf.bitwise.right_shift(numbers, shift)) * factor
    return numbers ^ tf.bitwise.right_shift(numbers, 16)


def sample_anchors(
    labels: tf.Tensor, priorities: tf.Tensor, num: int, positive_fraction: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns which anchors enter the losses.

    Args:
        labels: [N, A] int32 of `matcher`.
        priorities: [N, A] float32 in [0, 1); larger ones are taken first.
        num: anchors a picture; negatives fill up where positives are few, not the other way.
        positive_fraction: upper share of positives.

    Returns:
        (positive [N, A], negative [N, A]), bool.
    """
    positives = _first(labels == POSITIVE, priorities, int(num * positive_fraction))
    negatives = _first(labels == NEGATIVE, priorities, num)
    num_positives = tf.reduce_sum(tf.cast(positives.is_taken, tf.int32), axis=1, keepdims=True)
    ranks = tf.range(tf.shape(negatives.index)[1])[None, :]
    negatives_taken = negatives.is_taken & (ranks < num - num_positives)
    return (
        _marked(labels, positives.index, positives.is_taken),
        _marked(labels, negatives.index, negatives_taken),
    )


def sample_rois(
    labels: tf.Tensor, priorities: tf.Tensor, num: int, positive_fraction: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the RoIs that enter the losses, positives first.

    Args:
        labels: [N, R] int32 of `matcher`.
        priorities: [N, R] float32 in [0, 1); larger ones are taken first.
        num: rows a picture.
        positive_fraction: upper share of positives.

    Returns:
        (index [N, num] int32, is_positive [N, num] bool, is_sampled [N, num] bool); rows that
        are left over have index 0 and are neither.
    """
    positives = _first(labels == POSITIVE, priorities, int(num * positive_fraction))
    negatives = _first(labels == NEGATIVE, priorities, num)
    num_positives = tf.reduce_sum(tf.cast(positives.is_taken, tf.int32), axis=1, keepdims=True)
    num_negatives = tf.reduce_sum(tf.cast(negatives.is_taken, tf.int32), axis=1, keepdims=True)
    rows = tf.range(num)[None, :]
    is_positive = rows < num_positives
    is_sampled = rows < num_positives + num_negatives
    candidates = tf.concat([positives.index, negatives.index], axis=1)
    place = tf.where(is_positive, rows, tf.shape(positives.index)[1] + rows - num_positives)
    index = tf.gather(candidates, tf.where(is_sampled, place, 0), batch_dims=1)
    return tf.where(is_sampled, index, 0), is_positive, is_sampled


class _First(NamedTuple):
    """The first of some candidates: `index` [N, k] int32, of use where `is_taken` [N, k]."""

    index: tf.Tensor
    is_taken: tf.Tensor


def _first(is_candidate: tf.Tensor, priorities: tf.Tensor, num: int) -> _First:
    """Returns at most `num` candidates of each row, by falling priority.

    Args:
        is_candidate: [N, A] bool.
        priorities: [N, A] float32 in [0, 1).
        num: k; A where that is less.
    """
    limit = is_candidate.shape[1]
    limit = tf.shape(is_candidate)[1] if limit is None else limit
    limit = tf.minimum(num, limit) if tf.is_tensor(limit) else min(num, limit)
    values, index = tf.math.top_k(tf.where(is_candidate, priorities, -1.0), limit)
    return _First(index, values >= 0.0)


def _marked(labels: tf.Tensor, index: tf.Tensor, is_taken: tf.Tensor) -> tf.Tensor:
    """Returns [N, A] bool, True at the places `index` [N, k] that are taken."""
    rows = tf.broadcast_to(tf.range(tf.shape(index)[0])[:, None], tf.shape(index))
    places = tf.stack([rows, index], axis=-1)
    marks = tf.scatter_nd(places, tf.cast(is_taken, tf.int32), tf.shape(labels))
    return tf.ensure_shape(marks > 0, labels.shape)

"""What is left in view of objects that a border cuts off, as their masks tell.

Letters: n objects, S the side of a bitmap. Boxes are float32 [n, 4], yxyx, input-frame pixels.
"""

import tensorflow as tf

from model.batch import Masks

_FAR = 1e9  # pixels
_LEAST_SHOWN_PX = 0.01  # less of a cell is a rounding


def mask_boxes(bitmaps: tf.Tensor, covered: tf.Tensor) -> tf.Tensor:
    """Returns the boxes of the cells that are set; without area where none is.

    Args:
        bitmaps: bool [n, S, S].
        covered: what they cover.
    """
    spans = []
    for axis in (0, 1):
        is_set = tf.reduce_any(bitmaps, axis=2 - axis)  # [n, S]
        edges = _edges(covered, axis, bitmaps.shape[1])  # [n, S + 1]
        spans.append(tf.reduce_min(tf.where(is_set, edges[:, :-1], _FAR), axis=1))
        spans.append(tf.reduce_max(tf.where(is_set, edges[:, 1:], -_FAR), axis=1))
    ymin, ymax, xmin, xmax = spans
    found = tf.stack([ymin, xmin, ymax, xmax], axis=1)
    return tf.where((ymax > ymin)[:, tf.newaxis], found, 0.0)


def in_window(masks: Masks, window: tf.Tensor) -> tf.Tensor:
    """Returns bool [n, S, S]: set cells that reach into a frame.

    Args:
        masks: masks of n rows.
        window: float32 [2], height and width.
    """
    is_inside = []
    for axis in (0, 1):
        edges = _edges(masks.boxes, axis, masks.bitmaps.shape[1])
        reaches = (edges[:, 1:] > _LEAST_SHOWN_PX) & (
            edges[:, :-1] < window[axis] - _LEAST_SHOWN_PX
        )
        is_inside.append(reaches)
    rows, columns = is_inside
    return (masks.bitmaps > 0) & rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]


def cut_masks(masks: Masks, window: tf.Tensor) -> Masks:
    """Returns the masks without what lies beyond a window, to less than a cell."""
    return masks._replace(bitmaps=tf.cast(in_window(masks, window), tf.uint8))


def seen_boxes(boxes: tf.Tensor, masks: Masks, in_view: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns the boxes, each cut down to what is in view of its mask.

    A box of whose mask all is in view, or no more is missing than its own border cut off, stays to
    the bit: bitmaps are coarser than boxes. Without a mask it stays too; nothing in view leaves it
    no area.

    Args:
        boxes: cut off at the window's border.
        masks: masks of the same rows, whole.
        in_view: bool [n, S, S], the cells that are still set.
        window: float32 [2], height and width of what is seen of the frame.
    """
    limits = tf.concat([window, window], axis=0)
    whole = tf.clip_by_value(mask_boxes(masks.bitmaps > 0, masks.boxes), 0.0, limits)
    left = tf.clip_by_value(mask_boxes(in_view, masks.boxes), 0.0, limits)
    cell = (masks.boxes[:, 2:] - masks.boxes[:, :2]) / float(masks.bitmaps.shape[1])
    is_cut = tf.reduce_any(tf.abs(left - whole) > 0.5 * tf.concat([cell, cell], axis=1), axis=1)
    is_gone = ~tf.reduce_any(in_view, axis=[1, 2])
    corner = tf.maximum(boxes[:, :2], left[:, :2])
    both = tf.concat([corner, tf.maximum(tf.minimum(boxes[:, 2:], left[:, 2:]), corner)], axis=1)
    changes = masks.valid & (is_cut | is_gone)
    return tf.where(changes[:, tf.newaxis], both, boxes)


def _edges(covered: tf.Tensor, axis: int, side: int) -> tf.Tensor:
    """Returns [n, S + 1], the edges of a bitmap's cells on an axis."""
    start, end = covered[:, axis, tf.newaxis], covered[:, axis + 2, tf.newaxis]
    return start + tf.range(side + 1, dtype=tf.float32) / float(side) * (end - start)

"""Turns a picture and all that lies in it from left to right, and cuts a window out of it."""

import tensorflow as tf


def flip_boxes(boxes: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Returns the boxes of the mirrored picture.

    Args:
        boxes: [..., 4] float32, yxyx, pixels.
        width: float32 scalar, of the picture's content, in pixels.
    """
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    return tf.stack([ymin, width - xmax, ymax, width - xmin], axis=-1)


def flip_columns(values: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns a picture [H, W, 3] or bitmaps [n, S, S] with the columns (`axis`) reversed."""
    return tf.reverse(values, [axis])


def crop_boxes(boxes: tf.Tensor, crop: tf.Tensor) -> tf.Tensor:
    """Returns the boxes in the frame of a window, cut off at its border.

    Args:
        boxes: [..., 4] float32, yxyx, pixels of the picture.
        crop: int32 [4], top, left, height, width of the window.

    Returns:
        Boxes within the window; one that lies outside has no area.
    """
    top, left, height, width = tf.unstack(tf.cast(crop, tf.float32))
    moved = boxes - tf.stack([top, left, top, left])
    return tf.clip_by_value(moved, 0.0, tf.stack([height, width, height, width]))

"""Turns a picture and all that lies in it from left to right."""

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
    """Returns a picture or bitmaps with the columns (`axis`) in reverse order."""
    return tf.reverse(values, [axis])

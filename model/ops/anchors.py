"""Anchors of one level of the feature pyramid."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf


def base_anchors(
    size_px: float, aspect_ratios: Sequence[float], rounded: bool
) -> npt.NDArray[np.float32]:
    """Returns the anchors of one cell, centred on (0, 0).

    Args:
        size_px: square root of the area.
        aspect_ratios: height / width, one an anchor.
        rounded: whether corners are rounded to whole pixels (torchvision), half to even.

    Returns:
        [a, 4] float32, yxyx, in the order of `aspect_ratios`.

    >>> base_anchors(32, [0.25, 1.0], rounded=False).tolist()
    [[-8.0, -32.0, 8.0, 32.0], [-16.0, -16.0, 16.0, 16.0]]
    """
    # In float32 throughout: rounding x.5 goes by the last bit, and torchvision's is float32.
    height_factors = np.sqrt(np.asarray(aspect_ratios, np.float32))
    sizes = np.stack([height_factors, 1 / height_factors], axis=-1) * np.float32(size_px)
    anchors: npt.NDArray[np.float32] = np.concatenate([-sizes, sizes], axis=-1)
    anchors /= np.float32(2)
    return np.round(anchors) if rounded else anchors


def level_anchors(
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    stride: int,
    base: npt.ArrayLike,
    offset: float,
) -> tf.Tensor:
    """Returns the anchors of all cells of a level.

    Args:
        height: rows of the feature map, a number or a scalar tensor.
        width: its columns, likewise.
        stride: pixels a cell.
        base: [a, 4] from `base_anchors`.
        offset: place of the centre in a cell, in strides; 0.5 is its middle.

    Returns:
        [height * width * a, 4] float32, yxyx, in the order row, column, anchor.

    Reference: 1506.01497, section 3.1.1.
    """
    ys = (tf.range(height, dtype=tf.float32) + offset) * float(stride)
    xs = (tf.range(width, dtype=tf.float32) + offset) * float(stride)
    centers = tf.stack(tf.meshgrid(ys, xs, indexing="ij"), axis=-1)  # [height, width, 2]
    shifts = tf.concat([centers, centers], axis=-1)
    anchors = shifts[:, :, None, :] + tf.constant(base, tf.float32)
    return tf.reshape(anchors, [-1, 4])

"""Random colours: brightness, contrast, saturation and hue in one linear map of RGB.

In order: levels times `brightness`; distances from the picture's mean grey times `contrast`;
distances from each pixel's own grey times `saturation`; the colour plane of YIQ turned by `hue`
turns. As all four are linear they are one 3 x 3 matrix, and one multiple of the mean grey added;
levels are cut off at 0 and 255 once, at the end. torchvision's ColorJitter in contrast cuts off
after each, in random order, and turns the hue in HSV, which costs several times as much.

The mean is a sum of integers, and each product and sum is an operation of its own: the result does
not depend on how many threads share the work.
"""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Floats = npt.NDArray[np.float64]

_YIQ = np.asarray([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_GREY = _YIQ[0]  # ITU-R BT.601, as in torchvision's greyscale


def color_maps(
    brightness: Floats, contrast: Floats, saturation: Floats, hue: Floats
) -> npt.NDArray[np.float32]:
    """Returns float32 [n, 3, 4]: a matrix, and by what the mean grey times is added, for each.

    Args:
        brightness: [n] factors.
        contrast: [n] factors.
        saturation: [n] factors.
        hue: [n] turns.
    """
    around = 2 * np.pi * hue
    change = np.zeros((len(hue), 3, 3))
    change[:, 1, 1] = change[:, 2, 2] = np.cos(around) - 1
    change[:, 2, 1] = np.sin(around)
    change[:, 1, 2] = -change[:, 2, 1]
    turned = np.eye(3) + np.linalg.inv(_YIQ) @ change @ _YIQ  # exact where nothing turns
    own_grey = np.tile(_GREY, (3, 1))
    saturated = saturation[:, None, None] * np.eye(3) + (1 - saturation)[:, None, None] * own_grey
    matrix = (brightness * contrast)[:, None, None] * (turned @ saturated)
    # A grey stays as it is under saturation and hue, so the share of the mean is added at the end.
    of_mean = np.repeat((brightness * (1 - contrast))[:, None, None], 3, axis=1)
    return np.concatenate([matrix, of_mean], axis=2).astype(np.float32)


def recolored(picture: tf.Tensor, color_map: tf.Tensor) -> tf.Tensor:
    """Returns the picture with its colours mapped; halves are rounded up.

    Args:
        picture: uint8 [H, W, 3].
        color_map: float32 [3, 4], a row of `color_maps`.
    """
    is_same = tf.reduce_all(color_map == tf.eye(3, 4))
    return tf.cond(is_same, lambda: picture, lambda: _mapped(picture, color_map))


def _mapped(picture: tf.Tensor, color_map: tf.Tensor) -> tf.Tensor:
    row_sums = tf.reduce_sum(tf.cast(picture, tf.int32), axis=1)  # [H, 3], up to 2**31 / 255 wide
    sums = tf.cast(tf.reduce_sum(tf.cast(row_sums, tf.int64), axis=0), tf.float64)
    pixels = tf.cast(tf.reduce_prod(tf.shape(picture, tf.int64)[:2]), tf.float64)
    mean_grey = tf.cast(tf.reduce_sum(sums * _GREY) / pixels, tf.float32)
    channels = tf.unstack(tf.cast(picture, tf.float32), axis=-1)

    def channel(row: tf.Tensor) -> tf.Tensor:
        value = channels[0] * row[0] + channels[1] * row[1] + channels[2] * row[2]
        level = tf.clip_by_value(value + row[3] * mean_grey, 0.0, 255.0)
        return tf.cast(level + 0.5, tf.uint8)

    return tf.stack([channel(color_map[n]) for n in range(3)], axis=-1)

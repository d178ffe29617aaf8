"""Turns a picture and all that lies in it about the middle; its size stays, corners become black.

Letters: n objects, S the side of a bitmap. A turn is float32 [2], cosine and sine of an angle from
the x axis to the y axis, on the screen clockwise. The frame of boxes may be the picture resized by
different factors on both axes, `stretch` being x over y: what is turned is the picture as stored.
"""

from typing import NamedTuple

import tensorflow as tf

_MARGIN_CELLS = 1  # of zeros around a turned mask: who reads beyond a bitmap reads its border
_FAR = 1e9  # pixels


class Turn(NamedTuple):
    """A turn of the frame of boxes.

    Attributes:
        middle: float32 [2], y, x.
        cos: float32 scalar.
        down: float32 scalar, by what a pixel to the right goes down.
        left: float32 scalar, by what a pixel down goes to the left.
    """

    middle: tf.Tensor
    cos: tf.Tensor
    down: tf.Tensor
    left: tf.Tensor

    def moved(self, y: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns where points go."""
        dy, dx = y - self.middle[0], x - self.middle[1]
        return (
            self.middle[0] + self.cos * dy + self.down * dx,
            self.middle[1] + self.cos * dx - self.left * dy,
        )

    @property
    def back(self) -> "Turn":
        """The turn that undoes this one."""
        return Turn(self.middle, self.cos, -self.down, -self.left)


def frame_turn(turn: tf.Tensor, size: tf.Tensor, stretch: tf.Tensor) -> Turn:
    """Returns the turn in a frame of boxes.

    Args:
        turn: cosine and sine.
        size: float32 [2], height and width of the frame.
        stretch: float32 scalar.
    """
    return Turn(size / 2.0, turn[0], turn[1] / stretch, turn[1] * stretch)


def turned_picture(picture: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Returns uint8 [H, W, 3]: bilinear, black beyond the border; halves are rounded up."""
    height, width = tf.unstack(tf.cast(tf.shape(picture)[:2], tf.float32))
    y, x = (
        (height - 1.0) / 2.0,
        (width - 1.0) / 2.0,
    )  # of the middle, where pixels' centres are whole
    cos, sin = turn[0], turn[1]
    # Where each output pixel comes from: x = r0 x' + r1 y' + r2, and y likewise.
    rows = [
        [cos, sin, x - cos * x - sin * y],
        [-sin, cos, y + sin * x - cos * y],
    ]
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(picture, tf.float32)[tf.newaxis] + 0.5,
        transforms=tf.stack([*rows[0], *rows[1], 0.0, 0.0])[tf.newaxis],
        output_shape=tf.shape(picture)[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(tf.cast(turned[0], tf.uint8), [None, None, 3])


def hulls(boxes: tf.Tensor, turn: Turn) -> tf.Tensor:
    """Returns the boxes [n, 4] yxyx around the turned ones.

    They are larger than the objects' own, which without a mask nobody knows.
    """
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    y, x = turn.moved((ymin + ymax) / 2.0, (xmin + xmax) / 2.0)
    tall, wide = (ymax - ymin) / 2.0, (xmax - xmin) / 2.0
    high = tf.abs(turn.cos) * tall + tf.abs(turn.down) * wide
    broad = tf.abs(turn.cos) * wide + tf.abs(turn.left) * tall
    return tf.stack([y - high, x - broad, y + high, x + broad], axis=1)


def turned_masks(
    bitmaps: tf.Tensor, boxes: tf.Tensor, turn: Turn
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns turned masks, each in a new bitmap around what is set of it.

    Args:
        bitmaps: uint8 [n, S, S].
        boxes: float32 [n, 4], what they cover, yxyx.
        turn: the turn of their frame.

    Returns:
        Bitmaps [n, S, S] and what they cover [n, 4]; and the boxes [n, 4] of the masks themselves.
        All are zero where no cell is set.
    """
    side = bitmaps.shape[1]
    cell = (boxes[:, 2:] - boxes[:, :2]) / side  # [n, 2]
    steps = tf.range(side, dtype=tf.float32) + 0.5
    y = (boxes[:, :1] + steps * cell[:, :1])[:, :, tf.newaxis]  # [n, S, 1] of the cells' middles
    x = (boxes[:, 1:2] + steps * cell[:, 1:])[:, tf.newaxis, :]
    is_set = bitmaps > 0
    lows, highs = [], []
    for along in turn.moved(y, x):
        lows.append(tf.reduce_min(tf.where(is_set, along, _FAR), axis=[1, 2]))
        highs.append(tf.reduce_max(tf.where(is_set, along, -_FAR), axis=[1, 2]))
    half = hulls(tf.concat([-cell, cell], axis=1) / 2.0, turn._replace(middle=tf.zeros([2])))[:, 2:]
    low, high = tf.stack(lows, axis=1) - half, tf.stack(highs, axis=1) + half
    is_there = tf.reduce_any(is_set, axis=[1, 2])[:, tf.newaxis]
    tight = tf.where(is_there, tf.concat([low, high], axis=1), 0.0)
    margin = (tight[:, 2:] - tight[:, :2]) / float(side - 2 * _MARGIN_CELLS) * _MARGIN_CELLS
    covered = tight + tf.concat([-margin, margin], axis=1)
    return _resampled(bitmaps, boxes, covered, turn.back), covered, tight


def _resampled(bitmaps: tf.Tensor, boxes: tf.Tensor, covered: tf.Tensor, back: Turn) -> tf.Tensor:
    """Returns uint8 [n, S, S]: the cell of the old bitmap under each new cell's middle."""
    side = bitmaps.shape[1]
    steps = (tf.range(side, dtype=tf.float32) + 0.5) / float(side)
    extent = covered[:, 2:] - covered[:, :2]
    y, x = back.moved(
        (covered[:, :1] + steps * extent[:, :1])[:, :, tf.newaxis],
        (covered[:, 1:2] + steps * extent[:, 1:])[:, tf.newaxis, :],
    )
    old_extent = boxes[:, 2:] - boxes[:, :2]
    corner = boxes[:, :2, tf.newaxis, tf.newaxis]
    cells = tf.math.divide_no_nan(float(side), old_extent)[..., tf.newaxis, tf.newaxis]
    row = tf.cast(tf.floor((y - corner[:, 0]) * cells[:, 0]), tf.int32)
    column = tf.cast(tf.floor((x - corner[:, 1]) * cells[:, 1]), tf.int32)
    is_inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    place = tf.clip_by_value(row, 0, side - 1) * side + tf.clip_by_value(column, 0, side - 1)
    found = tf.gather(tf.reshape(bitmaps, [-1, side * side]), place, batch_dims=1)
    return tf.where(is_inside, found, tf.zeros([], tf.uint8))

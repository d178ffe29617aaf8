"""The ground truth of one picture as training sees it: boxes, classes and masks in fixed rows.

The box of a bitmap grows with its padding to S x S, so it may reach beyond the object and the
picture; of an object that a crop cuts off the bitmap stays whole. Where the bitmap ends at the
picture's right or lower border, its last column or row is repeated once: who interpolates there
finds the mask going on, as RoIAlign does in a mask of the whole picture.

An object of which a crop leaves nothing is left out. Of a picture with more than M objects the M
largest boxes are kept, objects before crowd regions.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from model import records
from model.batch import Masks
from model.input.augment import flip_boxes, flip_columns

_BOX_KEYS = (records.BOX_YMIN, records.BOX_XMIN, records.BOX_YMAX, records.BOX_XMAX)
_MASK_BOX_KEYS = (records.MASK_YMIN, records.MASK_XMIN, records.MASK_YMAX, records.MASK_XMAX)

# What `parse_single_example` gives: tensors by the keys of model/records.py.
Record = dict[str, tf.Tensor]


class Objects(NamedTuple):
    """The ground truth's fields of a batch, of one picture: n rows in use, or M padded ones."""

    gt_boxes: tf.Tensor
    gt_classes: tf.Tensor
    gt_valid: tf.Tensor
    gt_is_crowd: tf.Tensor
    gt_masks: Masks | None


def parse_spec(with_masks: bool) -> dict[str, Any]:
    """Returns what `parse_single_example` reads of a record: its picture, and rows of objects."""

    def rows(dtype: tf.DType) -> tf.io.FixedLenSequenceFeature:
        return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)

    spec: dict[str, Any] = {
        records.ENCODED: tf.io.FixedLenFeature([], tf.string),
        records.CLASS_LABEL: rows(tf.int64),
        records.IS_CROWD: rows(tf.int64),
        **{key: rows(tf.float32) for key in _BOX_KEYS},
    }
    if with_masks:
        spec[records.MASK_BITMAP] = rows(tf.string)
        spec |= {key: rows(tf.float32) for key in _MASK_BOX_KEYS}
    return spec


def _boxes(record: Record, keys: Sequence[str], sides: tf.Tensor) -> tf.Tensor:
    """Returns [n, 4] float32, yxyx, pixels, from four normalised lists."""
    return tf.stack([record[key] for key in keys], axis=-1) * sides


def picture_boxes(record: Record, sides: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
    """Returns [n, 4] float32: the boxes in the whole resized picture, of height and width `sides`.

    Those without area show nothing.
    """
    boxes = tf.clip_by_value(_boxes(record, _BOX_KEYS, sides), 0.0, sides)
    return tf.where(flip, flip_boxes(boxes, sides[1]), boxes)


def kept_rows(
    boxes: tf.Tensor, is_crowd: tf.Tensor, crop: tf.Tensor, max_objects: int
) -> tf.Tensor:
    """Returns int32 [n], n <= max_objects: the rows that stay, in the record's order."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    areas = (ymax - ymin) * (xmax - xmin) / tf.cast(crop[2] * crop[3], tf.float32)  # in 0-1
    order = tf.argsort(tf.cast(is_crowd, tf.float32) * 2 - areas, stable=True)
    order = tf.boolean_mask(order, tf.gather(areas, order) > 0.0)
    return tf.sort(order[:max_objects])


def as_objects(record: Record, boxes: tf.Tensor, masks: Masks | None) -> Objects:
    """Returns one picture's rows.

    Args:
        record: the rows.
        boxes: [n, 4] float32, yxyx, input-frame pixels.
        masks: masks of the rows.
    """
    return Objects(
        gt_boxes=boxes,
        gt_classes=tf.cast(record[records.CLASS_LABEL], tf.int32),
        gt_valid=tf.ones_like(record[records.IS_CROWD], tf.bool),
        gt_is_crowd=record[records.IS_CROWD] > 0,
        gt_masks=masks,
    )


def chosen(objects: Objects, rows: tf.Tensor) -> Objects:
    """Returns the rows of these numbers [k] or, of bool [n], those that are True."""
    if rows.dtype == tf.bool:
        rows = tf.where(rows)[:, 0]
    return _mapped(lambda values: tf.gather(values, rows), objects)


def padded_objects(objects: Objects, max_objects: int) -> Objects:
    """Returns the rows with unused ones below, `max_objects` in all."""
    return _mapped(lambda values: _padded(values, max_objects), objects)


def moved_masks(masks: Masks, crop: tf.Tensor) -> Masks:
    """Returns the masks in the frame of a window (top, left, height, width), which cuts none."""
    corner = tf.cast(tf.stack([crop[0], crop[1], crop[0], crop[1]]), tf.float32)
    is_there = masks.valid[:, tf.newaxis]
    return masks._replace(boxes=tf.where(is_there, masks.boxes - corner, 0.0))


def decoded_masks(record: Record, sides: tf.Tensor, flip: tf.Tensor, side: int) -> Masks:
    """Returns the masks of n rows, each tensor without the axis of pictures.

    Args:
        record: the rows.
        sides: float32 [4], height and width of the resized picture, twice.
        flip: bool scalar.
        side: S.
    """
    encoded = record[records.MASK_BITMAP]
    has_mask = tf.strings.length(encoded) > 0
    rows = tf.cast(tf.where(has_mask)[:, 0], tf.int32)  # [m]

    corners = tf.stack([record[key] for key in _MASK_BOX_KEYS[2:]], axis=-1)
    at_border = tf.cast(tf.gather(corners, rows) >= 1.0, tf.int32)  # [m, 2]

    def decode(png_and_border: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns uint8 [S, S] of 0 and 1, and float32 [2] by how much its box grows."""
        png, border = png_and_border
        bitmap = tf.io.decode_png(png, channels=1)[..., 0]
        shape = tf.shape(bitmap)
        repeated = tf.pad(bitmap, [[0, border[0]], [0, border[1]]], "SYMMETRIC")
        rest = side - shape - border
        padded = tf.ensure_shape(tf.pad(repeated, [[0, rest[0]], [0, rest[1]]]), [side, side])
        return tf.cast(padded > 0, tf.uint8), tf.cast(side / shape, tf.float32)

    bitmaps, growth = tf.map_fn(
        decode,
        (tf.gather(encoded, rows), at_border),
        fn_output_signature=(
            tf.TensorSpec([side, side], tf.uint8),
            tf.TensorSpec([2], tf.float32),
        ),
    )
    boxes = tf.gather(_boxes(record, _MASK_BOX_KEYS, sides), rows)  # [m, 4]
    corner, extent = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    boxes = tf.concat([corner, corner + extent * growth], axis=1)
    bitmaps = tf.cond(flip, lambda: flip_columns(bitmaps, 2), lambda: bitmaps)
    boxes = tf.where(flip, flip_boxes(boxes, sides[1]), boxes)
    places, number = rows[:, tf.newaxis], tf.size(has_mask)
    return Masks(
        bitmaps=tf.ensure_shape(
            tf.scatter_nd(places, bitmaps, tf.stack([number, side, side])), [None, side, side]
        ),
        boxes=tf.ensure_shape(tf.scatter_nd(places, boxes, tf.stack([number, 4])), [None, 4]),
        valid=has_mask,
    )


def _mapped(function: Callable[[tf.Tensor], tf.Tensor], objects: Objects) -> Objects:
    """Returns the objects with `function` of each tensor; without masks there are still none."""
    masks = objects.gt_masks
    return Objects(
        gt_boxes=function(objects.gt_boxes),
        gt_classes=function(objects.gt_classes),
        gt_valid=function(objects.gt_valid),
        gt_is_crowd=function(objects.gt_is_crowd),
        gt_masks=None if masks is None else Masks(*map(function, masks)),
    )


def _padded(values: tf.Tensor, rows: int) -> tf.Tensor:
    """Returns `values` [n, ...] with zeros (False) below, `rows` in all."""
    below = [[0, rows - tf.shape(values)[0]]] + [[0, 0]] * (values.shape.rank - 1)
    padded = tf.pad(values, below)
    padded.set_shape([rows, *values.shape[1:]])
    return padded

"""The ground truth of one picture as training sees it: boxes, classes and masks in fixed rows.

The box of a bitmap grows with its padding to S x S, so it may reach beyond the object and the
picture; of an object that a crop cuts off the bitmap stays whole. Where the bitmap ends at the
picture's right or lower border, its last column or row is repeated once: who interpolates there
finds the mask going on, as RoIAlign does in a mask of the whole picture.

An object of which a crop leaves nothing is left out. Of a picture with more than M objects the M
largest boxes are kept, objects before crowd regions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from model import records
from model.batch import Masks
from model.input.augment import crop_boxes, flip_boxes, flip_columns

_BOX_KEYS = (records.BOX_YMIN, records.BOX_XMIN, records.BOX_YMAX, records.BOX_XMAX)
_MASK_BOX_KEYS = (records.MASK_YMIN, records.MASK_XMIN, records.MASK_YMAX, records.MASK_XMAX)

# What `parse_single_example` gives: tensors by the keys of model/records.py.
Record = dict[str, tf.Tensor]


class Objects(NamedTuple):
    """The ground truth's fields of a batch, of one picture."""

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


def seen_boxes(record: Record, sides: tf.Tensor, flip: tf.Tensor, crop: tf.Tensor) -> tf.Tensor:
    """Returns [n, 4] float32: what the model's input shows of each object, without area if none."""
    boxes = tf.clip_by_value(_boxes(record, _BOX_KEYS, sides), 0.0, sides)
    boxes = tf.where(flip, flip_boxes(boxes, sides[1]), boxes)
    return crop_boxes(boxes, crop)


def kept_rows(
    boxes: tf.Tensor, is_crowd: tf.Tensor, crop: tf.Tensor, max_objects: int
) -> tf.Tensor:
    """Returns int32 [n], n <= max_objects: the rows that stay, in the record's order."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    areas = (ymax - ymin) * (xmax - xmin) / tf.cast(crop[2] * crop[3], tf.float32)  # in 0-1
    order = tf.argsort(tf.cast(is_crowd, tf.float32) * 2 - areas, stable=True)
    order = tf.boolean_mask(order, tf.gather(areas, order) > 0.0)
    return tf.sort(order[:max_objects])


def padded_objects(
    record: Record, boxes: tf.Tensor, max_objects: int, masks: Masks | None
) -> Objects:
    """Returns one picture's kept rows, padded to `max_objects`.

    Args:
        record: the kept rows.
        boxes: [n, 4] float32, yxyx, input-frame pixels.
        max_objects: M.
        masks: masks of the M rows.
    """
    labels = tf.cast(record[records.CLASS_LABEL], tf.int32)
    return Objects(
        gt_boxes=_padded(boxes, max_objects),
        gt_classes=_padded(labels, max_objects),
        gt_valid=tf.range(max_objects) < tf.size(labels),
        gt_is_crowd=_padded(record[records.IS_CROWD] > 0, max_objects),
        gt_masks=masks,
    )


def padded_masks(
    record: Record,
    sides: tf.Tensor,
    flip: tf.Tensor,
    crop: tf.Tensor,
    max_objects: int,
    side: int,
) -> Masks:
    """Returns the masks of the kept rows, each tensor without the axis of pictures.

    Args:
        record: the kept rows.
        sides: float32 [4], height and width of the resized picture, twice.
        flip: bool scalar.
        crop: int32 [4], top, left, height, width of what is kept of it.
        max_objects: M.
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
    boxes -= tf.cast(tf.stack([crop[0], crop[1], crop[0], crop[1]]), tf.float32)
    places = rows[:, tf.newaxis]
    return Masks(
        bitmaps=tf.scatter_nd(places, bitmaps, [max_objects, side, side]),
        boxes=tf.scatter_nd(places, boxes, [max_objects, 4]),
        valid=_padded(has_mask, max_objects),
    )


def _padded(values: tf.Tensor, rows: int) -> tf.Tensor:
    """Returns `values` [n, ...] with zeros (False) below, `rows` in all."""
    below = [[0, rows - tf.shape(values)[0]]] + [[0, 0]] * (values.shape.rank - 1)
    padded = tf.pad(values, below)
    padded.set_shape([rows, *values.shape[1:]])
    return padded

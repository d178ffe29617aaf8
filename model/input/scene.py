"""A stored picture and its objects as one step sees them.

Colours and turns are drawn for each picture, sizes and windows by the plan. Masks stay whole under
a crop, boxes hold what is in view: where a mask is cut off, what is left of it
(`visible.seen_boxes`).
"""

from typing import Any, NamedTuple

import tensorflow as tf

from configs.schema import InputConfig
from model import records
from model.batch import Masks
from model.input.augment import crop_boxes, flip_columns
from model.input.color import recolored
from model.input.objects import (
    Objects,
    Record,
    as_objects,
    chosen,
    decoded_masks,
    kept_rows,
    moved_masks,
    parse_spec,
    picture_boxes,
)
from model.input.resize import decode_picture, resize_picture
from model.input.rotation import Turn, frame_turn, hulls, turned_masks, turned_picture
from model.input.visible import in_window, seen_boxes

_LEAST_TURNED_SIDE = 32  # of a bitmap, so that a small mask keeps its form when it is turned


class Source(NamedTuple):
    """A record, and how its picture is seen; () is what the settings leave out.

    Attributes:
        payload: string, the record; empty for a filler.
        height: int32, of the resized picture, in pixels.
        width: int32, of the resized picture, in pixels.
        flip: bool.
        crop: int32 [4], top, left, height, width of what is kept of the resized picture.
        color_map: float32 [3, 4], as in `color.recolored`.
        turn: float32 [2], cosine and sine of an angle.
    """

    payload: Any
    height: Any
    width: Any
    flip: Any
    crop: Any
    color_map: Any = ()
    turn: Any = ()


class Scene(NamedTuple):
    """What is seen.

    Attributes:
        picture: uint8 [h, w, 3], of the window's size.
        objects: n rows, in the window's frame.
    """

    picture: tf.Tensor
    objects: Objects


def source_specs(config: InputConfig) -> Source:
    """Returns the shape and dtype of each column of one record's `Source`."""
    return Source(
        payload=tf.TensorSpec([], tf.string),
        height=tf.TensorSpec([], tf.int32),
        width=tf.TensorSpec([], tf.int32),
        flip=tf.TensorSpec([], tf.bool),
        crop=tf.TensorSpec([4], tf.int32),
        color_map=tf.TensorSpec([3, 4], tf.float32) if config.color_jitter else (),
        turn=tf.TensorSpec([2], tf.float32) if config.rotation_degrees else (),
    )


class SceneReader:
    """Makes scenes of records.

    Args:
        config: sizes and augmentation.
        with_masks: also return masks.
        mask_side: the longest side of the records' bitmaps, 0 without any.

    Attributes:
        mask_side: S.
        reads_masks: whether scenes have masks.
    """

    def __init__(self, config: InputConfig, with_masks: bool, mask_side: int) -> None:
        self._max_objects = config.max_objects
        self._cuts = (
            config.large_scale_jitter is not None
            or config.crop_min_share < 1
            or config.rotation_degrees > 0
            or config.copy_paste is not None
            or config.mosaic is not None
        )
        self.reads_masks = with_masks or (self._cuts and mask_side > 0)
        self.mask_side = mask_side + 1
        if config.rotation_degrees:
            self.mask_side = max(self.mask_side, _LEAST_TURNED_SIDE)

    def scene(self, source: Source) -> Scene:
        """Returns what is seen of a record."""
        record = tf.io.parse_single_example(source.payload, parse_spec(self.reads_masks))
        stored = decode_picture(record.pop(records.ENCODED))
        picture = _picture(stored, source)
        sides = tf.cast(tf.stack([source.height, source.width] * 2), tf.float32)
        boxes = picture_boxes(record, sides, source.flip)
        turn = None
        if _is_given(source.turn):
            scale = sides[:2] / tf.cast(tf.shape(stored)[:2], tf.float32)
            turn = frame_turn(source.turn, sides[:2], scale[1] / scale[0])
            boxes = tf.clip_by_value(hulls(boxes, turn), 0.0, sides)
        boxes = crop_boxes(boxes, source.crop)
        kept = kept_rows(boxes, record[records.IS_CROWD], source.crop, self._max_objects)
        record = {key: tf.gather(values, kept) for key, values in record.items()}
        return Scene(picture, self._objects(source, record, tf.gather(boxes, kept), turn))

    def _objects(
        self, source: Source, record: Record, boxes: tf.Tensor, turn: Turn | None
    ) -> Objects:
        """Returns the rows of the record, of which `boxes` show something."""
        if not self.reads_masks:
            return as_objects(record, boxes, None)
        sides = tf.cast(tf.stack([source.height, source.width] * 2), tf.float32)
        masks = decoded_masks(record, sides, source.flip, self.mask_side)
        if turn is not None:
            bitmaps, covered, tight = turned_masks(masks.bitmaps, masks.boxes, turn)
            has_mask = masks.valid[:, tf.newaxis]
            masks = Masks(bitmaps, tf.where(has_mask, covered, 0.0), masks.valid)
            boxes = tf.where(has_mask, crop_boxes(tight, source.crop), boxes)
        masks = moved_masks(masks, source.crop)
        if not self._cuts:
            return as_objects(record, boxes, masks)
        window = tf.cast(source.crop[2:], tf.float32)
        boxes = seen_boxes(boxes, masks, in_window(masks, window), window)
        return shown(as_objects(record, boxes, masks))


def shown(objects: Objects) -> Objects:
    """Returns the rows whose box has an area."""
    extent = objects.gt_boxes[:, 2:] - objects.gt_boxes[:, :2]
    return chosen(objects, tf.reduce_all(extent > 0.0, axis=1))


def _picture(stored: tf.Tensor, source: Source) -> tf.Tensor:
    """Returns uint8 [h, w, 3], the window of the picture."""
    picture = stored
    if _is_given(source.color_map):
        picture = recolored(picture, source.color_map)
    # Before resizing there are fewer pixels to move: records are not larger than their input.
    picture = tf.cond(source.flip, lambda: flip_columns(picture, 1), lambda: picture)
    if _is_given(source.turn):
        picture = turned_picture(picture, source.turn)
    picture = resize_picture(picture, source.height, source.width)
    top, left, rows, columns = tf.unstack(source.crop)
    return picture[top : top + rows, left : left + columns]


def _is_given(column: Any) -> bool:
    return not isinstance(column, tuple)

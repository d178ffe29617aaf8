"""The values that travel through training and detection, each field with its shape and dtype.

Letters: B pictures, M ground-truth rows a picture (input.max_objects), S the side of a bitmap,
[H, W] the bucket, D detections a picture. NamedTuples are structures to tf.data, tf.function and
strategies alike, so one passes through all of them whole; without masks `gt_masks` is None
everywhere, which each of them takes as part of the structure.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf


class Masks(NamedTuple):
    """The bitmaps of the ground truth's rows.

    A bitmap smaller than S x S is padded with zeros to the right and below, and its box grows with
    it, so that it is never resampled; see `model/input/input_pipeline.py`.

    Attributes:
        bitmaps: uint8 [B, M, S, S], 0 and 1.
        boxes: float32 [B, M, 4], what a bitmap covers, yxyx input-frame pixels.
        valid: bool [B, M], the row has a bitmap.
    """

    bitmaps: tf.Tensor
    boxes: tf.Tensor
    valid: tf.Tensor


class Batch(NamedTuple):
    """Pictures and ground truth of one worker's step, of static shapes.

    Attributes:
        images: uint8 [B, H, W, 3], RGB, resized, zero to the right of and below the content.
        image_sizes: float32 [B, 2], height and width of the content, pixels.
        image_ids: int64 [B], -1 for a filler.
        valid: bool [B], False for a filler: a black picture without objects.
        gt_boxes: float32 [B, M, 4], yxyx input-frame pixels.
        gt_classes: int32 [B, M], 1..K, 0 in padding.
        gt_valid: bool [B, M], the row is in use, by an object or a crowd region.
        gt_is_crowd: bool [B, M].
        gt_masks: None for a model without a mask head.
    """

    images: tf.Tensor
    image_sizes: tf.Tensor
    image_ids: tf.Tensor
    valid: tf.Tensor
    gt_boxes: tf.Tensor
    gt_classes: tf.Tensor
    gt_valid: tf.Tensor
    gt_is_crowd: tf.Tensor
    gt_masks: Masks | None = None

    @property
    def is_object(self) -> tf.Tensor:
        """Bool [B, M]: the row is an object, neither padding nor a crowd region."""
        return self.gt_valid & ~self.gt_is_crowd

    @property
    def is_crowd(self) -> tf.Tensor:
        """Bool [B, M]: the row is a crowd region."""
        return self.gt_valid & self.gt_is_crowd


class Found(NamedTuple):
    """What a detector finds, best first; rows from `num` on are zero.

    Attributes:
        boxes: float32 [B, D, 4], yxyx input-frame pixels.
        scores: float32 [B, D].
        classes: int32 [B, D], 1..K.
        num: int32 [B], rows in use.
        masks: float32 [B, D, 2 S, 2 S], probabilities in the box; None without a mask head.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    classes: tf.Tensor
    num: tf.Tensor
    masks: tf.Tensor | None = None


AnyValue = TypeVar("AnyValue", Batch, Found)


def batch_specs(
    bucket: tuple[int, int], pictures: int, max_objects: int, mask_side: int | None = None
) -> Batch:
    """Returns the shapes and dtypes of a training batch as `tf.TensorSpec`s.

    Args:
        bucket: height and width of the padded pictures.
        pictures: pictures of one worker, B.
        max_objects: M.
        mask_side: S; None without masks.
    """
    n, rows = pictures, max_objects
    masks = None
    if mask_side is not None:
        masks = Masks(
            bitmaps=tf.TensorSpec([n, rows, mask_side, mask_side], tf.uint8),
            boxes=tf.TensorSpec([n, rows, 4], tf.float32),
            valid=tf.TensorSpec([n, rows], tf.bool),
        )
    return Batch(
        images=tf.TensorSpec([n, *bucket, 3], tf.uint8),
        image_sizes=tf.TensorSpec([n, 2], tf.float32),
        image_ids=tf.TensorSpec([n], tf.int64),
        valid=tf.TensorSpec([n], tf.bool),
        gt_boxes=tf.TensorSpec([n, rows, 4], tf.float32),
        gt_classes=tf.TensorSpec([n, rows], tf.int32),
        gt_valid=tf.TensorSpec([n, rows], tf.bool),
        gt_is_crowd=tf.TensorSpec([n, rows], tf.bool),
        gt_masks=masks,
    )


def specs_of(batch: Batch) -> Batch:
    """Returns the shapes and dtypes of a batch as `tf.TensorSpec`s."""
    return _mapped(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), batch)


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """Returns a batch in `parts` of equal numbers of pictures, which divide its own."""
    size = batch.valid.shape[0] // parts
    return [row_of(batch, slice(start, start + size)) for start in range(0, size * parts, size)]


def arrays_of(value: AnyValue) -> AnyValue:
    """Returns a batch, or what was found, with NumPy arrays in the tensors' places."""
    return _mapped(lambda tensor: tensor.numpy(), value)


def row_of(value: AnyValue, index: Any) -> AnyValue:
    """Returns some pictures of a batch or of what was found.

    Args:
        value: a structure of tensors or arrays.
        index: a slice, an array of numbers, or one number: then without the axis of pictures.
    """
    return _mapped(lambda array: array[index], value)


def named_arrays(batch: Batch) -> dict[str, np.ndarray]:
    """Returns the arrays of a batch in one dict, the masks' under `gt_masks.<field>`."""
    fields = {name: value for name, value in batch._asdict().items() if name != "gt_masks"}
    if batch.gt_masks is not None:
        fields |= {f"gt_masks.{name}": v for name, v in batch.gt_masks._asdict().items()}
    return {name: np.asarray(value) for name, value in fields.items()}


def batch_of_arrays(arrays: Mapping[str, np.ndarray]) -> Batch:
    """Returns the batch of what `named_arrays` gave, such as the file of a batch that was kept."""
    prefix = "gt_masks."
    masks = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    fields = {name: arrays[name] for name in arrays if not name.startswith(prefix)}
    batch = Batch(**fields, gt_masks=Masks(**masks) if masks else None)
    return _mapped(tf.constant, batch)


def _mapped(function: Callable[[Any], Any], value: AnyValue) -> AnyValue:
    """Returns `value` with `function` of each tensor; None, a leaf to TensorFlow, stays None."""
    return tf.nest.map_structure(lambda leaf: None if leaf is None else function(leaf), value)

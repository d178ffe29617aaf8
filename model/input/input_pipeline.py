"""From the records of CocoTransform to training batches (`model.batch.Batch`) of static shapes.

Which record is in which batch is said by plan.py; what becomes of a picture's objects, by
objects.py.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from configs.schema import InputConfig
from model import records
from model.batch import Batch, Masks
from model.examples import read_categories, read_manifest, shard_paths
from model.input.augment import flip_columns
from model.input.buckets import Bucket, read_buckets, training_buckets
from model.input.index import index_path, joined, read_index
from model.input.objects import (
    Objects,
    kept_rows,
    padded_masks,
    padded_objects,
    parse_spec,
    seen_boxes,
)
from model.input.on_device import OnDevice
from model.input.plan import FILLER, Augmentation, Plan
from model.input.resize import decode_picture, resize_picture
from model.tfrecord import check_holds, read_payload

_MAX_OWN_BUCKETS = 3


class _Planned(NamedTuple):
    """What the plan says of each picture of a step, before it is read.

    Attributes:
        payload: string, the record; empty for a filler.
        height: int32, of the resized picture, in pixels.
        width: int32, of the resized picture, in pixels.
        flip: bool.
        crop: int32 [4], top, left, height, width of what is kept of the resized picture.
        bucket: int32 [2], height and width of the batch.
        image_id: int64, -1 for a filler.
    """

    payload: Any
    height: Any
    width: Any
    flip: Any
    crop: Any
    bucket: Any
    image_id: Any


# Of one picture, as they leave Python; the shapes are lost on the way.
_PLANNED_SPECS = _Planned(
    payload=tf.TensorSpec([], tf.string),
    height=tf.TensorSpec([], tf.int32),
    width=tf.TensorSpec([], tf.int32),
    flip=tf.TensorSpec([], tf.bool),
    crop=tf.TensorSpec([4], tf.int32),
    bucket=tf.TensorSpec([2], tf.int32),
    image_id=tf.TensorSpec([], tf.int64),
)


class TrainingInput:
    """The training batches of one split.

    Args:
        examples_dir: a folder that CocoTransform wrote.
        split: name of the split.
        config: sizes and augmentation.
        with_masks: also return bitmaps.
        workers: number of workers.
        pictures_per_step: pictures of a worker in a step.
        seed: seed of order and augmentation.
        own_buckets: choose the padded shapes from this split's pictures; else they are those of
            the folder, which are made for the training split.

    Attributes:
        categories: `{"id", "name", "label"}`, labels 1..K.
        num_classes: K.
        num_pictures: how many the split has.
        steps_per_epoch: the same in every epoch.
        buckets: `(height, width)` shapes.
        digest: digest of the examples folder.
        overflow: objects of the split that exceed `max_objects`.

    Raises:
        DatasetError: the folder is not CocoTransform's, holds no picture of the split, or a shard
            ends before its last record.
    """

    def __init__(
        self,
        examples_dir: str | os.PathLike[str],
        split: str,
        config: InputConfig,
        with_masks: bool,
        workers: int,
        pictures_per_step: int,
        seed: int,
        own_buckets: bool = False,
    ) -> None:
        self._config = config
        self._with_masks = with_masks
        self._paths = [str(path) for path in shard_paths(examples_dir, split)]
        indexes = [
            read_index(index_path(examples_dir, split, shard, len(self._paths)))
            for shard in range(len(self._paths))
        ]
        for path, index in zip(self._paths, indexes, strict=True):
            check_holds(path, zip(index.offset.tolist(), index.length.tolist(), strict=True))
        # One for all datasets: TensorFlow keeps their functions, and so what they hold, for good.
        self._files = _ShardFiles(self._paths)
        self._index = joined(indexes)
        self._shards = np.repeat(np.arange(len(indexes)), [len(index) for index in indexes])
        self.categories = read_categories(examples_dir)
        self.num_classes = len(self.categories)
        self.num_pictures = len(self._index)
        self.digest: str = read_manifest(examples_dir)["digest"]
        self.buckets = self._own_buckets() if own_buckets else read_buckets(examples_dir)
        self.plan = Plan(
            self._index.height,
            self._index.width,
            self.buckets,
            pictures_per_step,
            workers,
            seed,
            augmentation=Augmentation.from_config(config),
            image_ids=self._index.image_id,
        )
        self.steps_per_epoch = self.plan.steps_per_epoch
        self._mask_side = int(self._index.mask_side.max(initial=0)) + 1
        excess = np.maximum(self._index.num_objects - config.max_objects, 0)
        self.overflow = int(excess.sum())
        self._log(split, int(np.count_nonzero(excess)))

    def _own_buckets(self) -> list[Bucket]:
        return training_buckets(
            self._config, self._index.height, self._index.width, _MAX_OWN_BUCKETS
        )

    def dataset(self, worker: int, first_step: int = 0, threads: int = 0) -> tf.data.Dataset:
        """Returns one worker's batches from a global step on, without end.

        What a step's batch holds is a function of the step, so the dataset from step k equals the
        rest of the dataset from step 0.

        Args:
            worker: 0 ... workers - 1.
            first_step: global step of the first batch.
            threads: that decode; 0 leaves it to tf.data.
        """

        def read(step: np.int64) -> tuple[np.ndarray, ...]:
            return tuple(self._read_step(int(step), worker))

        def read_step(step: tf.Tensor) -> _Planned:
            """Returns the columns of `_read_step` [B, ...] as tensors of known rank."""
            planned = _Planned(
                *tf.numpy_function(read, [step], [spec.dtype for spec in _PLANNED_SPECS])
            )
            for column, spec in zip(planned, _PLANNED_SPECS, strict=True):
                column.set_shape([None, *spec.shape])
            return planned

        options = tf.data.Options()
        options.deterministic = True
        options.threading.private_threadpool_size = threads
        dataset = (
            tf.data.Dataset.range(first_step, tf.int64.max)
            .map(read_step, num_parallel_calls=2)
            .unbatch()
            .map(self._prepare, num_parallel_calls=threads or tf.data.AUTOTUNE)
            .batch(self.plan.pictures_per_step, drop_remainder=True)
            .prefetch(2)
            .with_options(options)
        )
        return OnDevice(dataset, "/GPU:0") if tf.config.list_physical_devices("GPU") else dataset

    def _read_step(self, step: int, worker: int) -> _Planned:
        """Returns the columns [B, ...] of one worker's step."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        bucket, chosen = self.plan.batch(epoch, step_in_epoch, worker)
        used = chosen != FILLER
        heights, widths = self.plan.sizes(epoch, chosen)
        shape = np.asarray(self.buckets[bucket], np.int32)
        whole = np.asarray([0, 0, *shape])
        crops = np.where(used[:, np.newaxis], self.plan.crops(epoch, chosen), whole)
        payloads = [
            self._files.read(self._shards[i], self._index.offset[i], self._index.length[i])
            if i != FILLER
            else b""
            for i in chosen
        ]
        return _Planned(
            payload=np.asarray(payloads, object),
            height=np.where(used, heights, shape[0]).astype(np.int32),
            width=np.where(used, widths, shape[1]).astype(np.int32),
            flip=self.plan.flips(epoch, chosen) & used,
            crop=crops.astype(np.int32),
            bucket=np.tile(shape, (len(chosen), 1)),
            image_id=np.where(used, self._index.image_id[chosen], -1),
        )

    def _prepare(self, planned: _Planned) -> Batch:
        """Returns one picture's part of a batch, each tensor without the axis of pictures."""
        is_used = tf.strings.length(planned.payload) > 0
        image, objects = tf.cond(
            is_used,
            lambda: self._picture_and_objects(planned),
            lambda: self._filler(planned.bucket),
        )
        image.set_shape([None, None, 3])
        return Batch(
            images=image,
            image_sizes=tf.cast(planned.crop[2:], tf.float32),
            image_ids=planned.image_id,
            valid=is_used,
            **objects._asdict(),
        )

    def _picture_and_objects(self, planned: _Planned) -> tuple[tf.Tensor, Objects]:
        """Returns uint8 [H, W, 3] of the bucket's size, and the ground truth's M rows."""
        payload, height, width, flip, crop, bucket, _ = planned
        record = tf.io.parse_single_example(payload, parse_spec(self._with_masks))
        picture = decode_picture(record[records.ENCODED])
        # Before resizing there are fewer pixels to move: records are not larger than their input.
        picture = tf.cond(flip, lambda: flip_columns(picture, 1), lambda: picture)
        picture = resize_picture(picture, height, width)
        top, left, rows, columns = tf.unstack(crop)
        picture = picture[top : top + rows, left : left + columns]
        image = tf.pad(picture, [[0, bucket[0] - rows], [0, bucket[1] - columns], [0, 0]])
        sides = tf.cast(tf.stack([height, width, height, width]), tf.float32)
        boxes = seen_boxes(record, sides, flip, crop)
        kept = kept_rows(boxes, record[records.IS_CROWD], crop, self._config.max_objects)
        record |= {key: tf.gather(record[key], kept) for key in record if key != records.ENCODED}
        masks = None
        if self._with_masks:
            masks = padded_masks(
                record, sides, flip, crop, self._config.max_objects, self._mask_side
            )
        return image, padded_objects(
            record, tf.gather(boxes, kept), self._config.max_objects, masks
        )

    def _filler(self, bucket: tf.Tensor) -> tuple[tf.Tensor, Objects]:
        """Returns a black picture of the bucket's size, and M rows that are not in use."""
        rows, side = self._config.max_objects, self._mask_side
        masks = None
        if self._with_masks:
            masks = Masks(
                bitmaps=tf.zeros([rows, side, side], tf.uint8),
                boxes=tf.zeros([rows, 4]),
                valid=tf.zeros([rows], tf.bool),
            )
        objects = Objects(
            gt_boxes=tf.zeros([rows, 4]),
            gt_classes=tf.zeros([rows], tf.int32),
            gt_valid=tf.zeros([rows], tf.bool),
            gt_is_crowd=tf.zeros([rows], tf.bool),
            gt_masks=masks,
        )
        return tf.zeros([bucket[0], bucket[1], 3], tf.uint8), objects

    def _log(self, split: str, crowded_pictures: int) -> None:
        """Logs the sizes at the start, and how many objects exceed `max_objects`."""
        logging.info(
            "input: split %s, %d pictures, %d classes, %d steps an epoch, buckets %s, "
            "%.1f %% padding",
            split,
            self.num_pictures,
            self.num_classes,
            self.steps_per_epoch,
            self.buckets,
            100 * self.plan.padding_share(0),
        )
        if self.overflow:
            logging.warning(
                "input: %d objects in %d pictures exceed input.max_objects %d; the largest of "
                "each picture are kept",
                self.overflow,
                crowded_pictures,
                self._config.max_objects,
            )


class _ShardFiles:
    """Reads records by offset; a shard is opened when it is first needed."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._descriptors: dict[int, int] = {}
        self._opening = threading.Lock()

    def read(self, shard: int, offset: int, length: int) -> bytes:
        """Returns the payload of one record.

        Raises:
            DatasetError: the shard ends before the record does, or the record is damaged.
        """
        with self._opening:
            if shard not in self._descriptors:
                self._descriptors[shard] = os.open(self._paths[shard], os.O_RDONLY)
        return read_payload(self._descriptors[shard], self._paths[shard], offset, length)

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)

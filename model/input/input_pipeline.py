"""From the records of CocoTransform to training batches (`model.batch.Batch`) of static shapes.

Which record is in which batch is said by plan.py; what becomes of a picture and its objects, by
scene.py.
"""

import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from configs.schema import InputConfig
from model.batch import Batch, Masks
from model.examples import read_categories, read_manifest, shard_paths
from model.input.buckets import Bucket, read_buckets, training_buckets
from model.input.draws import Draws
from model.input.index import index_path, joined, read_index
from model.input.objects import Objects, padded_objects
from model.input.on_device import OnDevice
from model.input.plan import FILLER, Augmentation, Plan
from model.input.scene import SceneReader, Source, source_specs
from model.input.shard_files import ShardFiles
from model.tfrecord import check_holds

_MAX_OWN_BUCKETS = 3


class _Planned(NamedTuple):
    """What the plan says of each picture of a step, before it is read.

    Attributes:
        source: the record, and how it is seen.
        bucket: int32 [2], height and width of the batch.
        image_id: int64, -1 for a filler.
    """

    source: Source
    bucket: Any
    image_id: Any


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
        self._files = ShardFiles(self._paths)
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
        self._draws = Draws(self._index.image_id, seed)
        mask_side = int(self._index.mask_side.max(initial=0))
        self._scenes = SceneReader(config, with_masks, mask_side)
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
        # Of one picture, as they leave Python; the shapes are lost on the way.
        specs = _Planned(
            source=source_specs(self._config),
            bucket=tf.TensorSpec([2], tf.int32),
            image_id=tf.TensorSpec([], tf.int64),
        )
        columns = tf.nest.flatten(specs)

        def read(step: np.int64) -> list[np.ndarray]:
            return tf.nest.flatten(self._read_step(int(step), worker))

        def read_step(step: tf.Tensor) -> _Planned:
            """Returns the columns of `_read_step` [B, ...] as tensors of known rank."""
            values = tf.numpy_function(read, [step], [spec.dtype for spec in columns])
            for value, spec in zip(values, columns, strict=True):
                value.set_shape([None, *spec.shape])
            return tf.nest.pack_sequence_as(specs, values)

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
        jitter, degrees = self._config.color_jitter, self._config.rotation_degrees
        source = Source(
            payload=np.asarray([self._payload(i) for i in chosen], object),
            height=np.where(used, heights, shape[0]).astype(np.int32),
            width=np.where(used, widths, shape[1]).astype(np.int32),
            flip=self.plan.flips(epoch, chosen) & used,
            crop=crops.astype(np.int32),
            color_map=self._draws.color_maps(jitter, epoch, chosen) if jitter else (),
            turn=self._draws.turns(degrees, epoch, chosen) if degrees else (),
        )
        return _Planned(
            source,
            bucket=np.tile(shape, (len(chosen), 1)),
            image_id=np.where(used, self._index.image_id[chosen], -1),
        )

    def _payload(self, record: int) -> bytes:
        """Returns the record of a number, of FILLER nothing."""
        if record == FILLER:
            return b""
        index = self._index
        return self._files.read(self._shards[record], index.offset[record], index.length[record])

    def _prepare(self, planned: _Planned) -> Batch:
        """Returns one picture's part of a batch, each tensor without the axis of pictures."""
        is_used = tf.strings.length(planned.source.payload) > 0
        image, objects = tf.cond(
            is_used,
            lambda: self._picture_and_objects(planned),
            lambda: self._filler(planned.bucket),
        )
        image.set_shape([None, None, 3])
        return Batch(
            images=image,
            image_sizes=tf.cast(planned.source.crop[2:], tf.float32),
            image_ids=planned.image_id,
            valid=is_used,
            **objects._asdict(),
        )

    def _picture_and_objects(self, planned: _Planned) -> tuple[tf.Tensor, Objects]:
        """Returns uint8 [H, W, 3] of the bucket's size, and the ground truth's M rows."""
        picture, objects = self._scenes.scene(planned.source)
        if not self._with_masks:
            objects = objects._replace(gt_masks=None)
        rows, columns = tf.unstack(planned.bucket - planned.source.crop[2:])
        image = tf.pad(picture, [[0, rows], [0, columns], [0, 0]])
        return image, padded_objects(objects, self._config.max_objects)

    def _filler(self, bucket: tf.Tensor) -> tuple[tf.Tensor, Objects]:
        """Returns a black picture of the bucket's size, and M rows that are not in use."""
        rows, side = self._config.max_objects, self._scenes.mask_side
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

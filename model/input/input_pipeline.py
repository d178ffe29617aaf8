"""From the records of CocoTransform to training batches (`model.batch.Batch`) of static shapes.

Which record is in which batch is said by plan.py; what becomes of a picture and its objects, by
scene.py.
"""

import os

import numpy as np
import tensorflow as tf
from absl import logging

from configs.schema import InputConfig
from ground.errors import DatasetError
from model.batch import Batch, Masks
from model.examples import read_categories, read_manifest, shard_paths
from model.input.buckets import Bucket, read_buckets, training_buckets
from model.input.copy_paste import pasted
from model.input.index import index_path, joined, read_index
from model.input.mosaic import PARTS, mosaic
from model.input.objects import Objects, padded_objects
from model.input.on_device import OnDevice
from model.input.plan import Augmentation, Plan
from model.input.scene import Scene, SceneReader, Source
from model.input.shard_files import ShardFiles
from model.input.step_reader import Planned, StepReader, planned_specs
from model.tfrecord import check_holds

_MAX_OWN_BUCKETS = 3


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
        self._index = joined(indexes)
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
        shards = np.repeat(np.arange(len(indexes)), [len(index) for index in indexes])
        # One for all datasets: TensorFlow keeps their functions, and so what they hold, for good.
        files = ShardFiles(self._paths)
        self._steps = StepReader(config, self.plan, self._index, shards, files, seed)
        mask_side = int(self._index.mask_side.max(initial=0))
        if config.copy_paste is not None and not mask_side:
            raise DatasetError(
                "input.copy_paste cuts objects out by their masks, and no object "
                f"of the split {split} has one: leave it out"
            )
        self._scenes = SceneReader(config, with_masks, mask_side)
        # Traced once for all that come into a picture from others.
        self._scene_of_other = tf.function(self._scenes.scene, autograph=False)
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
        specs = planned_specs(self._config)
        columns = tf.nest.flatten(specs)

        def read(step: np.int64) -> list[np.ndarray]:
            return tf.nest.flatten(self._steps.step(int(step), worker))

        def read_step(step: tf.Tensor) -> Planned:
            """Returns the columns of a step [B, ...] as tensors of known rank."""
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

    def _prepare(self, planned: Planned) -> Batch:
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
            image_sizes=tf.cast(self._content(planned), tf.float32),
            image_ids=planned.image_id,
            valid=is_used,
            **objects._asdict(),
        )

    def _content(self, planned: Planned) -> tf.Tensor:
        """Returns int32 [2], height and width of what is not padding."""
        if self._config.mosaic is None:
            return planned.source.crop[2:]
        return tf.where(_is_there(planned.others)[0], planned.bucket, planned.source.crop[2:])

    def _picture_and_objects(self, planned: Planned) -> tuple[tf.Tensor, Objects]:
        """Returns uint8 [H, W, 3] of the bucket's size, and the ground truth's M rows."""
        picture, objects = self._scene(planned)
        if not self._with_masks:
            objects = objects._replace(gt_masks=None)
        rows, columns = tf.unstack(planned.bucket - self._content(planned))
        image = tf.pad(picture, [[0, rows], [0, columns], [0, 0]])
        return image, padded_objects(objects, self._config.max_objects)

    def _scene(self, planned: Planned) -> Scene:
        """Returns what is seen in a picture, with what comes from others."""
        scene = self._scenes.scene(planned.source)
        if self._config.mosaic is not None:
            alone, others = scene, planned.others
            scene = tf.cond(
                _is_there(others)[0], lambda: self._mosaic(alone, planned), lambda: alone
            )
        copies = self._config.copy_paste
        if copies is None:
            return scene
        own, other, most = scene, planned.pasted, self._config.max_objects
        return tf.cond(
            _is_there(other),
            lambda: pasted(
                own,
                self._scene_of_other(other),
                planned.paste_seed,
                copies.object_probability,
                most,
            ),
            lambda: own,
        )

    def _mosaic(self, own: Scene, planned: Planned) -> Scene:
        """Returns the mosaic of a picture and its others."""
        others = [
            self._scenes.scene(tf.nest.map_structure(lambda column, n=n: column[n], planned.others))
            for n in range(PARTS - 1)
        ]
        return mosaic([own, *others], planned.quarters, planned.bucket, self._config.max_objects)

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


def _is_there(source: Source) -> tf.Tensor:
    """Returns whether there is a record, of each."""
    return tf.strings.length(source.payload) > 0

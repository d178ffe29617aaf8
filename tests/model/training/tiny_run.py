"""Test doubles: a detector of two layers and an input of made-up pictures, for real workers.

`python -m tests.model.training.tiny_run JOB` is a worker of the launcher, with these in place of
the real ones; `... tiny_run launch EXAMPLES OUT BATCH STEPS` is a whole run. What no setting can
ask for comes in through the environment:

    TINY_DIE=worker:step:signal    the worker sends itself a signal before that step, or before it
                                   validates record r where the step is -1 - r
    TINY_DIE_SAVING=count          the chief kills itself when it has written so many checkpoints
                                   and the next one is not quite whole
    TINY_STALL=worker:step         the worker sleeps before that step
    TINY_NAN=worker:step ...       the worker's ground truth of these steps is not a number
    TINY_FULL=worker:step          the worker's disk is full before that step
    TINY_ONCE=file                 the above only as long as there is this file; it is removed
    TINY_SLOW=seconds              every step takes that much longer
"""

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from configs.schema import Config
from ground.files import json_digest
from model.input.buckets import write_buckets
from model.launch.errors import TrainingStopped
from model.launch.launcher import TrainResult, train
from model.model_folder import MODEL_ID_FILE
from model.training_settings import TrainingSettings

BUCKETS = [(8, 12), (12, 8)]
PICTURES = 23
MODULE = "tests.model.training.tiny_run"


class Term(NamedTuple):
    """As LossTerm of model/detector.py."""

    sum: object
    denominator: object


class TinyDetector:
    """A convolution and a mean; its losses depend on a random sample of the pictures, as real ones.

    Args:
        seed: of the weights.
        policy: Keras dtype policy.
    """

    def __init__(self, seed: int = 0, policy: str = "float32") -> None:
        import keras

        initializer = keras.initializers.RandomNormal(stddev=0.1, seed=seed)
        self._conv = keras.layers.Conv2D(
            4, 3, kernel_initializer=initializer, dtype=policy, name="conv"
        )
        self._dense = keras.layers.Dense(
            2, kernel_initializer=initializer, dtype=policy, name="head"
        )
        self._conv.build([None, None, None, 3])
        self._dense.build([None, 4])
        self.trainable_variables = self._conv.trainable_variables + self._dense.trainable_variables
        self.non_trainable_variables = []
        self.variables = self.trainable_variables

    def loss_terms(self, batch, seed, step, training=True):
        import tensorflow as tf

        images = tf.cast(batch.images, tf.float32) / 255.0
        features = tf.reduce_mean(tf.nn.relu(self._conv(images)), axis=[1, 2])
        outputs = tf.cast(self._dense(features), tf.float32)
        errors = tf.square(outputs - batch.gt_boxes[:, 0, :2])
        valid = tf.cast(batch.valid, tf.float32)
        mixed = batch.image_ids * 7919 + step * 104729 + seed
        sampled = valid * tf.cast(mixed % 5 < 3, tf.float32)
        return {
            "rpn_box": Term(tf.reduce_sum(valid * errors[:, 0]), tf.reduce_sum(valid)),
            "roi_class": Term(tf.reduce_sum(sampled * errors[:, 1]), tf.reduce_sum(sampled)),
        }

    def export_weights(self):
        return {variable.path: variable.numpy() for variable in self.variables}

    def import_weights(self, weights):
        for variable in self.variables:
            variable.assign(weights[variable.path])


class TinyInput:
    """Pictures drawn from their ids, in the real plan's order."""

    num_pictures = PICTURES
    num_classes = 1
    buckets = BUCKETS

    def __init__(self, workers: int, pictures_per_step: int, seed: int) -> None:
        from model.input.plan import Augmentation, Plan

        heights = [8 if index % 3 else 12 for index in range(PICTURES)]
        widths = [20 - height for height in heights]
        self._plan = Plan(
            heights, widths, BUCKETS, pictures_per_step, workers, seed,
            augmentation=Augmentation(8, 12),
        )  # fmt: skip
        self.steps_per_epoch = self._plan.steps_per_epoch

    def dataset(self, worker: int, first_step: int, threads: int) -> Iterator[dict]:

        step = first_step
        while True:
            batch = self.arrays(worker, step)
            _misbehave(worker, step, batch)
            yield tensors(batch)
            step += 1

    def arrays(self, worker: int, step: int) -> Any:
        """Returns one worker's batch of a step."""
        bucket, records = self._plan.batch(*divmod(step, self.steps_per_epoch), worker)
        height, width = BUCKETS[bucket]
        count = len(records)
        images = np.zeros([count, height, width, 3], np.uint8)
        boxes = np.zeros([count, 1, 4], np.float32)
        for place, record in enumerate(records):
            if record >= 0:
                generator = np.random.default_rng(int(record))
                images[place] = generator.integers(0, 255, [height, width, 3])
                boxes[place] = generator.random([1, 4])
        valid = records >= 0
        return tiny_batch(images, records, valid, boxes)


def tiny_batch(images, image_ids, valid, boxes):
    """A batch of arrays with one object a picture; only what is given is ever read."""
    from model.batch import Batch

    return Batch(
        images=images,
        image_sizes=np.zeros([len(images), 2], np.float32),
        image_ids=image_ids,
        valid=valid,
        gt_boxes=boxes,
        gt_classes=np.ones([len(images), 1], np.int32),
        gt_valid=np.ones([len(images), 1], bool),
        gt_is_crowd=np.zeros([len(images), 1], bool),
    )


def tensors(batch):
    """The arrays of a batch as tensors."""
    import tensorflow as tf

    return tf.nest.map_structure(lambda a: None if a is None else tf.constant(a), batch)


def _misbehave(worker: int, step: int, batch: Any = None) -> None:
    time.sleep(float(os.environ.get("TINY_SLOW", 0)))
    here = f"{worker}:{step}"
    dies_here, _, number = os.environ.get("TINY_DIE", "").rpartition(":")
    not_numbers = os.environ.get("TINY_NAN", "").split()
    others = [os.environ.get(name) for name in ("TINY_STALL", "TINY_FULL")]
    if here not in (dies_here, *not_numbers, *others):
        return
    if once := os.environ.get("TINY_ONCE"):
        if not os.path.exists(once):
            return
        os.unlink(once)
    if here == os.environ.get("TINY_STALL"):
        time.sleep(600)
    if here in not_numbers:
        batch.gt_boxes[:] = np.nan
    if here == os.environ.get("TINY_FULL"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if here == dies_here:
        os.kill(os.getpid(), signal.Signals[number])


def write_examples(folder: Path) -> Path:
    """Writes the least that the launcher reads of an examples folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    split = {"records": PICTURES, "objects": PICTURES, "shards": []}
    splits = {"train": split, "eval": split}
    manifest = {"splits": splits, "digest": json_digest(splits)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write_buckets(folder, BUCKETS)
    return folder


def tiny_config(batch: str = "1x4", steps: int = 12, **train: object) -> TrainingSettings:
    """Returns a config for a run of the test doubles."""
    settings = {
        "batch": batch,
        "epochs": 100,
        "max_steps": steps,
        "checkpoint_every_steps": 4,
        "log_every_steps": 2,
        "optimizer": {"warmup_steps": 3, "learning_rate": 0.1, "scale_with_batch": False},
        **train,
    }
    # best_metric may be mask/AP; frozen stages at random values are warned of
    model = {"mask_head": {}, "backbone": {"frozen_stages": 0}}
    config = Config.model_validate({"name": "tiny", "train": settings, "model": model})
    return TrainingSettings.of(config)


def resumed_config(batch: str, steps: int) -> TrainingSettings:
    """Returns a config with all that a checkpoint must keep."""
    return tiny_config(
        batch, steps, checkpoint_every_steps=1, ema_decay=0.9, validate_every_epochs=0.5
    )


def _die_saving() -> None:
    """Has this process kill itself in the middle of a checkpoint, as TINY_DIE_SAVING says."""
    left = [int(os.environ.get("TINY_DIE_SAVING", -1))]
    synchronise = os.fsync

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if "/.step-" in path:
            if not left[0]:
                os.truncate(path, 1000)  # the descriptor may be for reading only
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        synchronise(descriptor)

    os.fsync = fsync


def _build(job, precision, jit):
    from model.launch.worker import Parts

    train = job.config.train
    detector = TinyDetector(train.seed, precision)
    training_input = TinyInput(train.workers, train.pictures_per_step, train.seed)

    def export(training):
        model = Path(job.model_dir)
        for name in ("variables", "assets.extra"):
            (model / name).mkdir(parents=True, exist_ok=True)
        # Where an exported model has its weights and what it is known by.
        with open(exported_weights(model), "wb") as stream:
            np.savez(stream, **detector.export_weights())
        (model / MODEL_ID_FILE).write_text('{"model_id": "tiny"}')
        return "tiny"

    def validation(eager):
        return TinyValidation(detector, train.workers)

    return Parts(detector, training_input, export, validation)


class TinyValidation:
    """Each worker measures every other picture; box/AP grows as the loss falls, mask/AP falls."""

    def __init__(self, detector: TinyDetector, workers: int) -> None:
        self._detector = detector
        self._workers = workers

    def detect(self, worker, goes_on):
        import tensorflow as tf

        results = []
        for record in range(worker, PICTURES, self._workers):
            _misbehave(worker, -1 - record)
            if not goes_on():
                break
            batch = tiny_batch(
                np.zeros([1, 8, 12, 3], np.uint8),
                np.asarray([record]),
                np.ones(1, bool),
                np.full([1, 1, 4], 0.5, np.float32),
            )
            terms = self._detector.loss_terms(batch, 0, tf.constant(0, tf.int64))
            results.append({"image_id": record, "loss": float(terms["rpn_box"].sum)})
        return results

    def score(self, results):
        assert sorted(result["image_id"] for result in results) == list(range(PICTURES))
        loss = sum(result["loss"] for result in sorted(results, key=lambda r: r["image_id"]))
        return {"box/AP": 1.0 - loss, "mask/AP": loss}


def exported_weights(model: Path) -> Path:
    """The file of the exported weights, an npz."""
    return model / "variables" / "variables.data-00000-of-00001"


def launch(out: Path, config: TrainingSettings, **places: object) -> TrainResult:
    """Trains the test doubles with the launcher; writes to `out`."""
    examples = write_examples(out / "examples")
    return train(config, examples, out, worker_module=MODULE, **places)


def _launch_command(examples: str, out: str, batch: str, steps: str) -> None:
    try:
        train(
            resumed_config(batch, int(steps)),
            write_examples(Path(examples)),
            out,
            on_progress=lambda event: print(json.dumps(event.to_json()), flush=True),
            worker_module=MODULE,
        )
    except TrainingStopped as stopped:
        print(stopped)


if __name__ == "__main__":
    if sys.argv[1] == "launch":
        _launch_command(*sys.argv[2:])
    else:
        from model.launch.worker import main

        _die_saving()
        main(sys.argv[1], _build)

"""Validation during training: COCO's numbers of the weights as they are, on all workers.

Each picture of the split is detected by exactly one worker, at the training size, without flip or
jitter, by the detector that trains (its precision, its padding to a few shapes). The chief scores
all detections with pycocotools. CocoEvaluator in contrast measures the exported model, on the
picture files as they came and against the annotations as they were written.

Which validation is the best, and when patience is over, follows from the list of all of them
(`validated.py`), which is part of every checkpoint.
"""

import itertools
import json
import math
import os
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from configs.augmentation_schema import Augmentations
from configs.schema import InputConfig, TrainConfig
from model.batch import Found, arrays_of, row_of
from model.contract import Detector
from model.evaluation.coco_numbers import evaluate, results_of_picture
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.transformed import ground_truth_of_examples, images_of_split
from model.examples import read_categories
from model.input.input_pipeline import TrainingInput
from model.training.distribution import Distribution

Numbers = dict[str, float]  # "box/AP": 0.123, ...
Results = list[dict[str, Any]]  # COCO's results form

# What training draws at random is fixed; the sides are `short_side_px` and `long_side_px`.
_NOT_RANDOM = {name: field.default for name, field in Augmentations.model_fields.items()} | {
    "flip_probability": 0.0,
    "scale_jitter": (1.0, 1.0),
    "short_side_choices_px": (),
    "large_scale_jitter": None,
    "crop_min_share": 1.0,
}
_SHOWN = ("AP", "AP50", "AP75", "AR100")


class Validation(Protocol):
    """Detects on each worker, scores on the chief."""

    def detect(self, worker: int, goes_on: Callable[[], bool]) -> Results:
        """Returns what is found in one worker's pictures; asks before each batch to go on."""

    def score(self, results: Results) -> Numbers:
        """Returns the numbers of all workers' detections together."""


class CocoValidation:
    """Validation on a split of the examples.

    Args:
        detector: the one that trains.
        examples_dir: CocoTransform's examples.
        config: the `input` section.
        train: split, workers and pictures a worker.
        eager: leave the detector's functions undecorated.

    Raises:
        DatasetError: there is no such split, or it is empty.
    """

    def __init__(
        self,
        detector: Detector,
        examples_dir: str | os.PathLike[str],
        config: InputConfig,
        train: TrainConfig,
        eager: bool,
    ) -> None:
        self._input = TrainingInput(
            examples_dir,
            train.validation_split,
            config.model_copy(update=_NOT_RANDOM),
            with_masks=False,
            workers=train.workers,
            pictures_per_step=train.pictures_per_worker,
            seed=0,
            own_buckets=True,
        )
        self._examples_dir, self._split = examples_dir, train.validation_split
        self._threads = train.input_threads
        self._images = {image["id"]: image for image in images_of_split(examples_dir, self._split)}
        labels = {c["label"]: c["id"] for c in read_categories(examples_dir)}
        self._category_ids = np.asarray([0, *(labels[n] for n in sorted(labels))])
        self._kinds = ("box", "mask") if detector.has_masks else ("box",)
        # Not compiled by XLA: that takes longer than the few batches of a validation.
        self._detect = detector.detect if eager else tf.function(detector.detect, autograph=False)
        self._batches: dict[int, tf.data.Dataset] = {}
        self._ground_truth: GroundTruth | None = None

    def detect(self, worker: int, goes_on: Callable[[], bool]) -> Results:
        """See `Validation`."""
        if worker not in self._batches:
            # Made once: TensorFlow keeps the functions of every dataset for good.
            self._batches[worker] = self._input.dataset(worker, 0, self._threads)
        results: Results = []
        for batch in itertools.islice(self._batches[worker], self._input.steps_per_epoch):
            if not goes_on():
                break
            found = arrays_of(self._detect(batch.images, batch.image_sizes))
            sizes = batch.image_sizes.numpy()
            for n in np.flatnonzero(batch.valid.numpy()):
                image = self._images[int(batch.image_ids[n])]
                results += self._results(image, row_of(found, n), sizes[n])
        return results

    def score(self, results: Results) -> Numbers:
        """See `Validation`."""
        if self._ground_truth is None:
            self._ground_truth = ground_truth_of_examples(self._examples_dir, self._split)
        return evaluate(self._ground_truth, results, self._kinds).named(self._kinds, _SHOWN)

    def _results(self, image: dict[str, Any], found: Found, size: np.ndarray) -> Results:
        """Returns what was found in one picture, whose content has `size` [2]."""
        used = slice(int(found.num))
        boxes_norm = np.clip(found.boxes[used] / np.tile(size, 2), 0.0, 1.0)
        return results_of_picture(
            image,
            boxes_norm,
            found.scores[used],
            self._category_ids[found.classes[used]],
            None if found.masks is None else found.masks[used],
        )


def validate(
    validation: Validation,
    distribution: Distribution,
    beat: Callable[[], None],
    stop_asked: Callable[[], bool],
) -> Numbers | None:
    """All workers: returns the same numbers on each; None where any was asked to stop.

    Args:
        validation: detects and scores.
        distribution: the workers.
        beat: is called before each batch.
        stop_asked: says before each batch whether this worker was asked to stop.
    """

    def goes_on() -> bool:
        beat()
        return not stop_asked()

    found = validation.detect(distribution.index, goes_on)
    part = None if stop_asked() else found
    parts = [
        json.loads(zlib.decompress(payload))
        for payload in distribution.gather(zlib.compress(json.dumps(part).encode(), 1))
    ]
    if any(part is None for part in parts):
        return None
    beat()
    metrics: Numbers = {}
    if distribution.is_chief:
        metrics = validation.score([result for part in parts for result in part])
    told: Numbers = json.loads(distribution.gather(json.dumps(metrics).encode())[0])
    return told


def is_validation_step(done: int, every_epochs: float, steps_per_epoch: int, steps: int) -> bool:
    """Returns whether a validation is due after `done` steps: every so often, and at the end."""
    if not every_epochs or not done:
        return False
    every = every_epochs * steps_per_epoch

    def validations(steps_done: int) -> int:
        return math.floor(steps_done / every + 1e-9)  # 57 / (0.1 * 19) is a little less than 30

    return done == steps or validations(done) > validations(done - 1)

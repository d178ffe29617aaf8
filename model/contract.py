"""What training, validation and export ask of a detector and of what feeds it.

`model/detector.py` and `model/input/input_pipeline.py` fulfil it; so do the small doubles of the
tests.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from model.batch import Batch, Found
from model.examples import Category
from model.layers.losses import LossTerm

# A Keras variable: `path`, `name`, `shape`, `value`, `assign`, `numpy`. Keras has no types.
Variable = Any


class Detector(Protocol):
    """Learns from batches and finds objects."""

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks, and learns from them."""

    @property
    def variables(self) -> Sequence[Variable]:
        """All weights, in an order that depends on the config only."""

    @property
    def trainable_variables(self) -> Sequence[Variable]:
        """What training changes by gradients."""

    @property
    def non_trainable_variables(self) -> Sequence[Variable]:
        """Frozen weights and moving statistics."""

    def loss_terms(
        self, batch: Batch, seed: int, step: tf.Tensor, training: bool = True
    ) -> dict[str, LossTerm]:
        """Returns the losses by name; see `RcnnDetector.loss_terms`."""

    def detect(self, images: tf.Tensor, image_sizes: tf.Tensor) -> Found:
        """Returns what is found in each picture, best first; see `RcnnDetector.detect`."""

    def export_weights(self) -> dict[str, np.ndarray]:
        """Returns all weights by their paths."""

    def import_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Sets all weights to what `export_weights` of such a detector returned."""


class BatchSource(Protocol):
    """Gives each worker its batches; see `TrainingInput`."""

    @property
    def categories(self) -> Sequence[Category]:
        """The label map, by rising label."""

    @property
    def num_pictures(self) -> int:
        """Pictures of the split."""

    @property
    def steps_per_epoch(self) -> int:
        """The same in every epoch."""

    @property
    def buckets(self) -> Sequence[tuple[int, int]]:
        """The padded shapes, (height, width)."""

    def dataset(self, worker: int, first_step: int = 0, threads: int = 0) -> Iterable[Batch]:
        """Returns one worker's batches from a global step on, without end."""

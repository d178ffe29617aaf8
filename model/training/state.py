"""What a training step changes: weights, optimiser slots, averages, loss scale, counts."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from model.contract import Detector
from model.training.distribution import Distribution
from model.training.freezing import unfrozen
from model.training.optimizers import Optimizer

_SKIPPED_STEPS = "state/skipped_steps"


class TrainState:
    """What a step changes: weights, optimiser slots, loss scale, count of updates.

    Attributes:
        trainable: the weights that gradients change.
        averages: their exponential moving averages; [] without.
        moving_statistics: Keras variables of batch norms.
        skipped_steps: steps left out so far since something in them was not finite.

    Args:
        detector: its `variables` (all), `trainable_variables` (those with slots) and
            `non_trainable_variables`.
        optimizer: its slots start at zero.
        loss_scale: initial loss scale; 1 for none.
        freeze: patterns of weights that stay as they are, see `unfrozen`.
        ema_decay: decay of the averages; 0 for none.
    """

    def __init__(
        self,
        detector: Detector,
        optimizer: Optimizer,
        loss_scale: float,
        *,
        freeze: Sequence[str] = (),
        ema_decay: float = 0.0,
    ) -> None:
        self._detector = detector
        self._variables = unfrozen(detector, freeze)
        self.trainable = [_tf_variable(variable) for variable in self._variables]
        self._ema_decay = ema_decay
        self.averages = [
            tf.Variable(weight, trainable=False) for weight in self.trainable if ema_decay > 0.0
        ]
        self.slots = [
            {
                name: tf.Variable(tf.zeros(weight.shape), trainable=False)
                for name in optimizer.slot_names
            }
            for weight in self.trainable
        ]
        self.moving_statistics = [
            variable
            for variable in detector.non_trainable_variables
            if variable.name in ("moving_mean", "moving_variance")
        ]
        self.loss_scale = tf.Variable(loss_scale, trainable=False, dtype=tf.float32)
        self.good_steps = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.updates = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.skipped_steps = 0

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns everything as arrays (float32, int64) by stable names."""
        arrays = {
            f"weights/{path}": np.asarray(value)
            for path, value in self._detector.export_weights().items()
        }
        arrays |= {name: variable.numpy() for name, variable in self._own_variables().items()}
        arrays[_SKIPPED_STEPS] = np.asarray(self.skipped_steps, np.int64)
        return {name: np.asarray(value) for name, value in arrays.items()}

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Sets everything from what `to_arrays` returned.

        Raises:
            KeyError: a slot is missing.
            ModelError: the weights are not this detector's.
        """
        self._detector.import_weights(
            {
                name.removeprefix("weights/"): value
                for name, value in arrays.items()
                if name.startswith("weights/")
            }
        )
        for name, variable in self._own_variables().items():
            variable.assign(arrays[name])
        self.skipped_steps = int(arrays[_SKIPPED_STEPS])

    def average(self) -> None:
        """Moves the averages towards the weights; part of an update.

        The decay grows from 2/11 to `ema_decay`, so that the first weights are soon forgotten, as
        with `num_updates` of `tf.train.ExponentialMovingAverage`.
        """
        if not self.averages:
            return
        updates = tf.cast(self.updates.read_value(), tf.float32)
        decay = tf.minimum(self._ema_decay, (1.0 + updates) / (10.0 + updates))
        for average, weight in zip(self.averages, self.trainable, strict=True):
            average.assign_add((1.0 - decay) * (weight.read_value() - average.read_value()))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the averages in the weights' place within the block; nothing without averages."""
        kept = [tf.identity(weight) for weight in self.trainable if self.averages]
        self.use_averages()
        try:
            yield
        finally:
            for weight, value in zip(self.trainable, kept, strict=False):
                weight.assign(value)

    def use_averages(self) -> None:
        """Puts the averages in the weights' place for good; nothing without averages."""
        for weight, average in zip(self.trainable, self.averages, strict=False):
            weight.assign(average)

    def share_moving_statistics(self, distribution: Distribution) -> None:
        """All workers: take the chief's moving statistics, those that are kept and exported."""
        values = {variable.path: variable.numpy() for variable in self.moving_statistics}
        values = distribution.broadcast(values)
        for variable in self.moving_statistics:
            variable.assign(values[variable.path])

    def _own_variables(self) -> dict[str, tf.Variable]:
        variables = {
            "state/loss_scale": self.loss_scale,
            "state/good_steps": self.good_steps,
            "state/updates": self.updates,
        }
        for weight, slots in zip(self._variables, self.slots, strict=True):
            variables |= {f"slots/{name}/{weight.path}": slot for name, slot in slots.items()}
        for weight, average in zip(self._variables, self.averages, strict=False):
            variables[f"averages/{weight.path}"] = average
        return variables


def _tf_variable(variable: Any) -> tf.Variable:
    """Returns the TensorFlow variable inside a Keras 3 variable."""
    return getattr(variable, "value", variable)

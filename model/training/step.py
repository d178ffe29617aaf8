"""One training step: losses, gradients, their sums over the workers, the update.

Order: forward (compiled) -> all-reduce of the losses' denominators -> backward (compiled) ->
all-reduce of gradients and loss sums -> finite check, clipping, loss scale -> update. The
denominators (sampled anchors, RoIs, positives) are known only after sampling and differ between
workers; as the backward pass starts from global ones, 1x4, 2x2 and 4x1 are the same mathematics.
Every decision is taken from reduced numbers, so all workers take the same one.

A collective cannot be part of an XLA program on CPUs (TensorFlow 2.16), hence forward and update
are compiled apart when there are several workers; with one worker the step is one program.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from model.training.distribution import Distribution
from model.training.freezing import unfrozen
from model.training.optimizers import Optimizer, weights_decay

# Dynamic loss scale of float16 (1710.03740, section 3.2): halved at an overflow, doubled after so
# many good steps.
INITIAL_LOSS_SCALE = 2.0**15
GOOD_STEPS_TO_DOUBLE = 2000
_SKIPPED_STEPS = "state/skipped_steps"


@dataclass(frozen=True)
class StepReport:
    """What a step did; the same on every worker but for `local_sums`.

    Attributes:
        losses: by name, the sum over all pictures divided by its denominator.
        loss: their sum.
        pictures: valid pictures of all workers.
        gradient_norm: global norm before clipping, the loss scale divided out.
        loss_scale: the one the step was computed with; 1 without loss scaling.
        applied: whether the weights changed (False where something was not finite).
        stop_asked: whether any worker was asked to stop.
        denominators: by name, of all workers.
        local_sums: by name, this worker's own loss sums.
    """

    losses: dict[str, float]
    loss: float
    pictures: int
    gradient_norm: float
    loss_scale: float
    applied: bool
    stop_asked: bool
    denominators: dict[str, float]
    local_sums: dict[str, float]

    @property
    def is_overflow(self) -> bool:
        """Whether only the gradients overflowed, which a lower loss scale mends."""
        return not self.applied and np.isfinite(self.loss) and self.loss_scale > 1.0


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
        ema_decay: of the averages; 0 for none.
    """

    def __init__(
        self,
        detector: Any,
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
        """Gives all workers the chief's moving statistics: those that are kept and exported."""
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


class TrainStep:
    """The step as a callable; traced once a bucket shape.

    Args:
        detector: gives `loss_terms(batch, seed, step)`.
        state: changed by every call.
        optimizer: the update rule.
        distribution: the workers.
        seed: of the sampling of anchors and RoIs.
        jit: compile with XLA.
        clip_norm: limit of the global gradient norm; 0 is none.
        decay_norms_and_biases: whether weight decay reaches vectors.
        scales_loss: whether the loss scale is in use (float16).
        eager: leave all functions as they are, for a debugger; needs one worker and no `jit`.
    """

    def __init__(
        self,
        detector: Any,
        state: TrainState,
        optimizer: Optimizer,
        distribution: Distribution,
        *,
        seed: int,
        jit: bool,
        clip_norm: float,
        decay_norms_and_biases: bool,
        scales_loss: bool,
        eager: bool = False,
    ) -> None:
        self._detector = detector
        self._state = state
        self._optimizer = optimizer
        self._distribution = distribution
        self._seed = seed
        self._clip_norm = clip_norm
        self._decays = [
            weights_decay(weight.shape, decay_norms_and_biases) for weight in state.trainable
        ]
        self._scales_loss = scales_loss
        self._names: list[str] = []
        self._eager = eager
        self._one_program = jit and distribution.workers == 1
        parts_jit = jit and not self._one_program
        # Not nested functions where nothing is compiled: synchronised batch norm has a collective
        # in the forward pass, which a strategy refuses within a function in its replica.
        self._forward = self._loss_vectors
        if parts_jit:
            self._forward = tf.function(self._loss_vectors, autograph=False, jit_compile=True)
        # A function of its own, so that it is traced once and not again for every bucket.
        self._update = self._clip_and_apply
        if not eager:
            self._update = tf.function(
                self._clip_and_apply, autograph=False, jit_compile=parts_jit or None
            )
        self._step = self._program(self._compute)

    def _program(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `function` as the graph in which this worker calls it."""
        if self._eager:
            return function
        return tf.function(
            lambda *args: self._distribution.run(function, args),
            autograph=False,
            jit_compile=self._one_program or None,
        )

    def __call__(
        self, batch: dict[str, tf.Tensor], step: int, learning_rate: float, asks_stop: bool
    ) -> dict[str, tf.Tensor]:
        """Starts a step and returns its raw report, to be read by `report` (on a GPU: later).

        Args:
            batch: this worker's pictures, shapes as in model/input/input_pipeline.py.
            step: number of the step; seeds the sampling.
            learning_rate: of the update.
            asks_stop: whether this worker was asked to stop; all learn of it.
        """
        return self._step(
            batch,
            tf.constant(step, tf.int64),
            tf.constant(learning_rate, tf.float32),
            tf.constant(float(asks_stop), tf.float32),
        )

    def report(self, raw: dict[str, tf.Tensor]) -> StepReport:
        """Returns the step's numbers; waits until the device has them."""
        values = {name: tensor.numpy() for name, tensor in raw.items()}

        def by_name(key: str) -> dict[str, float]:
            return {
                name: float(value) for name, value in zip(self._names, values[key], strict=True)
            }

        return StepReport(
            losses=by_name("losses"),
            loss=float(values["losses"].sum()),
            pictures=round(float(values["pictures"])),
            gradient_norm=float(values["gradient_norm"]),
            loss_scale=float(values["loss_scale"]),
            applied=bool(values["applied"]),
            stop_asked=bool(values["stop_asked"] > 0.0),
            denominators=by_name("denominators"),
            local_sums=by_name("local_sums"),
        )

    def _compute(
        self,
        batch: dict[str, tf.Tensor],
        step: tf.Tensor,
        learning_rate: tf.Tensor,
        asks_stop: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        weights = self._state.trainable
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            sums, denominators = self._forward(batch, step)
            with tape.stop_recording():
                pictures = tf.reduce_sum(tf.cast(batch["valid"], tf.float32))
                counts = tf.concat([denominators, [pictures, asks_stop]], axis=0)
                [counts] = self._distribution.all_sum([counts])
            loss = self._scaled_loss(sums, self._denominators(counts))
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        return self._update_and_report(gradients, sums, counts, learning_rate)

    def _denominators(self, counts: tf.Tensor) -> tf.Tensor:
        """Returns what loss sums are divided by.

        Args:
            counts: of all workers: denominators by loss, pictures, how many ask to stop.
        """
        return tf.stop_gradient(tf.maximum(counts[:-2], 1.0))

    def _scaled_loss(self, sums: tf.Tensor, denominators: tf.Tensor) -> tf.Tensor:
        loss = tf.reduce_sum(sums / denominators)
        return loss * self._state.loss_scale.read_value() if self._scales_loss else loss

    def _update_and_report(
        self,
        gradients: list[tf.Tensor],
        sums: tf.Tensor,
        counts: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Reduces this worker's gradients and loss sums, and updates the weights."""
        loss_scale = self._state.loss_scale.read_value()
        *gradients, global_sums = self._distribution.all_sum([*gradients, sums])
        losses = global_sums / self._denominators(counts)
        applied, gradient_norm = self._update(gradients, losses, learning_rate)
        return {
            "losses": losses,
            "denominators": counts[:-2],
            "local_sums": sums,
            "pictures": counts[-2],
            "stop_asked": counts[-1],
            "gradient_norm": gradient_norm,
            "loss_scale": loss_scale,
            "applied": applied,
        }

    def _loss_vectors(
        self, batch: dict[str, tf.Tensor], step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns this worker's loss sums and denominators, [number of losses] each."""
        terms = self._detector.loss_terms(batch, self._seed, step, training=True)
        self._names = list(terms)
        return (
            tf.stack([tf.cast(term.sum, tf.float32) for term in terms.values()]),
            tf.stack([tf.cast(term.denominator, tf.float32) for term in terms.values()]),
        )

    def _clip_and_apply(
        self, gradients: list[tf.Tensor], losses: tf.Tensor, learning_rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Updates the weights where everything is finite; returns (applied, gradient norm)."""
        state = self._state
        unscale = 1.0 / state.loss_scale.read_value() if self._scales_loss else tf.constant(1.0)
        gradient_norm = tf.linalg.global_norm(gradients) * unscale
        is_finite = tf.math.is_finite(gradient_norm) & tf.reduce_all(tf.math.is_finite(losses))
        factor = unscale
        if self._clip_norm > 0.0:
            factor = unscale * self._clip_norm / tf.maximum(gradient_norm, self._clip_norm)

        def apply() -> tf.Tensor:
            count = state.updates.assign_add(1)
            if self._clip_norm > 0.0 or self._scales_loss:
                scaled = [gradient * factor for gradient in gradients]
            else:
                scaled = gradients
            for weight, slots, gradient, decays in zip(
                state.trainable, state.slots, scaled, self._decays, strict=True
            ):
                values = {name: slot.read_value() for name, slot in slots.items()}
                new_weight, new_slots = self._optimizer.update(
                    weight.read_value(), gradient, values, learning_rate, count, decays
                )
                weight.assign(new_weight)
                for name, slot in slots.items():
                    slot.assign(new_slots[name])
            state.average()
            return tf.constant(True)

        applied = tf.cond(is_finite, apply, lambda: tf.constant(False))
        if self._scales_loss:
            self._adapt_loss_scale(applied)
        return applied, gradient_norm

    def _adapt_loss_scale(self, applied: tf.Tensor) -> None:
        state = self._state
        good_steps = tf.where(applied, state.good_steps.read_value() + 1, 0)
        doubles = good_steps >= GOOD_STEPS_TO_DOUBLE
        grown = tf.where(doubles, 2.0, 1.0) * state.loss_scale.read_value()
        halved = tf.maximum(state.loss_scale.read_value() / 2.0, 1.0)
        state.loss_scale.assign(tf.where(applied, grown, halved))
        state.good_steps.assign(tf.where(doubles, tf.zeros_like(good_steps), good_steps))


def _tf_variable(variable: Any) -> tf.Variable:
    """Returns the TensorFlow variable inside a Keras 3 variable."""
    return getattr(variable, "value", variable)

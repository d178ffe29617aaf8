"""One training step: losses, gradients, their sums over the workers, the update.

Order: forward (compiled) -> all-reduce of the losses' denominators -> backward (compiled) ->
all-reduce of gradients and loss sums -> finite check, clipping, loss scale -> update. The
denominators (sampled anchors, RoIs, positives) are known only after sampling and differ between
workers; as the backward pass starts from global ones, 1x4, 2x2 and 4x1 are the same mathematics.
Every decision is taken from reduced numbers, so all workers take the same one.

A collective cannot be part of an XLA program on CPUs (TensorFlow 2.16), hence forward and update
are compiled apart when there are several workers; with one worker the step is one program.

A step of K parts (`train.accumulate`) equals all its pictures in one go. The losses' denominators
must be those of all parts of all workers, but are known only after the sampling, when the first
parts' gradients have been added up already. So each part runs forward twice: first only as far as
the sampling, to count, then with its backward pass. The first pass ends at the proposals (the heads
are no part of its graph, unless they have batch norm), which costs less than the alternatives that
are exact as well: a backward pass and an accumulator for each denominator. N workers x M pictures x
K parts so equal N x (M K) pictures; only batch statistics (norm: batch_norm, sync_batch_norm) are
those of a part.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from model.batch import Batch, split_batch
from model.contract import Detector
from model.training.distribution import Distribution
from model.training.optimizers import Optimizer, weights_decay
from model.training.state import TrainState

# Dynamic loss scale of float16 (1710.03740, section 3.2): halved at an overflow, doubled after so
# many good steps.
INITIAL_LOSS_SCALE = 2.0**15
GOOD_STEPS_TO_DOUBLE = 2000


class LossSums(NamedTuple):
    """What a forward pass gives, float32 [number of losses] each.

    Attributes:
        sums: sums of the losses, over this worker's pictures.
        denominators: what all workers' together divide them by.
    """

    sums: tf.Tensor
    denominators: tf.Tensor


class Counts(NamedTuple):
    """What the workers tell each other between the forward and the backward pass, float32.

    Attributes:
        denominators: [number of losses].
        pictures: scalar, valid pictures.
        stop_asked: scalar, how many workers were asked to stop.
    """

    denominators: tf.Tensor
    pictures: tf.Tensor
    stop_asked: tf.Tensor


class RawReport(NamedTuple):
    """A step's numbers, perhaps still on the device; fields as in `StepReport`, [losses] or []."""

    losses: tf.Tensor
    denominators: tf.Tensor
    local_sums: tf.Tensor
    pictures: tf.Tensor
    stop_asked: tf.Tensor
    gradient_norm: tf.Tensor
    loss_scale: tf.Tensor
    applied: tf.Tensor


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


class TrainStep:
    """The step as a callable; traced once a bucket shape.

    Args:
        detector: gives `loss_terms(batch, seed, step)`.
        state: changed by every call.
        optimizer: the update rule.
        distribution: the workers.
        seed: seed of the sampling of anchors and RoIs.
        jit: compile with XLA.
        clip_norm: limit of the global gradient norm; 0 is none.
        decay_norms_and_biases: whether weight decay reaches vectors.
        scales_loss: whether the loss scale is in use (float16).
        parts: K, in which a batch is taken one after another; divides its pictures.
        eager: leave all functions as they are, for a debugger; needs one worker and no `jit`.
    """

    def __init__(
        self,
        detector: Detector,
        state: TrainState,
        optimizer: Optimizer,
        distribution: Distribution,
        *,
        seed: int,
        jit: bool,
        clip_norm: float,
        decay_norms_and_biases: bool,
        scales_loss: bool,
        parts: int = 1,
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
        self._parts = parts
        self._names: list[str] = []
        self._eager = eager
        # A collective cannot be part of an XLA program on CPUs: with several workers each side of
        # it is compiled by itself, and every activation crosses the border. With one there is no
        # collective, and XLA sees forward, backward and update at once.
        self._one_program = jit and distribution.workers == 1
        parts_jit = jit and not self._one_program
        # Not nested functions where nothing is compiled: synchronised batch norm has a collective
        # in the forward pass, which a strategy refuses within a function in its replica.
        self._forward = self._loss_sums
        if parts_jit:
            self._forward = tf.function(self._loss_sums, autograph=False, jit_compile=True)
        # A function of its own, so that it is traced once and not again for every bucket.
        self._update = self._clip_and_apply
        if not eager:
            self._update = tf.function(
                self._clip_and_apply, autograph=False, jit_compile=parts_jit or None
            )
        self._whole = self._program(self._compute)
        self._count_part = self._program(self._counts_of_part)
        self._reduce_counts = self._program(self._all_counts)
        self._add_part = self._program(self._add_gradients)
        self._finish_parts = self._program(self._update_from_parts)
        self._gradients = [
            tf.Variable(tf.zeros(weight.shape), trainable=False)
            for weight in state.trainable
            if parts > 1
        ]

    def _program(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `function` as the graph in which this worker calls it."""
        if self._eager:
            return function
        return tf.function(
            lambda *args: self._distribution.run(function, args),
            autograph=False,
            jit_compile=self._one_program or None,
        )

    def __call__(self, batch: Batch, step: int, learning_rate: float, asks_stop: bool) -> RawReport:
        """Starts a step and returns its raw report, to be read by `report` (on a GPU: later).

        All workers: they wait for each other's counts and gradients.

        Args:
            batch: this worker's pictures.
            step: number of the step; seeds the sampling.
            learning_rate: learning rate of the update.
            asks_stop: whether this worker was asked to stop; all learn of it.
        """
        number = tf.constant(step, tf.int64)
        rate = tf.constant(learning_rate, tf.float32)
        asks = tf.constant(float(asks_stop), tf.float32)
        if self._parts == 1:
            return self._whole(batch, number, rate, asks)
        parts = split_batch(batch, self._parts)
        counted = [self._count_part(part, number) for part in parts]
        denominators, pictures, _ = map(tf.add_n, zip(*counted, strict=True))
        counts = self._reduce_counts(Counts(denominators, pictures, asks))
        sums = tf.add_n([self._add_part(part, number, counts) for part in parts])
        return self._finish_parts(sums, counts, rate)

    def report(self, raw: RawReport) -> StepReport:
        """Returns the step's numbers; waits until the device has them."""
        values = RawReport(*(tensor.numpy() for tensor in raw))

        def by_name(numbers: Any) -> dict[str, float]:
            return {name: float(value) for name, value in zip(self._names, numbers, strict=True)}

        return StepReport(
            losses=by_name(values.losses),
            loss=float(values.losses.sum()),
            pictures=round(float(values.pictures)),
            gradient_norm=float(values.gradient_norm),
            loss_scale=float(values.loss_scale),
            applied=bool(values.applied),
            stop_asked=bool(values.stop_asked > 0.0),
            denominators=by_name(values.denominators),
            local_sums=by_name(values.local_sums),
        )

    def _compute(
        self, batch: Batch, step: tf.Tensor, learning_rate: tf.Tensor, asks_stop: tf.Tensor
    ) -> RawReport:
        """All workers: does a step in one go."""
        weights = self._state.trainable
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            found = self._forward(batch, step)
            # Between forward and backward pass, because only now the counts are known and the loss
            # already needs everybody's. The tape must not see the collective: it has no gradient.
            with tape.stop_recording():
                # A stop request rides along: all learn of it at the same step without a collective
                # of its own, so none waits in the next step for one that has left.
                own = Counts(found.denominators, _num_pictures(batch), asks_stop)
                counts = self._all_counts(own)
            loss = self._scaled_loss(found.sums, counts)
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        return self._update_and_report(gradients, found.sums, counts, learning_rate)

    def _counts_of_part(self, part: Batch, step: tf.Tensor) -> Counts:
        """Returns this worker's counts of a part; changes nothing."""
        # Counting runs the forward pass a second time; batch norm would move twice.
        moving_statistics = self._state.moving_statistics
        before = [variable.value.read_value() for variable in moving_statistics]
        found = self._forward(part, step)
        for variable, value in zip(moving_statistics, before, strict=True):
            variable.assign(value)
        return Counts(found.denominators, _num_pictures(part), tf.constant(0.0))

    def _add_gradients(self, part: Batch, step: tf.Tensor, counts: Counts) -> tf.Tensor:
        """Adds a part's gradients to the others'; returns this worker's loss sums of the part."""
        weights = self._state.trainable
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            found = self._forward(part, step)
            loss = self._scaled_loss(found.sums, counts)
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        for total, gradient in zip(self._gradients, gradients, strict=True):
            total.assign_add(gradient)
        return found.sums

    def _update_from_parts(
        self, sums: tf.Tensor, counts: Counts, learning_rate: tf.Tensor
    ) -> RawReport:
        """Ends a step of several parts, whose gradients have been added up."""
        gradients = [total.read_value() for total in self._gradients]
        raw = self._update_and_report(gradients, sums, counts, learning_rate)
        for total in self._gradients:
            total.assign(tf.zeros(total.shape))
        return raw

    def _loss_sums(self, batch: Batch, step: tf.Tensor) -> LossSums:
        """Returns this worker's loss sums and denominators."""
        terms = self._detector.loss_terms(batch, self._seed, step, training=True)
        self._names = list(terms)
        return LossSums(
            tf.stack([tf.cast(term.sum, tf.float32) for term in terms.values()]),
            tf.stack([tf.cast(term.denominator, tf.float32) for term in terms.values()]),
        )

    def _all_counts(self, counts: Counts) -> Counts:
        """All workers: returns the counts of all together."""
        return Counts(*self._distribution.all_sum(counts))

    def _scaled_loss(self, sums: tf.Tensor, counts: Counts) -> tf.Tensor:
        loss = tf.reduce_sum(sums / _divisors(counts))
        return loss * self._state.loss_scale.read_value() if self._scales_loss else loss

    def _update_and_report(
        self,
        gradients: list[tf.Tensor],
        sums: tf.Tensor,
        counts: Counts,
        learning_rate: tf.Tensor,
    ) -> RawReport:
        """All workers: reduces gradients and loss sums, and updates the weights."""
        # Read before the update changes it: the report tells what this step was computed with.
        loss_scale = self._state.loss_scale.read_value()
        # One collective for both; a second would be a second latency.
        *gradients, global_sums = self._distribution.all_sum([*gradients, sums])
        losses = global_sums / _divisors(counts)
        applied, gradient_norm = self._update(gradients, losses, learning_rate)
        return RawReport(
            losses=losses,
            denominators=counts.denominators,
            local_sums=sums,
            pictures=counts.pictures,
            stop_asked=counts.stop_asked,
            gradient_norm=gradient_norm,
            loss_scale=loss_scale,
            applied=applied,
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

        # By reduced numbers alone: every worker takes the same branch, and weights stay equal.
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


def _num_pictures(batch: Batch) -> tf.Tensor:
    """Returns the number of valid pictures, a float32 scalar."""
    return tf.reduce_sum(tf.cast(batch.valid, tf.float32))


def _divisors(counts: Counts) -> tf.Tensor:
    """Returns what the loss sums [number of losses] are divided by; nothing sampled counts as 1."""
    return tf.stop_gradient(tf.maximum(counts.denominators, 1.0))

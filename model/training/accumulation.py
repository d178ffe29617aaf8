"""Gradient accumulation: one step of K parts, as if all its pictures had been there at once.

The losses' denominators (sampled RoIs, positives) must be those of all parts of all workers, but
are known only after the sampling, when the first parts' gradients have been added up already. So
each part runs forward twice: first only as far as the sampling, to count, then with its backward
pass. The first pass ends at the proposals (the heads are no part of its graph), which costs less
than the alternatives that are exact as well: a backward pass and an accumulator for each
denominator. N workers x M pictures x K parts so equal N x (M K) pictures in one go; only batch
statistics (norm: batch_norm, sync_batch_norm) are those of a part.
"""

from typing import Any

import tensorflow as tf

from model.training.step import TrainStep


class AccumulatedStep(TrainStep):
    """A step that takes its batch in parts, one after another; in memory is one of them.

    Args:
        parts: K; divides the pictures of a batch.
        args: as `TrainStep`.
        settings: likewise.
    """

    def __init__(self, *args: Any, parts: int, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._parts = parts
        self._gradients = [
            tf.Variable(tf.zeros(weight.shape), trainable=False) for weight in self._state.trainable
        ]
        self._count_part = self._program(self._part_counts)
        self._sum_counts = self._program(lambda counts: self._distribution.all_sum([counts])[0])
        self._add_part = self._program(self._add_gradients)
        self._finish = self._program(self._reduce_and_update)

    def __call__(
        self, batch: dict[str, tf.Tensor], step: int, learning_rate: float, asks_stop: bool
    ) -> dict[str, tf.Tensor]:
        """See `TrainStep.__call__`."""
        number = tf.constant(step, tf.int64)
        size = batch["valid"].shape[0] // self._parts
        parts = [
            {name: tensor[start : start + size] for name, tensor in batch.items()}
            for start in range(0, size * self._parts, size)
        ]
        counts = tf.add_n([self._count_part(part, number) for part in parts])
        counts = self._sum_counts(tf.concat([counts, [float(asks_stop)]], axis=0))
        sums = tf.add_n([self._add_part(part, number, counts) for part in parts])
        return self._finish(sums, counts, tf.constant(learning_rate, tf.float32))

    def _part_counts(self, part: dict[str, tf.Tensor], step: tf.Tensor) -> tf.Tensor:
        """Returns this worker's denominators of a part and its number of pictures."""
        moving_statistics = self._state.moving_statistics
        before = [variable.value.read_value() for variable in moving_statistics]
        _, denominators = self._forward(part, step)
        for variable, value in zip(moving_statistics, before, strict=True):
            variable.assign(value)
        pictures = tf.reduce_sum(tf.cast(part["valid"], tf.float32))
        return tf.concat([denominators, [pictures]], axis=0)

    def _add_gradients(
        self, part: dict[str, tf.Tensor], step: tf.Tensor, counts: tf.Tensor
    ) -> tf.Tensor:
        """Adds a part's gradients to the others'; returns this worker's loss sums of the part."""
        weights = self._state.trainable
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            sums, _ = self._forward(part, step)
            loss = self._scaled_loss(sums, self._denominators(counts))
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        for total, gradient in zip(self._gradients, gradients, strict=True):
            total.assign_add(gradient)
        return sums

    def _reduce_and_update(
        self, sums: tf.Tensor, counts: tf.Tensor, learning_rate: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        gradients = [total.read_value() for total in self._gradients]
        raw = self._update_and_report(gradients, sums, counts, learning_rate)
        for total in self._gradients:
            total.assign(tf.zeros(total.shape))
        return raw


def build_step(parts: int, *args: Any, **settings: Any) -> TrainStep:
    """Returns the step of `train.accumulate` parts; the rest is as for `TrainStep`."""
    if parts == 1:
        return TrainStep(*args, **settings)
    return AccumulatedStep(*args, parts=parts, **settings)

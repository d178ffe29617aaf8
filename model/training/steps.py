"""The steps of one worker: each is started, and its numbers are read when the next one runs."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from absl import logging

from ground.errors import TrainingError
from model.batch import Batch
from model.input.next_batch import next_batch
from model.op_error import reason_of
from model.training.distribution import Distribution
from model.training.history import RunHistory, RunPlan
from model.training.non_finite import NotFiniteError, Part, description, own_part, suspects
from model.training.reporter import Reporter
from model.training.schedules import learning_rate
from model.training.state import TrainState
from model.training.status import WorkerStatus
from model.training.step import RawReport, StepReport, TrainStep
from model.training.step_meter import StepMeter


@dataclass(frozen=True)
class _StartedStep:
    """A step whose numbers have not been read yet."""

    step: int
    batch: Batch
    raw: RawReport
    learning_rate: float
    input_seconds: float
    flops: int
    traced: bool


class Steps:
    """Starts steps, and finishes them later: a GPU never waits for the host to read its numbers.

    Args:
        plan: plan of the run.
        step: changes the weights.
        state: the weights, and the number of skipped steps.
        distribution: the workers.
        status: where this worker says what it does.
        reporter: is told of each step.
        meter: measures each step.
        work_dir: for batches that broke a step.
        stop_asked: says whether this worker was asked to stop at the next step.
    """

    def __init__(
        self,
        plan: RunPlan,
        step: TrainStep,
        state: TrainState,
        distribution: Distribution,
        status: WorkerStatus,
        reporter: Reporter,
        meter: StepMeter,
        work_dir: Path,
        stop_asked: Callable[[], bool],
    ) -> None:
        self._plan = plan
        self._train = plan.train
        self._step = step
        self._state = state
        self._distribution = distribution
        self._status = status
        self._reporter = reporter
        self._meter = meter
        self._work_dir = work_dir
        self._stop_asked = stop_asked
        self._traced_shapes: set[tuple[int, ...]] = set()
        self._unread: deque[_StartedStep] = deque()

    def take(self, step: int, batches: Iterator[Batch], history: RunHistory) -> bool:
        """All workers: starts a step, finishes older ones; returns whether any asks to stop.

        Where a step is traced, which takes the host seconds, numbers are read before and behind
        it, so that these seconds are no other step's.

        Raises:
            NotFiniteError: an older step is not finite, and too many have been skipped.
        """
        self._status.beat("input", step)
        before = time.monotonic()
        batch = next_batch(batches)
        input_seconds = time.monotonic() - before
        is_new = tuple(batch.images.shape) not in self._traced_shapes
        stops = is_new and self.finish_all_but(0, history)
        self._unread.append(self._start(step, batch, input_seconds, is_new))
        return self.finish_all_but(0 if is_new else 1, history) or stops

    def finish_all_but(self, count: int, history: RunHistory) -> bool:
        """All workers: finishes the oldest steps; returns whether any worker asks to stop.

        Raises:
            NotFiniteError: one of them is not finite, and too many have been skipped.
        """
        stops = False
        while len(self._unread) > count:
            stops = self._finish(self._unread.popleft(), history).stop_asked or stops
        return stops

    def _start(self, step: int, batch: Batch, input_seconds: float, is_new: bool) -> _StartedStep:
        """All workers: starts a step, whose numbers are read later."""
        self._status.beat("step", step)
        shape, train, plan = tuple(batch.images.shape), self._train, self._plan
        self._traced_shapes.add(shape)
        rate = learning_rate(
            train.optimizer, step, plan.steps, plan.steps_per_epoch, train.global_batch
        )
        try:
            with self._meter.step(step), self._status.compiling(is_new):
                # The request to stop travels with the step's counts: a signal reaches one worker
                # at some moment, and all must end behind the same step, or the others would wait
                # in the next all-reduce for ever.
                raw = self._step(batch, step, rate, self._stop_asked())
        except tf.errors.ResourceExhaustedError as error:
            raise TrainingError(
                f"step {step}: out of memory with {train.pictures_per_worker} pictures of "
                f"{shape[1]}x{shape[2]} px a worker; lower the second number of train.batch or "
                f"the sizes in input ({reason_of(error.message)})"
            ) from error
        flops = self._meter.flops(batch)
        return _StartedStep(step, batch, raw, rate, input_seconds, flops, is_new)

    def _finish(self, started: _StartedStep, history: RunHistory) -> StepReport:
        """All workers: reads a step's numbers, checks and shows them."""
        report = self._step.report(started.raw)
        history.seconds += self._meter.finished(
            started.step, report.pictures, started.input_seconds, started.traced, started.flops
        )
        if report.is_overflow:
            logging.info(
                "step %d: overflow at loss scale %g, skipped", started.step, report.loss_scale
            )
        elif not report.applied:
            self._skip(started, report)
            return report
        history.add_losses(report.losses)
        done = started.step + 1
        self._reporter.step(done, report, started.learning_rate, started.input_seconds, history)
        if self._reporter.show_pictures(done):
            self._meter.start_clock()
        return report

    def _skip(self, started: _StartedStep, report: StepReport) -> None:
        """All workers: accounts for a step that changed nothing since it is not finite.

        Raises:
            NotFiniteError: `train.max_non_finite_steps` have been skipped already.
        """
        allowed = self._train.max_non_finite_steps
        own = own_part(
            self._work_dir, started.step, self._distribution.index, report, started.batch
        )
        # Told to all before any of them ends, so that whichever ends first names the right one.
        parts = suspects([Part.from_bytes(p) for p in self._distribution.gather(own.to_bytes())])
        text = description(started.step, report, parts)
        if self._state.skipped_steps >= allowed:
            raise NotFiniteError(
                f"{text}; batch kept in {', '.join(part.path for part in parts)}; lower "
                f"train.optimizer.learning_rate, set clip_norm, look at these pictures, or raise "
                f"train.max_non_finite_steps (now {allowed})"
            )
        self._state.skipped_steps += 1
        logging.warning("%s; skipped, batch kept in %s", text, own.path)
        self._reporter.skipped(
            started.step,
            [picture for part in parts for picture in part.pictures],
            f"{text}; skipped, {self._state.skipped_steps} of {allowed} "
            f"(train.max_non_finite_steps); batches kept in {self._work_dir}",
            self._state.skipped_steps,
        )

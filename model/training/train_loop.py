"""The loop of one worker: restore, step after step, finish, save; read it from top to bottom.

Where a method says "all workers", each of them comes there at the same step and waits for the
others: what one of them decides there, all decide.
"""

import dataclasses
import json
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from configs.schema import TrainConfig
from ground.errors import TrainingError
from model.batch import Batch
from model.contract import BatchSource, Detector
from model.gpu_facts import peak_flops
from model.input.next_batch import next_batch
from model.op_error import reason_of
from model.training.checkpoints import CheckpointStore
from model.training.devices import device_name
from model.training.distribution import Distribution
from model.training.events import RunDone, RunEnded, RunStopped
from model.training.flops import FlopCounter
from model.training.history import RunHistory, RunPlan
from model.training.non_finite import NotFiniteError, Part, description, own_part, suspects
from model.training.optimizers import build_optimizer
from model.training.profile import ProfilerWindow
from model.training.reporter import Built, Reporter, number_of_parameters
from model.training.schedules import learning_rate, total_steps
from model.training.state import TrainState
from model.training.status import WorkerStatus
from model.training.step import INITIAL_LOSS_SCALE, RawReport, StepReport, TrainStep
from model.training.throughput import Throughput
from model.training.validated import Validated
from model.training.validation import Validation, validate


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


class TrainLoop:
    """Trains a detector on one worker.

    Args:
        train: settings of the run.
        detector: that learns.
        training_input: gives the batches.
        distribution: the workers.
        checkpoints: read and written by the chief alone.
        status: where this worker says what it does.
        work_dir: for TensorBoard scalars, throughput.json and batches that broke a step.
        precision: Keras dtype policy that the detector was built with.
        jit: compile with XLA.
        stop_asked: says whether this worker was asked to stop at the next step.
        eager: run the step undecorated, for a debugger.
        validation: detects and scores; None for a run without.
    """

    def __init__(
        self,
        train: TrainConfig,
        detector: Detector,
        training_input: BatchSource,
        distribution: Distribution,
        checkpoints: CheckpointStore,
        status: WorkerStatus,
        work_dir: str,
        *,
        precision: str,
        jit: bool,
        stop_asked: Callable[[], bool],
        eager: bool = False,
        validation: Validation | None = None,
    ) -> None:
        self._train = train
        self._detector = detector
        self._input = training_input
        self._distribution = distribution
        self._checkpoints = checkpoints
        self._status = status
        self._work_dir = Path(work_dir)
        self._compiled_as: dict[str, Any] = {"precision": precision, "jit": jit}
        self._stop_asked = stop_asked
        self._validation = validation
        per_epoch = training_input.steps_per_epoch
        steps = total_steps(train.epochs, per_epoch, train.max_steps)
        self._plan = RunPlan(train, steps, per_epoch, validates=validation is not None)
        self._history = RunHistory()
        scales_loss = precision == "mixed_float16"
        optimizer = build_optimizer(train.optimizer)
        self.state = TrainState(
            detector,
            optimizer,
            INITIAL_LOSS_SCALE if scales_loss else 1.0,
            freeze=train.freeze,
            ema_decay=train.ema_decay,
        )
        self._step = TrainStep(
            detector,
            self.state,
            optimizer,
            distribution,
            seed=train.seed,
            jit=jit,
            clip_norm=train.optimizer.clip_norm,
            decay_norms_and_biases=train.optimizer.decay_norms_and_biases,
            scales_loss=scales_loss,
            parts=train.accumulate,
            eager=eager,
        )
        self._traced_shapes: set[tuple[int, ...]] = set()
        self._last_finish = time.monotonic()
        peak = peak_flops(device_name(), precision)
        self._throughput = Throughput(distribution.workers, peak)
        self._count_flops: FlopCounter | None = None
        if peak and distribution.is_chief:
            self._count_flops = FlopCounter(detector, self.state.trainable)
        window = train.profile_steps if distribution.is_chief else None
        self._profiler = ProfilerWindow(window, self._work_dir / "tensorboard")
        self._reporter = Reporter(
            self._plan, distribution, status, self._work_dir, self._throughput
        )

    def run(self) -> RunEnded:
        """Trains to the last step, or until any worker is asked to stop; returns which it was.

        Raises:
            NotFiniteError: a loss or a gradient is not finite, too often.
        """
        done = self._restore()
        self._announce(done)
        # Asked before the first step, whose compilation may take longer than there is time to stop.
        stops = self._any_is_asked_to_stop() or self._validate_if_due(done)
        if not stops and not self._plan.is_over(self._history, done):
            done = self._run_from(done)
        self._profiler.close()
        self._reporter.close()
        history = self._history
        ended = RunDone if self._plan.is_done(history, done) else RunStopped
        return ended(
            step=done,
            steps=self._plan.steps,
            skipped_steps=self.state.skipped_steps,
            best=self._plan.best(history),
            seconds=history.seconds,
            images_per_second=history.images_per_second,
            first_losses=history.first_losses,
            last_losses=history.last_losses,
            validations=history.validations,
        )

    def put_export_in_place(self) -> dict[str, Any]:
        """Gives the detector the weights that are exported; returns what to say of them.

        The run is over then: its own weights are in the last checkpoint.
        """
        best = self._plan.best(self._history) if self._train.export == "best" else None
        if best:
            self.state.from_arrays(self._checkpoints.load(best.step)[0])
        self.state.use_averages()
        step = best.step if best else self._checkpoints.steps()[-1]
        validation = dataclasses.asdict(best) if best else None
        return {"step": step, "last_losses": self._history.last_losses, "validation": validation}

    def _restore(self) -> int:
        """All workers: takes up the newest checkpoint, or the chief's first weights.

        Returns:
            The steps done.

        Raises:
            TrainingError: this worker was given something else than the chief.
        """
        step, arrays = 0, self.state.to_arrays()
        if self._distribution.is_chief:
            self._checkpoints.remove_partial_files()
            steps = self._checkpoints.steps()
            if steps:
                step = steps[-1]
                arrays, kept = self._checkpoints.load(step)
                self._history = RunHistory.from_json(kept)
        # Travels with the weights: two hosts with different settings would else add up their
        # gradients without a word.
        run = zlib.crc32(self._checkpoints.key.encode())
        arrays |= {"step": np.asarray(step, np.int64), "run": np.asarray(run, np.int64)}
        arrays = self._distribution.broadcast(arrays)
        step = int(arrays.pop("step"))
        if int(arrays.pop("run")) != run:
            raise TrainingError(
                f"worker {self._distribution.index} has other settings, examples or code than the "
                "first host: give every host the same"
            )
        self.state.from_arrays(arrays)
        history = json.dumps(self._history.to_json()).encode()
        self._history = RunHistory.from_json(json.loads(self._distribution.gather(history)[0]))
        return step

    def _announce(self, first_step: int) -> None:
        built = Built(
            **self._compiled_as,
            buckets=[list(bucket) for bucket in self._input.buckets],
            parameters=number_of_parameters(self.state.trainable),
            pictures=self._input.num_pictures,
        )
        self._reporter.start(first_step, built)
        if self._distribution.is_chief and self._train.picture_every_steps:
            first_batch = next_batch(iter(self._input.dataset(self._distribution.index)))
            self._reporter.draw_pictures(self._detector, first_batch, self._input.categories)

    def _run_from(self, first_step: int) -> int:
        """Does the steps; returns how many updates are done in all.

        The numbers of a step are read after the next one has been started, so that a GPU never
        waits for the host; but where a step is traced, which takes the host seconds, they are read
        before and behind it, so that these are no other step's. All workers read the same numbers
        at the same step, so all stop alike.
        """
        self._status.beat("input", first_step)
        threads = self._train.input_threads
        batches = iter(self._input.dataset(self._distribution.index, first_step, threads))
        self._last_finish = time.monotonic()
        unread: deque[_StartedStep] = deque()
        for step in range(first_step, self._plan.steps):
            batch, input_seconds = self._next_batch(step, batches)
            is_new = self._is_new(batch)
            # Before a trace, so that its seconds are no earlier step's.
            stops = is_new and self._finish_but(0, unread)
            unread.append(self._start(step, batch, input_seconds))
            done = step + 1
            stops = self._finish_but(0 if is_new else 1, unread) or stops
            if stops or self._plan.is_checkpoint_due(self._history, done):
                stops = self._finish_but(0, unread) or stops
                self._save(done)
                stops = stops or self._validate_if_due(done)
                if stops or self._plan.is_over(self._history, done):
                    return done
        return self._plan.steps

    def _next_batch(self, step: int, batches: Iterator[Batch]) -> tuple[Batch, float]:
        """Returns the batch of a step and the seconds that it was waited for."""
        self._status.beat("input", step)
        before = time.monotonic()
        batch = next_batch(batches)
        return batch, time.monotonic() - before

    def _is_new(self, batch: Batch) -> bool:
        """Whether the step has yet to be traced for a batch of this shape."""
        return tuple(batch.images.shape) not in self._traced_shapes

    def _start(self, step: int, batch: Batch, input_seconds: float) -> _StartedStep:
        """All workers: starts a step, whose numbers are read later."""
        self._status.beat("step", step)
        shape = tuple(batch.images.shape)
        traced = self._is_new(batch)
        self._traced_shapes.add(shape)
        train = self._train
        rate = learning_rate(
            train.optimizer, step, self._plan.steps, self._plan.steps_per_epoch, train.global_batch
        )
        try:
            with self._profiler.step(step), self._status.compiling(traced):
                raw = self._step(batch, step, rate, self._stop_asked())
        except tf.errors.ResourceExhaustedError as error:
            raise TrainingError(
                f"step {step}: out of memory with {train.pictures_per_worker} pictures of "
                f"{shape[1]}x{shape[2]} px a worker; lower the second number of train.batch or "
                f"the sizes in input ({reason_of(error.message)})"
            ) from error
        flops = self._count_flops(batch) if self._count_flops else 0
        return _StartedStep(step, batch, raw, rate, input_seconds, flops, traced)

    def _finish_but(self, count: int, unread: deque[_StartedStep]) -> bool:
        """Finishes the oldest steps but for so many; returns whether any worker asks to stop."""
        stops = False
        while len(unread) > count:
            stops = self._finish(unread.popleft()).stop_asked or stops
        return stops

    def _finish(self, started: _StartedStep) -> StepReport:
        """Reads a step's numbers, checks and shows them."""
        report = self._step.report(started.raw)
        self._profiler.finished(started.step)
        now = time.monotonic()
        seconds, self._last_finish = now - self._last_finish, now
        self._throughput.record(
            seconds, report.pictures, started.input_seconds, started.traced, started.flops
        )
        self._history.seconds += seconds
        if report.is_overflow:
            logging.info(
                "step %d: overflow at loss scale %g, skipped", started.step, report.loss_scale
            )
        elif not report.applied:
            self._skip(started, report)
            return report
        self._history.add_losses(report.losses)
        done = started.step + 1
        self._reporter.step(
            done, report, started.learning_rate, started.input_seconds, self._history
        )
        if self._reporter.show_pictures(done):
            self._last_finish = time.monotonic()  # no part of the next step's time
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
        if self.state.skipped_steps >= allowed:
            raise NotFiniteError(
                f"{text}; batch kept in {', '.join(part.path for part in parts)}; lower "
                f"train.optimizer.learning_rate, set clip_norm, look at these pictures, or raise "
                f"train.max_non_finite_steps (now {allowed})"
            )
        self.state.skipped_steps += 1
        logging.warning("%s; skipped, batch kept in %s", text, own.path)
        self._reporter.skipped(
            started.step,
            [picture for part in parts for picture in part.pictures],
            f"{text}; skipped, {self.state.skipped_steps} of {allowed} "
            f"(train.max_non_finite_steps); batches kept in {self._work_dir}",
            self.state.skipped_steps,
        )

    def _any_is_asked_to_stop(self) -> bool:
        """All workers: returns whether any of them was asked to stop."""
        return any(map(int, self._distribution.gather(b"%d" % self._stop_asked())))

    def _validate_if_due(self, done: int) -> bool:
        """All workers: measures the weights where that is due; returns whether to stop instead.

        The checkpoint of this step has been written: a run that is killed here validates again.
        Its numbers are kept with the weights.
        """
        if self._validation is None or not self._plan.is_validation_due(self._history, done):
            return False
        before = time.monotonic()
        self.state.share_moving_statistics(self._distribution)
        with self.state.averaged():
            metrics = validate(
                self._validation,
                self._distribution,
                lambda: self._status.beat("validation", done),
                self._stop_asked,
            )
        self._last_finish = time.monotonic()  # no part of the next step's time
        if metrics is None:
            return True
        self._history.validations.append(Validated(done, metrics))
        self._save(done)
        self._reporter.validated(done, self._last_finish - before, self._history)
        return False

    def _save(self, done: int) -> None:
        """All workers: gives the chief its throughput, with which it writes a checkpoint."""
        self._status.beat("checkpoint", done)
        own_figures = json.dumps(self._throughput.own_figures()).encode()
        throughput = self._throughput.summary(
            [json.loads(figures) for figures in self._distribution.gather(own_figures)]
        )
        # Every worker tells it: the launcher on a host without the chief has no other source.
        self._history.images_per_second = throughput["images_per_second"]
        if not self._distribution.is_chief:
            return
        best = self._plan.best(self._history)
        path = self._checkpoints.save(
            done,
            self.state.to_arrays(),
            self._history.to_json(),
            best.step if best else None,
        )
        self._reporter.saved(done, path, throughput)

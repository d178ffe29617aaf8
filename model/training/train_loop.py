"""The loop of one worker: restore, step after step, checkpoints, what a person wants to see."""

import json
import math
import re
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

from configs.errors import DatasetError, TrainingError
from configs.files import write_json
from configs.schema import TrainConfig
from model.batch import Batch
from model.op_error import reason_of
from model.training.checkpoints import CheckpointStore
from model.training.devices import device_memory_bytes, device_name
from model.training.distribution import Distribution
from model.training.flops import FlopCounter, peak_flops
from model.training.non_finite import NotFiniteError, Part, description, own_part, suspects
from model.training.optimizers import build_optimizer
from model.training.pictures import TrainingPictures
from model.training.profile import ProfilerWindow
from model.training.progress import WorkerStatus, start_line
from model.training.schedules import (
    base_learning_rate,
    learning_rate,
    total_steps,
    unfinished_warmup,
)
from model.training.state import TrainState
from model.training.step import INITIAL_LOSS_SCALE, RawReport, StepReport, TrainStep
from model.training.throughput import Throughput
from model.training.validation import (
    Validation,
    best_validation,
    is_patience_over,
    is_validation_step,
    validate,
)

_SECONDS_BETWEEN_PROGRESS_EVENTS = 0.5


def next_batch(batches: Iterator[Batch]) -> Batch:
    """Returns the next batch.

    Raises:
        DatasetError: reading it raised one; tf.data wraps it in an error of its own.
    """
    try:
        return next(batches)
    except tf.errors.OpError as error:
        reason = re.search(r"DatasetError: ([^\n]+)", error.message)
        if reason is None:
            raise
        raise DatasetError(reason[1]) from None


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
        detector: as in model/detector.py.
        training_input: as `TrainingInput` of model/input/input_pipeline.py.
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
        detector: Any,
        training_input: Any,
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
        self._validation = validation
        self._input = training_input
        self._distribution = distribution
        self._checkpoints = checkpoints
        self._status = status
        self._work_dir = Path(work_dir)
        self._precision = precision
        self._jit = jit
        self._stop_asked = stop_asked
        self._steps = total_steps(train.epochs, training_input.steps_per_epoch, train.max_steps)
        scales_loss = precision == "mixed_float16"
        optimizer = build_optimizer(train.optimizer)
        self.state = TrainState(
            detector,
            optimizer,
            INITIAL_LOSS_SCALE if scales_loss else 1.0,
            freeze=train.freeze,
            ema_decay=train.ema_decay,
        )
        self._parameters = sum(int(np.prod(weight.shape)) for weight in self.state.trainable)
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
        peak = peak_flops(device_name(), precision)
        self._throughput = Throughput(distribution.workers, peak)
        self._count_flops: FlopCounter | None = None
        if peak and distribution.is_chief:
            self._count_flops = FlopCounter(detector, self.state.trainable)
        window = train.profile_steps if distribution.is_chief else None
        self._profiler = ProfilerWindow(window, self._work_dir / "tensorboard")
        self._detector = detector
        self._pictures: TrainingPictures | None = None
        self._traced_shapes: set[tuple[int, ...]] = set()
        self._history: dict[str, Any] = {
            "seconds": 0.0,
            "first_losses": {},
            "last_losses": {},
            "validations": [],
        }
        self._scalars: Any = None
        self._last_event = self._last_finish = -math.inf

    def run(self) -> dict[str, Any]:
        """Trains to the last step, or until any worker is asked to stop.

        Returns:
            `step` (steps done), `steps` (of the whole run), `is_done` (False where it can go on),
            `skipped_steps` (not finite), `best` (validation) and the history: `seconds`,
            `images_per_second`, `first_losses`, `last_losses`, `validations`.

        Raises:
            NotFiniteError: a loss or a gradient is not finite, too often.
        """
        first_step = self._restore()
        self._announce(first_step)
        done = first_step
        # Asked before the first step, whose compilation may take longer than there is time to stop.
        stops = self._any_is_asked_to_stop()
        stops = stops or (self._needs_validation(done) and self._validate(done))
        if not stops and not self._is_over(done):
            done = self._run_from(done)
        self._profiler.close()
        if self._pictures:
            self._pictures.close()
        if self._scalars:
            self._scalars.close()
        return {
            "step": done,
            "steps": self._steps,
            "is_done": self._is_over(done) and not self._needs_validation(done),
            "skipped_steps": self.state.skipped_steps,
            "best": self._best(),
            **self._history,
        }

    def put_export_in_place(self) -> dict[str, Any]:
        """Gives the detector the weights that are exported; returns what to say of them.

        The run is over then: its own weights are in the last checkpoint.
        """
        best = self._best() if self._train.export == "best" else None
        if best:
            self.state.from_arrays(self._checkpoints.load(best["step"])[0])
        self.state.use_averages()
        step = best["step"] if best else self._checkpoints.steps()[-1]
        return {"step": step, "last_losses": self._history["last_losses"], "validation": best}

    def _restore(self) -> int:
        """Makes all workers equal to the newest checkpoint, or to the chief's first weights."""
        step, arrays = 0, self.state.to_arrays()
        if self._distribution.is_chief:
            self._checkpoints.remove_partial_files()
            steps = self._checkpoints.steps()
            if steps:
                step = steps[-1]
                arrays, self._history = self._checkpoints.load(step)
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
        history = self._distribution.gather(json.dumps(self._history).encode())[0]
        self._history = json.loads(history)
        return step

    def _announce(self, first_step: int) -> None:
        facts = {
            "workers": self._distribution.workers,
            "pictures_per_worker": self._train.pictures_per_worker,
            "accumulate": self._train.accumulate,
            "device": device_name(),
            "memory_bytes": device_memory_bytes(),
            "precision": self._precision,
            "jit": self._jit,
            "learning_rate": base_learning_rate(self._train.optimizer, self._train.global_batch),
            "buckets": [list(bucket) for bucket in self._input.buckets],
            "parameters": self._parameters,
            "pictures": self._input.num_pictures,
            "steps": self._steps,
            "steps_per_epoch": self._input.steps_per_epoch,
            "first_step": first_step,
        }
        logging.info("starts: %s", start_line(facts))
        if self._distribution.is_chief:
            self._status.event("start", **facts)
            if warning := unfinished_warmup(
                self._train.optimizer, self._steps, self._input.steps_per_epoch
            ):
                self._status.event("warning", text=warning)
            self._scalars = tf.summary.create_file_writer(str(self._work_dir / "tensorboard"))
            if self._train.picture_every_steps:
                self._pictures = self._training_pictures()

    def _training_pictures(self) -> TrainingPictures:
        first_batch = next_batch(iter(self._input.dataset(self._distribution.index)))
        return TrainingPictures(self._detector, first_batch, self._input.categories, self._scalars)

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
        for step in range(first_step, self._steps):
            batch, input_seconds = self._next_batch(step, batches)
            is_new = self._is_new(batch)
            stops = is_new and self._finish_but(0, unread)
            unread.append(self._start(step, batch, input_seconds))
            done = step + 1
            is_due = done % self._train.checkpoint_every_steps == 0 or self._needs_validation(done)
            stops = self._finish_but(0 if is_new else 1, unread) or stops
            if stops or is_due or done == self._steps:
                stops = self._finish_but(0, unread) or stops
                self._save(done)
                stops = stops or (self._needs_validation(done) and self._validate(done))
                if stops or self._is_over(done):
                    return done
        return self._steps

    def _any_is_asked_to_stop(self) -> bool:
        """Whether any worker was asked to stop; all must call it."""
        return any(map(int, self._distribution.gather(b"%d" % self._stop_asked())))

    def _needs_validation(self, done: int) -> bool:
        """Whether the weights of this step are to be validated, and are not yet."""
        validations = self._history["validations"]
        return (
            self._validation is not None
            and not (validations and validations[-1]["step"] == done)
            and is_validation_step(
                done, self._train.validate_every_epochs, self._input.steps_per_epoch, self._steps
            )
        )

    def _is_over(self, done: int) -> bool:
        train = self._train
        return done == self._steps or is_patience_over(
            self._history["validations"], train.best_metric, train.patience_validations
        )

    def _best(self) -> dict[str, Any] | None:
        return best_validation(self._history["validations"], self._train.best_metric)

    def _validate(self, done: int) -> bool:
        """Measures the weights and keeps the numbers with them; returns whether to stop instead.

        The checkpoint of this step has been written: a run that is killed here validates again.
        """
        if self._validation is None:
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
        seconds = time.monotonic() - before
        self._last_finish = time.monotonic()  # no part of the next step's time
        if metrics is None:
            return True
        self._history["validations"].append({"step": done, "metrics": metrics})
        self._save(done)
        if self._distribution.is_chief:
            best = self._best()
            self._status.event(
                "validation",
                step=done,
                metrics=metrics,
                is_best=best is not None and best["step"] == done,
                seconds=seconds,
            )
            self._write({f"validation/{name}": value for name, value in metrics.items()}, done)
            self._scalars.flush()
            if done < self._steps and self._is_over(done):
                self._status.event(
                    "early_stop",
                    text=f"ends after step {done} of {self._steps}: "
                    f"{self._train.patience_validations} validations brought no higher "
                    f"{self._train.best_metric} (train.patience_validations)",
                )
        return False

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
        self._status.beat("step", step)
        shape = tuple(batch.images.shape)
        traced = self._is_new(batch)
        self._traced_shapes.add(shape)
        rate = self._learning_rate(step)
        try:
            with self._profiler.step(step), self._status.compiling(traced):
                raw = self._step(batch, step, rate, self._stop_asked())
        except tf.errors.ResourceExhaustedError as error:
            raise TrainingError(
                f"step {step}: out of memory with {self._train.pictures_per_worker} pictures of "
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
        self._history["seconds"] += seconds
        if report.is_overflow:
            logging.info(
                "step %d: overflow at loss scale %g, skipped", started.step, report.loss_scale
            )
        elif not report.applied:
            self._skip(started, report)
            return report
        self._history["first_losses"] = self._history["first_losses"] or report.losses
        self._history["last_losses"] = report.losses
        if self._distribution.is_chief:
            self._show(started, report)
        return report

    def _show(self, started: _StartedStep, report: StepReport) -> None:
        done = started.step + 1
        is_last = done == self._steps
        if is_last or time.monotonic() - self._last_event >= _SECONDS_BETWEEN_PROGRESS_EVENTS:
            self._last_event = time.monotonic()
            self._status.event(
                "progress",
                step=done,
                steps=self._steps,
                loss=report.loss,
                losses=report.losses,
                learning_rate=started.learning_rate,
                images_per_second=self._throughput.recent_images_per_second(),
                eta_seconds=(self._steps - done) * self._throughput.recent_step_seconds(),
                validation=self._last_validation(),
            )
        if is_last or done % self._train.log_every_steps == 0:
            self._write_scalars(started, report)
        if self._pictures and done % self._train.picture_every_steps == 0:
            self._status.beat("pictures", done)
            self._pictures.show(done)
            self._last_finish = time.monotonic()  # no part of the next step's time

    def _last_validation(self) -> float | None:
        validations = self._history["validations"]
        return validations[-1]["metrics"].get(self._train.best_metric) if validations else None

    def _write_scalars(self, started: _StartedStep, report: StepReport) -> None:
        scalars = {f"loss/{name}": value for name, value in report.losses.items()}
        scalars |= {f"denominator/{name}": value for name, value in report.denominators.items()}
        scalars |= {
            "loss/total": report.loss,
            "learning_rate": started.learning_rate,
            "gradient_norm": report.gradient_norm,
            "loss_scale": report.loss_scale,
            "images_per_second": self._throughput.recent_images_per_second(),
            "input_wait_seconds": started.input_seconds,
        }
        logging.info("step %d: %s", started.step + 1, scalars)
        self._write(scalars, started.step + 1)

    def _write(self, scalars: dict[str, float], step: int) -> None:
        with self._scalars.as_default():
            for name, value in scalars.items():
                tf.summary.scalar(name, value, step=step)

    def _save(self, done: int) -> None:
        self._status.beat("checkpoint", done)
        own_figures = json.dumps(self._throughput.own_figures()).encode()
        throughput = self._throughput.summary(
            [json.loads(figures) for figures in self._distribution.gather(own_figures)]
        )
        # Every worker tells it: the launcher on a host without the chief has no other source.
        self._history["images_per_second"] = throughput["images_per_second"]
        if not self._distribution.is_chief:
            return
        write_json(self._work_dir / "throughput.json", throughput)
        best = self._best()
        path = self._checkpoints.save(
            done, self.state.to_arrays(), self._history, best["step"] if best else None
        )
        self._scalars.flush()
        self._status.event("checkpoint", step=done, path=path)

    def _learning_rate(self, step: int) -> float:
        return learning_rate(
            self._train.optimizer,
            step,
            self._steps,
            self._input.steps_per_epoch,
            self._train.global_batch,
        )

    def _skip(self, started: _StartedStep, report: StepReport) -> None:
        """Accounts for a step that changed nothing since something in it is not finite.

        All workers come here in the same step, and all go on or end alike.

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
        if self._distribution.is_chief:
            self._status.event(
                "skipped",
                step=started.step,
                pictures=[picture for part in parts for picture in part.pictures],
                text=f"{text}; skipped, {self.state.skipped_steps} of {allowed} "
                f"(train.max_non_finite_steps); batches kept in {self._work_dir}",
            )
            self._write({"skipped_steps": self.state.skipped_steps}, started.step + 1)

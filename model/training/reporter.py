"""What a person is told of a run while it goes on: events, TensorBoard, pictures, throughput."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from ground.files import write_json
from model.batch import Batch
from model.contract import Detector
from model.examples import Category
from model.training.devices import device_memory_bytes, device_name
from model.training.distribution import Distribution
from model.training.events import (
    CheckpointSaved,
    RunStarted,
    ScalarsWritten,
    StepDone,
    StepSkipped,
    StoppedEarly,
    WarningGiven,
    WeightsValidated,
)
from model.training.history import RunHistory, RunPlan
from model.training.pictures import TrainingPictures
from model.training.schedules import base_learning_rate, unfinished_warmup
from model.training.status import WorkerStatus
from model.training.step import StepReport
from model.training.throughput import Throughput

_SECONDS_BETWEEN_PROGRESS_EVENTS = 0.5


class Built(NamedTuple):
    """What only the loop knows of what it trains; fields as in `RunStarted`."""

    precision: str
    jit: bool
    buckets: list[list[int]]
    parameters: int
    pictures: int


class Reporter:
    """Tells of one worker's steps; all but the lines of the log is the chief's alone.

    Args:
        plan: plan of the run.
        distribution: the workers.
        status: where events go.
        work_dir: for TensorBoard's scalars and pictures, and throughput.json.
        throughput: that the loop fills.
    """

    def __init__(
        self,
        plan: RunPlan,
        distribution: Distribution,
        status: WorkerStatus,
        work_dir: Path,
        throughput: Throughput,
    ) -> None:
        self._plan = plan
        self._distribution = distribution
        self._status = status
        self._work_dir = work_dir
        self._throughput = throughput
        self._pictures: TrainingPictures | None = None
        self._scalars: Any = None
        self._last_event = -math.inf

    def start(self, first_step: int, built: Built) -> None:
        """Announces the run.

        Args:
            first_step: steps that earlier starts have done.
            built: what is trained, and on what.
        """
        train, plan = self._plan.train, self._plan
        started = RunStarted(
            workers=self._distribution.workers,
            pictures_per_worker=train.pictures_per_worker,
            accumulate=train.accumulate,
            device=device_name(),
            memory_bytes=device_memory_bytes(),
            learning_rate=base_learning_rate(train.optimizer, train.global_batch),
            steps=plan.steps,
            steps_per_epoch=plan.steps_per_epoch,
            first_step=first_step,
            **built._asdict(),
        )
        logging.info("starts: %s", started.line)
        if not self._distribution.is_chief:
            return
        self._status.tell(started)
        if warning := unfinished_warmup(train.optimizer, plan.steps, plan.steps_per_epoch):
            self._status.tell(WarningGiven(warning))
        self._scalars = tf.summary.create_file_writer(str(self._work_dir / "tensorboard"))

    def draw_pictures(
        self, detector: Detector, batch: Batch, categories: Sequence[Category]
    ) -> None:
        """Has `show_pictures` draw what the detector finds in the first pictures of a batch."""
        self._pictures = TrainingPictures(detector, batch, categories, self._scalars)

    def step(
        self,
        done: int,
        report: StepReport,
        learning_rate: float,
        input_seconds: float,
        history: RunHistory,
    ) -> None:
        """Tells of a step that changed the weights.

        Args:
            done: steps that are done with this one.
            report: its numbers.
            learning_rate: it was done with.
            input_seconds: that its batch was waited for.
            history: history of the run so far.
        """
        if not self._distribution.is_chief:
            return
        is_last = done == self._plan.steps
        if is_last or time.monotonic() - self._last_event >= _SECONDS_BETWEEN_PROGRESS_EVENTS:
            self._last_event = time.monotonic()
            validations = history.validations
            metric = self._plan.train.best_metric
            told = StepDone(
                step=done,
                steps=self._plan.steps,
                loss=report.loss,
                losses=report.losses,
                learning_rate=learning_rate,
                images_per_second=self._throughput.recent_images_per_second(),
                eta_seconds=(self._plan.steps - done) * self._throughput.recent_step_seconds(),
                validation=validations[-1].metrics.get(metric) if validations else None,
            )
            self._status.tell(told)
        if is_last or done % self._plan.train.log_every_steps == 0:
            scalars = {f"loss/{name}": value for name, value in report.losses.items()}
            scalars |= {f"denominator/{name}": value for name, value in report.denominators.items()}
            scalars |= {
                "loss/total": report.loss,
                "learning_rate": learning_rate,
                "gradient_norm": report.gradient_norm,
                "loss_scale": report.loss_scale,
                "images_per_second": self._throughput.recent_images_per_second(),
                "input_wait_seconds": input_seconds,
            }
            logging.info("step %d: %s", done, scalars)
            self._write(scalars, done)

    def show_pictures(self, done: int) -> bool:
        """Draws pictures where they are due after `done` steps; returns whether they were."""
        if self._pictures is None or done % self._plan.train.picture_every_steps:
            return False
        self._status.beat("pictures", done)
        self._pictures.show(done)
        return True

    def skipped(self, step: int, pictures: list[int], text: str, skipped_steps: int) -> None:
        """Tells of a step that changed nothing.

        Args:
            step: its number.
            pictures: the ids of those that may be to blame.
            text: why, and where the batches are kept.
            skipped_steps: so far, with this one.
        """
        if self._distribution.is_chief:
            self._status.tell(StepSkipped(text, step, pictures))
            self._write({"skipped_steps": skipped_steps}, step + 1)

    def validated(self, done: int, seconds: float, history: RunHistory) -> None:
        """Tells of the last validation of the history, and of patience that is at its end.

        Args:
            done: steps before it.
            seconds: that it took.
            history: history of the run so far.
        """
        if not self._distribution.is_chief:
            return
        best, metrics = self._plan.best(history), dict(history.validations[-1].metrics)
        is_best = best is not None and best.step == done
        self._status.tell(WeightsValidated(done, metrics, is_best, seconds))
        self._write({f"validation/{name}": value for name, value in metrics.items()}, done)
        self._scalars.flush()
        if done < self._plan.steps and self._plan.is_over(history, done):
            train = self._plan.train
            text = (
                f"ends after step {done} of {self._plan.steps}: "
                f"{train.patience_validations} validations brought no higher "
                f"{train.best_metric} (train.patience_validations)"
            )
            self._status.tell(StoppedEarly(text))

    def saved(self, done: int, path: str, throughput: dict[str, Any]) -> None:
        """Tells of a checkpoint of the chief.

        Args:
            done: steps before it.
            path: path of the checkpoint.
            throughput: figures as in throughput.json.
        """
        write_json(self._work_dir / "throughput.json", throughput)
        self._scalars.flush()
        self._status.tell(CheckpointSaved(done, path))

    def close(self) -> None:
        """Writes what is left to be written."""
        if self._pictures:
            self._pictures.close()
        if self._scalars:
            self._scalars.close()

    def _write(self, scalars: dict[str, float], step: int) -> None:
        with self._scalars.as_default():
            for name, value in scalars.items():
                tf.summary.scalar(name, value, step=step)
        self._status.tell(ScalarsWritten(step, {n: float(v) for n, v in scalars.items()}))


def number_of_parameters(weights: list[Any]) -> int:
    """Returns how many numbers the weights hold."""
    return sum(int(np.prod(weight.shape)) for weight in weights)

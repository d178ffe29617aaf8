"""The loop of one worker: restore, step after step, finish, save; read it from top to bottom.

Where a method says "all workers", each of them comes there at the same step and waits for the
others: what one of them decides there, all decide.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from configs.schema import TrainConfig
from model.contract import BatchSource, Detector
from model.input.next_batch import next_batch
from model.training.checkpoints import CheckpointStore
from model.training.distribution import Distribution
from model.training.events import RunDone, RunEnded, RunStopped
from model.training.history import RunHistory, RunPlan
from model.training.optimizers import build_optimizer
from model.training.reporter import Built, Reporter, number_of_parameters
from model.training.restore import restore
from model.training.state import TrainState
from model.training.status import WorkerStatus
from model.training.step import INITIAL_LOSS_SCALE, TrainStep
from model.training.step_meter import StepMeter
from model.training.steps import Steps
from model.training.validated import Validated
from model.training.validation import Validation, validate


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
        self._compiled_as: dict[str, Any] = {"precision": precision, "jit": jit}
        self._stop_asked = stop_asked
        self._validation = validation
        self._plan = RunPlan.of(train, training_input.steps_per_epoch, validation is not None)
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
        step = TrainStep(
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
        folder = Path(work_dir)
        self._meter = StepMeter(
            detector, self.state, distribution, precision, train.profile_steps,
            folder / "tensorboard",
        )  # fmt: skip
        self._reporter = Reporter(self._plan, distribution, status, folder, self._meter.throughput)
        self._steps = Steps(
            self._plan, step, self.state, distribution, status, self._reporter, self._meter,
            folder, stop_asked,
        )  # fmt: skip

    def run(self) -> RunEnded:
        """All workers: trains to the last step or until any is asked to stop; returns which it was.

        Raises:
            NotFiniteError: a loss or a gradient is not finite, too often.
        """
        done, self._history = restore(self._checkpoints, self._distribution, self.state)
        self._announce(done)
        # Asked before the first step, whose compilation may take longer than there is time to stop.
        stops = self._any_is_asked_to_stop() or self._validate_if_due(done)
        if not stops and not self._plan.is_over(self._history, done):
            done = self._run_from(done)
        self._meter.close()
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
        """All workers: do the steps; returns how many updates are done in all.

        All read the same numbers at the same step, so all stop alike.
        """
        self._status.beat("input", first_step)
        threads = self._train.input_threads
        batches = iter(self._input.dataset(self._distribution.index, first_step, threads))
        self._meter.start_clock()
        for step in range(first_step, self._plan.steps):
            stops = self._steps.take(step, batches, self._history)
            done = step + 1
            if stops or self._plan.is_checkpoint_due(self._history, done):
                stops = self._steps.finish_all_but(0, self._history) or stops
                self._save(done)
                stops = stops or self._validate_if_due(done)
                if stops or self._plan.is_over(self._history, done):
                    return done
        return self._plan.steps

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
        seconds = time.monotonic() - before
        self._meter.start_clock()
        if metrics is None:
            return True
        self._history.validations.append(Validated(done, metrics))
        self._save(done)
        self._reporter.validated(done, seconds, self._history)
        return False

    def _save(self, done: int) -> None:
        """All workers: gives the chief its throughput, with which it writes a checkpoint."""
        self._status.beat("checkpoint", done)
        own_figures = json.dumps(self._meter.throughput.own_figures()).encode()
        throughput = self._meter.throughput.summary(
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

"""One worker process of a run, started by the launcher: `python -m model.launch.worker JOB`.

TF_CONFIG in the environment says which of how many workers it is. It ends with status 0 when
training is done or was stopped on SIGTERM after a checkpoint, else with 1.
"""

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from model.launch.numa import bind

if TYPE_CHECKING:
    from pathlib import Path

    from model.contract import BatchSource, Detector
    from model.launch.job import TrainingJob
    from model.training.distribution import Distribution
    from model.training.events import RunEnded
    from model.training.status import WorkerStatus
    from model.training.validation import Validation

PARENT_VARIABLE = "TFX_RCNN_LAUNCHER"  # process id of the launcher that this worker belongs to
_PR_SET_PDEATHSIG = 1


def end_with_launcher() -> None:
    """Has the kernel kill this process when the launcher is gone, however it went."""
    launcher = int(os.environ.get(PARENT_VARIABLE, 0))
    if launcher and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:  # it was gone before the kernel knew
            os._exit(1)


class StopRequest:
    """Says whether this worker was asked to stop: by the launcher's file, SIGTERM or SIGINT."""

    def __init__(self, stop_path: "Path") -> None:
        self._stop_path = stop_path
        self._signalled = False
        self.take_signals()

    def take_signals(self) -> None:
        """Installs the handlers; again after TensorFlow has joined a cluster.

        Its coordination service (2.16) puts a SIGTERM handler of its own in their place.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        """Returns whether this process was asked to stop."""
        return self._signalled or self._stop_path.exists()


def main(job_path: str, build_parts: Callable[..., Any] | None = None) -> None:
    """Runs one worker of the job in `job_path` to its end.

    Args:
        job_path: JSON file of a `TrainingJob`.
        build_parts: (job, precision, jit) -> `Parts`; `build` if None.
    """
    end_with_launcher()
    bind(os.environ)
    from absl import logging

    from model.launch.job import TrainingJob
    from model.training.events import WorkerFailed
    from model.training.place import worker_place
    from model.training.status import WorkerStatus

    logging.set_verbosity(logging.INFO)
    job = TrainingJob.read(job_path)
    stop_asked = StopRequest(job.stop_path)
    _, index = worker_place(os.environ)
    status = WorkerStatus(job.status_dir, index)
    status.beat("joining")
    stacks = open(job.stacks_path(index), "a", encoding="utf-8")
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
    try:
        _train(job, status, stop_asked, build_parts or build)
    except Exception as error:
        logging.exception("worker %d ends", index)
        status.tell(WorkerFailed(type(error).__name__, " ".join(str(error).split())))
        _end(1)
    _end(0)


def _end(status: int) -> NoReturn:
    """Ends this process at once.

    TensorFlow's threads may still wait for workers that are gone, and its coordination service
    aborts a worker that shuts down a moment after another.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _train(
    job: "TrainingJob",
    status: "WorkerStatus",
    stop_asked: StopRequest,
    build_parts: Callable[..., Any],
) -> None:
    """Joins the others and trains."""
    from model.training.devices import set_up_device
    from model.training.distribution import Distribution

    set_up_device(job.threads)
    distribution = Distribution()
    stop_asked.take_signals()
    run_training(job, distribution, status, stop_asked, build_parts)
    distribution.leave()


def run_training(
    job: "TrainingJob",
    distribution: "Distribution",
    status: "WorkerStatus",
    stop_asked: Callable[[], bool],
    build_parts: Callable[..., Any],
    eager: bool = False,
) -> "RunEnded":
    """Trains on one worker, and has the chief export the model; returns how it ended.

    Args:
        job: the run.
        distribution: the workers.
        status: is told as the last event what is returned.
        stop_asked: see `TrainLoop`.
        build_parts: see `main`.
        eager: run the step undecorated and uncompiled.
    """
    from configs.schema import jit_obstacle
    from model.training.checkpoints import CheckpointStore
    from model.training.devices import resolve_jit, resolve_precision
    from model.training.events import RunDone
    from model.training.train_loop import TrainLoop

    train = job.config.train
    precision = resolve_precision(train.precision)
    status.beat("building")
    jit = not eager and resolve_jit(train.jit, jit_obstacle(train, job.config.model))
    # The others get the chief's weights when the loop starts; they need no file of them.
    parts_job = job if distribution.is_chief else job.without_start_weights()
    parts = Parts(*build_parts(parts_job, precision, jit))
    validation = parts.validation(eager) if train.validate_every_epochs else None
    loop = TrainLoop(
        train,
        parts.detector,
        parts.training_input,
        distribution,
        CheckpointStore(job.checkpoints_dir, job.key, train.keep_checkpoints),
        status,
        job.work_dir,
        precision=precision,
        jit=jit,
        stop_asked=stop_asked,
        eager=eager,
        validation=validation,
    )
    ended = loop.run()
    if isinstance(ended, RunDone) and distribution.is_chief:
        status.beat("export", ended.step)
        ended = replace(ended, model_id=parts.export(loop.put_export_in_place()))
    status.tell(ended)
    return ended


class Parts(NamedTuple):
    """What a run is made of.

    Attributes:
        detector: that learns.
        training_input: gives its batches.
        export: (facts about the training) -> id of the exported model.
        validation: (eager) -> what detects and scores.
    """

    detector: "Detector"
    training_input: "BatchSource"
    export: Callable[[dict[str, Any]], str]
    validation: Callable[[bool], "Validation"]


def build(job: "TrainingJob", precision: str, jit: bool) -> Parts:
    """Returns the parts of the job."""
    from model.detector import build_detector
    from model.examples import TRAINING_SPLIT
    from model.export import export_saved_model
    from model.input.input_pipeline import TrainingInput
    from model.training.validation import CocoValidation

    config = job.config
    training_input = TrainingInput(
        job.examples_dir,
        TRAINING_SPLIT,
        config.input,
        with_masks=config.model.mask_head is not None,
        workers=config.train.workers,
        pictures_per_step=config.train.pictures_per_step,
        seed=config.train.seed,
    )
    detector = build_detector(
        config.model, training_input.num_classes, config.train.seed, precision, jit
    )

    def export(training: dict[str, Any]) -> str:
        return export_saved_model(
            detector, config, training_input.categories, job.model_dir, training
        )

    def validation(eager: bool) -> CocoValidation:
        return CocoValidation(detector, job.examples_dir, config.input, config.train, eager)

    return Parts(detector, training_input, export, validation)


if __name__ == "__main__":
    main(sys.argv[1])

"""A whole training: what it is given, its workers from start to start, and what came of it.

Needs no TensorFlow: it may run in an orchestrator's process. Read `train` from top to bottom; then
worker_group.py (the processes of one start) and worker.py (what each of them does).
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from configs.model_schema import ModelConfig
from configs.schema import TrainConfig
from ground.errors import DatasetError
from ground.files import held_folder, json_digest
from model.examples import TRAINING_SPLIT, read_manifest
from model.input.buckets import read_buckets
from model.launch.cluster import Cluster, cluster_from_environment
from model.launch.eager import eager_config, run_eagerly
from model.launch.errors import WorkerLostError
from model.launch.gpus import gpu_warnings, usable_environment
from model.launch.host import (
    hold_ports,
    threads_per_worker,
    with_counted_workers,
    with_input_threads,
)
from model.launch.job import TrainingJob
from model.launch.places import Places, claim_places, places_of
from model.launch.trainable import check_trainable
from model.launch.worker_group import WorkerGroup
from model.tracking.request import TrackingRequest, current_request
from model.tracking.tracking import IDS_FILE, tracked
from model.training.checkpoints import checkpoint_key, run_folder
from model.training.events import (
    OnEvent,
    RunDone,
    RunEnded,
    RunRestarted,
    RunStopped,
    WarningGiven,
)
from model.training.validated import Validated
from model.training_settings import TrainingSettings
from model.weights.fetching import ensure_weights
from tfx_rcnn import command

WORKER_MODULE = "model.launch.worker"


@dataclass(frozen=True)
class TrainResult:
    """A run that came to its end.

    Attributes:
        model_dir: the exported SavedModel.
        run_dir: TensorBoard scalars, logs, throughput.json; on a host without the chief its logs.
        checkpoints_dir: the folder of this run's checkpoints.
        model_id: id of the exported model; "" on a host without the chief, which exports none.
        steps: done; less than planned where patience ended the run.
        seconds: spent in steps, earlier starts of the same run included.
        images_per_second: pictures a second of all workers, steps that were traced left out.
        first_losses: by name, of the first step.
        last_losses: by name, of the last step.
        skipped_steps: since something in them was not finite.
        best: the best validation; None without validation.
    """

    model_dir: str
    run_dir: str
    checkpoints_dir: str
    model_id: str
    steps: int
    seconds: float
    images_per_second: float
    first_losses: dict[str, float]
    last_losses: dict[str, float]
    skipped_steps: int
    best: Validated | None

    def summary(self) -> dict[str, Any]:
        """Returns what summary.json says about the run."""
        return {"resumable": False, **dataclasses.asdict(self)}


def train(
    config: TrainingSettings,
    examples_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    checkpoints_dir: str | os.PathLike[str] | None = None,
    on_progress: OnEvent | None = None,
    *,
    model_dir: str | os.PathLike[str] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    source_digest: str = "",
    worker_module: str = WORKER_MODULE,
    eager: bool = False,
    tracking: TrackingRequest | None = None,
) -> TrainResult:
    """Trains a detector and exports it; goes on where the same run was cut off before.

    Returns what came out.

    Args:
        config: settings of the model, its input and the training.
        examples_dir: CocoTransform's examples, with a split named `train`, and the one to
            validate on.
        out_dir: gets `model/` and `run/`. Only the chief's host needs and writes this and the
            folders below; another host's logs lie in a temporary folder of its own.
        checkpoints_dir: stable place that outlives a failed run; with it everything that grows
            during the run lies there, in one folder a run, and is copied to the run folder at
            the end. Without it: `checkpoints/` in the run folder. With a URI that TensorFlow
            knows (gs://...) only the checkpoints lie there.
        on_progress: is called with every event of the chief.
        model_dir: where the model goes, in place of `out_dir/model`.
        run_dir: where the rest goes, in place of `out_dir/run`.
        source_digest: digest of the code, where changed code should start anew.
        worker_module: the module that is run for each worker.
        eager: run one worker in this process, its step undecorated, for a debugger (eager.py).
        tracking: trackers that follow the run; what `asked_for` says here if None.

    Raises:
        ConfigError: GPUs that cannot be used (model/launch/gpus.py), more workers than GPUs, or
            hosts that cannot share them (model/launch/cluster.py).
        DatasetError: the examples are not usable, or hold nothing to learn from.
        OutputError: an input lies where is to be written, or something that is not ours.
        FolderInUseError: another process runs the same training, or one into the same folder.
        TrainingStopped: SIGTERM or SIGINT came; a checkpoint was written.
        TrainingError: a worker was lost or a loss is not finite.
    """
    digest = digest_of_examples(examples_dir, config.train)
    cluster = cluster_from_environment(os.environ)
    config, warnings = _settled(config, examples_dir, cluster, eager)
    key = checkpoint_key(config, digest, source_digest)
    places = _places(checkpoints_dir, run_dir or Path(out_dir) / "run", key, config.name, cluster)
    job = _job(config, examples_dir, model_dir or Path(out_dir) / "model", places, key, cluster)
    on_progress = on_progress or (lambda event: None)
    for warning in warnings:
        on_progress(WarningGiven(warning))
    asked = (tracking or current_request()) if cluster.is_chief else None
    with held_folder(places.work_dir, "wait for its end, or give another --out"):
        with tracked(asked, places.work_dir, on_progress) as on_event:
            done = _trained(job, cluster, on_event, None if eager else worker_module)
    _copy_run(places.work_dir, places.run_dir)
    return _result(job, places.run_dir, done)


def _settled(
    config: TrainingSettings, examples_dir: str | os.PathLike[str], cluster: Cluster, eager: bool
) -> tuple[TrainingSettings, list[str]]:
    """Returns the settings for what is really there, and what is to be warned of.

    An eager training runs in this process: its environment is set here.
    """
    has_mask_head = config.model.mask_head is not None
    warnings = [check_trainable(examples_dir, TRAINING_SPLIT, has_mask_head)]
    if cluster.is_chief:
        ensure_weights(config.model.weights, logging.info)
    environ = usable_environment(config.train.device, os.environ)
    if eager:
        os.environ.update(environ)
        config = eager_config(config, cluster)
    else:
        asked, config = config.train, with_counted_workers(config, cluster, environ)
        warnings.append(_fewer_workers(asked, config.train))
    warnings += [*gpu_warnings(config.train.device, os.environ), random_and_frozen(config.model)]
    return config, list(filter(None, warnings))


def _fewer_workers(asked: TrainConfig, train: TrainConfig) -> str:
    """Returns a warning where fewer workers train than were asked for, else ""."""
    if asked.has_auto_workers or asked.workers == train.workers:
        return ""
    return (
        f"warning: train.batch asks for {asked.workers} workers, and there are GPUs for "
        f"{train.workers}: the same steps in {train.accumulate} parts each (train.fewer_gpus)"
    )


def _places(
    checkpoints_dir: str | os.PathLike[str] | None,
    run_dir: str | os.PathLike[str],
    key: str,
    name: str,
    cluster: Cluster,
) -> Places:
    """Returns the folders of a run; on a host without the chief one that nobody needs later."""
    places = places_of(checkpoints_dir, Path(run_dir).resolve(), key)
    if cluster.is_chief:
        return places
    folder = Path(tempfile.mkdtemp(prefix=f"tfx-rcnn-{name}-"))
    return places._replace(work_dir=folder, run_dir=folder)


def _job(
    config: TrainingSettings,
    examples_dir: str | os.PathLike[str],
    model_dir: str | os.PathLike[str],
    places: Places,
    key: str,
    cluster: Cluster,
) -> TrainingJob:
    """Returns what the workers are told; its folders are made, and the chief's are ours."""
    workers_here = cluster.workers_per_host(config.train.workers)
    job = TrainingJob(
        settings=with_input_threads(config, workers_here).to_json(),
        examples_dir=str(Path(examples_dir).resolve()),
        work_dir=str(places.work_dir),
        checkpoints_dir=places.checkpoints_dir,
        key=key,
        model_dir=str(Path(model_dir).resolve()),
        threads=threads_per_worker(workers_here),
    )
    if cluster.is_chief:
        claim_places(places, job.model_dir, [examples_dir, config.model.weights])
    for folder in (job.logs_dir, job.status_dir, places.run_dir):
        folder.mkdir(parents=True, exist_ok=True)
    return job


def random_and_frozen(model: ModelConfig) -> str:
    """Returns a warning where layers stay at random values all the time, else ""."""
    if model.weights is not None or not model.backbone.frozen_stages:
        return ""
    return (
        f"warning: model.weights is null, so the backbone's {model.backbone.frozen_stages} frozen "
        "stages keep random values: name a file of weights, or set model.backbone.frozen_stages=0 "
        "(and a norm that learns, such as group_norm)"
    )


def digest_of_examples(examples_dir: str | os.PathLike[str], config: TrainConfig) -> str:
    """Returns the digest of what a training reads of an examples folder: records and buckets.

    Which pictures a step holds hangs on the buckets, and they may change while no record does
    (`transform.max_buckets`).

    Raises:
        DatasetError: it is no such folder, or a split is missing.
    """
    manifest = read_manifest(examples_dir)
    validates = config.validate_every_epochs > 0
    for split in (TRAINING_SPLIT, *([config.validation_split] if validates else [])):
        if split not in manifest["splits"]:
            raise DatasetError(
                f"{examples_dir}: no split named {split!r}, only {sorted(manifest['splits'])}"
            )
    return json_digest({"records": manifest["digest"], "buckets": read_buckets(examples_dir)})


def _result(job: TrainingJob, run_dir: Path, done: RunEnded) -> TrainResult:
    """Returns what came of a job whose last event is `done`."""
    return TrainResult(
        model_dir=job.model_dir,
        run_dir=str(run_dir),
        checkpoints_dir=run_folder(job.checkpoints_dir, job.key),
        model_id=done.model_id if isinstance(done, RunDone) else "",
        steps=done.step,
        seconds=done.seconds,
        images_per_second=done.images_per_second,
        first_losses=done.first_losses,
        last_losses=done.last_losses,
        skipped_steps=done.skipped_steps,
        best=done.best,
    )


def _copy_run(work_dir: Path, run_dir: Path) -> None:
    """Copies what a person wants to keep of a run; the checkpoints stay where they are."""
    if work_dir == run_dir:
        return
    for name in ("tensorboard", "logs"):
        shutil.copytree(work_dir / name, run_dir / name, dirs_exist_ok=True)
    if (work_dir / IDS_FILE).exists():
        shutil.copy2(work_dir / IDS_FILE, run_dir / IDS_FILE)
    shutil.copy2(work_dir / "throughput.json", run_dir / "throughput.json")


def _trained(
    job: TrainingJob, cluster: Cluster, on_progress: OnEvent, worker_module: str | None
) -> RunEnded:
    """Trains to the end, in this process where no module is run for each worker."""
    if worker_module is None:
        return run_eagerly(job, on_progress)
    return _run_with_restarts(job, cluster, on_progress, worker_module)


def _run_with_restarts(
    job: TrainingJob, cluster: Cluster, on_progress: OnEvent, worker_module: str
) -> RunEnded:
    for path in job.logs_dir.glob("worker-*"):
        path.unlink()  # of an earlier command; the starts of this one are all kept
    restarts_left = job.config.train.max_restarts
    while True:
        try:
            return _run(job, cluster, on_progress, worker_module)
        except WorkerLostError as error:
            if not restarts_left:
                raise
            restarts_left -= 1
            text = f"{error}; goes on from the last checkpoint ({restarts_left} restarts left)"
            logging.warning("%s", text)
            on_progress(RunRestarted(text))


def _run(job: TrainingJob, cluster: Cluster, on_progress: OnEvent, worker_module: str) -> RunEnded:
    """Runs all workers once; returns the last event of the chief, or of the only local worker."""
    job_path = job.logs_dir.parent / "job.json"
    job.write(job_path)
    job.stop_path.unlink(missing_ok=True)
    with contextlib.ExitStack() as held:
        ports = [held.enter_context(p) for p in hold_ports(job.config.train.workers, cluster)]
        group = WorkerGroup(job, cluster, [port.getsockname()[1] for port in ports])
        try:
            with _forwarded_signals(group.ask_to_stop):
                group.start(command(worker_module, str(job_path)))
                last = group.follow(on_progress)
        finally:
            group.kill()
    if isinstance(last, RunStopped):
        raise group.stopped(last.step)
    return last


@contextlib.contextmanager
def _forwarded_signals(ask_to_stop: Callable[[int], None]) -> Iterator[None]:
    """Turns SIGTERM and SIGINT into `ask_to_stop(number)` within the block, in a main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before: dict[int, Any] = {n: signal.signal(n, lambda n, _: ask_to_stop(n)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

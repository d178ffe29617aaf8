"""Starts the workers of a run, follows them, ends all when one is lost, and says how it went.

Needs no TensorFlow: it may run in an orchestrator's process. Every worker runs in a process group
of its own, and the kernel kills it when the launcher's process ends, however that happens.
"""

import contextlib
import dataclasses
import errno
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from configs.model_schema import ModelConfig
from configs.schema import TrainConfig
from ground.errors import ConfigError, DatasetError, ModelError, RcnnError, TrainingError
from ground.files import held_folder, json_digest
from model.examples import read_manifest
from model.input.buckets import read_buckets
from model.launch.cluster import Cluster, cluster_from_environment
from model.launch.eager import eager_config, run_eagerly
from model.launch.gpus import gpu_warnings, usable_environment
from model.launch.host import (
    hold_ports,
    threads_per_worker,
    with_counted_workers,
    with_input_threads,
    worker_environments,
)
from model.launch.job import TRAINING_SPLIT, TrainingJob
from model.launch.places import claim_places, places_of
from model.launch.trainable import check_trainable
from model.launch.worker import PARENT_VARIABLE
from model.limits import share_machine
from model.training.checkpoints import checkpoint_key, run_folder
from model.training.progress import (
    COMPILING,
    Event,
    EventFollower,
    OnProgress,
    events_path,
    read_beat,
)
from model.training_settings import TrainingSettings
from tfx_rcnn import child_environment, command

WORKER_MODULE = "model.launch.worker"
_POLL_SECONDS = 0.1
_SECONDS_FOR_STACKS = 1.0
_SECONDS_FOR_OTHER_DEATHS = 5.0  # of a busy machine; less where all are gone before
_SECONDS_TO_STOP = 120.0
_LOG_TAIL_LINES = 30
_XLA_CACHE = "--tf_xla_persistent_cache_directory"
_DISK_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))  # the quota of a user
# Errors of a worker that say in one line what is wrong; starting again would not mend them.
_EXPLAINED_ERRORS: dict[str, type[RcnnError]] = {
    "ConfigError": ConfigError,
    "DatasetError": DatasetError,
    "ModelError": ModelError,
    "NotFiniteError": TrainingError,
    "TrainingError": TrainingError,
}

# How TensorFlow 2.16 ends the collective of a worker that misses another one, or its connection.
_MISSED_WORKER = re.compile(r"Collective ops is aborted by: .*?/task:(\d+)")


@dataclass(frozen=True)
class TrainResult:
    """A run that came to its end.

    Attributes:
        model_dir: the exported SavedModel.
        run_dir: TensorBoard scalars, logs, throughput.json; on a host without the chief its logs.
        checkpoints_dir: the folder of this run's checkpoints.
        model_id: of the exported model; "" on a host without the chief, which exports none.
        steps: done; less than planned where patience ended the run.
        seconds: spent in steps, earlier starts of the same run included.
        images_per_second: of all workers, steps that were traced left out.
        first_losses: by name, of the first step.
        last_losses: by name, of the last step.
        skipped_steps: since something in them was not finite.
        best: `step` and `metrics` of the best validation; None without validation.
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
    best: dict[str, Any] | None

    def summary(self) -> dict[str, Any]:
        """Returns what summary.json says about the run."""
        return {"resumable": False, **dataclasses.asdict(self)}


class TrainingStopped(TrainingError):
    """The run was asked to stop, wrote a checkpoint, and can go on.

    Attributes:
        step: updates done.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after {step} steps: resumable, run the same again")
        self.step = step


class WorkerLostError(TrainingError):
    """A worker died or stalled: another start from the last checkpoint may help."""


class WorkerLogError(Exception):
    """The end of a lost worker's log; the cause that `--debug` shows."""


def train(
    config: TrainingSettings,
    examples_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    checkpoints_dir: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
    *,
    model_dir: str | os.PathLike[str] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    source_digest: str = "",
    worker_module: str = WORKER_MODULE,
    eager: bool = False,
) -> TrainResult:
    """Trains a detector and exports it; goes on where the same run was cut off before.

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
        source_digest: of the code, where changed code should start anew.
        worker_module: the module that is run for each worker.
        eager: run one worker of `train.pictures_per_worker` pictures in this process, its step
            undecorated, for a debugger (model/launch/eager.py).

    Returns:
        What came out.

    Raises:
        ConfigError: GPUs that cannot be used (model/launch/gpus.py), more workers than GPUs, or
            hosts that cannot share them (model/launch/cluster.py).
        DatasetError: the examples are not usable, or hold nothing to learn from.
        OutputError: an input lies where is to be written, or something that is not ours.
        FolderInUseError: another process runs the same training, or one into the same folder.
        TrainingStopped: SIGTERM or SIGINT came; a checkpoint was written.
        TrainingError: a worker was lost or a loss is not finite.
    """
    digest = _digest_of_examples(examples_dir, config.train)
    has_mask_head = config.model.mask_head is not None
    warnings = [check_trainable(examples_dir, TRAINING_SPLIT, has_mask_head)]
    cluster = cluster_from_environment(os.environ)
    if eager:
        os.environ.update(usable_environment(config.train.device, os.environ))
        config = eager_config(config, cluster)
    else:
        environ = usable_environment(config.train.device, os.environ)
        config = with_counted_workers(config, cluster, environ)
    warnings += gpu_warnings(config.train.device, os.environ)
    key = checkpoint_key(config, digest, source_digest)
    run_dir = Path(run_dir or Path(out_dir) / "run").resolve()
    places = places_of(checkpoints_dir, run_dir, key)
    if not cluster.is_chief:
        folder = Path(tempfile.mkdtemp(prefix=f"tfx-rcnn-{config.name}-"))
        places = places._replace(work_dir=folder, run_dir=folder)
    workers_here = cluster.workers_per_host(config.train.workers)
    job = TrainingJob(
        settings=with_input_threads(config, workers_here).to_json(),
        examples_dir=str(Path(examples_dir).resolve()),
        work_dir=str(places.work_dir),
        checkpoints_dir=places.checkpoints_dir,
        key=key,
        model_dir=str(Path(model_dir or Path(out_dir) / "model").resolve()),
        threads=threads_per_worker(workers_here),
    )
    if cluster.is_chief:
        claim_places(places, job.model_dir, [examples_dir, config.model.weights])
    for folder in (job.logs_dir, job.status_dir, places.run_dir):
        folder.mkdir(parents=True, exist_ok=True)
    on_progress = on_progress or (lambda event: None)
    for warning in filter(None, [*warnings, random_and_frozen(config.model)]):
        on_progress({"event": "warning", "text": warning})
    with held_folder(places.work_dir, "wait for its end, or give another --out"):
        if eager:
            done = run_eagerly(job, on_progress)
        else:
            done = _run_with_restarts(job, cluster, on_progress, worker_module)
    if places.work_dir != places.run_dir:
        _copy_run(places.work_dir, places.run_dir)
    return _result(job, places.run_dir, done)


def random_and_frozen(model: ModelConfig) -> str:
    """Returns a warning where layers stay at random values all the time, else ""."""
    if model.weights is not None or not model.backbone.frozen_stages:
        return ""
    return (
        f"warning: model.weights is null, so the backbone's {model.backbone.frozen_stages} frozen "
        "stages keep random values: name a file of weights, or set model.backbone.frozen_stages=0 "
        "(and a norm that learns, such as group_norm)"
    )


def _digest_of_examples(examples_dir: str | os.PathLike[str], config: TrainConfig) -> str:
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


def _result(job: TrainingJob, run_dir: Path, done: Event) -> TrainResult:
    """Returns what came of a job whose last event is `done`."""
    return TrainResult(
        model_dir=job.model_dir,
        run_dir=str(run_dir),
        checkpoints_dir=run_folder(job.checkpoints_dir, job.key),
        model_id=done.get("model_id", ""),
        steps=done["step"],
        seconds=done["seconds"],
        images_per_second=done["images_per_second"],
        first_losses=done["first_losses"],
        last_losses=done["last_losses"],
        skipped_steps=done["skipped_steps"],
        best=done["best"],
    )


def _copy_run(work_dir: Path, run_dir: Path) -> None:
    """Copies what a person wants to keep of a run; the checkpoints stay where they are."""
    for name in ("tensorboard", "logs"):
        shutil.copytree(work_dir / name, run_dir / name, dirs_exist_ok=True)
    shutil.copy2(work_dir / "throughput.json", run_dir / "throughput.json")


def _run_with_restarts(
    job: TrainingJob, cluster: Cluster, on_progress: OnProgress, worker_module: str
) -> Event:
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
            on_progress({"event": "restart", "text": text})


def _run(job: TrainingJob, cluster: Cluster, on_progress: OnProgress, worker_module: str) -> Event:
    """Runs all workers once; returns the last event of the chief, or of the only local worker."""
    job_path = job.logs_dir.parent / "job.json"
    job.write(job_path)
    job.stop_path.unlink(missing_ok=True)
    with contextlib.ExitStack() as held:
        ports = [held.enter_context(p) for p in hold_ports(job.config.train.workers, cluster)]
        group = _WorkerGroup(job, cluster, [port.getsockname()[1] for port in ports])
        try:
            with _forwarded_signals(group.ask_to_stop):
                group.start(command(worker_module, str(job_path)))
                last = group.follow(on_progress)
        finally:
            group.kill()
    if last["event"] == "stopped":
        raise TrainingStopped(last["step"])
    return last


class _WorkerGroup:
    """The worker processes of this host."""

    def __init__(self, job: TrainingJob, cluster: Cluster, ports: Sequence[int]) -> None:
        self._job = job
        self._cluster = cluster
        self._heartbeat_seconds = job.config.train.heartbeat_seconds
        self._environ = usable_environment(job.config.train.device, os.environ)
        train = job.config.train
        self._environments = worker_environments(
            train.workers, cluster, self._environ, train.numa, ports
        )
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._reporter = min(self._environments)  # the chief, or this host's first worker
        self._follower = EventFollower(job.status_dir, self._reporter)
        self._saved_step = 0
        self._stop_before: float | None = None
        self._started = 0.0

    def start(self, command: list[str]) -> None:
        """Starts every worker with an empty status; its log goes on."""
        self._started = time.time()
        inherited = child_environment(self._environ)
        share_machine(inherited)
        self._keep_compiled(inherited)
        inherited.pop("TF_CONFIG", None)
        for worker in self._environments:
            events_path(self._job.status_dir, worker).unlink(missing_ok=True)
        for worker, environment in self._environments.items():
            with open(self._job.log_path(worker), "ab") as log:
                self._processes[worker] = subprocess.Popen(
                    command,
                    env={**inherited, **environment, PARENT_VARIABLE: str(os.getpid())},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def _keep_compiled(self, environ: dict[str, str]) -> None:
        """Has XLA keep what it compiles beside the checkpoints, for the next start of this run."""
        folder, flags = self._job.compiled_dir, environ.get("TF_XLA_FLAGS", "")
        if folder is None or self._job.config.train.jit == "off" or _XLA_CACHE in flags:
            return
        folder.mkdir(parents=True, exist_ok=True)
        environ["TF_XLA_FLAGS"] = f"{flags} {_XLA_CACHE}={folder}".strip()

    def ask_to_stop(self) -> None:
        """Has every worker write a checkpoint and end; a second call ends them at once."""
        if self._stop_before is not None:
            self._signal(signal.SIGKILL)
        self._stop_before = time.monotonic() + _SECONDS_TO_STOP
        self._job.stop_path.touch()

    def kill(self) -> None:
        """Ends what still runs, at once, with all that the workers started, and waits for it."""
        self._signal(signal.SIGKILL)
        for process in self._processes.values():
            process.wait()

    def follow(self, on_progress: OnProgress) -> Event:
        """Passes events on until all workers have ended; returns the last one of the first worker.

        A stop that was asked for is no failure, whatever becomes of the workers then: the run goes
        on from its last checkpoint.

        Raises:
            TrainingError: a worker failed; WorkerLostError if it may be worth another start.
            TrainingStopped: a worker ended in another way than it should after `ask_to_stop`, or
                not within its time.
        """
        last: Event = {"event": "none"}
        while True:
            running = [w for w, process in self._processes.items() if process.poll() is None]
            for event in self._follower.new_events():
                on_progress(event)
                last = event
                self._saved_step = _saved_step(event) or self._saved_step
            if any(process.poll() for process in self._processes.values()):
                raise self._death()
            if not running:
                break
            if self._stop_before is None:
                self._check_beats(running)
            elif time.monotonic() > self._stop_before:
                logging.warning("no checkpoint %g s after the stop: ended", _SECONDS_TO_STOP)
                raise TrainingStopped(self._saved_step)
            time.sleep(_POLL_SECONDS)
        if last["event"] not in ("done", "stopped"):
            raise self._lost(self._reporter, "ended without a result")
        return last

    def _signal(self, number: int) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)

    def _check_beats(self, running: list[int]) -> None:
        beats = {worker: read_beat(self._job.status_dir, worker) for worker in running}
        oldest = min((max(self._started, beat[0]) for beat in beats.values()), default=math.inf)
        now = time.time()
        if now - oldest < self._heartbeat_seconds:
            return
        if any(b[2] == COMPILING and now - b[0] < self._heartbeat_seconds for b in beats.values()):
            return  # for whom the others wait
        self._write_stacks()
        # All wait for the one that is not in its step, or has come less far.
        worker = min(running, key=lambda w: (beats[w][2] == "step", beats[w][1]))
        _, step, phase = beats[worker]
        raise self._lost(
            worker,
            f"showed no progress for {self._heartbeat_seconds:g} s (train.heartbeat_seconds) in "
            f"phase {phase!r} of step {step}{self._others(phase)}; stacks in {self._stacks}",
        )

    def _write_stacks(self) -> None:
        """Has every worker that still runs write its Python stacks, a paused one too."""
        self._signal(signal.SIGUSR1)
        self._signal(signal.SIGCONT)
        time.sleep(_SECONDS_FOR_STACKS)

    @property
    def _stacks(self) -> str:
        return f"{self._job.logs_dir}/worker-*.stacks"

    def _others(self, phase: str) -> str:
        """Returns what a worker waits for that has not met the other hosts' workers."""
        if phase != "joining" or len(self._cluster.hosts) == 1:
            return ""
        return f": were all hosts started, and do they reach {', '.join(self._cluster.hosts)}?"

    def _death(self) -> RcnnError:
        """Returns the error of the worker that failed first, as far as that can be told."""
        if self._stop_before is not None:
            steps = [_saved_step(event) for event in self._follower.new_events()]
            return TrainingStopped(max(steps, default=0) or self._saved_step)
        deadline = time.monotonic() + _SECONDS_FOR_OTHER_DEATHS
        while time.monotonic() < deadline and any(
            process.poll() is None for process in self._processes.values()
        ):
            time.sleep(_POLL_SECONDS)
        failed = [worker for worker, process in self._processes.items() if process.poll()]
        told = {worker: event for worker in failed if (event := self._error_event(worker))}
        explained = [worker for worker in told if told[worker]["kind"] in _EXPLAINED_ERRORS]
        if explained:
            worker = explained[0]
            error = _EXPLAINED_ERRORS[told[worker]["kind"]](told[worker]["message"])
            error.__cause__ = self._log_tail(worker)
            return error
        if full := [w for w in told if any(why in told[w]["message"] for why in _DISK_FULL)]:
            error = TrainingError(
                f"no space left on the disk of {self._job.work_dir}: free some space, then run "
                "the same again; training goes on from the last checkpoint"
            )
            error.__cause__ = self._log_tail(full[0])
            return error
        by_signal = [w for w in failed if (self._processes[w].returncode or 0) < 0]
        missed = {w: int(m[1]) for w in told if (m := _MISSED_WORKER.search(told[w]["message"]))}
        if len(missed) == len(failed):
            return self._missed(failed[0], missed[failed[0]])
        worker = (by_signal or [worker for worker in failed if worker not in missed])[0]
        code = self._processes[worker].returncode
        if by_signal:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return self._lost(worker, f"was killed by {name}{hint}")
        if worker in told:
            return self._lost(worker, f"{told[worker]['kind']}: {told[worker]['message']}")
        return self._lost(worker, f"ended with status {code}")

    def _missed(self, worker: int, missed: int) -> WorkerLostError:
        """Returns the error of a worker that another one no longer reaches."""
        if missed in self._processes:
            self._write_stacks()
            return self._lost(
                missed, f"gave the others no sign of life (paused?); stacks in {self._stacks}"
            )
        share = self._cluster.workers_per_host(self._job.config.train.workers)
        host = self._cluster.hosts[missed // share]
        return self._lost(
            worker, f"no longer reaches worker {missed} on {host}, whose launcher says more"
        )

    def _error_event(self, worker: int) -> Event | None:
        events = EventFollower(self._job.status_dir, worker).new_events()
        return next((event for event in events if event["event"] == "error"), None)

    def _lost(self, worker: int, what: str) -> WorkerLostError:
        step = read_beat(self._job.status_dir, worker)[1]
        tail = self._log_tail(worker)
        last_line = str(tail).strip().splitlines()[-1:] or ["its log is empty"]
        error = WorkerLostError(
            f"worker {worker} {what[:400]} (step {step}, log {self._job.log_path(worker)}: "
            f"{last_line[0].strip()[:200]})"
        )
        error.__cause__ = tail
        return error

    def _log_tail(self, worker: int) -> WorkerLogError:
        text = self._job.log_path(worker).read_text(encoding="utf-8", errors="replace")
        return WorkerLogError("\n".join(["", *text.splitlines()[-_LOG_TAIL_LINES:]]))


def _saved_step(event: Event) -> int:
    """Returns the step of the newest checkpoint, as far as an event tells it, else 0."""
    return int(event.get({"start": "first_step", "checkpoint": "step"}.get(event["event"], ""), 0))


@contextlib.contextmanager
def _forwarded_signals(ask_to_stop: Callable[[], None]) -> Iterator[None]:
    """Turns SIGTERM and SIGINT into `ask_to_stop()` within the block, in a main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before: dict[int, Any] = {n: signal.signal(n, lambda *_: ask_to_stop()) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

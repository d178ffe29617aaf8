"""The worker processes of this host: started, followed, asked to stop, ended.

Every worker runs in a process group of its own, so that all it started ends with it.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from absl import logging

from ground.errors import RcnnError, TrainingError
from ground.interrupts import end_in_time
from model.launch.cluster import Cluster
from model.launch.diagnosis import Scene, Trace, first_to_die, lost, stall, stalled_worker
from model.launch.errors import TrainingStopped
from model.launch.gpus import usable_environment
from model.launch.host import worker_environments
from model.launch.job import TrainingJob
from model.launch.worker import PARENT_VARIABLE
from model.limits import share_machine
from model.training.events import (
    CheckpointSaved,
    Event,
    OnEvent,
    RunEnded,
    RunStarted,
    WorkerFailed,
)
from model.training.status import EventFollower, events_path, read_beat
from tfx_rcnn import child_environment

SECONDS_TO_STOP = 120.0
SECONDS_TO_INTERRUPT = 2.5
_SECONDS_TO_KILL = 0.5
_POLL_SECONDS = 0.1
_SECONDS_FOR_STACKS = 1.0
_SECONDS_FOR_OTHER_DEATHS = 5.0  # of a busy machine; less where all are gone before
_LOG_TAIL_LINES = 30
_XLA_CACHE = "--tf_xla_persistent_cache_directory"


class WorkerGroup:
    """The workers of one start.

    Args:
        job: what they are told.
        cluster: the hosts.
        ports: one a worker of all hosts, or none (model/launch/host.py).
    """

    def __init__(self, job: TrainingJob, cluster: Cluster, ports: Sequence[int]) -> None:
        train = job.config.train
        self._job = job
        self._heartbeat_seconds = train.heartbeat_seconds
        self._keeps_compiled = train.jit != "off"
        self._is_alone = len(cluster.hosts) < 2
        self._environ = usable_environment(train.device, os.environ)
        self._environments = worker_environments(
            train.workers, cluster, self._environ, train.numa, ports
        )
        self._scene = Scene(
            job.work_dir,
            f"{job.logs_dir}/worker-*.stacks",
            cluster.hosts,
            cluster.workers_per_host(train.workers),
        )
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._reporter = min(self._environments)  # the chief, or this host's first worker
        self._follower = EventFollower(job.status_dir, self._reporter)
        self._saved_step = 0
        self._has_begun = False
        self._stop_before: float | None = None
        self._seconds_to_stop = SECONDS_TO_STOP
        self._stopped_by = 0
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
        """Has XLA keep what it compiles beside the checkpoints, for the next start of this run.

        Of several hosts only the chief needs that folder: another that cannot write there compiles
        anew at each start.
        """
        folder, flags = self._job.compiled_dir, environ.get("TF_XLA_FLAGS", "")
        if folder is None or not self._keeps_compiled or _XLA_CACHE in flags:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            logging.warning("what XLA compiles is not kept: %s: %s", folder, error.strerror)
            return
        environ["TF_XLA_FLAGS"] = f'{flags} {_XLA_CACHE}="{folder}"'.strip()  # it may have blanks

    def ask_to_stop(self, number: int) -> None:
        """Has every worker write a checkpoint and end; a second call ends them at once.

        By a file, not by a signal: all workers look for it at the same step (model/training/
        step.py), and a worker that is compiling misses nothing.

        Args:
            number: the signal by which we were asked; a person does not wait for as long as a
                platform does.
        """
        if self._stop_before is not None:
            self._signal(signal.SIGKILL)
        self._stopped_by = number
        if number == signal.SIGINT:
            self._seconds_to_stop = SECONDS_TO_INTERRUPT
            end_in_time(number, SECONDS_TO_INTERRUPT + _SECONDS_TO_KILL)
        self._stop_before = time.monotonic() + self._seconds_to_stop
        self._job.stop_path.touch()

    def stopped(self, step: int) -> TrainingStopped:
        """Returns how a run ends that was asked to stop, after so many steps."""
        return TrainingStopped(step, self._stopped_by)

    def kill(self) -> None:
        """Ends what still runs, at once, with all that the workers started, and waits for it."""
        self._signal(signal.SIGKILL)
        for process in self._processes.values():
            process.wait()

    def follow(self, on_progress: OnEvent) -> RunEnded:
        """Passes events on until all workers have ended; returns the last one of the first worker.

        A stop that was asked for is no failure, whatever becomes of the workers then: the run goes
        on from its last checkpoint.

        Raises:
            TrainingError: a worker failed; WorkerLostError if it may be worth another start.
            TrainingStopped: a worker ended in another way than it should after `ask_to_stop`, or
                not within its time; or this host's run, alone, had not begun.
        """
        try:
            return self._follow(on_progress)
        except TrainingError as error:
            if self._stop_before is None or isinstance(error, TrainingStopped):
                raise
            raise self.stopped(self._saved_step) from error  # asked while it was looked into

    def _follow(self, on_progress: OnEvent) -> RunEnded:
        last: Event | None = None
        while True:
            running = [w for w, process in self._processes.items() if process.poll() is None]
            for event in self._follower.new_events():
                on_progress(event)
                last = event
                self._has_begun = True
                self._saved_step = _saved_step(event) or self._saved_step
            if any(process.poll() for process in self._processes.values()):
                raise self._death()
            if not running:
                break
            if self._stop_before is None:
                self._check_beats(running)
            elif self._is_alone and not self._has_begun:
                raise self.stopped(self._saved_step)  # there is nothing to keep
            elif time.monotonic() > self._stop_before:
                logging.warning("no checkpoint %g s after the stop: ended", self._seconds_to_stop)
                raise self.stopped(self._saved_step)
            time.sleep(_POLL_SECONDS)
        if not isinstance(last, RunEnded):
            raise lost(self._reporter, "ended without a result", self._traces()).error
        return last

    def _signal(self, number: int) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)

    def _check_beats(self, running: Sequence[int]) -> None:
        """Raises WorkerLostError where one of the running workers has stalled."""
        beats = {worker: read_beat(self._job.status_dir, worker) for worker in running}
        worker = stalled_worker(beats, self._started, time.time(), self._heartbeat_seconds)
        if worker is None:
            return
        self._write_stacks()
        raise stall(worker, self._heartbeat_seconds, self._traces(), self._scene).error

    def _death(self) -> RcnnError:
        """Returns the error of the worker that failed first, once the others had time to die."""
        if self._stop_before is not None:
            steps = [_saved_step(event) for event in self._follower.new_events()]
            return self.stopped(max(steps, default=0) or self._saved_step)
        deadline = time.monotonic() + _SECONDS_FOR_OTHER_DEATHS
        while time.monotonic() < deadline and any(
            process.poll() is None for process in self._processes.values()
        ):
            if self._stop_before is not None:
                return self.stopped(self._saved_step)
            time.sleep(_POLL_SECONDS)
        verdict = first_to_die(self._traces(), self._scene)
        if verdict.hangs:
            self._write_stacks()
        return verdict.error

    def _write_stacks(self) -> None:
        """Has every worker that still runs write its Python stacks, a paused one too."""
        self._signal(signal.SIGUSR1)
        self._signal(signal.SIGCONT)
        time.sleep(_SECONDS_FOR_STACKS)

    def _traces(self) -> Mapping[int, Trace]:
        """Returns what each worker has left behind so far."""
        return {
            worker: Trace(
                None if process is None else process.poll(),
                read_beat(self._job.status_dir, worker),
                self._last_words(worker),
                str(self._job.log_path(worker)),
                self._log_tail(worker),
            )
            for worker in self._environments
            for process in [self._processes.get(worker)]
        }

    def _last_words(self, worker: int) -> WorkerFailed | None:
        events = EventFollower(self._job.status_dir, worker).new_events()
        return next((event for event in events if isinstance(event, WorkerFailed)), None)

    def _log_tail(self, worker: int) -> str:
        text = self._job.log_path(worker).read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])


def _saved_step(event: Event) -> int:
    """Returns the step of the newest checkpoint, as far as an event tells it, else 0."""
    if isinstance(event, RunStarted):
        return event.first_step
    return event.step if isinstance(event, CheckpointSaved) else 0

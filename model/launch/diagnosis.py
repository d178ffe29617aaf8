"""Who died first: from what the workers left behind to one error. Pure; nothing is looked up here.

When one worker dies, the others die of it: TensorFlow aborts a collective that misses somebody, and
says so in words that name another worker, or the connection. Whoever is seen dead first may be any
of them. So the launcher waits until all are gone, and asks here.
"""

import errno
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ground.errors import ConfigError, DatasetError, ModelError, RcnnError, TrainingError
from model.launch.errors import WorkerLogError, WorkerLostError
from model.training.events import WorkerFailed
from model.training.status import COMPILING, Beat

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
_MOST_OF_WHAT, _MOST_OF_LINE = 400, 200  # characters of an error, and of a log's last line


@dataclass(frozen=True)
class Trace:
    """What one worker of this host left behind.

    Attributes:
        exit_code: status of its process, a signal's number below zero; None where it runs.
        beat: its last sign of life.
        last_words: the error that it told before it ended; None for none.
        log: path of what it printed.
        log_tail: the last lines of that.
    """

    exit_code: int | None
    beat: Beat
    last_words: WorkerFailed | None = None
    log: str = ""
    log_tail: str = ""


@dataclass(frozen=True)
class Scene:
    """Where they ran.

    Attributes:
        work_dir: folder of the run.
        stacks: where workers write their Python stacks when they are asked to.
        hosts: hosts of the run, the chief's first.
        workers_per_host: on each of them.
    """

    work_dir: str
    stacks: str
    hosts: tuple[str, ...]
    workers_per_host: int


@dataclass(frozen=True)
class Verdict:
    """The one error of a run that failed.

    Attributes:
        worker: that it is about.
        error: with the end of that worker's log as its cause.
        hangs: whether the worker still runs, so that its stacks would tell more.
    """

    worker: int
    error: RcnnError
    hangs: bool = False


def first_to_die(traces: Mapping[int, Trace], scene: Scene) -> Verdict:
    """Returns the error of the worker that failed first, as far as that can be told.

    An error that one of them explains comes before all others: whoever can say what is wrong was
    not torn along. Then a signal, since a process that was killed told nobody. A worker that only
    misses another one was torn along, unless all of them say that.

    Args:
        traces: by worker, of this host; at least one of them failed.
        scene: where they ran.
    """
    failed = [worker for worker, trace in traces.items() if trace.exit_code]
    words = {w: told for w in failed if (told := traces[w].last_words)}
    for worker, told in words.items():
        if told.kind in _EXPLAINED_ERRORS:
            return _verdict(worker, _EXPLAINED_ERRORS[told.kind](told.message), traces)
    for worker, told in words.items():
        if any(why in told.message for why in _DISK_FULL):
            return _verdict(worker, _disk_full(scene), traces)
    missed = {w: int(m[1]) for w in words if (m := _MISSED_WORKER.search(words[w].message))}
    if len(missed) == len(failed):
        return _only_missed(failed[0], missed[failed[0]], traces, scene)
    by_signal = [worker for worker in failed if (traces[worker].exit_code or 0) < 0]
    worker = (by_signal or [worker for worker in failed if worker not in missed])[0]
    return lost(worker, _cause_of_death(traces[worker]), traces)


def _disk_full(scene: Scene) -> TrainingError:
    return TrainingError(
        f"no space left on the disk of {scene.work_dir}: free some space, then run the same again; "
        "training goes on from the last checkpoint"
    )


def _only_missed(worker: int, missed: int, traces: Mapping[int, Trace], scene: Scene) -> Verdict:
    """Returns the error where every worker that failed here only misses another one."""
    if missed in traces:
        what = f"gave the others no sign of life (paused?); stacks in {scene.stacks}"
        return lost(missed, what, traces, hangs=True)
    host = scene.hosts[missed // scene.workers_per_host]
    what = f"no longer reaches worker {missed} on {host}, whose launcher says more"
    return lost(worker, what, traces)


def _cause_of_death(trace: Trace) -> str:
    code = trace.exit_code or 0
    if code < 0:
        name = signal.Signals(-code).name
        return f"was killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    if trace.last_words:
        return f"{trace.last_words.kind}: {trace.last_words.message}"
    return f"ended with status {code}"


def stalled_worker(
    beats: Mapping[int, Beat], started: float, now: float, heartbeat_seconds: float
) -> int | None:
    """Returns the worker for whom all others wait, where one gave no sign of life for too long.

    Args:
        beats: beats of the workers that run.
        started: when they were started, in seconds since the epoch.
        now: the time now, in the same seconds.
        heartbeat_seconds: `train.heartbeat_seconds`.
    """
    if all(now - max(started, beat.time) < heartbeat_seconds for beat in beats.values()):
        return None
    compiling = [beat for beat in beats.values() if beat.phase == COMPILING]
    if any(now - beat.time < heartbeat_seconds for beat in compiling):
        return None  # for whom the others wait
    # All wait for the one that is not in its step, or has come less far.
    return min(beats, key=lambda worker: (beats[worker].phase == "step", beats[worker].step))


def stall(
    worker: int, heartbeat_seconds: float, traces: Mapping[int, Trace], scene: Scene
) -> Verdict:
    """Returns the error of a worker that `stalled_worker` named."""
    _, step, phase = traces[worker].beat
    others = ""
    if phase == "joining" and len(scene.hosts) > 1:
        others = f": were all hosts started, and do they reach {', '.join(scene.hosts)}?"
    what = (
        f"showed no progress for {heartbeat_seconds:g} s (train.heartbeat_seconds) in "
        f"phase {phase!r} of step {step}{others}; stacks in {scene.stacks}"
    )
    return lost(worker, what, traces, hangs=True)


def lost(worker: int, what: str, traces: Mapping[int, Trace], hangs: bool = False) -> Verdict:
    """Returns the error of a lost worker: what became of it, where, and its last line."""
    trace = traces[worker]
    last_lines: Sequence[str] = trace.log_tail.strip().splitlines()[-1:] or ["its log is empty"]
    error = WorkerLostError(
        f"worker {worker} {what[:_MOST_OF_WHAT]} (step {trace.beat.step}, log {trace.log}: "
        f"{last_lines[0].strip()[:_MOST_OF_LINE]})"
    )
    return _verdict(worker, error, traces, hangs)


def _verdict(
    worker: int, error: RcnnError, traces: Mapping[int, Trace], hangs: bool = False
) -> Verdict:
    error.__cause__ = WorkerLogError(f"\n{traces[worker].log_tail}")
    return Verdict(worker, error, hangs)

"""Who died first: a table of what workers leave behind, and the one error that comes of it."""

import errno
import os

import pytest

from ground.errors import DatasetError, TrainingError
from model.launch.diagnosis import Scene, Trace, first_to_die, lost, stall, stalled_worker
from model.launch.errors import WorkerLogError, WorkerLostError
from model.training.events import WorkerFailed
from model.training.status import Beat
from tests.model.launch.last_words import NO_HEARTBEAT, RESET

ALONE = Scene("W", "W/logs/worker-*.stacks", ("localhost",), 2)
TWO_HOSTS = Scene("W", "W/logs/worker-*.stacks", ("a:2222", "b:2222"), 1)


def trace(code, kind="", message="", tail="last line", phase="step", step=6, at=0.0):
    words = WorkerFailed(kind, message) if kind else None
    return Trace(code, Beat(at, step, phase), words, "W/logs/worker.log", tail)


MISSES_1 = {"kind": "UnavailableError", "message": RESET}
QUOTA = os.strerror(errno.EDQUOT)


@pytest.mark.parametrize(
    ("traces", "worker", "error", "text"),
    [
        # A signal; those who miss the dead one were torn along.
        ([trace(-9), trace(None)], 0, WorkerLostError, "was killed by SIGKILL (out of memory?)"),
        ([trace(1, **MISSES_1), trace(-9)], 1, WorkerLostError, "was killed by SIGKILL"),
        ([trace(-11), trace(1, "KeyError", "a")], 0, WorkerLostError, "was killed by SIGSEGV"),
        # Last words; whoever explains itself comes first, even before a signal.
        ([trace(-9), trace(1, "DatasetError", "T: cut")], 1, DatasetError, "T: cut"),
        ([trace(1, "NotFiniteError", "step 3"), trace(1)], 0, TrainingError, "step 3"),
        ([trace(1, **MISSES_1), trace(1, "KeyError", "a")], 1, WorkerLostError, "KeyError: a"),
        ([trace(1, "KeyError", "a"), trace(1, "IndexError", "b")], 0, WorkerLostError, "KeyError"),
        # A full disk is no lost worker: another start would fill it again.
        ([trace(1, "OSError", "No space left on device")], 0, TrainingError, "no space left on"),
        ([trace(1, "SafetensorError", f"I/O error: {QUOTA}")], 0, TrainingError, "no space left"),
        # Nothing but a status, or not even that.
        ([trace(0), trace(3)], 1, WorkerLostError, "ended with status 3"),
        ([trace(None), trace(1, tail="")], 1, WorkerLostError, "its log is empty"),
        # All that died miss another one, which hangs.
        ([trace(1, "E", NO_HEARTBEAT), trace(None)], 1, WorkerLostError, "gave the others no sign"),
    ],
)
def test_first_to_die(traces, worker, error, text):
    verdict = first_to_die(dict(enumerate(traces)), ALONE)
    assert verdict.worker == worker
    assert type(verdict.error) is error
    assert text in str(verdict.error)
    assert verdict.hangs == (traces[worker].exit_code is None)
    assert isinstance(verdict.error.__cause__, WorkerLogError)


def test_a_missed_worker_of_another_host_is_named_with_its_host():
    verdict = first_to_die({0: trace(1, **MISSES_1)}, TWO_HOSTS)
    assert (verdict.worker, verdict.hangs) == (0, False)
    assert str(verdict.error).startswith("worker 0 no longer reaches worker 1 on b:2222,")


def test_the_error_of_a_lost_worker_says_where_it_was_and_its_last_line():
    tail = "a line" + " and more" * 100
    error = lost(3, "W" * 500, {3: trace(1, tail=f"before\n{tail}\n")}).error
    assert str(error) == (f"worker 3 {'W' * 400} (step 6, log W/logs/worker.log: {tail[:200]})")
    assert str(error.__cause__) == f"\nbefore\n{tail}\n"


# Beats as (seconds ago, step, phase); each worker was started 1000 s ago; 300 s are allowed.
@pytest.mark.parametrize(
    ("beats", "worker"),
    [
        ([(10, 3, "step"), (299, 3, "step")], None),
        ([(10, 3, "step"), (301, 2, "step")], 1),
        ([(900, 3, "step"), (10, 3, "compiling")], None),  # for whom the others wait
        ([(900, 3, "step"), (900, 3, "compiling")], 1),
        ([(900, 3, "step"), (10, 3, "input")], 1),  # the one that is not in its step
        ([(900, 3, "step"), (10, 2, "step")], 1),  # the one that has come less far
        ([(900, 3, "input"), (900, 3, "step")], 0),
        ([(5000, 0, "not started")], 0),  # counts from the start on
    ],
)
def test_the_worker_for_whom_the_others_wait(beats, worker):
    now = 10_000.0
    by_worker = {n: Beat(now - ago, step, phase) for n, (ago, step, phase) in enumerate(beats)}
    assert stalled_worker(by_worker, now - 1000, now, 300.0) == worker


def test_a_worker_has_its_time_from_its_start_on():
    assert stalled_worker({0: Beat()}, started=9_900.0, now=10_000.0, heartbeat_seconds=300) is None


@pytest.mark.parametrize(("scene", "asks"), [(ALONE, False), (TWO_HOSTS, True)])
def test_a_stall_before_the_first_step_asks_for_the_other_hosts(scene, asks):
    verdict = stall(0, 300.0, {0: trace(None, phase="joining", step=0)}, scene)
    assert verdict.hangs
    assert "showed no progress for 300 s (train.heartbeat_seconds) in phase 'joining'" in str(
        verdict.error
    )
    assert ("do they reach a:2222, b:2222?" in str(verdict.error)) == asks

"""Commands in processes of their own that get a signal."""

import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).parents[1]
MOST_SECONDS = 5.0
ANEW = "nothing half-written is left: run the same again"


class Stopped(NamedTuple):
    """How a command ended that got a signal."""

    status: int
    seconds: float
    out: str
    err: str


def start(command, **settings):
    return subprocess.Popen(
        [*map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job, such as a test run's, ignores it, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **settings,
    )


def stop(process, number, times=1):
    """Sends a signal and waits; all processes that it had started have to be gone, too."""
    started = psutil.Process(process.pid).children(recursive=True)
    begun = time.monotonic()
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.05)
    out, err = process.communicate(timeout=120)
    seconds = time.monotonic() - begun
    left = psutil.wait_procs(started, timeout=10)[1]
    assert not left, left
    return Stopped(process.returncode, seconds, out, err)

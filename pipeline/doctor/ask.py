"""Asks a probe: a module of ours in its own process, which may hang, crash or lack a package."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.doctor.rows import MAKE_SETUP
from tfx_rcnn import child_environment, command

_MEANINGS = {
    signal.SIGILL: "this processor lacks instructions that the library is built with (AVX)",
    signal.SIGKILL: "out of memory?",
    signal.SIGSEGV: "a library that does not fit the others?",
    signal.SIGABRT: "a library that does not fit the others?",
}


_running: set[int] = set()  # process ids of probes


class Asked(NamedTuple):
    """How a probe ended.

    Attributes:
        values: what it printed; None where it did not come so far.
        problem: why not, in a line.
        mend: the line that mends it.
        log: what it wrote besides.
    """

    values: Any
    problem: str = ""
    mend: str = ""
    log: str = ""


def ask(
    module: str,
    *arguments: str,
    seconds: float,
    environ: Mapping[str, str] | None = None,
) -> Asked:
    """Returns what a probe prints as the last line of its output, as JSON.

    Args:
        module: is run as `python -m`.
        *arguments: of the module.
        seconds: until it is ended.
        environ: on top of this process's.
    """
    with subprocess.Popen(
        command(module, *arguments),
        env={**child_environment(os.environ), **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that what it starts ends with it
    ) as process:
        _running.add(process.pid)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            problem = f"did not answer within {seconds:g} s"
            return Asked(None, problem, "try again when the machine is not busy, or --seconds 600")
        finally:
            _end(process.pid)
            _running.discard(process.pid)
    log = err.decode(errors="replace")
    if process.returncode:
        return Asked(None, *_why(process.returncode, log), log)
    try:
        return Asked(json.loads(out.decode(errors="replace").strip().splitlines()[-1]), log=log)
    except (IndexError, ValueError):
        return Asked(None, "gave no answer", MAKE_SETUP, log)


def end_all() -> None:
    """Ends the probes that still run, whose answers nobody waits for any more."""
    for pid in list(_running):
        _end(pid)


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _why(status: int, log: str) -> tuple[str, str]:
    """Returns (problem, mend) of a probe that failed."""
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")[:300]
    if status < 0:
        name = signal.Signals(-status).name
        meaning = _MEANINGS.get(signal.Signals(-status), last or "no reason given")
        return f"ended by {name}: {meaning}", {
            signal.SIGILL: "use a machine or an emulated processor with AVX",
            signal.SIGKILL: "give it more memory",
        }.get(signal.Signals(-status), MAKE_SETUP)
    if "No space left on device" in log:
        return last, "free some space"
    return last or f"ended with status {status}", MAKE_SETUP

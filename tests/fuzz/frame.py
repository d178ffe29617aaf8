"""Runs a command's own functions on mutated inputs, in a child that may crash, hang or grow.

To add a fuzzer: write a module with a `Fuzzer` and name it in `tests/fuzz/__main__.py`. Its `run`
gets a random generator and an empty folder, writes a mutated input there and reads it as the
command does. What it raises says how the input ended:

- `fine`: nothing is raised.
- `one-line error`: a `RcnnError`, an `OSError` or a `click` usage error, whose line says what is
  wrong.
- `debug line`: any other exception; users would be told to run again with `--debug`.
- `crash`: the process died.
- `hang`: it took longer than the time limit.
- `growth`: it took more memory than the limit.
"""

import ctypes
import dataclasses
import multiprocessing
import os
import random
import resource
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path

import click

from ground.console import explain
from ground.errors import RcnnError

FINE, ERROR = "fine", "one-line error"
DEBUG_LINE, CRASH, HANG, GROWTH = "debug line", "crash", "hang", "growth"
GOOD = (FINE, ERROR)


def _nothing() -> None:
    """Prepares nothing."""


@dataclasses.dataclass(frozen=True)
class Fuzzer:
    """One kind of input.

    It travels to a new process by name, so its functions stand at the top of a module.

    Attributes:
        name: of it.
        run: mutates an input and reads it; the folder is empty, and removed afterwards.
        seconds: limit of one run.
        megabytes: memory that runs may take beyond what the process has at the start.
        prepare: called once in the child: imports, stand-ins.
    """

    name: str
    run: Callable[[random.Random, Path], None]
    seconds: float = 20.0
    megabytes: int = 1500
    prepare: Callable[[], None] = _nothing


@dataclasses.dataclass
class Outcomes:
    """How the runs of a fuzzer ended.

    Attributes:
        counts: by outcome.
        bad: (seed, outcome, text) of those that are neither fine nor a one-line error.
        lines: the first line of each kind of one-line error, by its exception.
    """

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    bad: list[tuple[int, str, str]] = dataclasses.field(default_factory=list)
    lines: Counter[str] = dataclasses.field(default_factory=Counter)

    def note(self, seed: int, outcome: str, text: str) -> None:
        """Counts one run."""
        self.counts[outcome] += 1
        if outcome not in GOOD:
            self.bad.append((seed, outcome, text))
        elif text:
            self.lines[text] += 1


def fuzz(fuzzer: Fuzzer, seeds: Iterable[int]) -> Outcomes:
    """Runs a fuzzer once for each seed and returns how the runs ended."""
    outcomes = Outcomes()
    waiting = list(seeds)
    while waiting:
        waiting = waiting[_run_until_it_dies(fuzzer, waiting, outcomes) :]
    return outcomes


def _run_until_it_dies(fuzzer: Fuzzer, seeds: list[int], outcomes: Outcomes) -> int:
    """Starts a child for the seeds; returns how many of them it did, the deadly one included."""
    # Not forked: of a process in which TensorFlow's threads run, a fork hangs in its first lock.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_quick_place()) as folder:
        child = context.Process(target=_child, args=(fuzzer, seeds, Path(folder), theirs))
        child.start()
        theirs.close()
        done = 0
        limit = fuzzer.seconds + 180  # the first report comes after `prepare`
        try:
            while done < len(seeds):
                if not ours.poll(limit):
                    child.kill()
                    outcomes.note(seeds[done], HANG, f"more than {fuzzer.seconds:g} s")
                    return done + 1
                outcome, text = ours.recv()
                limit = fuzzer.seconds
                if outcome == "ready":
                    continue
                outcomes.note(seeds[done], outcome, text)
                done += 1
        except EOFError:
            child.join()
            code = child.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"status {code}"
            outcomes.note(seeds[done], CRASH, name)
            return done + 1
        finally:
            child.join(timeout=5)
            if child.is_alive():
                child.kill()
            child.join()
    return done


def _quick_place() -> str | None:
    """Returns a folder in memory, where waiting for the disk costs nothing; None for the usual."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _child(fuzzer: Fuzzer, seeds: list[int], folder: Path, reports: Connection) -> None:
    """Runs the seeds one after the other and reports each."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends with its parent
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    fuzzer.prepare()
    _limit_memory(fuzzer.megabytes)
    reports.send(("ready", ""))
    for seed in seeds:
        place = folder / str(seed)
        place.mkdir()
        reports.send(_outcome(fuzzer, seed, place))
        shutil.rmtree(place, ignore_errors=True)
    reports.close()
    os._exit(0)


def _outcome(fuzzer: Fuzzer, seed: int, place: Path) -> tuple[str, str]:
    try:
        fuzzer.run(random.Random(seed), place)
    except MemoryError:
        return GROWTH, traceback.format_exc(limit=-3)
    except (RcnnError, OSError, click.ClickException) as error:
        line = explain(error) if not isinstance(error, click.ClickException) else error.message
        if "\n" in line or len(line) > 2000 or "--debug" in line:
            return DEBUG_LINE, line[:2000]
        return ERROR, type(error).__name__
    except BaseException as error:  # SystemExit and KeyboardInterrupt are no answer either
        return DEBUG_LINE, f"{type(error).__name__}: {error}"[:500] + traceback.format_exc(limit=-4)
    return FINE, ""


def _limit_memory(megabytes: int) -> None:
    with open("/proc/self/statm", encoding="ascii") as stream:
        now = int(stream.read().split()[0]) * resource.getpagesize()
    limit = now + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

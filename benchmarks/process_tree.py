"""What a command and all processes that it starts take: time, processor, memory."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_SECONDS = 0.1
# Of a core's time: to count a process's pages takes it from what is measured.
_SHARE_OF_COUNTING = 0.02
_LONGEST_ERROR = 2000


class Cost(NamedTuple):
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: of all its processes.
        largest_mb: resident memory of its largest process at most.
        rss_mb: resident memory of all at most, counted now and then; what they share counts for
            each.
        pss_mb: the same, what they share counted once.
    """

    seconds: float
    cpu_seconds: float
    largest_mb: float
    rss_mb: float
    pss_mb: float


def cost_of(
    command: Sequence[str],
    environ: Mapping[str, str] | None = None,
    cores: int | None = None,
) -> Cost:
    """Runs a command to its end.

    Args:
        command: program and arguments.
        environ: added to the environment.
        cores: only on the first so many; None is all.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    start = time.monotonic()
    process = subprocess.Popen(
        ["taskset", "--cpu-list", ",".join(map(str, allowed)), *command],
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said: list[bytes] = []
    assert process.stdout
    reader = threading.Thread(target=lambda: said.append(process.stdout.read()), daemon=True)
    reader.start()
    largest_mb = rss_mb = pss_mb = 0.0
    next_count = start
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        family = list(_family(process.pid))
        largest_mb = max(largest_mb, *map(_largest_mb, family))
        if (begun := time.monotonic()) >= next_count:
            sizes = [_memory_mb(one) for one in family]
            rss_mb = max(rss_mb, sum(rss for rss, _ in sizes))
            pss_mb = max(pss_mb, sum(pss for _, pss in sizes))
            next_count = begun + (time.monotonic() - begun) / _SHARE_OF_COUNTING
        time.sleep(_SECONDS)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    process.stdout.close()
    if process.returncode:
        end = b"".join(said)[-_LONGEST_ERROR:].decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)}: status {process.returncode}\n{end}")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Cost(seconds, cpu_seconds, largest_mb, max(rss_mb, largest_mb), pss_mb)


def _family(pid: int) -> Iterator[int]:
    """Yields a process and those that it started, by any of its threads."""
    yield pid
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += task.read_text().split()
        except OSError:  # it has ended
            continue
    for child in children:
        yield from _family(int(child))


def _largest_mb(pid: int) -> float:
    """Returns the most resident memory that a process has had; zero when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def _memory_mb(pid: int) -> tuple[float, float]:
    """Returns a process's resident memory and its share of that (PSS); zeros when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:] if ":" in line}
    return sizes.get("Rss", 0) * 1024 / 1e6, sizes.get("Pss", 0) * 1024 / 1e6

"""What this process may take of the machine: cores and memory, by the container's limits.

The kernel shows a container all the node's cores and memory. What it may use stands in its control
groups: version 2 (`cpu.max`, `memory.max`) or 1 (`cpu.cfs_quota_us`, `memory.limit_in_bytes`), and
a group's limit holds for all below it. Everything is read from below `root`, so that a test can
give a tree of files for a machine.
"""

import math
import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/")
# Version 1 writes "no limit" as the largest multiple of a page.
_NO_LIMIT_BYTES = 1 << 60


class Limits(NamedTuple):
    """What may be used here.

    Attributes:
        cores: threads that run at the same time; at least 1.
        cores_shown: those that the scheduler lets this process use, the quota left out.
        memory_bytes: what the machine has, or the smallest limit above this process; 0 if unknown.
        free_bytes: what of that is not in use, or can be taken back at once.
        is_limited: by name (`cores`, `memory`), whether a control group says so.
    """

    cores: int
    cores_shown: int
    memory_bytes: int
    free_bytes: int
    is_limited: Mapping[str, bool]


class _Group(NamedTuple):
    """A folder of one control group, with the version of its files."""

    folder: Path
    version: int


def machine_limits(root: Path = _ROOT, affinity: int | None = None) -> Limits:
    """Returns what this process may take of the machine.

    Args:
        root: folder that has `proc` and `sys`.
        affinity: cores that the scheduler lets this process use; asked of it if None.
    """
    shown = affinity or len(os.sched_getaffinity(0))
    quotas = [_quota(group) for group in _groups(root, "cpu")]
    sets = [_cpuset(group) for group in _groups(root, "cpuset")]
    least = min([math.inf, *quotas, *sets])
    total, free = _memory_of_machine(root)
    memory_is_limited = False
    for group in _groups(root, "memory"):
        limit = _number(group, "memory.max", "memory.limit_in_bytes")
        if limit is None or limit >= min(_NO_LIMIT_BYTES, total or _NO_LIMIT_BYTES):
            continue
        memory_is_limited = True
        total, free = limit, min(free, max(0, limit - _used_bytes(group)))
    return Limits(
        cores=max(1, min(shown, math.ceil(least) if least < math.inf else shown)),
        cores_shown=shown,
        memory_bytes=total,
        free_bytes=free,
        is_limited={"cores": least < shown, "memory": memory_is_limited},
    )


def share_machine(environ: MutableMapping[str, str], limits: Limits | None = None) -> None:
    """Sets, where nothing is set, how TensorFlow takes its part of the machine.

    A GPU's memory as it is needed and not all at once, since a run's processes share it; GPUs by
    the numbers that nvidia-smi shows; and no more threads than the container has cores. Counts for
    a TensorFlow that is not loaded yet, and for processes that start from here.

    Args:
        environ: is changed.
        limits: those of this process if None.
    """
    environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    limits = limits or machine_limits()
    if limits.cores < limits.cores_shown:
        environ.setdefault("TF_NUM_INTRAOP_THREADS", str(limits.cores))
        # At least two: what waits must not stop the rest of the graph.
        environ.setdefault("TF_NUM_INTEROP_THREADS", str(max(2, limits.cores)))
        environ.setdefault("OMP_NUM_THREADS", str(limits.cores))


def _groups(root: Path, controller: str) -> Iterator[_Group]:
    """Yields the group of this process and those above it, as far as they can be seen."""
    mounts = _mounts(root)
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, inner = rest.partition(":")
        if number == "0" and not controllers:
            key, version = "", 2
        elif controller in controllers.split(","):
            key, version = controller, 1
        else:
            continue
        if key in mounts:
            yield from _upwards(*mounts[key], inner, version)


def _upwards(top: Path, mounted: str, inner: str, version: int) -> Iterator[_Group]:
    """Yields the group `inner` and those above it.

    Args:
        top: where the groups are mounted.
        mounted: the group that is mounted there; a container may see its own group's path as the
            node has it.
        inner: the group of this process.
        version: version of the control groups.
    """
    below = inner.removeprefix(mounted.rstrip("/")) if inner.startswith(mounted) else inner
    parts = [part for part in below.split("/") if part]
    folder = top.joinpath(*parts)
    if ".." in parts or not folder.is_dir():  # another namespace's: what is mounted is ours
        parts, folder = [], top
    for _ in range(len(parts) + 1):
        yield _Group(folder, version)
        folder = folder.parent


def _mounts(root: Path) -> dict[str, tuple[Path, str]]:
    """Returns (folder, mounted group) by controller of version 1; of version 2 by ""."""
    found: dict[str, tuple[Path, str]] = {}
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, after = left.split(), right.split()
        if len(fields) < 5 or len(after) < 3:
            continue
        place = root / fields[4].lstrip("/"), fields[3]
        if after[0] == "cgroup2":
            found.setdefault("", place)
        elif after[0] == "cgroup":
            for controller in after[2].split(","):
                found.setdefault(controller, place)
    return found


def _quota(group: _Group) -> float:
    """Returns the cores' worth of time that a group gets; infinite without a limit."""
    if group.version == 2:
        quota, _, period = _text(group.folder / "cpu.max").partition(" ")
    else:
        quota = _text(group.folder / "cpu.cfs_quota_us")
        period = _text(group.folder / "cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0 or int(quota) == 0:
        return math.inf  # "max", -1, or the topmost group, which has no such file
    return int(quota) / int(period)


def _cpuset(group: _Group) -> float:
    """Returns how many cores a group is bound to; infinite where it does not say."""
    for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
        if cores := cores_of(_text(group.folder / name)):
            return len(cores)
    return math.inf


def cores_of(text: str) -> set[int]:
    """Returns the numbers in the kernel's form of a list of cores; empty where it is none.

    >>> sorted(cores_of("0-2,8"))
    [0, 1, 2, 8]
    """
    cores: set[int] = set()
    for part in text.split(",") if text else []:
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            return set()
        cores.update(range(int(first), int(last or first) + 1))
    return cores


def _memory_of_machine(root: Path) -> tuple[int, int]:
    """Returns (all, free) bytes; 0 where the kernel does not say."""
    sizes = {}
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if (words := rest.split()) and words[0].isdigit():
            sizes[name] = int(words[0]) << 10
    total = sizes.get("MemTotal", 0)
    return total, sizes.get("MemAvailable", sizes.get("MemFree", total))


def _used_bytes(group: _Group) -> int:
    """Returns what a group uses, less the files that were read and can be dropped at once."""
    used = _number(group, "memory.current", "memory.usage_in_bytes") or 0
    name = "inactive_file" if group.version == 2 else "total_inactive_file"
    for line in _text(group.folder / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return max(0, used - int(value))
    return used


def _number(group: _Group, *names: str) -> int | None:
    """Returns the number in a group's file, by the version; None for "max" and no file."""
    text = _text(group.folder / names[0 if group.version == 2 else 1])
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""  # the kernel has no such file: another version, or no limit of this kind

"""Which cores a worker should keep to on a machine of several memory nodes (sockets).

A worker that wanders between sockets reads half of its pictures through the other one's memory,
and reaches its GPU through the other one's bus. Nodes and GPUs are read from below `root`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from model.limits import cores_of

CORES_VARIABLE = "TFX_RCNN_CORES"  # of a worker, in the kernel's form of a list
# Buses of the GPUs that CUDA_VISIBLE_DEVICES names, in its order; as TensorFlow's driver says.
BUSES_VARIABLE = "TFX_RCNN_GPU_BUSES"
_ROOT = Path("/")


def worker_cores(
    workers: int,
    gpus: Sequence[str],
    root: Path = _ROOT,
    allowed: frozenset[int] | None = None,
    buses: Sequence[str] = (),
) -> list[frozenset[int]]:
    """Returns the cores of each of this host's workers; [] where they should not be bound.

    They are bound where there are several workers and several nodes whose cores we may use: each
    to the node of its GPU, without GPUs evenly. Where a GPU's node is not known, or the workers do
    not go evenly on the nodes, none is: one bound wrongly would wait for others.

    Args:
        workers: how many this host has.
        gpus: names as CUDA_VISIBLE_DEVICES has them, one a worker; [] on CPUs.
        root: folder that has `proc` and `sys`.
        allowed: cores that this process may use; asked of the scheduler if None.
        buses: buses of the GPUs, such as 0000:3b:00.0; where not known, their names tell, which
            in a container may be counted otherwise than what `root` shows.
    """
    allowed = frozenset(os.sched_getaffinity(0)) if allowed is None else allowed
    nodes = {n: cores & allowed for n, cores in _nodes(root).items() if cores & allowed}
    if workers < 2 or len(nodes) < 2:
        return []
    if gpus:
        if len(buses) == len(gpus):
            places = [_node_of_bus(bus, root) for bus in buses[:workers]]
        else:
            places = [_node_of_gpu(gpu, root) for gpu in gpus[:workers]]
        found = [nodes[place] for place in places if place is not None and place in nodes]
        return found if len(found) == workers else []
    each, rest = divmod(workers, len(nodes))
    if rest or any(len(cores) < each for cores in nodes.values()):
        return []
    return [cores for _, cores in sorted(nodes.items()) for _ in range(each)]


def bind(environ: Mapping[str, str]) -> None:
    """Keeps this process to the cores that its environment names, if any; before it has threads.

    Raises:
        OSError: the kernel does not let it.
    """
    if cores := cores_of(environ.get(CORES_VARIABLE, "")):
        os.sched_setaffinity(0, cores)


def as_list(cores: frozenset[int]) -> str:
    """Returns cores in the kernel's form.

    >>> as_list(frozenset([0, 1, 2, 8]))
    '0-2,8'
    """
    parts: list[list[int]] = []
    for core in sorted(cores):
        if parts and core == parts[-1][-1] + 1:
            parts[-1].append(core)
        else:
            parts.append([core])
    return ",".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def _nodes(root: Path) -> dict[int, frozenset[int]]:
    """Returns each node's cores; nodes without any (memory alone) are left out."""
    found = {}
    for folder in (root / "sys/devices/system/node").glob("node*"):
        number = re.fullmatch(r"node(\d+)", folder.name)
        if number and (cores := cores_of(_text(folder / "cpulist"))):
            found[int(number[1])] = frozenset(cores)
    return found


def _node_of_gpu(gpu: str, root: Path) -> int | None:
    """Returns the node of a GPU's bus; None where it is not known.

    Args:
        gpu: its number in the order of the buses (CUDA_DEVICE_ORDER=PCI_BUS_ID), or its UUID.
        root: folder that has `proc` and `sys`.
    """
    folders = sorted((root / "proc/driver/nvidia/gpus").glob("*:*:*"))
    if gpu.isdigit():
        found = folders[int(gpu) : int(gpu) + 1]
    else:
        uuid = gpu.removeprefix("MIG-").partition("/")[0]
        found = [f for f in folders if _uuid(f).startswith(uuid)] if uuid[:4] == "GPU-" else []
    return _node_of_bus(found[0].name, root) if len(found) == 1 else None


def _node_of_bus(bus: str, root: Path) -> int | None:
    node = _text(root / "sys/bus/pci/devices" / bus.lower() / "numa_node")
    return int(node) if node.isdigit() else None  # -1: the firmware does not say


def _uuid(folder: Path) -> str:
    found = re.search(r"^GPU UUID:\s*(\S+)", _text(folder / "information"), re.MULTILINE)
    return found[1] if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""  # no such node, bus or driver

"""Workers on the nodes of a machine, from trees of files as the kernel and NVIDIA's driver show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.launch.numa import CORES_VARIABLE, as_list, worker_cores

FIRST, SECOND = frozenset([0, 1, 2, 3, 8, 9]), frozenset([4, 5, 6, 7])
ALL = FIRST | SECOND


def machine(top: Path, nodes: dict[str, str], gpus: dict[str, str]) -> Path:
    """Makes a machine of nodes with lists of cores, and GPUs by bus with their node."""
    for name, cores in nodes.items():
        write(top / "sys/devices/system/node" / name / "cpulist", cores)
    for place, (bus, node) in enumerate(gpus.items()):
        information = (
            f"Model: \t\t A100\nGPU UUID: \t GPU-{place}f{place}\nBus Location: \t {bus}\n"
        )
        write(top / "proc/driver/nvidia/gpus" / bus / "information", information)
        write(top / "sys/bus/pci/devices" / bus / "numa_node", node)
    return top


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


TWO = {"node0": "0-3,8-9", "node1": "4-7", "possible": "x"}
GPUS = {"0000:3b:00.0": "0", "0000:5e:00.0": "0", "0000:86:00.0": "1", "0000:af:00.0": "1"}


@pytest.mark.parametrize(
    ("nodes", "gpus", "workers", "named", "expected"),
    [
        (TWO, {}, 2, [], [FIRST, SECOND]),
        (TWO, {}, 4, [], [FIRST, FIRST, SECOND, SECOND]),
        (TWO, {}, 1, [], []),
        (TWO, {}, 3, [], []),
        (TWO, {}, 10, [], []),  # more than the second node has cores
        ({"node0": "0-9"}, {}, 2, [], []),
        ({"node0": "0-9", "node1": ""}, {}, 2, [], []),  # a node of memory alone
        ({"node0": "0-9", "node1": "10-19"}, {}, 2, [], []),  # not ours
        ({}, {}, 2, [], []),
        (TWO, GPUS, 4, ["0", "1", "2", "3"], [FIRST, FIRST, SECOND, SECOND]),
        (TWO, GPUS, 2, ["3", "0"], [SECOND, FIRST]),
        (TWO, GPUS, 2, ["0", "1"], [FIRST, FIRST]),
        (TWO, GPUS, 2, ["GPU-2f2", "GPU-0"], [SECOND, FIRST]),
        (TWO, GPUS, 2, ["MIG-GPU-2f2/3/0", "0"], [SECOND, FIRST]),
        (TWO, GPUS, 2, ["MIG-5a3f9e04-0c6b", "0"], []),
        (TWO, GPUS, 2, ["GPU-", "0"], []),  # of which of them
        (TWO, GPUS, 2, ["0", "7"], []),
        (TWO, {**GPUS, "0000:3b:00.0": "-1"}, 2, ["0", "2"], []),
        (TWO, {**GPUS, "0000:3b:00.0": "5"}, 2, ["0", "2"], []),
        (TWO, {}, 2, ["0", "1"], []),
    ],
)
def test_each_worker_keeps_to_one_node(tmp_path, nodes, gpus, workers, named, expected) -> None:
    assert worker_cores(workers, named, machine(tmp_path, nodes, gpus), ALL) == expected


def test_the_bus_tells_where_a_container_counts_gpus_otherwise(tmp_path) -> None:
    root = machine(tmp_path, TWO, GPUS)  # the node's four, of which the container has the last two
    buses = ["0000:86:00.0", "0000:AF:00.0"]
    assert worker_cores(2, ["0", "1"], root, ALL, buses) == [SECOND, SECOND]
    assert worker_cores(2, ["0", "1"], root, ALL, ["0000:99:00.0", buses[0]]) == []


def test_only_cores_that_we_may_use_are_given(tmp_path) -> None:
    root = machine(tmp_path, TWO, {})
    assert worker_cores(2, [], root, frozenset([0, 4, 5])) == [{0}, {4, 5}]
    assert worker_cores(2, [], root, frozenset([0, 1])) == []


def test_a_list_of_cores_is_read_back() -> None:
    assert as_list(frozenset([0, 1, 2, 8])) == "0-2,8"
    assert as_list(frozenset()) == ""


def test_a_process_keeps_to_the_cores_that_are_named() -> None:
    core = min(os.sched_getaffinity(0))
    program = (
        "import os; from model.launch.numa import bind; bind(os.environ); "
        "print(os.sched_getaffinity(0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, CORES_VARIABLE: str(core)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{{{core}}}"

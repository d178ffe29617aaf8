"""Cores and memory by control groups, as kernels, Docker, Kubernetes and systemd show them."""

from pathlib import Path

import pytest

from model.limits import Limits, cores_of, machine_limits, share_machine

GIB = 1 << 30
V2_MOUNT = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNTS = """
32 31 0:29 {0} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 {0} /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset
35 31 0:32 {0} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
37 31 0:32 / /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw
""".strip()
NO_V1_LIMIT = "9223372036854771712"


def machine(top: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """Makes a machine of 64 GiB, 48 of them free."""
    meminfo = f"MemTotal: {64 << 20} kB\nMemFree: 1 kB\nMemAvailable: {48 << 20} kB\nHugePages: 0\n"
    for name, text in {
        "proc/self/cgroup": groups,
        "proc/self/mountinfo": "1 0 0:1 / / rw - overlay overlay rw\nnonsense\n" + mounts,
        "proc/meminfo": meminfo,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return top


def v1(own: str, mounted: str = "/") -> tuple[str, str]:
    groups = f"9:name=systemd:{own}\n4:memory:{own}\n3:cpuset:{own}\n2:cpu,cpuacct:{own}\n0::/"
    return groups, V1_MOUNTS.format(mounted)


V2_POD = "0::/kubepods.slice/pod1/app", V2_MOUNT
V2_INSIDE = "0::/", V2_MOUNT


@pytest.mark.parametrize(
    ("place", "files", "cores", "memory_gib"),
    [
        # Version 2, as a container sees it: its own group is the topmost.
        (V2_INSIDE, {}, 16, 64),
        (V2_INSIDE, {"cpu.max": "max 100000", "memory.max": "max"}, 16, 64),
        (V2_INSIDE, {"cpu.max": "400000 100000", "memory.max": str(8 * GIB)}, 4, 8),
        (V2_INSIDE, {"cpu.max": "150000 100000"}, 2, 64),
        (V2_INSIDE, {"cpu.max": "50000 100000"}, 1, 64),
        (V2_INSIDE, {"cpu.max": "6400000 100000", "memory.max": str(999 * GIB)}, 16, 64),
        (V2_INSIDE, {"cpuset.cpus.effective": "0-1,8"}, 3, 64),
        (V2_INSIDE, {"cpuset.cpus.effective": "", "cpu.max": "", "memory.max": ""}, 16, 64),
        (V2_INSIDE, {"cpu.max": "no number", "memory.max": "-5"}, 16, 64),
        (V2_INSIDE, {"cpu.max": "100000 0"}, 16, 64),
        # On the host, or in a container with the host's groups: the least on the way up counts.
        (V2_POD, {"kubepods.slice/pod1/app/cpu.max": "max 100000",
                  "kubepods.slice/pod1/cpu.max": "300000 100000",
                  "kubepods.slice/pod1/app/memory.max": str(6 * GIB),
                  "kubepods.slice/pod1/memory.max": str(5 * GIB),
                  "kubepods.slice/memory.max": str(50 * GIB)}, 3, 5),
        (V2_POD, {"kubepods.slice/pod1/app/cpu.max": "200000 100000",
                  "kubepods.slice/pod1/cpu.max": "300000 100000"}, 2, 64),
        # The group is not below what is mounted: then what is mounted is ours.
        (V2_POD, {"cpu.max": "200000 100000"}, 2, 64),
        (("0::/../../other", V2_MOUNT), {"cpu.max": "200000 100000"}, 2, 64),
        # Version 1, with a namespace of its own, and as Docker shows the node's path.
        (v1("/"), {"cpu,cpuacct/cpu.cfs_quota_us": "-1",
                   "cpu,cpuacct/cpu.cfs_period_us": "100000",
                   "memory/memory.limit_in_bytes": NO_V1_LIMIT}, 16, 64),
        (v1("/"), {"cpu,cpuacct/cpu.cfs_quota_us": "250000",
                   "cpu,cpuacct/cpu.cfs_period_us": "100000",
                   "memory/memory.limit_in_bytes": str(4 * GIB)}, 3, 4),
        (v1("/docker/8f2c", "/docker/8f2c"), {"cpu,cpuacct/cpu.cfs_quota_us": "20000",
                                              "cpu,cpuacct/cpu.cfs_period_us": "10000"}, 2, 64),
        (v1("/docker/8f2c/inner", "/docker/8f2c"),
         {"cpu,cpuacct/inner/cpu.cfs_quota_us": "-1",
          "cpu,cpuacct/inner/cpu.cfs_period_us": "100000",
          "cpu,cpuacct/cpu.cfs_quota_us": "500000",
          "cpu,cpuacct/cpu.cfs_period_us": "100000",
          "memory/inner/memory.limit_in_bytes": NO_V1_LIMIT,
          "memory/memory.limit_in_bytes": str(3 * GIB)}, 5, 3),
        (v1("/"), {"cpuset/cpuset.cpus": "4-7"}, 4, 64),
        # Neither: an old or strange kernel.
        (("", ""), {}, 16, 64),
        (("nonsense", "30 24"), {"cpu.max": "100000 100000"}, 16, 64),
    ],
)  # fmt: skip
def test_the_least_limit_on_the_way_up_counts(tmp_path, place, files, cores, memory_gib) -> None:
    limits = machine_limits(machine(tmp_path, *place, files), affinity=16)
    assert (limits.cores, limits.memory_bytes) == (cores, memory_gib * GIB)
    assert limits.cores_shown == 16
    assert limits.is_limited == {"cores": cores < 16, "memory": memory_gib < 64}


@pytest.mark.parametrize(
    ("place", "folder", "names"),
    [
        (V2_INSIDE, "", ("memory.max", "memory.current", "inactive_file")),
        (v1("/"), "memory/",
         ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")),
    ],
)  # fmt: skip
def test_files_that_were_read_are_free(tmp_path, place, folder, names) -> None:
    limit, used, inactive = names
    files = {
        folder + limit: str(8 * GIB),
        folder + used: str(7 * GIB),
        folder + "memory.stat": f"anon 1\n{inactive} {2 * GIB}\nfile 3",
    }
    assert machine_limits(machine(tmp_path, *place, files), 16).free_bytes == 3 * GIB
    (tmp_path / "sys/fs/cgroup" / folder / "memory.stat").unlink()
    assert machine_limits(tmp_path, 16).free_bytes == GIB


def test_the_affinity_counts_where_it_is_less(tmp_path) -> None:
    root = machine(tmp_path, *V2_INSIDE, {"cpu.max": "400000 100000"})
    assert machine_limits(root, affinity=2).cores == 2
    assert machine_limits(root, affinity=2).is_limited["cores"] is False


def test_a_kernel_that_says_nothing_limits_nothing(tmp_path) -> None:
    limits = machine_limits(tmp_path, affinity=3)
    assert limits == Limits(3, 3, 0, 0, {"cores": False, "memory": False})


def test_this_machine_has_cores_and_memory() -> None:
    limits = machine_limits()
    assert 1 <= limits.cores <= limits.cores_shown
    assert 0 < limits.free_bytes <= limits.memory_bytes


@pytest.mark.parametrize(
    ("text", "cores"),
    [("", set()), ("0", {0}), ("0-2,8", {0, 1, 2, 8}), ("a", set()), ("1-", {1}), ("1-x", set())],
)
def test_lists_of_cores(text: str, cores: set[int]) -> None:
    assert cores_of(text) == cores


def test_tensorflow_is_told_its_part_where_nobody_said_it() -> None:
    environ = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    share_machine(environ, Limits(1, 16, 0, 0, {"cores": True, "memory": False}))
    assert environ == {
        "CUDA_DEVICE_ORDER": "FASTEST_FIRST",
        "OMP_NUM_THREADS": "1",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_NUM_INTEROP_THREADS": "2",
        "TF_NUM_INTRAOP_THREADS": "1",
    }
    environ = {}
    share_machine(environ, Limits(16, 16, 0, 0, {"cores": False, "memory": False}))
    assert environ == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}

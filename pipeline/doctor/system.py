"""Rows about this machine: Python and lane, C library, processor, memory, disk, limits, ports."""

import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ground.errors import RcnnError
from ground.source_digest import SOURCE_ROOT
from model.lanes import LANE
from model.limits import Limits, machine_limits
from pipeline.doctor.rows import MAKE_SETUP, Row, Status

GIB = 1 << 30
_PYTHONS = {"modern": ("3.12", "3.13"), "legacy": ("3.10",)}
_LEAST_MEMORY, _ENOUGH_MEMORY = 3 * GIB, 8 * GIB  # one worker of the demo takes 2
_LEAST_DISK, _ENOUGH_DISK = GIB, 10 * GIB
_SHARED_MEMORY = 1 * GIB  # what NCCL takes between the GPUs of a machine
_OPEN_FILES = 1024
_OTHER_FOLDER = "mend its rights or its disk, or write elsewhere (--root, TMPDIR)"
_LOCAL_NAMES = ("localhost", "127.0.0.1")


def lane_row() -> Row:
    """Returns the row of the lane, and of the one that set-up would take here."""
    running = ".".join(map(str, sys.version_info[:2]))
    found = f"{LANE}: Python {platform.python_version()}, {sys.executable}"
    if running not in _PYTHONS[LANE]:
        return Row("lane", "error", f"{found}: no set of packages for it", MAKE_SETUP)
    script = SOURCE_ROOT / "scripts" / "setup.sh"
    if not script.exists():  # in an image, which has the one lane that it was built with
        return Row("lane", "ok", found)
    chosen = _said_by(["bash", str(script), "--lane"])
    name, _, why = chosen.partition(": ")
    if name in _PYTHONS and name != LANE:
        return Row("lane", "warning", f"{found}; set-up takes {name} here ({why})", MAKE_SETUP)
    return Row("lane", "ok", found + (f" ({why})" if why else ""))


def pythons_row() -> Row:
    """Returns the row of the Pythons here that a lane could be set up with."""
    found: list[str] = []
    passed_over: list[str] = []
    for version in (version for versions in _PYTHONS.values() for version in versions):
        if path := shutil.which(f"python{version}"):
            runs = _said_by(
                [path, "-I", "-c", "import ssl, sqlite3, sys; print(sys.version_info[1])"]
            )
            (found if runs else passed_over).append(f"{version} {path}")
    told = ", ".join(found) or "none on the PATH but this one"
    if passed_over:
        told += f"; set-up passes over what does not run: {', '.join(passed_over)}"
    return Row("pythons", "ok", told)


def glibc_row() -> Row:
    """Returns the row of the C library."""
    name, version = platform.libc_ver()
    if name != "glibc":
        found = f"{name or 'not glibc'} {version}: TensorFlow's packages are built for glibc"
        return Row("C library", "error", found, "use a system with glibc, such as Debian or Ubuntu")
    return Row("C library", "ok", f"glibc {version}")


def processor_row(limits: Limits, cpuinfo: str | None = None) -> Row:
    """Returns the row of the cores that may be used, and of the instructions that wheels need.

    Args:
        limits: limits of this process.
        cpuinfo: what the kernel says of the processor; read if None.
    """
    if cpuinfo is None:
        cpuinfo = _text(Path("/proc/cpuinfo"))
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "").split()
    found = f"{limits.cores} cores" if limits.cores > 1 else "1 core"
    if limits.cores < limits.cores_shown:
        found += f" by the container's limit, of {limits.cores_shown}"
    if platform.machine() != "x86_64":
        return Row("processor", "error", f"{platform.machine()}: the locks are for x86-64 alone")
    if flags and "avx" not in flags:
        mend = "use a machine or an emulated processor with AVX (QEMU: -cpu host)"
        return Row("processor", "error", f"{found}, without AVX, which TensorFlow needs", mend)
    return Row("processor", "ok", found + (", AVX2" if "avx2" in flags else ", AVX"))


def memory_row(limits: Limits) -> Row:
    """Returns the row of the memory that may be used."""
    size, free = limits.memory_bytes, limits.free_bytes
    whose = "by the container's limit" if limits.is_limited.get("memory") else "of the machine"
    found = f"{size / GIB:.1f} GiB {whose}, {free / GIB:.1f} free"
    status: Status = "ok" if free >= _ENOUGH_MEMORY else "warning"
    if size < _LEAST_MEMORY:
        status = "error"
    mend = "give it more, or lower train.batch and input.short_side_px" if status != "ok" else ""
    return Row("memory", status, found, mend)


def disk_row(name: str, folder: Path) -> Row:
    """Returns the row of a folder that is written to, or the nearest above it that is there."""
    try:
        place = _nearest(folder)
        free = shutil.disk_usage(place).free
    except OSError as error:  # a folder above that may not be looked into, a server that is gone
        found = f"{error.filename or folder}: {error.strerror or error}"
        return Row(name, "error", found, _OTHER_FOLDER)
    if not os.access(place, os.W_OK):
        return Row(name, "error", f"{place} cannot be written to", _OTHER_FOLDER)
    found = f"{place}: {free / GIB:.1f} GiB free"
    if free < _ENOUGH_DISK:
        status: Status = "error" if free < _LEAST_DISK else "warning"
        return Row(name, status, found, "free some space, or write elsewhere (--root, TMPDIR)")
    return Row(name, "ok", found)


def _nearest(folder: Path) -> Path:
    """Returns the folder, or the nearest above it that is there.

    Raises:
        OSError: it cannot be told.
    """
    place = folder.absolute()
    while True:
        try:
            place.stat()  # Path.exists() raises or not, as Python's version is
        except (FileNotFoundError, NotADirectoryError):
            place = place.parent
        else:
            return place


def shared_memory_row(gpus: int) -> Row:
    """Returns the row of /dev/shm, which NCCL uses between several GPUs."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        found, size = "no /dev/shm", 0
    else:
        size = shutil.disk_usage(folder).total
        found = f"/dev/shm of {size / GIB:.2f} GiB"
    if gpus > 1 and size < _SHARED_MEMORY:
        mend = "docker run --shm-size=8g; on Kubeflow pipeline.kubeflow.trainer_shared_memory=8Gi"
        return Row("shared memory", "warning", f"{found}: little for NCCL of {gpus} GPUs", mend)
    return Row("shared memory", "ok", found)


def limits_row() -> Row:
    """Returns the row of this process's own limits."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    address, _ = resource.getrlimit(resource.RLIMIT_AS)
    size, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    found = [f"{files} open files"]
    mends = []
    if 0 <= files < _OPEN_FILES:
        mends.append(f"ulimit -n {min(4096, most_files) if most_files > 0 else 4096}")
    for kind, limit, option in (("address space", address, "-v"), ("size of a file", size, "-f")):
        if limit != resource.RLIM_INFINITY:
            found.append(f"{kind} at most {limit / GIB:.1f} GiB")
            mends.append(f"ulimit {option} unlimited")
    return Row("limits", "warning" if mends else "ok", ", ".join(found), "; ".join(mends))


def ports_row(environ: Mapping[str, str]) -> Row:
    """Returns the row of the loopback address, which Beam and workers of one host talk over."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname(), timeout=5):
                server.accept()[0].close()
            port = server.getsockname()[1]
        socket.getaddrinfo("localhost", port)
    except OSError as error:
        mend = "let 127.0.0.1 be reached, and have /etc/hosts name it localhost"
        return Row("ports", "error", f"loopback cannot be used: {error.strerror or error}", mend)
    proxies = [
        name
        for name in ("grpc_proxy", "https_proxy", "http_proxy")
        if environ.get(name) or environ.get(name.upper())
    ]
    without = (
        environ.get("no_grpc_proxy") or environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    )
    if proxies and without != "*" and not set(_LOCAL_NAMES) & set(without.split(",")):
        found = f"{proxies[0]} is set, and no_proxy lacks this machine: gRPC may ask the proxy"
        return Row("ports", "warning", found, f"export no_proxy={','.join(_LOCAL_NAMES)}")
    return Row("ports", "ok", f"loopback answers (port {port})")


def cluster_row(environ: Mapping[str, str]) -> Row:
    """Returns the row of the hosts that train together."""
    from model.launch.cluster import cluster_from_environment

    try:
        cluster = cluster_from_environment(environ)
    except RcnnError as error:
        return Row("hosts", "error", str(error), "mend or unset the variable (docs/clusters.md)")
    if not cluster.source:
        return Row("hosts", "ok", "this one alone")
    hosts = ", ".join(cluster.hosts)
    return Row("hosts", "ok", f"number {cluster.index} of {hosts} ({cluster.source})")


def system_checks(root: Path, environ: Mapping[str, str]) -> list[Callable[[], list[Row]]]:
    """Returns the checks of this module, each with a row: one that fails hides no other.

    Args:
        root: where a run would write.
        environ: variables of this process.
    """
    temporary = Path(environ.get("TMPDIR") or "/tmp")
    return [
        lambda: [lane_row()],
        lambda: [pythons_row()],
        lambda: [glibc_row()],
        lambda: [processor_row(machine_limits())],
        lambda: [memory_row(machine_limits())],
        lambda: [disk_row("disk", root)],
        lambda: [disk_row("temporary files", temporary)],
        lambda: [limits_row()],
        lambda: [ports_row(environ)],
        lambda: [cluster_row(environ)],
    ]


def _said_by(arguments: list[str]) -> str:
    """Returns what a short program prints, "" where it fails or is not there."""
    try:
        answer = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

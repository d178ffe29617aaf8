"""What this host gives its workers: a place in the cluster, GPUs, ports, CPU threads."""

import errno
import functools
import itertools
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from configs.schema import synchronised
from ground.errors import ConfigError, TrainingError
from model.launch.cluster import Cluster
from model.launch.numa import BUSES_VARIABLE, CORES_VARIABLE, as_list, worker_cores
from model.limits import Limits, machine_limits
from model.training_settings import TrainingSettings

VISIBLE = "CUDA_VISIBLE_DEVICES"
_HIDING = ("-1", "NoDevFiles")  # the second is Slurm's, of a job without GPUs
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")  # one folder a GPU
_DEVICES = Path("/dev")  # nvidia0, nvidia1, ...: in sandboxes without the driver's folder


def with_counted_workers(
    config: TrainingSettings, cluster: Cluster, environ: Mapping[str, str]
) -> TrainingSettings:
    """Returns the config with the workers that there are GPUs for, where it leaves that open.

    `auto` is a worker a GPU, or one a host without; `train.fewer_gpus: accumulate` lowers what is
    too many. Hosts are taken to be alike: each counts its own GPUs.

    Raises:
        ConfigError: the environment counts other GPUs than this host shows, or a step cannot be
            done in parts.
    """
    gpus = len(visible_gpus(environ))
    if gpus and cluster.gpus is not None and cluster.gpus != gpus:
        raise ConfigError(
            f"SM_NUM_GPUS is {cluster.gpus}, but this host shows {gpus} GPUs (CUDA_VISIBLE_DEVICES "
            f"is {environ.get('CUDA_VISIBLE_DEVICES', 'not set')})"
        )
    train, hosts = config.train, len(cluster.hosts)
    if train.has_auto_workers:
        train = train.with_workers(hosts * max(1, gpus))
    if gpus and train.workers > hosts * gpus and train.fewer_gpus == "accumulate":
        if section := synchronised(config.model):
            raise ConfigError(
                f"train.fewer_gpus=accumulate: {_too_few(train.workers, hosts, gpus)}, and the "
                f"parts of a step do not share the statistics of model.{section}.norm: "
                "sync_batch_norm; lower the first number of train.batch, or set another norm"
            )
        cluster.workers_per_host(train.workers)  # refuses what hosts cannot share
        train = train.with_fewer_workers(hosts * gpus, hosts)
    return config.model_copy(update={"train": train})


def worker_environments(
    workers: int,
    cluster: Cluster,
    environ: Mapping[str, str],
    numa: str = "off",
    ports: Sequence[int] = (),
) -> dict[int, dict[str, str]]:
    """Returns, for each worker that this host runs, the variables that make it that worker.

    Args:
        workers: how many all hosts have.
        cluster: the hosts.
        environ: names the GPUs that may be used.
        numa: `train.numa`.
        ports: one a worker, of a host alone that runs several.

    Raises:
        ConfigError: this host has fewer GPUs than workers, or the hosts cannot share the workers.
    """
    share = cluster.workers_per_host(workers)
    gpus = visible_gpus(environ)
    if gpus and share > len(gpus):
        raise ConfigError(
            f"{_too_few(workers, len(cluster.hosts), len(gpus))}; lower the first number of "
            "train.batch, set train.fewer_gpus=accumulate for the same steps in more time, or "
            "train.device=cpu to train on CPUs"
        )
    buses = list(filter(None, environ.get(BUSES_VARIABLE, "").split(",")))
    cores = worker_cores(share, gpus, buses=buses) if numa == "auto" else []
    if len(cluster.hosts) > 1:
        addresses = cluster.worker_addresses(workers)
    else:
        addresses = [f"127.0.0.1:{port}" for port in ports]
    environments: dict[int, dict[str, str]] = {}
    for rank in range(share):
        worker = cluster.index * share + rank
        variables = environments[worker] = {}
        if workers > 1:
            task = {"type": "worker", "index": worker}
            variables["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
        if gpus:
            variables["CUDA_VISIBLE_DEVICES"] = gpus[rank]
        if cores:
            variables[CORES_VARIABLE] = as_list(cores[rank])
    return environments


def check_workers(config: TrainingSettings, cluster: Cluster, environ: Mapping[str, str]) -> None:
    """Checks that this host has the GPUs for its workers, before anything else is done.

    Raises:
        ConfigError: what `with_counted_workers` and `worker_environments` refuse.
    """
    counted = with_counted_workers(config, cluster, environ)
    worker_environments(counted.train.workers, cluster, environ)


def _too_few(workers: int, hosts: int, gpus: int) -> str:
    here = f", {workers // hosts} of them on this host" if hosts > 1 else ""
    there = "is 1 GPU" if gpus == 1 else f"are {gpus} GPUs"
    return f"train.batch asks for {workers} workers{here}, but there {there}"


def hold_ports(workers: int, cluster: Cluster) -> list[socket.socket]:
    """Returns sockets that keep this host's workers' ports free for them until they are closed.

    They are bound and do not listen: then a worker may bind the port too, as TensorFlow's server
    has SO_REUSEADDR, and nobody gets it who asks for any free one. On a host alone they are free
    ports of the loopback address, one a worker.

    Raises:
        TrainingError: somebody listens on a port that is given. TensorFlow alone would say "Could
            not start gRPC server", after the seconds that it loads.
    """
    if len(cluster.hosts) < 2:
        return [_bound("127.0.0.1", 0) for _ in range(workers if workers > 1 else 0)]
    share = cluster.workers_per_host(workers)
    addresses = cluster.worker_addresses(workers)
    held: list[socket.socket] = []
    for worker in range(cluster.index * share, (cluster.index + 1) * share):
        port = int(addresses[worker].rpartition(":")[2])
        try:
            held.append(_bound("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                continue  # a port that we may not bind: TensorFlow says so
            for one in held:
                one.close()
            raise TrainingError(
                f"port {port}, which {cluster.source} gives worker {worker}, is in use on this "
                "host: end the program that holds it, or give all hosts other ports"
            ) from None
    return held


def _bound(address: str, port: int) -> socket.socket:
    one = socket.socket()
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
    except OSError:
        one.close()
        raise
    return one


def visible_gpus(environ: Mapping[str, str]) -> list[str]:
    """Returns what CUDA_VISIBLE_DEVICES names, or the number of every NVIDIA GPU; no TensorFlow."""
    named = environ.get(VISIBLE)
    if named is not None:
        return list(filter(None, shown_names(named)))
    return gpus_of_host(environ)


def shown_names(text: str) -> list[str]:
    """Returns the names in a CUDA_VISIBLE_DEVICES, without what stands behind one that hides.

    >>> shown_names("1, 0,-1,2"), shown_names("NoDevFiles")
    (['1', '0'], [])
    """
    names = [name.strip() for name in text.split(",")]
    return list(itertools.takewhile(lambda name: name not in _HIDING, names))


def gpus_of_host(environ: Mapping[str, str]) -> list[str]:
    """Returns the number of every NVIDIA GPU that a driver shows here, visible or not."""
    if _NVIDIA_DRIVER.is_dir() and (folders := list(_NVIDIA_DRIVER.iterdir())):
        return [str(number) for number, _ in enumerate(folders)]
    numbers = [re.fullmatch(r"nvidia(\d+)", path.name) for path in _DEVICES.iterdir()]
    devices = sorted((match[1] for match in numbers if match), key=int)
    return devices or _listed_by_tool(shutil.which("nvidia-smi", path=environ.get("PATH", "")))


@functools.lru_cache(maxsize=8)
def _listed_by_tool(tool: str | None) -> list[str]:
    """Returns the GPUs that nvidia-smi lists, which under WSL no device file shows."""
    if tool is None:
        return []
    try:
        answer = subprocess.run(
            [tool, "-L"], capture_output=True, text=True, errors="replace", timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []  # the tool alone, as in images for both kinds of machine
    return re.findall(r"^GPU (\d+):", answer.stdout, re.MULTILINE)


def threads_per_worker(workers_here: int, limits: Limits | None = None) -> int:
    """Returns a worker's share of the cores; 0 where it has all that TensorFlow sees.

    Args:
        workers_here: how many this host has.
        limits: those of this process if None.
    """
    limits = limits or machine_limits()
    if workers_here == 1 and limits.cores == limits.cores_shown:
        return 0
    return max(1, limits.cores // workers_here)


def with_input_threads(
    config: TrainingSettings, workers_here: int, limits: Limits | None = None
) -> TrainingSettings:
    """Returns the config with as many `input_threads` as the container has cores for.

    tf.data's own choice is one a core that the scheduler shows, whatever the container may use.
    """
    limits = limits or machine_limits()
    if config.train.input_threads or limits.cores == limits.cores_shown:
        return config
    threads = max(1, limits.cores // workers_here)
    train = config.train.model_copy(update={"input_threads": threads})
    return config.model_copy(update={"train": train})

"""Which hosts train together, and which of them this one is: read from the environment.

    TF_CONFIG                            TensorFlow's own; Kubeflow's TFJob sets it
    TFX_RCNN_HOSTS, TFX_RCNN_HOST_INDEX  "a,b,c" and a place in it; our ssh script sets them
    JOB_COMPLETION_INDEX                 of a Kubernetes Indexed Job, together with
        TFX_RCNN_HOST_PATTERN,           train-{index}.train-hosts
        TFX_RCNN_NUM_HOSTS               and 4, say
    SM_HOSTS, SM_CURRENT_HOST,           SageMaker
        SM_NUM_GPUS

Without any of them this host trains alone. Several may be set if they mean the same hosts. A host
runs one worker a GPU; its k-th listens on the host's port + k. docs/clusters.md has examples.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ground.errors import ConfigError

DEFAULT_PORT = 2222  # TFJob's
PORT_VARIABLE = "TFX_RCNN_PORT"
_CHIEF_TYPES = ("chief", "master")  # TFJob's two words for it
_INDEX = "JOB_COMPLETION_INDEX"
_ALONE = ("localhost",)


@dataclass(frozen=True)
class Cluster:
    """The hosts of a run, seen from one of them.

    Attributes:
        hosts: `name:port` of each host's first worker, the chief's host first.
        index: this host's place among them.
        source: the variable that says so; "" where this host trains alone.
        gpus: number of this host's GPUs as the environment counts them; None where it does not.
    """

    hosts: tuple[str, ...] = _ALONE
    index: int = 0
    source: str = ""
    gpus: int | None = None

    @property
    def is_chief(self) -> bool:
        """Whether the chief runs on this host: it writes checkpoints and the model."""
        return self.index == 0

    def workers_per_host(self, workers: int) -> int:
        """Returns this host's share of `workers` in all.

        Raises:
            ConfigError: the hosts cannot have equally many.
        """
        share, rest = divmod(workers, len(self.hosts))
        if rest or not share:
            raise ConfigError(
                f"train.batch asks for {workers} workers, but {self.source} names "
                f"{len(self.hosts)} hosts, which need equally many each: let the first number of "
                f"train.batch be a multiple of {len(self.hosts)}, or auto"
            )
        return share

    def worker_addresses(self, workers: int) -> list[str]:
        """Returns the addresses of `workers` in all, host after host.

        Raises:
            ConfigError: two workers would have the same one.
        """
        share = self.workers_per_host(workers)
        addresses = []
        for host in self.hosts:
            name, _, port = host.rpartition(":")
            addresses += [f"{name}:{int(port) + rank}" for rank in range(share)]
        if len(set(addresses)) < len(addresses):
            twice = next(a for a in addresses if addresses.count(a) > 1)
            raise ConfigError(
                f"{self.source}: two workers would listen on {twice}: name each host once, or give "
                f"those of one machine ports that are at least {share} apart"
            )
        return addresses


def cluster_from_environment(environ: Mapping[str, str]) -> Cluster:
    """Returns the hosts that `environ` names and this host's place among them.

    Raises:
        ConfigError: variables are missing, malformed or contradict each other; they are named.
    """
    # SageMaker's list first: it is sorted, its TF_CONFIG in an order that is not documented.
    readers = (_from_sagemaker, _from_tf_config, _from_host_list)
    found = [cluster for reader in readers if (cluster := reader(environ))]
    if job := _from_indexed_job(environ, is_named_elsewhere=bool(found)):
        found.append(job)
    if not found:
        return Cluster()
    first = found[0]
    for other in found[1:]:
        if _members(other) != _members(first):
            raise ConfigError(
                f"{first.source} makes this host {_place(first)}, but {other.source} makes it "
                f"{_place(other)}: unset the one that does not hold"
            )
    gpus = next((cluster.gpus for cluster in found if cluster.gpus is not None), None)
    return Cluster(first.hosts, first.index, first.source, gpus)


def _names(cluster: Cluster) -> list[str]:
    return [host.rpartition(":")[0] for host in cluster.hosts]


def _members(cluster: Cluster) -> tuple[list[str], str]:
    """Returns the names of all hosts in any order, and of this one."""
    return sorted(_names(cluster)), _names(cluster)[cluster.index]


def _place(cluster: Cluster) -> str:
    return f"number {cluster.index} of {', '.join(_names(cluster))}"


def _from_tf_config(environ: Mapping[str, str]) -> Cluster | None:
    text = environ.get("TF_CONFIG")
    settings = _json("TF_CONFIG", text) if text else {}
    if not isinstance(settings, dict) or not isinstance(settings.get("cluster", {}), dict):
        raise ConfigError(f"TF_CONFIG: expected an object with a cluster of roles, got {text!r}")
    roles = settings.get("cluster", {})
    if not roles:
        return None
    if roles.get("ps"):
        raise ConfigError("TF_CONFIG: names parameter servers (ps); workers here need none")
    task = settings.get("task", {})
    own = (task.get("type"), task.get("index"))
    if own[0] == "evaluator":
        raise ConfigError(
            "TF_CONFIG: this task is an evaluator; evaluation is a step of its own here, so leave "
            "the evaluator out of the job"
        )
    places: list[Any] = [
        (role, i) for role in (*_CHIEF_TYPES, "worker") for i, _ in enumerate(roles.get(role, []))
    ]
    if own not in places:
        raise ConfigError(
            f"TF_CONFIG: task {own[0]!r} {own[1]!r} is not among the tasks of its cluster, "
            f"{', '.join(f'{name} {i}' for name, i in places) or 'which has no worker'}"
        )
    hosts = [str(roles[name][i]) for name, i in places]
    return _at(places.index(own), "TF_CONFIG", hosts, "TF_CONFIG", environ)


def _from_host_list(environ: Mapping[str, str]) -> Cluster | None:
    text = environ.get("TFX_RCNN_HOSTS")
    if not text:
        return None
    hosts = [host.strip() for host in text.split(",")]
    index = _number(environ, "TFX_RCNN_HOST_INDEX", "TFX_RCNN_HOSTS is set")
    return _at(index, "TFX_RCNN_HOST_INDEX", hosts, "TFX_RCNN_HOSTS", environ)


def _from_indexed_job(environ: Mapping[str, str], is_named_elsewhere: bool) -> Cluster | None:
    """Returns the pods of an Indexed Job.

    Kubernetes sets the index in every such pod. It says nothing where other variables name the
    hosts, and where each pod trains alone: one host.
    """
    pattern, count = environ.get("TFX_RCNN_HOST_PATTERN"), environ.get("TFX_RCNN_NUM_HOSTS")
    is_bare = not pattern and not count
    if count == "1" or (is_bare and (is_named_elsewhere or not environ.get(_INDEX))):
        return None
    reason = f"this is one of several pods ({_INDEX}, or a variable that goes with it)"
    index = _number(environ, _INDEX, reason)
    number = _number(environ, "TFX_RCNN_NUM_HOSTS", f"{reason}, or 1 where each trains alone")
    if not pattern or "{index}" not in pattern:
        raise ConfigError(
            f"TFX_RCNN_HOST_PATTERN: {reason}, so it must be a pod's name with {{index}} in it, "
            f"such as train-{{index}}.train-hosts, but is {pattern!r}"
        )
    hosts = [pattern.replace("{index}", str(i)) for i in range(number)]
    return _at(index, _INDEX, hosts, "TFX_RCNN_HOST_PATTERN", environ)


def _from_sagemaker(environ: Mapping[str, str]) -> Cluster | None:
    text, current = environ.get("SM_HOSTS"), environ.get("SM_CURRENT_HOST")
    if not text:
        return None
    hosts = _json("SM_HOSTS", text)
    if not isinstance(hosts, list) or not hosts or not all(isinstance(h, str) for h in hosts):
        raise ConfigError(f"SM_HOSTS: expected a JSON list of names, got {text!r}")
    if current not in hosts:
        raise ConfigError(f"SM_CURRENT_HOST is {current!r}, which SM_HOSTS does not name: {text}")
    gpus = _number(environ, "SM_NUM_GPUS", "") if environ.get("SM_NUM_GPUS") else None
    addresses = _with_ports("SM_HOSTS", hosts, environ)
    return Cluster(addresses, hosts.index(current), "SM_HOSTS", gpus)


def _at(
    index: int, index_variable: str, hosts: list[str], source: str, environ: Mapping[str, str]
) -> Cluster:
    if index >= len(hosts):
        raise ConfigError(f"{index_variable} is {index}, but {source} makes {len(hosts)} hosts")
    return Cluster(_with_ports(source, hosts, environ), index, source)


def _with_ports(source: str, hosts: list[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    default = DEFAULT_PORT
    if environ.get(PORT_VARIABLE):
        default = _number(environ, PORT_VARIABLE, "")
    for host in hosts:
        if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d+)?", host):
            raise ConfigError(f"{source}: {host!r} is neither a host's name nor name:port")
    return tuple(host if re.search(r":\d+$", host) else f"{host}:{default}" for host in hosts)


def _number(environ: Mapping[str, str], name: str, reason: str) -> int:
    text = environ.get(name, "")
    if not text.isdigit():
        because = f"{reason}, so it " if reason else ""
        raise ConfigError(f"{name}: {because}must be a whole number, but is {text!r}")
    return int(text)


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}: not JSON ({error})") from None

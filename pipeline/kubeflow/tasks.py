"""What each task of a compiled pipeline asks the cluster for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs.kubeflow_schema import KubeflowConfig, KubeflowTask, KubeflowToleration
from configs.schema import Config
from ground.errors import ConfigError

TRAINER = "DetectionTrainer"
EVALUATOR = "CocoEvaluator"
DATA_VERSION = "DataVersion"
# What lies at a place decides their answer, and no parameter says what does.
_NEVER_CACHED = (DATA_VERSION, EVALUATOR, "ModelPusher")
_LIGHT = (DATA_VERSION, "SchemaGen", "ImportSchemaGen", "ExampleValidator", "ModelPusher")
_MOST_GPUS_OF_A_POD = 8


@dataclass(frozen=True)
class Asked:
    """What one task asks for.

    Attributes:
        cpus: amount as Kubernetes writes it.
        memory: amount as Kubernetes writes it.
        gpus: number.
        node_selector: labels of its nodes.
        tolerations: tolerations of taints.
        shared_memory: size of /dev/shm, None leaves it alone.
        scratch: size limit of /tmp, None leaves it alone.
        retries: number of retries after a failure.
        cache: whether KFP's cache may answer.
    """

    cpus: str
    memory: str
    gpus: int
    node_selector: Mapping[str, str]
    tolerations: tuple[KubeflowToleration, ...]
    shared_memory: str | None
    scratch: str | None
    retries: int
    cache: bool


def asked_by(asked: KubeflowConfig, task: str) -> Asked:
    """Returns what a task asks for: its own settings, else the trainer's or everyone's."""
    own = asked.tasks.get(task, KubeflowTask())  # type: ignore[call-overload]
    is_trainer = task == TRAINER
    cpus, memory = asked.component_cpus, asked.component_memory
    if task in _LIGHT:
        cpus, memory = asked.light_cpus, asked.light_memory
    elif is_trainer:
        cpus, memory = asked.trainer_cpus, asked.trainer_memory
    return Asked(
        cpus=own.cpus or cpus,
        memory=own.memory or memory,
        gpus=_gpus(asked, task, own),
        node_selector=_first(own.node_selector, asked.trainer_node_selector if is_trainer else {}),
        tolerations=_first(own.tolerations, asked.trainer_tolerations if is_trainer else ()),
        shared_memory=asked.trainer_shared_memory if is_trainer else None,
        scratch=own.scratch,
        retries=_first(own.retries, asked.retries),
        cache=_first(own.cache, task not in _NEVER_CACHED),
    )


def _first(own: Any, otherwise: Any) -> Any:
    return otherwise if own is None else own


def _gpus(asked: KubeflowConfig, task: str, own: KubeflowTask) -> int:
    if own.gpus is not None:
        return own.gpus
    if task == TRAINER:
        return asked.trainer_gpus or 0
    return min(1, asked_by(asked, TRAINER).gpus) if task == EVALUATOR else 0


def with_gpus(config: Config) -> KubeflowConfig:
    """Returns what the cluster is asked for, with the number of the trainer's GPUs filled in.

    Raises:
        ConfigError: the workers of `train.batch` are not as many as the GPUs, or are more than a
            pod has as a rule; or a kind of object is named for other pods and there are none.
    """
    asked, batch = config.pipeline.kubeflow, config.train.batch
    own = asked.tasks.get(TRAINER, KubeflowTask())  # type: ignore[call-overload]
    given = _first(own.gpus, asked.trainer_gpus)
    key = "pipeline.kubeflow.trainer_gpus"
    nodes = asked.trainer_nodes
    if nodes == 1 and asked.trainer_nodes_by != "Job":
        raise ConfigError(
            f"pipeline.kubeflow.trainer_nodes_by={asked.trainer_nodes_by}: nothing would be made, "
            "as pipeline.kubeflow.trainer_nodes is 1: give the number of pods"
        )
    if config.train.has_auto_workers:
        if given is None:
            raise ConfigError(f"{key}: train.batch {batch} does not say how many: give a number")
        return asked
    workers, rest = divmod(config.train.workers, nodes)
    if rest or not workers:
        raise ConfigError(
            f"pipeline.kubeflow.trainer_nodes={nodes} and train.batch={batch}: "
            f"{config.train.workers} workers cannot be shared equally by {nodes} pods"
        )
    if given is None:
        if workers > _MOST_GPUS_OF_A_POD:
            enough = _enough_nodes(config.train.workers)
            raise ConfigError(
                f"train.batch {batch}: {workers} workers are {workers} GPUs of one pod, more than "
                f"the {_MOST_GPUS_OF_A_POD} of most nodes: say "
                f"pipeline.kubeflow.trainer_nodes={enough} for several pods, "
                f"{key}={workers} where yours have them, or train.batch=8x... with train.accumulate"
            )
        return asked.model_copy(update={"trainer_gpus": workers})
    does_parts = config.train.fewer_gpus == "accumulate"
    if given and (given > workers or (given < workers and not does_parts)):
        what = "would be left unused" if given > workers else "are too few: each needs its own"
        where = f" in each of {nodes} pods" if nodes > 1 else ""
        raise ConfigError(
            f"{key}={given} and train.batch={batch} ({workers} workers{where}): GPUs {what}; make "
            "them as many"
        )
    return asked


def _enough_nodes(workers: int) -> int:
    """Returns the fewest pods that share the workers equally, with no more GPUs than usual."""
    return next(
        nodes
        for nodes in range(1, workers + 1)
        if workers % nodes == 0 and workers // nodes <= _MOST_GPUS_OF_A_POD
    )

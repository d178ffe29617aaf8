"""CPUs, memory and GPUs of a task, as a PipelineSpec says them."""

from typing import Any

from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig

from configs.kubeflow_schema import KubeflowConfig
from pipeline.kubeflow.platform import quantity
from pipeline.kubeflow.tasks import asked_by

BEAM_WORKERS = "--direct_num_workers"
_ResourceSpec = PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec


def resources(asked: KubeflowConfig, task: str, accelerator: str) -> Any:
    """Returns a container's limits: CPUs, memory in 10**9 bytes (KFP's unit), GPUs.

    Args:
        asked: what the cluster is asked for.
        task: name of the task.
        accelerator: what the GPUs are called: a resource of Kubernetes, or Vertex's name.

    Raises:
        ConfigError: a setting is no Kubernetes quantity.
    """
    own, key = asked_by(asked, task), f"pipeline.kubeflow.tasks.{task}"
    spec = _ResourceSpec(
        cpu_limit=quantity(own.cpus, f"{key}.cpus"),
        memory_limit=quantity(own.memory, f"{key}.memory") / 1e9,
    )
    if own.gpus:
        spec.accelerator.type = accelerator
        spec.accelerator.count = own.gpus
    return spec


def set_beam_workers(specification: dict[str, Any], asked: KubeflowConfig) -> None:
    """Gives each task as many Beam workers as it has CPUs; its arguments name one.

    Args:
        specification: the pipeline's; is changed.
        asked: what the cluster is asked for.
    """
    executors = specification["deploymentSpec"]["executors"]
    for task, component in specification["components"].items():
        container = executors[component["executorLabel"]].get("container")
        if container is None:  # the Resolver's
            continue
        cpus = quantity(asked_by(asked, task).cpus, f"pipeline.kubeflow.tasks.{task}.cpus")
        own = f"{BEAM_WORKERS}={max(1, int(cpus))}"
        container["args"] = [
            own if one == f"{BEAM_WORKERS}=1" else one for one in container["args"]
        ]

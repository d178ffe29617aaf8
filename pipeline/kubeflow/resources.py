"""CPUs, memory and GPUs of a task, as a PipelineSpec says them."""

from typing import Any

from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig

from configs.kubeflow_schema import KubeflowConfig
from pipeline.kubeflow.platform import quantity
from pipeline.kubeflow.tasks import asked_by

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

"""Compiles the graph for Kubeflow Pipelines v2; nothing is run."""

import re
from pathlib import Path
from typing import Any

import yaml
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from configs.errors import ConfigError
from configs.files import atomic_path
from configs.schema import Config, KubeflowConfig
from pipeline.pipeline import OVERRIDES, Places, create_pipeline

TRAINER = "DetectionTrainer"

_ResourceSpec = PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_FACTORS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    prefix: 1024.0**power for power, prefix in enumerate(("Ki", "Mi", "Gi", "Ti"), start=1)
}


def compile_pipeline(config: Config, places: Places, image: str, output: Path) -> list[str]:
    """Writes the pipeline as a KFP v2 YAML file; the same input gives the same bytes.

    Args:
        config: all settings; `pipeline.kubeflow` says what each container asks for.
        places: addresses as the containers see them.
        image: container image that holds this package and its libraries.
        output: file to write.

    Returns:
        The names of the tasks.

    Raises:
        ConfigError: a memory or CPU setting is no Kubernetes quantity.
    """
    pipeline = create_pipeline(config, places, target="kubeflow")
    for node in pipeline.components:
        node.with_platform_config(_resources(config.pipeline.kubeflow, node.id == TRAINER))
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(default_image=image, use_pipeline_spec_2_1=True)
    )
    specification = runner.run(pipeline, write_out=False)["pipelineSpec"]
    specification["defaultPipelineRoot"] = places.pipeline_root
    # TFX leaves out a run-time parameter's default, without which every run would have to give it.
    specification["root"]["inputDefinitions"]["parameters"][OVERRIDES] |= {
        "defaultValue": "",
        "isOptional": True,
    }
    with atomic_path(output) as partial:
        partial.write_text(_as_yaml(specification), encoding="utf-8")
    return sorted(specification["root"]["dag"]["tasks"])


def _as_yaml(specification: dict[str, Any]) -> str:
    text = yaml.safe_dump(specification, sort_keys=True, width=100)
    return f"# PIPELINE DEFINITION\n# Name: {specification['pipelineInfo']['name']}\n{text}"


def _resources(asked: KubeflowConfig, is_trainer: bool) -> Any:
    """Returns a container's limits: CPUs, memory in 10**9 bytes (KFP's unit), GPUs."""
    if not is_trainer:
        return _ResourceSpec(
            cpu_limit=quantity(asked.component_cpus, "pipeline.kubeflow.component_cpus"),
            memory_limit=quantity(asked.component_memory, "pipeline.kubeflow.component_memory")
            / 1e9,
        )
    resources = _ResourceSpec(
        cpu_limit=quantity(asked.trainer_cpus, "pipeline.kubeflow.trainer_cpus"),
        memory_limit=quantity(asked.trainer_memory, "pipeline.kubeflow.trainer_memory") / 1e9,
    )
    if asked.trainer_gpus:
        resources.accelerator.type = asked.trainer_gpu_type
        resources.accelerator.count = asked.trainer_gpus
    return resources


def quantity(text: str, key: str) -> float:
    """Returns a Kubernetes quantity as a number.

    >>> quantity("240Gi", "memory"), quantity("500m", "cpus")
    (257698037760.0, 0.5)

    Raises:
        ConfigError: `text`, the value of the setting `key`, is none.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ConfigError(f"{key}: expected a quantity such as 16Gi or 500m, got {text!r}")
    return float(match[1]) * _FACTORS.get(match[2], 1.0)

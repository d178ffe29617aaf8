"""Compiles the graph for Kubeflow Pipelines v2; nothing is run."""

import json
from pathlib import Path
from typing import Any

import yaml
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from configs.files import atomic_path
from configs.kubeflow_schema import KubeflowConfig
from configs.outputs import marked_text
from configs.schema import Config
from pipeline.kubeflow.entry import COMMAND
from pipeline.kubernetes_platform import platform_spec, quantity
from pipeline.pipeline import OVERRIDES, Places, create_pipeline

TRAINER = "DetectionTrainer"

_ResourceSpec = PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec


def compile_pipeline(config: Config, places: Places, image: str, output: Path) -> list[str]:
    """Writes the pipeline as a KFP v2 YAML file; the same input gives the same bytes.

    Args:
        config: all settings; `pipeline.kubeflow` says what each container asks for. What KFP has
            in a platform spec, such as volumes, makes the file's second document.
        places: addresses as the containers see them.
        image: container image that holds this package and its libraries.
        output: file to write.

    Returns:
        The names of the tasks.

    Raises:
        ConfigError: a memory or CPU setting is no Kubernetes quantity, or the trainer's shared
            memory is not below its memory.
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
    for component in specification["components"].values():
        _run_our_entry(component, specification["deploymentSpec"]["executors"])
    platform = platform_spec(
        config.pipeline.kubeflow,
        executors=specification["deploymentSpec"]["executors"],
        trainer=specification["components"][TRAINER]["executorLabel"],
    )
    with atomic_path(output) as partial:
        partial.write_text(marked_text(_as_yaml(specification, platform)), encoding="utf-8")
    return sorted(specification["root"]["dag"]["tasks"])


def _run_our_entry(component: dict[str, Any], executors: dict[str, Any]) -> None:
    """Puts our container entry in the place of TFX's, which cannot read what KFP hands over."""
    container = executors[component["executorLabel"]]["container"]
    outputs = json.dumps(component.get("outputDefinitions", {}), sort_keys=True)
    container["command"] = list(COMMAND)
    container["args"] = ["--json_serialized_outputs_spec_args", outputs, *container["args"]]


def _as_yaml(specification: dict[str, Any], platform: dict[str, Any] | None) -> str:
    documents = [specification] if platform is None else [specification, platform]
    text = yaml.safe_dump_all(documents, sort_keys=True, width=100)
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

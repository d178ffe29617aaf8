"""Compiles the graph for Kubeflow Pipelines v2; nothing is run."""

from pathlib import Path
from typing import Any, Literal

import yaml
from google.protobuf.json_format import MessageToDict
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from configs.files import atomic_path
from configs.outputs import marked_text
from configs.schema import Config
from pipeline.kubeflow.platform import platform_spec, quantity
from pipeline.kubeflow.resources import resources
from pipeline.kubeflow.rewrite import rewrite
from pipeline.kubeflow.tasks import DATA_VERSION, with_gpus
from pipeline.kubeflow.vertex import check_vertex
from pipeline.pipeline import Places, create_pipeline

Target = Literal["kubeflow", "vertex"]
_BEAM_WORKERS = "--direct_num_workers"
_BEAM_MODES = ("--direct_running_mode=multi_processing", "--direct_running_mode=multi_threading")


def compile_pipeline(
    config: Config, places: Places, image: str, output: Path, target: Target = "kubeflow"
) -> list[str]:
    """Writes the pipeline as a KFP v2 YAML file; the same input gives the same bytes.

    Args:
        config: all settings; `pipeline.kubeflow` says what each container asks for. What KFP has
            in a platform spec, such as volumes, makes the file's second document.
        places: addresses as the containers see them.
        image: container image that holds this package and its libraries.
        output: file to write.
        target: `vertex` for Vertex AI, which has no platform spec and resolves artifacts itself.

    Returns:
        The names of the tasks.

    Raises:
        ConfigError: a memory or CPU setting is no Kubernetes quantity, the trainer's shared
            memory is not below its memory, its GPUs are not as many as its workers, or Vertex has
            no such machine.
    """
    asked = with_gpus(config)
    pipeline_settings = config.pipeline.model_copy(
        update={"kubeflow": asked, "beam_args": _with_beam_workers(config)}
    )
    config = config.model_copy(update={"pipeline": pipeline_settings})
    is_vertex = target == "vertex"
    accelerator = asked.trainer_gpu_type
    if is_vertex:
        accelerator = check_vertex(asked, places.pipeline_root, {})
    pipeline = create_pipeline(config, places, target=target)
    for node in pipeline.components:
        if not isinstance(node, Resolver):
            node.with_platform_config(resources(asked, node.id, accelerator))
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(default_image=image, use_pipeline_spec_2_1=True)
    )
    specification = runner.run(pipeline, write_out=False)["pipelineSpec"]
    specification["defaultPipelineRoot"] = places.pipeline_root
    of_first = MessageToDict(resources(asked, DATA_VERSION, accelerator))
    rewrite(specification, config, image, places.pictures_digest, of_first, is_vertex)
    tasks = {
        component["executorLabel"]: name for name, component in specification["components"].items()
    }
    platform = None if is_vertex else platform_spec(asked, tasks)
    with atomic_path(output) as partial:
        partial.write_text(marked_text(_as_yaml(specification, platform)), encoding="utf-8")
    return sorted(specification["root"]["dag"]["tasks"])


def _with_beam_workers(config: Config) -> tuple[str, ...]:
    """Returns Beam's arguments with as many workers as CPUs, where they do not say how many."""
    given = config.pipeline.beam_args
    if not set(_BEAM_MODES) & set(given) or any(one.startswith(_BEAM_WORKERS) for one in given):
        return given
    cpus = quantity(config.pipeline.kubeflow.component_cpus, "pipeline.kubeflow.component_cpus")
    return (*given, f"{_BEAM_WORKERS}={max(1, int(cpus))}")


def _as_yaml(specification: dict[str, Any], platform: dict[str, Any] | None) -> str:
    documents = [specification] if platform is None else [specification, platform]
    text = yaml.safe_dump_all(documents, sort_keys=True, width=100)
    return f"# PIPELINE DEFINITION\n# Name: {specification['pipelineInfo']['name']}\n{text}"

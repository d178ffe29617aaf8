"""Compiles the graph for Kubeflow Pipelines v2; nothing is run."""

from pathlib import Path
from typing import Any

import yaml
from google.protobuf.json_format import MessageToDict
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from configs.schema import Config
from ground.files import atomic_path
from ground.outputs import marked_text
from pipeline.kubeflow.platform import platform_spec
from pipeline.kubeflow.resources import BEAM_WORKERS, resources, set_beam_workers
from pipeline.kubeflow.rewrite import rewrite
from pipeline.kubeflow.tasks import DATA_VERSION, with_gpus
from pipeline.kubeflow.tracked import tracking_secret
from pipeline.kubeflow.vertex import check_vertex
from pipeline.nodes import Target
from pipeline.pipeline import Places, create_pipeline

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
    beam_args, is_counted = _with_beam_workers(config.pipeline.beam_args)
    pipeline_settings = config.pipeline.model_copy(
        update={"kubeflow": asked, "beam_args": beam_args}
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
    if is_counted:
        set_beam_workers(specification, asked)
    tasks = {
        component["executorLabel"]: name for name, component in specification["components"].items()
    }
    platform = None if is_vertex else platform_spec(asked, tasks, tracking_secret(config))
    with atomic_path(output) as partial:
        partial.write_text(marked_text(_as_yaml(specification, platform)), encoding="utf-8")
    return sorted(specification["root"]["dag"]["tasks"])


def _with_beam_workers(given: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Returns Beam's arguments, and whether each task's workers are to be as many as its CPUs.

    They are where a mode of several workers does not say how many, or 0: that is one a core, and
    here would be the cores of the machine that compiles.
    """
    kept = tuple(one for one in given if one != f"{BEAM_WORKERS}=0")
    if not set(_BEAM_MODES) & set(kept) or any(one.startswith(BEAM_WORKERS) for one in kept):
        return kept, False
    return (*kept, f"{BEAM_WORKERS}=1"), True


def _as_yaml(specification: dict[str, Any], platform: dict[str, Any] | None) -> str:
    documents = [specification] if platform is None else [specification, platform]
    text = yaml.safe_dump_all(documents, sort_keys=True, width=100)
    return f"# PIPELINE DEFINITION\n# Name: {specification['pipelineInfo']['name']}\n{text}"

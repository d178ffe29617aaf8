"""The compiled file: tasks, edges, containers, resources, and the same bytes again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.source_digest import SOURCE_ROOT

pytestmark = pytest.mark.e2e

IMAGE = "registry.test/tfx-rcnn:7"
ROOT = "minio://mlpipeline/tfx-rcnn"
CONFIG = SOURCE_ROOT / "configs" / "mask_rcnn_r50_fpn_1x_coco.yaml"
# One process, as loading TFX is most of the time; twice, to compare the bytes.
COMPILE_TWICE = """
import sys
from pipeline.__main__ import main
for name in ("first.yaml", "second.yaml"):
    main(["compile", *sys.argv[1:], "-o", name], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    arguments = ["--config", str(CONFIG), "--image", IMAGE, "--pipeline-root", ROOT]
    arguments += ["--data-dir", "/mnt/coco", "--data-version", "2017"]
    done = subprocess.run(
        [sys.executable, "-c", COMPILE_TWICE, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(SOURCE_ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def compiled(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "first.yaml").read_text())


def _executor(compiled: dict[str, Any], task: str) -> dict[str, Any]:
    label = compiled["components"][task]["executorLabel"]
    return compiled["deploymentSpec"]["executors"][label]["container"]


def test_same_bytes_when_compiled_twice(folder: Path) -> None:
    assert (folder / "first.yaml").read_bytes() == (folder / "second.yaml").read_bytes()


def test_tasks_are_the_graph_without_resolver(compiled: dict[str, Any]) -> None:
    from pipeline.nodes import NODES

    assert set(compiled["root"]["dag"]["tasks"]) == set(NODES) - {"Resolver"}


def test_edges_are_the_graphs(compiled: dict[str, Any]) -> None:
    edges = {
        (source["taskOutputArtifact"]["producerTask"], task, key)
        for task, specification in compiled["root"]["dag"]["tasks"].items()
        for key, source in specification.get("inputs", {}).get("artifacts", {}).items()
    }
    assert edges == {
        ("CocoExampleGen", "StatisticsGen", "examples"),
        ("StatisticsGen", "SchemaGen", "statistics"),
        ("StatisticsGen", "ExampleValidator", "statistics"),
        ("ImportSchemaGen", "ExampleValidator", "schema"),
        ("CocoExampleGen", "CocoTransform", "examples"),
        ("ExampleValidator", "CocoTransform", "anomalies"),
        ("CocoTransform", "DetectionTrainer", "examples"),
        ("CocoExampleGen", "CocoEvaluator", "examples"),
        ("DetectionTrainer", "CocoEvaluator", "model"),
        ("DetectionTrainer", "ModelPusher", "model"),
        ("CocoEvaluator", "ModelPusher", "model_blessing"),
    }
    for producer, task, _ in edges:
        assert producer in compiled["root"]["dag"]["tasks"][task]["dependentTasks"]


def test_every_container_is_ours_and_runs_an_executor_that_exists(
    compiled: dict[str, Any],
) -> None:
    for task in compiled["root"]["dag"]["tasks"]:
        container = _executor(compiled, task)
        assert container["image"] == IMAGE
        assert container["command"][:2] == ["python", "-m"]
        path = container["args"][container["args"].index("--executor_class_path") + 1]
        if path.startswith("components."):
            module, _, name = path.rpartition(".")
            source = SOURCE_ROOT.joinpath(*module.split(".")).with_suffix(".py")
            assert f"class {name}(" in source.read_text()


def test_trainer_asks_for_gpus_memory_and_cpus_of_the_config(compiled: dict[str, Any]) -> None:
    assert _executor(compiled, "DetectionTrainer")["resources"] == {
        "cpuLimit": 48.0,
        "memoryLimit": pytest.approx(240 * 2**30 / 1e9),  # KFP counts in 10**9 bytes
        "accelerator": {"type": "nvidia.com/gpu", "count": "8"},
    }
    other = _executor(compiled, "CocoTransform")["resources"]
    assert other == {"cpuLimit": 8.0, "memoryLimit": pytest.approx(16 * 2**30 / 1e9)}


def test_beam_arguments_reach_the_beam_components(compiled: dict[str, Any]) -> None:
    for task in ("CocoExampleGen", "StatisticsGen", "CocoTransform"):
        assert "--direct_running_mode=in_memory" in _executor(compiled, task)["args"]


def test_settings_and_places_are_parameters(compiled: dict[str, Any]) -> None:
    def parameter(task: str, name: str) -> str:
        inputs = compiled["root"]["dag"]["tasks"][task]["inputs"]["parameters"]
        return inputs[name]["runtimeValue"]["constant"]

    settings = json.loads(parameter("DetectionTrainer", "settings"))
    assert settings["train"]["batch"] == "8x4"
    assert parameter("CocoExampleGen", "data_dir") == "/mnt/coco"
    assert parameter("CocoExampleGen", "pictures_digest") == "2017"
    assert parameter("DetectionTrainer", "checkpoints_dir") == "/shared/checkpoints"
    for task in ("CocoEvaluator", "ModelPusher"):  # the baseline is looked up where it is pushed
        assert parameter(task, "push_folder") == "/shared/serving"


def test_overrides_are_a_run_time_parameter_with_a_default(compiled: dict[str, Any]) -> None:
    assert compiled["root"]["inputDefinitions"]["parameters"] == {
        "overrides": {"parameterType": "STRING", "defaultValue": "", "isOptional": True}
    }
    takers = {
        task
        for task, specification in compiled["root"]["dag"]["tasks"].items()
        if specification.get("inputs", {}).get("parameters", {}).get("overrides")
        == {"componentInputParameter": "overrides"}
    }
    assert takers == {"CocoExampleGen", "CocoTransform", "DetectionTrainer", "CocoEvaluator"}


def test_file_is_what_kubeflow_takes(compiled: dict[str, Any], folder: Path) -> None:
    assert compiled["schemaVersion"] == "2.1.0"
    assert compiled["defaultPipelineRoot"] == ROOT
    assert compiled["pipelineInfo"]["name"] == "mask-rcnn-r50-fpn-1x-coco"
    # Read by the message type of the backend, which refuses unknown fields.
    code = (
        "import sys, yaml\n"
        "from google.protobuf import json_format\n"
        "from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec\n"
        "json_format.ParseDict(yaml.safe_load(open('first.yaml')), PipelineSpec())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_upload_accepts_the_file(folder: Path) -> None:
    from pipeline.upload import check_pipeline_file

    check_pipeline_file(folder / "first.yaml")


def test_custom_artifact_types_are_importable_by_their_name(compiled: dict[str, Any]) -> None:
    import components

    for specification in compiled["components"].values():
        for artifact in specification["outputDefinitions"]["artifacts"].values():
            schema = artifact["artifactType"]
            title = yaml.safe_load(schema["instanceSchema"])["title"]
            package, _, name = title.partition(".")
            if package == "components":
                assert name in components._ARTIFACT_TYPES

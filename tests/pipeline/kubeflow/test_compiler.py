"""The compiled file: tasks, edges, containers, resources, and the same bytes again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ground.source_digest import SOURCE_ROOT
from pipeline.kubeflow.entry import COMMAND
from pipeline.kubeflow.tracked import TRACKING_VARIABLE

pytestmark = pytest.mark.e2e

IMAGE = "registry.test/tfx-rcnn:7"
ROOT = "minio://mlpipeline/tfx-rcnn"
CONFIG = SOURCE_ROOT / "configs" / "mask_rcnn_r50_fpn_1x_coco.yaml"
# One process, as loading TFX is most of the time; twice, to compare the bytes, and with what only
# the platform spec has.
COMPILE_ALL = """
import sys
from pipeline.__main__ import main
arguments, platform = sys.argv[1:-6], sys.argv[-6:]
for name in ("first.yaml", "second.yaml"):
    main(["compile", *arguments, "-o", name], standalone_mode=False)
main(["compile", *arguments, *platform, "-o", "volumes.yaml"], standalone_mode=False)
"""
TRACKERS = "{name: trackers, keys: {MLFLOW_TRACKING_TOKEN: token}}"
VOLUMES = "[{claim: coco, path: /mnt/coco}, {claim: runs, path: /shared}]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    arguments = ["--config", str(CONFIG), "--image", IMAGE, "--pipeline-root", ROOT]
    arguments += ["--data-dir", "/mnt/coco", "--data-version", "2017"]
    arguments += ["--set", "model.weights=/mnt/coco/R-50.pkl"]
    arguments += ["--set", "pipeline.kubeflow.tasks={CocoExampleGen: {cpus: '12'}}"]
    arguments += ["--set", "tracking.mlflow=http://mlflow.kubeflow:5000"]
    arguments += ["--set", f"pipeline.kubeflow.volumes={VOLUMES}"]
    arguments += ["--set", f"pipeline.kubeflow.tracking_secret={TRACKERS}"]
    arguments += ["--set", "pipeline.kubeflow.trainer_shared_memory=16Gi"]
    done = subprocess.run(
        [sys.executable, "-c", COMPILE_ALL, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(SOURCE_ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "stderr.txt").write_text(done.stderr)
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

    assert set(compiled["root"]["dag"]["tasks"]) == set(NODES) - {"Resolver"} | {"DataVersion"}


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
        assert container["command"] == list(COMMAND)
        if task == "DataVersion":
            continue
        outputs = container["args"][
            container["args"].index("--json_serialized_outputs_spec_args") + 1
        ]
        component = compiled["root"]["dag"]["tasks"][task]["componentRef"]["name"]
        assert json.loads(outputs) == compiled["components"][component]["outputDefinitions"]
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


def test_beam_has_as_many_workers_as_the_task_has_cpus(compiled: dict[str, Any]) -> None:
    for task, cpus in (("CocoExampleGen", 12), ("StatisticsGen", 8), ("CocoTransform", 8)):
        arguments = _executor(compiled, task)["args"]
        assert "--direct_running_mode=multi_processing" in arguments
        workers = [one for one in arguments if one.startswith("--direct_num_workers")]
        assert workers == [f"--direct_num_workers={cpus}"]


def test_settings_and_places_are_parameters(compiled: dict[str, Any]) -> None:
    def parameter(task: str, name: str) -> str:
        inputs = compiled["root"]["dag"]["tasks"][task]["inputs"]["parameters"]
        return inputs[name]["runtimeValue"]["constant"]

    settings = json.loads(parameter("DetectionTrainer", "settings"))
    assert settings["train"]["batch"] == "8x4"
    assert parameter("CocoExampleGen", "data_dir") == "/mnt/coco"
    assert parameter("DetectionTrainer", "checkpoints_dir") == "/shared/checkpoints"
    for task in ("CocoEvaluator", "ModelPusher"):  # the baseline is looked up where it is pushed
        assert parameter(task, "push_folder") == "/shared/serving"


def _takers(compiled: dict[str, Any], parameter: str) -> set[str]:
    return {
        task
        for task, specification in compiled["root"]["dag"]["tasks"].items()
        if specification.get("inputs", {}).get("parameters", {}).get(parameter)
        == {"componentInputParameter": parameter}
    }


def test_run_time_parameters_have_types_defaults_and_takers(compiled: dict[str, Any]) -> None:
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    assert all(parameter["isOptional"] for parameter in parameters.values())
    assert {name: p["parameterType"] for name, p in parameters.items()} == {
        "overrides": "STRING",
        "data_version": "STRING",
        "learning_rate": "NUMBER_DOUBLE",
        "epochs": "NUMBER_DOUBLE",
        "thresholds": "LIST",
    }
    values = {name: parameter["defaultValue"] for name, parameter in parameters.items()}
    thresholds = values.pop("thresholds")
    assert values == {"overrides": "", "data_version": "2017", "learning_rate": 0.02, "epochs": 12}
    assert [threshold["metric"] for threshold in thresholds] == ["box/AP", "mask/AP"]
    ours = {"CocoExampleGen", "CocoTransform", "DetectionTrainer", "CocoEvaluator"}
    assert _takers(compiled, "overrides") == ours | {"DataVersion"}
    assert _takers(compiled, "data_version") == {"DataVersion"}
    assert _takers(compiled, "epochs") == {"DetectionTrainer"}
    assert _takers(compiled, "thresholds") == {"CocoEvaluator"}


def test_data_and_weights_are_looked_at_in_every_run(compiled: dict[str, Any]) -> None:
    tasks = compiled["root"]["dag"]["tasks"]
    for task, parameter, output in (
        ("CocoExampleGen", "pictures_digest", "data"),
        ("DetectionTrainer", "weights_digest", "weights"),
    ):
        assert tasks[task]["inputs"]["parameters"][parameter] == {
            "taskOutputParameter": {"producerTask": "DataVersion", "outputParameterKey": output}
        }
        assert "DataVersion" in tasks[task]["dependentTasks"]
    never = {"DataVersion", "CocoEvaluator", "ModelPusher"}
    cached = {task for task, spec in tasks.items() if spec["cachingOptions"].get("enableCache")}
    assert cached == set(tasks) - never


def test_tasks_are_tried_again(compiled: dict[str, Any]) -> None:
    for task in compiled["root"]["dag"]["tasks"].values():
        assert task["retryPolicy"] == {
            "maxRetryCount": 2,
            "backoffDuration": "60s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": "2592000s",  # without it Argo never tries again
        }


def test_evaluator_has_a_gpu(compiled: dict[str, Any]) -> None:
    accelerator = _executor(compiled, "CocoEvaluator")["resources"]["accelerator"]
    assert accelerator == {"type": "nvidia.com/gpu", "count": "1"}


def test_player_reads_the_file(folder: Path) -> None:
    from pipeline.kubeflow.player.compiled import read_compiled

    first, *_ = read_compiled(folder / "volumes.yaml").tasks
    assert first.key == "DataVersion"


def test_file_is_what_kubeflow_takes(compiled: dict[str, Any]) -> None:
    assert compiled["schemaVersion"] == "2.1.0"
    assert compiled["defaultPipelineRoot"] == ROOT
    assert compiled["pipelineInfo"]["name"] == "mask-rcnn-r50-fpn-1x-coco"


def test_volumes_add_a_document_and_change_nothing_else(folder: Path) -> None:
    # The first line is the mark of our files, with a digest of the lines below it.
    _, _, first = (folder / "first.yaml").read_text().partition("\n")
    _, _, both = (folder / "volumes.yaml").read_text().partition("\n")
    pipeline, _, _ = both.partition("---\n")
    assert pipeline == first


def test_every_executor_mounts_the_volumes_and_the_trainer_has_shared_memory(
    folder: Path,
) -> None:
    pipeline, platform = yaml.safe_load_all((folder / "volumes.yaml").read_text())
    asked = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(asked) == set(pipeline["deploymentSpec"]["executors"])
    trainer = asked.pop(pipeline["components"]["DetectionTrainer"]["executorLabel"])
    mounts = [
        {"constant": "coco", "mountPath": "/mnt/coco"},
        {"constant": "runs", "mountPath": "/shared"},
    ]
    assert trainer["pvcMount"] == mounts
    token = {"secretKey": "token", "envVar": "MLFLOW_TRACKING_TOKEN"}
    assert trainer["secretAsEnv"] == [{"secretName": "trackers", "keyToEnv": [token]}]
    [memory] = trainer["emptyDirMounts"]
    assert (memory["medium"], memory["mountPath"], memory["sizeLimit"]) == (
        "Memory",
        "/dev/shm",
        "16Gi",
    )
    assert len(asked) == 9
    assert all(config == {"pvcMount": mounts} for config in asked.values())
    accelerator = _executor(pipeline, "DetectionTrainer")["resources"]["accelerator"]
    assert accelerator["count"] == "8"


def test_the_trainer_alone_is_told_of_the_trackers(compiled: dict[str, Any]) -> None:
    told = {
        task: json.loads(variable["value"])
        for task in compiled["root"]["dag"]["tasks"]
        for variable in _executor(compiled, task).get("env", [])
        if variable["name"] == TRACKING_VARIABLE
    }
    assert list(told) == ["DetectionTrainer"]
    assert told["DetectionTrainer"]["mlflow"] == "http://mlflow.kubeflow:5000"


def test_what_is_left_to_the_cluster_is_warned_of(folder: Path) -> None:
    warnings = [w for w in (folder / "stderr.txt").read_text().splitlines() if "warning:" in w]
    volumes, memory = warnings[:2]
    assert "the cluster must by itself mount /mnt/coco and /shared" in volumes
    assert "/dev/shm, for NCCL between 8 GPUs" in memory
    assert warnings[2:] == [volumes, memory]  # of three compilations, the third asks for both


def test_kfp_reads_both_documents(folder: Path) -> None:
    # The message types of the backend, which refuses unknown fields, then kfp's own loader.
    code = (
        "import sys, yaml\n"
        "from google.protobuf import json_format\n"
        "from kfp.components import load_component_from_file\n"
        "from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec\n"
        "pipeline, platform = yaml.safe_load_all(open('volumes.yaml'))\n"
        "json_format.ParseDict(pipeline, PipelineSpec())\n"
        "loaded = load_component_from_file('volumes.yaml')\n"
        "assert loaded.platform_spec == json_format.ParseDict(platform, PlatformSpec())\n"
        "assert not load_component_from_file('first.yaml').platform_spec.platforms\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_upload_accepts_the_files(folder: Path) -> None:
    from pipeline.kubeflow.pipeline_file import check_pipeline_file

    check_pipeline_file(folder / "first.yaml")
    check_pipeline_file(folder / "volumes.yaml")


def test_custom_artifact_types_are_importable_by_their_name(compiled: dict[str, Any]) -> None:
    import components

    for specification in compiled["components"].values():
        for artifact in specification["outputDefinitions"].get("artifacts", {}).values():
            schema = artifact["artifactType"]
            title = yaml.safe_load(schema["instanceSchema"])["title"]
            package, _, name = title.partition(".")
            if package == "components":
                assert name in components._ARTIFACT_TYPES

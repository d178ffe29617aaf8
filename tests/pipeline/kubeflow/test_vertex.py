"""What Vertex AI cannot run is refused before a file is written; what it gets is its client's."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.loader import default_config
from ground.errors import ConfigError
from ground.source_digest import SOURCE_ROOT
from pipeline.kubeflow.tasks import with_gpus
from pipeline.kubeflow.vertex import check_vertex

PLACES = {"--data-dir": "gs://bkt/coco", "--shared-dir": "gs://bkt/shared"}


def _check(*overrides: str, root: str = "gs://bkt/root", **places: str) -> str:
    config = default_config([f"pipeline.kubeflow.{text}" for text in overrides])
    return check_vertex(with_gpus(config), root, {**PLACES, **places})


def test_gpus_have_vertex_names() -> None:
    assert _check("trainer_gpus=0") == ""
    assert _check("vertex_accelerator=NVIDIA_L4", "trainer_gpus=1") == "NVIDIA_L4"


def test_a_training_on_several_pods_is_for_kubernetes() -> None:
    nodes = ["pipeline.kubeflow.trainer_nodes=2", "pipeline.kubeflow.trainer_gpus=0"]
    asked = with_gpus(default_config(["train.batch=2x2", *nodes]))
    with pytest.raises(ConfigError, match=r"trainer_nodes is for Kubernetes"):
        check_vertex(asked, "gs://bkt/root", PLACES)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer_gpus=1"], "vertex_accelerator is null and DetectionTrainer asks for 1 GPUs"),
        (["trainer_gpus=1", "vertex_accelerator=A100"], "expected one of NVIDIA_TESLA_P4"),
        (["trainer_gpus=0", "trainer_memory=700Gi"], "at most 96 and 624G"),
        (["trainer_gpus=0", "component_cpus='208'"], "CocoExampleGen asks for 208 CPUs"),
        (["trainer_gpus=0", "volumes=[{claim: a, path: /a}]"], "volumes is for Kubernetes"),
        (["trainer_gpus=0", "store_secret={name: a}"], "store_secret is for Kubernetes"),
        (["trainer_gpus=0", "tasks={CocoTransform: {scratch: 1Gi}}"], "CocoTransform.scratch is"),
        (
            ["vertex_accelerator=NVIDIA_H200_141GB", "trainer_gpus=1"],
            "Vertex has machines with 8 NVIDIA_H200_141GB",
        ),
    ],
)
def test_what_vertex_has_not(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _check(*overrides)


@pytest.mark.parametrize("place", ["/data", "s3://b/data", "gs://bkt/data?x=y"])
def test_everything_lies_in_cloud_storage(place: str) -> None:
    with pytest.raises(ConfigError, match="--data-dir"):
        _check("trainer_gpus=0", **{"--data-dir": place})
    with pytest.raises(ConfigError, match="--pipeline-root"):
        _check("trainer_gpus=0", root=place)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("vertex") / "tiny.yaml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipeline", "compile", "--target", "vertex"),
            *("--config", str(SOURCE_ROOT / "configs/tiny.yaml"), "-o", str(file)),
            *("--image", "europe-docker.pkg.dev/my/images/tfx-rcnn:1"),
            *("--pipeline-root", "gs://bkt/root", "--data-dir", PLACES["--data-dir"]),
            *("--shared-dir", PLACES["--shared-dir"]),
            *("--set", "pipeline.kubeflow.trainer_gpus=2"),
            *("--set", "pipeline.kubeflow.vertex_accelerator=NVIDIA_TESLA_T4"),
        ],
        cwd=file.parent,
        env={"PYTHONPATH": str(SOURCE_ROOT), "PATH": "/usr/bin:/bin", "HOME": str(file.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    [document] = yaml.safe_load_all(file.read_text())  # Vertex reads one, and knows no platform
    document["_path"] = str(file)
    return document


@pytest.mark.e2e
def test_the_file_has_the_resolver_and_vertex_names(compiled: dict[str, Any]) -> None:
    executors = compiled["deploymentSpec"]["executors"]
    [query] = executors["Resolver_executor"]["resolver"]["outputArtifactQueries"].values()
    assert query == {"filter": 'schema_title="tfx.PushedModel" AND state=LIVE'}
    evaluator = compiled["root"]["dag"]["tasks"]["CocoEvaluator"]["inputs"]
    assert evaluator["artifacts"]["baseline_model"]["taskOutputArtifact"]["producerTask"] == (
        "Resolver"
    )
    assert evaluator["parameters"]["baseline_from"]["runtimeValue"]["constant"] == "push_folder"
    trainer = executors["DetectionTrainer_executor"]["container"]["resources"]
    assert trainer["accelerator"] == {"type": "NVIDIA_TESLA_T4", "count": "2"}
    retry = compiled["root"]["dag"]["tasks"]["DetectionTrainer"]["retryPolicy"]
    assert retry["backoffMaxDuration"] == "3600s"
    assert "retryPolicy" not in compiled["root"]["dag"]["tasks"]["Resolver"]


@pytest.mark.e2e
def test_vertex_own_client_takes_the_file(compiled: dict[str, Any], tmp_path: Path) -> None:
    # Without a network: the job that it would create, from the file.
    code = (
        "import json, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from google.auth.credentials import AnonymousCredentials\n"
        "from google.cloud import aiplatform\n"
        "who = AnonymousCredentials()\n"
        "aiplatform.init(project='p', location='europe-west4', credentials=who)\n"
        "job = aiplatform.PipelineJob('d', sys.argv[1], parameter_values={'epochs': 2.0})\n"
        "made = type(job._gca_resource).to_dict(job._gca_resource)\n"
        "print(json.dumps([made['runtime_config']['gcs_output_directory'],\n"
        "    sorted(made['pipeline_spec']['root']['dag']['tasks'])]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, compiled["_path"]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    root, tasks = json.loads(done.stdout.splitlines()[-1])
    assert root == "gs://bkt/root"
    assert tasks == sorted(compiled["root"]["dag"]["tasks"])

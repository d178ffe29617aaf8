"""configs/tiny.yaml compiled and run as Kubeflow does: the same model, numbers, verdict and push.

In the way of KFP 2.4 with local folders, and of 2.17 with all places in an S3 and none on a disk.

A file of before our container entry fails there in its first tasks; the last test shows why.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ground.source_digest import SOURCE_ROOT
from pipeline.nodes import NODES
from pipeline.shapes import generate_shapes
from tests.s3_server import SECRET_KEY, S3Server

pytestmark = pytest.mark.slow

TINY = SOURCE_ROOT / "configs" / "tiny.yaml"
TFX_ENTRY = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"


def _pipeline(
    *arguments: object, cwd: Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SOURCE_ROOT), "HOME": str(cwd)}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=cwd,
        env={**variables, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    generate_shapes(folder / "data", train=12, val=6, size=96)
    return folder


@pytest.fixture(scope="module")
def local(folder: Path) -> dict[str, Any]:
    done = _pipeline(
        "run", "--config", TINY, "--data-dir", "data", "--root", folder / "local", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "local" / "summary.json").read_text())


@pytest.fixture(scope="module")
def with_folders(folder: Path) -> Path:
    return _compiled(folder, "folders.yaml", str(folder / "data"), str(folder / "shared"))


def _compiled(folder: Path, name: str, data: str, shared: str) -> Path:
    file = folder / name
    done = _pipeline(
        *("compile", "--config", TINY, "--image", "registry.test/tfx-rcnn:1", "-o", file),
        *("--pipeline-root", "minio://mlpipeline/tfx-rcnn"),
        *("--data-dir", data, "--shared-dir", shared),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return file


def _run_compiled(folder: Path, file: Path, *options: object, **environment: str) -> dict[str, Any]:
    done = _pipeline(
        "run-compiled", file, "--root", folder / "played", *options, cwd=folder, **environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tasks = json.loads((folder / "played" / "summary.json").read_text())["tasks"]
    assert set(tasks) == set(NODES) - {"Resolver"} | {"DataVersion"}
    assert list((folder / "played" / "pods").iterdir()) == []
    return tasks


def _check_equal(local: dict[str, Any], tasks: dict[str, Any], metrics: bytes) -> None:
    pushed = tasks["ModelPusher"]["outputs"]["pushed_model"]["metadata"]
    assert pushed["pushed"] == 1
    assert pushed["model_id"] == _model_id(Path(local["pushed_model"]))
    blessing = tasks["CocoEvaluator"]["outputs"]["blessing"]["metadata"]
    assert blessing["blessed"] == local["blessed"] == 1
    model = tasks["DetectionTrainer"]["outputs"]["model"]
    assert blessing["current_model"] == model["uri"]
    numbers = json.loads(metrics)
    for kind, values in local["metrics"].items():
        assert {name: numbers[kind][name] for name in values} == values


def test_with_folders_as_kfp_2_4(folder: Path, local: dict[str, Any], with_folders: Path) -> None:
    tasks = _run_compiled(folder, with_folders, "--dialect", "2.4")
    evaluation = tasks["CocoEvaluator"]["outputs"]["evaluation"]["uri"]
    stored = folder / "played" / "store" / evaluation.replace("://", "/")
    _check_equal(local, tasks, (stored / "metrics.json").read_bytes())
    destination = tasks["ModelPusher"]["outputs"]["pushed_model"]["metadata"]["pushed_destination"]
    assert destination == str(folder / "shared" / "serving" / "tiny" / "1")
    assert _model_id(Path(destination)) == _model_id(Path(local["pushed_model"]))


def test_with_all_in_a_store_as_kfp_2_17(folder: Path, local: dict[str, Any]) -> None:
    with S3Server().running() as server:
        for path in (folder / "data").rglob("*"):
            if path.is_file():
                name = path.relative_to(folder / "data").as_posix()
                server.objects[f"coco/tiny/{name}"] = path.read_bytes()
        file = _compiled(folder, "store.yaml", "s3://coco/tiny", "s3://runs/shared")
        tasks = _run_compiled(
            folder, file, "--dialect", "2.17", "--store", "s3://kfp", **server.environment
        )
        evaluation = tasks["CocoEvaluator"]["outputs"]["evaluation"]["uri"]
        stored = "kfp/" + evaluation.replace("://", "/")
        _check_equal(local, tasks, server.objects[f"{stored}/metrics.json"])
        pushed = tasks["ModelPusher"]["outputs"]["pushed_model"]["metadata"]
        assert pushed["pushed_destination"] == "s3://runs/shared/serving/tiny/1"
        graph = Path(local["pushed_model"]) / "assets.extra/model_id.json"
        assert (
            json.loads(server.objects["runs/shared/serving/tiny/1/assets.extra/model_id.json"])[
                "model_id"
            ]
            == json.loads(graph.read_text())["model_id"]
        )
        kinds = {name.split("/")[2] for name in server.objects if name.startswith("runs/shared/")}
        assert kinds == {"checkpoints", "detections", "serving"}
        written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        for content in [*written, *server.objects.values()]:
            assert SECRET_KEY.encode() not in content


def _model_id(model: Path) -> str:
    return json.loads((model / "assets.extra" / "model_id.json").read_text())["model_id"]


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        ("2.17", "Could not import system.Artifact"),
        ("2.4", "File system scheme 'minio' not implemented"),
    ],
)
def test_tfx_own_entry_fails_there(
    folder: Path, with_folders: Path, dialect: str, said: str
) -> None:
    documents = list(yaml.safe_load_all(with_folders.read_text()))
    for executor in documents[0]["deploymentSpec"]["executors"].values():
        executor["container"]["command"] = ["python", "-m", TFX_ENTRY]
    tasks = documents[0]["root"]["dag"]["tasks"]
    documents[0]["root"]["dag"]["tasks"] = {"ImportSchemaGen": tasks["ImportSchemaGen"]}
    del tasks["ImportSchemaGen"]["retryPolicy"]
    parameters = tasks["ImportSchemaGen"]["inputs"]["parameters"]
    schema = SOURCE_ROOT / "pipeline" / "schema.pbtxt"
    parameters["schema_file"]["runtimeValue"]["constant"] = str(schema)
    file = folder / f"before-{dialect}.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    done = _pipeline(
        "run-compiled", file, "--dialect", dialect, "--root", folder / "before", cwd=folder
    )
    assert done.returncode == 1
    assert said in done.stderr

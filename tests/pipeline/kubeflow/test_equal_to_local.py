"""configs/tiny.yaml compiled and run as Kubeflow does: the same model, numbers, verdict and push.

A file of before our container entry fails there in its first tasks; the last test shows why.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.source_digest import SOURCE_ROOT
from pipeline.kubeflow.player.dialects import DIALECTS
from pipeline.nodes import NODES
from pipeline.shapes import generate_shapes

pytestmark = pytest.mark.slow

TINY = SOURCE_ROOT / "configs" / "tiny.yaml"
TFX_ENTRY = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
BOTH = pytest.mark.parametrize("dialect", list(DIALECTS))


def _pipeline(*arguments: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SOURCE_ROOT), "HOME": str(cwd)},
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


def _compiled(folder: Path, shared: str) -> Path:
    file = folder / f"{shared}.yaml"
    done = _pipeline(
        *("compile", "--config", TINY, "--image", "registry.test/tfx-rcnn:1", "-o", file),
        *("--pipeline-root", "minio://mlpipeline/tfx-rcnn"),
        *("--data-dir", folder / "data", "--shared-dir", folder / shared),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return file


@BOTH
def test_model_numbers_verdict_and_push_are_those_of_a_local_run(
    folder: Path, local: dict[str, Any], dialect: str
) -> None:
    shared = f"shared-{dialect}"
    root = folder / f"run-{dialect}"
    file = _compiled(folder, shared)
    done = _pipeline("run-compiled", file, "--dialect", dialect, "--root", root, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    tasks = json.loads((root / "summary.json").read_text())["tasks"]
    assert {task["state"] for task in tasks.values()} == {"succeeded"}
    assert set(tasks) == set(NODES) - {"Resolver"}
    assert list((root / "pods").iterdir()) == []

    pushed = tasks["ModelPusher"]["outputs"]["pushed_model"]["metadata"]
    assert pushed["pushed"] == 1
    assert pushed["pushed_destination"] == str(folder / shared / "serving" / "tiny" / "1")
    assert pushed["model_id"] == _model_id(Path(local["pushed_model"]))
    assert pushed["model_id"] == _model_id(Path(pushed["pushed_destination"]))
    blessing = tasks["CocoEvaluator"]["outputs"]["blessing"]
    assert blessing["metadata"]["blessed"] == local["blessed"] == 1
    assert (
        blessing["metadata"]["current_model"]
        == tasks["DetectionTrainer"]["outputs"]["model"]["uri"]
    )
    evaluation = _stored(root, tasks["CocoEvaluator"]["outputs"]["evaluation"]["uri"])
    metrics = json.loads((evaluation / "metrics.json").read_text())
    for kind, values in local["metrics"].items():
        assert {name: metrics[kind][name] for name in values} == values


def _model_id(model: Path) -> str:
    return json.loads((model / "assets.extra" / "model_id.json").read_text())["model_id"]


def _stored(root: Path, uri: str) -> Path:
    return root / "store" / uri.replace("://", "/")


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        ("2.17", "Could not import system.Artifact"),
        ("2.4", "File system scheme 'minio' not implemented"),
    ],
)
def test_tfx_own_entry_fails_there(folder: Path, dialect: str, said: str) -> None:
    documents = list(yaml.safe_load_all(_compiled(folder, "before").read_text()))
    for executor in documents[0]["deploymentSpec"]["executors"].values():
        executor["container"]["command"] = ["python", "-m", TFX_ENTRY]
    tasks = documents[0]["root"]["dag"]["tasks"]
    documents[0]["root"]["dag"]["tasks"] = {"ImportSchemaGen": tasks["ImportSchemaGen"]}
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

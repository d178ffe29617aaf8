"""What either lane left behind (tests/lanes/LANE.tar.xz), read in the lane that runs."""

import dataclasses
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from configs.loader import config_from_json, load_config
from model.examples import iterate_records, verified_digest
from model.launch.launcher import digest_of_examples
from model.tf_example import decode_example
from model.training.checkpoints import CheckpointStore, checkpoint_key
from model.training_settings import TrainingSettings
from pipeline.kubeflow.pipeline_file import check_pipeline_file
from pipeline.kubeflow.player.compiled import read_compiled
from tests.lanes.make import CONFIG, archive, detections, run, train

LANES = ["legacy", "modern"]


@dataclasses.dataclass(frozen=True)
class Left:
    """The artifacts of a lane, unpacked, and what that lane read in them."""

    lane: str
    folder: Path
    expected: dict[str, Any]


@pytest.fixture(scope="module", params=LANES)
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp(request.param)
    with tarfile.open(archive(request.param)) as packed:
        packed.extractall(folder, filter="data")
    return Left(request.param, folder, json.loads((folder / "expected.json").read_text()))


def test_a_config_means_the_same(left: Left) -> None:
    text = (left.folder / "config.json").read_text()
    read = json.loads(config_from_json(text).to_json())
    assert _shared(read, json.loads(text)) == json.loads(text)


def _shared(value: Any, asked: Any) -> Any:
    """Returns `value` without the settings that came since, which `asked` does not have."""
    if isinstance(value, list) and isinstance(asked, list) and len(value) == len(asked):
        return [_shared(one, other) for one, other in zip(value, asked, strict=True)]
    if not isinstance(value, dict) or not isinstance(asked, dict):
        return value
    return {name: _shared(value[name], asked[name]) for name in asked if name in value}


def test_both_lanes_write_the_same_config() -> None:
    legacy, modern = (_text(lane, "config.json") for lane in LANES)
    assert legacy == modern


def test_examples_are_read_and_whole(left: Left) -> None:
    examples = left.folder / "transformed/examples"
    assert verified_digest(examples, "train") == left.expected["digest"]
    records = [decode_example(record) for record in iterate_records(examples, "train")]
    assert len(records) == 4
    assert any(record["image/object/bbox/ymin"] for record in records)


def _text(lane: str, name: str) -> str:
    with tarfile.open(archive(lane)) as packed:
        file = packed.extractfile(name)
        assert file is not None
        return file.read().decode()


def _records(lane: str, tmp_path: Path, folder: str) -> list[dict[str, list[Any]]]:
    with tarfile.open(archive(lane)) as packed:
        packed.extractall(tmp_path / lane, filter="data")
    examples = tmp_path / lane / folder / "examples"
    return [
        decode_example(record)
        for split in ("train", "eval")
        for record in iterate_records(examples, split)
    ]


@pytest.mark.parametrize("folder", ["generated", "transformed"])
def test_both_lanes_write_the_same_examples(tmp_path: Path, folder: str) -> None:
    legacy, modern = (_records(lane, tmp_path, folder) for lane in LANES)
    assert legacy == modern


def test_a_checkpoint_is_read(left: Left) -> None:
    arrays, history = _checkpoint(left)
    assert history["first_losses"].keys() == left.expected["last_losses"].keys()
    assert any(name.startswith("weights/") for name in arrays)


def test_a_checkpoint_belongs_to_the_same_run_in_both_lanes() -> None:
    legacy, modern = (json.loads(_text(lane, "expected.json")) for lane in LANES)
    assert legacy["digest"] == modern["digest"]
    assert legacy["checkpoint_key"] == modern["checkpoint_key"]


def _checkpoint(left: Left) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    store = CheckpointStore(left.folder / "checkpoints", left.expected["checkpoint_key"], keep=1)
    assert store.steps() == [2]
    return store.load(2)


def test_a_compiled_file_is_read(left: Left) -> None:
    path = left.folder / "pipeline.yaml"
    check_pipeline_file(path)
    compiled = read_compiled(path)
    assert {task.name for task in compiled.tasks} > {"CocoExampleGen", "DetectionTrainer"}
    specification = next(iter(yaml.safe_load_all(path.read_text())))
    assert specification["schemaVersion"] == "2.1.0"


@pytest.mark.e2e
def test_a_model_finds_the_same(left: Left) -> None:
    found, expected = detections(left.folder), left.expected["detections"]
    assert found["categories"] == expected["categories"]
    for name in ("scores", "boxes", "masks"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.e2e
@pytest.mark.slow
def test_a_training_goes_on(left: Left, tmp_path: Path) -> None:
    # Settings that came since the artifacts were made may have given the run another key.
    settings = TrainingSettings.of(load_config(CONFIG))
    digest = digest_of_examples(left.folder / "transformed/examples", settings.train)
    key = checkpoint_key(settings, digest)
    arrays, history = _checkpoint(left)
    checkpoints = tmp_path / "checkpoints"
    run_folder = left.folder / "checkpoints" / left.expected["checkpoint_key"][:16]
    shutil.copytree(run_folder, checkpoints / key[:16])
    for of_another_key in (checkpoints / key[:16]).glob("step-*"):
        of_another_key.unlink()
    CheckpointStore(checkpoints, key, keep=2).save(2, arrays, history)
    losses = train(left.folder, checkpoints, tmp_path / "out")
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["first_losses"] == history["first_losses"]  # thus not started anew
    assert losses == pytest.approx(left.expected["last_losses"], rel=1e-3, abs=1e-4)


@pytest.mark.e2e
@pytest.mark.slow
def test_a_model_is_measured(left: Left, tmp_path: Path) -> None:
    run(
        "components.coco_evaluator",
        f"--model={left.folder}/model",
        f"--examples={left.folder}/generated/examples",
        f"--config={CONFIG}",
        f"--out={tmp_path}/out",
    )
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["box"]["AP"] >= 0

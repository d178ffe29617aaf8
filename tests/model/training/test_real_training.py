"""The real detector on the real input in real workers: any split of a batch, resume, executor."""

import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from configs.schema import Config, component_settings
from model.training.checkpoints import CheckpointStore
from model.training.launcher import train

pytestmark = pytest.mark.e2e

STEPS = 5
SETTINGS = {
    "name": "small",
    "input": {"short_side_px": 64, "long_side_px": 96, "max_objects": 4},
    "model": {
        "backbone": {"name": "resnet18", "width": 8, "norm": "group_norm", "frozen_stages": 0},
        "fpn": {"channels": 8},
        "anchors": {"sizes_px": [8, 16, 32, 64, 96]},
        "rpn": {
            "samples_per_picture": 32,
            "pre_nms_top_k": 50,
            "post_nms_top_k": 30,
            "test_pre_nms_top_k": 50,
            "test_post_nms_top_k": 30,
        },
        "roi": {"samples_per_picture": 16},
        "box_head": {"hidden_units": 16},
        "mask_head": {"resolution": 7, "convolutions": 1, "channels": 8},
    },
    "train": {
        "epochs": 100,
        "max_steps": STEPS,
        "checkpoint_every_steps": 1,
        "keep_checkpoints": STEPS,
        "optimizer": {"warmup_steps": 0, "scale_with_batch": False, "learning_rate": 0.01},
    },
}


def config(batch: str, **backbone: str) -> Config:
    settings = json.loads(json.dumps(SETTINGS))
    settings["train"]["batch"] = batch
    settings["model"]["backbone"] |= backbone
    return Config.model_validate(settings)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    """Ten noisy pictures of two shapes with a bright, masked rectangle each."""
    from tests.model.input.handmade import example, write_folder

    generator = np.random.default_rng(0)
    records = []
    for number in range(10):
        height, width = ((64, 96), (96, 64))[number % 3 == 0]
        pixels = generator.integers(0, 100, [height, width, 3]).astype(np.uint8)
        y, x = generator.integers(0, 30, 2)
        pixels[y : y + 30, x : x + 24] += 120
        box = [y, x, y + 30, x + 24]
        bitmap = np.ones([30, 24], bool)
        records.append(example(pixels, [box], [1 + number % 3], None, [bitmap], [box]))
    folder = tmp_path_factory.mktemp("transformed") / "examples"
    return write_folder(folder, records, config("1x4").input, shards=2)


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def checkpoints(folder: str | Path, key: str) -> list[tuple[dict[str, np.ndarray], dict]]:
    """Returns arrays and history of every step of a run."""
    store = CheckpointStore(Path(folder).parent, key, keep=STEPS)
    return [store.load(step) for step in store.steps()]


def run(examples: Path, out: Path, batch: str, **backbone: str):
    result = train(config(batch, **backbone), examples, out)
    key = json.loads((out / "run" / "job.json").read_text())["key"]
    return checkpoints(result.checkpoints_dir, key)


@pytest.mark.parametrize("norm", ["group_norm", "sync_batch_norm"])
def test_any_split_of_a_batch_trains_the_detector_the_same(examples, tmp_path, norm):
    one = run(examples, tmp_path / "1x4", "1x4", norm=norm)
    two = run(examples, tmp_path / "2x2", "2x2", norm=norm)
    assert len(one) == len(two) == STEPS
    for (arrays, history), (other_arrays, other_history) in zip(one, two, strict=True):
        assert set(history["last_losses"]) == {
            "rpn_objectness", "rpn_box", "roi_class", "roi_box", "mask",
        }  # fmt: skip
        # The same picks of anchors and RoIs, sums in another order.
        assert other_history["last_losses"] == pytest.approx(history["last_losses"], rel=1e-3)
        for name, array in arrays.items():
            np.testing.assert_allclose(
                other_arrays[name], array, rtol=1e-3, atol=1e-5, err_msg=name
            )


def test_a_killed_training_ends_with_the_bits_of_one_that_was_not(examples, tmp_path):
    config_path = tmp_path / "small.yaml"
    config_path.write_text(json.dumps({**SETTINGS, "train": {**SETTINGS["train"], "batch": "2x2"}}))
    command = [sys.executable, "-m", "model.train", "--examples", str(examples)]
    command += ["--config", str(config_path), "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)

    killed = subprocess.Popen([*command, str(tmp_path / "killed")])
    while not list((tmp_path / "killed").glob("run/checkpoints/*/step-00000002.*")):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "summary.json").exists()
    subprocess.run([*command, str(tmp_path / "killed")], check=True)

    summaries = [
        json.loads((tmp_path / n / "summary.json").read_text()) for n in ("whole", "killed")
    ]
    for field in ("model_id", "last_losses", "first_losses", "steps"):
        assert summaries[0][field] == summaries[1][field], field
    names = [Path(s["checkpoints_dir"]).name for s in summaries]
    assert names[0] == names[1]
    last = f"step-{STEPS:08d}.safetensors"
    key = json.loads((tmp_path / "whole" / "run" / "job.json").read_text())["key"]
    assert (Path(summaries[0]["checkpoints_dir"]) / last).exists()
    whole, killed_arrays = (checkpoints(s["checkpoints_dir"], key)[-1][0] for s in summaries)
    assert whole.keys() == killed_arrays.keys()
    different = [n for n in whole if whole[n].tobytes() != killed_arrays[n].tobytes()]
    assert different == []


def test_the_executor_files_the_model_and_goes_on_where_it_was(examples, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what TFX imports
        from tfx.types import standard_artifacts

        from components.artifacts import TrainingRun
        from components.detection_trainer.executor import Executor

    def do(name: str, source_digest: str) -> dict:
        def artifact(kind, folder):
            made = kind()
            made.uri = str(folder)
            return [made]

        outputs = {
            "model": artifact(standard_artifacts.Model, tmp_path / name / "model"),
            "run": artifact(TrainingRun, tmp_path / name / "run"),
        }
        properties = {
            "settings": component_settings(config("1x2"), "detection_trainer"),
            "source_digest": source_digest,
            "checkpoints_dir": str(tmp_path / "stable"),
        }
        inputs = {"examples": artifact(standard_artifacts.Examples, examples)}
        Executor().Do(inputs, outputs, properties)
        return json.loads((tmp_path / name / "run" / "summary.json").read_text())

    first, again = do("first", "a"), do("again", "a")
    assert again["model_id"] == first["model_id"]
    assert again["seconds"] == first["seconds"]  # nothing was left to train
    for name in ("first", "again"):
        assert (tmp_path / name / "model" / "Format-Serving" / "saved_model.pb").is_file()
        written = {path.name for path in (tmp_path / name / "run").iterdir()}
        assert written == {"logs", "tensorboard", "throughput.json", "summary.json"}
    changed = do("changed", "b")
    assert changed["checkpoints_dir"] != first["checkpoints_dir"]
    assert changed["model_id"] == first["model_id"]

"""The command: files of others in, torchvision's out, and what it says."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from configs.loader import load_config
from model.commands.import_weights import main
from model.detector import build_detector
from model.weights.torchvision import to_torchvision
from tests.model.weights.published_names import as_detectron2

CONFIG = """
name: a
model:
  preset: detectron2
  backbone: {name: resnet18, width: 8}
  fpn: {channels: 8}
  box_head: {hidden_units: 8}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def state(config):
    return to_torchvision(build_detector(load_config(config).model, 3, seed=5).export_weights())


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_there_and_back_is_exact(tmp_path, config, state):
    np.savez(tmp_path / "theirs.npz", **as_detectron2(state))
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.safetensors"
    fixed = ["--config", config, "--num-classes", 3]
    result = run("--from", "detectron2", tmp_path / "theirs.npz", *fixed, "--out", ours)
    assert result.exit_code == 0, result.output
    assert "initial   none" in result.output and "left over none" in result.output
    result = run("--from", "ours", ours, *fixed, "--to", "torchvision", "--out", back)
    assert result.exit_code == 0, result.output
    read = load_file(back)
    assert read.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(read[name], array)


def test_says_that_predictors_of_other_classes_are_new(tmp_path, config, state):
    np.savez(tmp_path / "theirs.npz", **state)
    (tmp_path / "categories.json").write_text(json.dumps([{"id": 1, "name": "a", "label": 1}]))
    out = tmp_path / "ours.npz"
    result = run(
        *("--from", "torchvision", tmp_path / "theirs.npz", "--config", config),
        *("--categories", tmp_path / "categories.json", "--out", out),
    )
    assert result.exit_code == 0, result.output
    assert "the file has 3 classes, the model 1" in result.output
    assert "warning   torchvision's published weights were made with" in result.output
    assert np.load(out)["box_head/class_logits/bias"].shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "a.npz"], "--num-classes or by --categories"),
        (["--out", "a.h5", "--num-classes", "1"], "must be a .safetensors or .npz file"),
        (["--out", "a.npz", "--num-classes", "1"], "there is no file /"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(config, arguments, said):
    result = run("--from", "tensorpack", "absent.npz", "--config", config, *arguments)
    assert result.exit_code != 0
    assert said in result.output
    assert result.output.startswith("error: ") and result.output.count("\n") == 1

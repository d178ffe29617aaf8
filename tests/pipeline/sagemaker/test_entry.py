"""What runs in a SageMaker container, in a folder laid out like its own."""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from configs.loader import load_config
from ground.errors import ConfigError, DatasetError
from pipeline.sagemaker import entry
from pipeline.sagemaker.entry import host_variables, main, read_config
from pipeline.sagemaker.source import source_archive
from tests.free_ports import free_ports


def container(root: Path, parameters: dict[str, str], hosts: list[str], current: str) -> Path:
    """Lays out what SageMaker puts into a container; returns `root`."""
    folder = root / "input/config"
    folder.mkdir(parents=True)
    (folder / "hyperparameters.json").write_text(json.dumps(parameters))
    (folder / "resourceconfig.json").write_text(
        json.dumps({"current_host": current, "hosts": hosts, "network_interface_name": "eth0"})
    )
    return root


def test_hosts_come_from_sagemakers_file(tmp_path):
    root = container(tmp_path, {}, ["algo-2", "algo-1"], "algo-2")
    assert host_variables(root, {}) == {
        "SM_HOSTS": '["algo-1", "algo-2"]',
        "SM_CURRENT_HOST": "algo-2",
    }
    assert host_variables(root, {"SM_HOSTS": '["algo-1"]'}) == {}
    assert host_variables(tmp_path / "none", {}) == {}


def test_hyperparameters_name_the_config_and_change_it(tmp_path):
    parameters = {
        "config": "configs/tiny.yaml",
        "train.workers": "auto",
        "train.optimizer.learning_rate": '"0.5"',  # as AWS's container gets a string
        # What AWS's shell would not pass on is JSON once more: [backbone/*]
        "train.freeze": '"\\"\\\\u005bbackbone/\\\\u002a\\\\u005d\\""',
        "sagemaker_region": '"eu-west-1"',
        "_tuning_objective_metric": "validation_AP",
    }
    config, path, _ = read_config(container(tmp_path, parameters, ["a"], "a"))
    assert path.name == "tiny.yaml"
    assert config.train.batch == "autox2"
    assert config.train.optimizer.learning_rate == 0.5
    assert config.train.freeze == ("backbone/*",)


def test_a_channel_may_bring_the_config(tmp_path):
    root = container(tmp_path, {"config": "own.yaml"}, ["a"], "a")
    (root / "input/data/config").mkdir(parents=True)
    (root / "input/data/config/own.yaml").write_text("name: own\n")
    assert read_config(root)[0].name == "own"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "`config` names no config file"),
        ({"config": "configs/none.yaml"}, "config configs/none.yaml: neither in the image nor"),
        ({"config": "configs/tiny.yaml", "train.epoch": "3"}, "did you mean 'epochs'"),
    ],
)
def test_a_config_that_cannot_be_read_is_refused(tmp_path, parameters, message):
    with pytest.raises(ConfigError, match=message):
        read_config(container(tmp_path, parameters, ["a"], "a"))


def test_a_failure_is_written_where_sagemaker_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    root = container(tmp_path, {"config": "configs/tiny.yaml"}, ["a"], "a")
    result = CliRunner().invoke(main, ["--root", str(root)])
    assert result.exit_code == 1
    failure = (root / "output/failure").read_text()
    assert failure == f"{root}/input/data: expected a channel named examples or coco"


def test_coco_data_becomes_examples_by_our_commands(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(entry, "_run", lambda *call: calls.append(call))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = container(tmp_path, {"config": "configs/tiny.yaml"}, ["a"], "a")
    (root / "input/data/coco").mkdir(parents=True)
    _, path, _ = read_config(root)
    settings = ["train.validate_every_epochs=1"]
    config = load_config(path, settings)
    folder = entry._examples(root / "input/data", config, path, settings)
    [(first, records), (second, transform)] = calls
    assert (first, second) == ("components.coco_example_gen", "components.coco_transform")
    assert [split for option, split in pairwise(records) if option == "--split"] == [
        "train=annotations/instances_train2017.json:train2017",
        "eval=annotations/instances_val2017.json:val2017",
    ]
    assert records[-1] == transform[-1] == "--set=train.validate_every_epochs=1"
    assert str(folder) == f"{transform[transform.index('--out') + 1]}/examples"


@pytest.mark.parametrize(
    "settings",
    [
        ["data.annotations=a.json", "data.pictures=p", "data.split={train: 0.5, eval: 0.5}"],
        [
            "data.sources=[{annotations: a.json, pictures: p, split: train}, "
            "{annotations: b.json, pictures: p, split: eval}]"
        ],
    ],
)
def test_what_is_split_or_merged_is_left_to_the_command(tmp_path, monkeypatch, settings):
    calls = []
    monkeypatch.setattr(entry, "_run", lambda *call: calls.append(call))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = container(tmp_path, {"config": "configs/tiny.yaml"}, ["a"], "a")
    (root / "input/data/coco").mkdir(parents=True)
    _, path, _ = read_config(root)
    entry._examples(root / "input/data", load_config(path, settings), path, settings)
    assert "--split" not in calls[0][1]
    assert f"--set={settings[0]}" in calls[0][1]


def test_a_command_that_fails_says_why():
    with pytest.raises(DatasetError, match=r"json.tool: .*No such file"):
        entry._run("json.tool", ["none.json"])


@pytest.mark.e2e
@pytest.mark.slow
def test_two_hosts_train_on_a_coco_channel(repo, tmp_path):
    """From the archive, as AWS's TensorFlow container starts it.

    .venv is that of the tests, or what TFX_RCNN_TRAIN_VENV names, as one of a lane's train lock.
    """
    subprocess.run(
        [sys.executable, "-m", "pipeline", "shapes", "--out", str(tmp_path / "coco"),
         "--train", "12", "--val", "2", "--size", "96"], cwd=repo, check=True,
    )  # fmt: skip
    names = [f"127.0.0.{i + 1}:{port}" for i, port in enumerate(free_ports(2))]
    parameters = {
        "config": "configs/sent.yaml",
        "train.workers": "auto",
        "train.validate_every_epochs": "1",
    }
    hosts = []
    for index, name in enumerate(names):
        root = container(tmp_path / name, parameters, names, name)
        (root / "input/data").mkdir()
        (root / "input/data/coco").symlink_to(tmp_path / "coco")
        code = root / "code"
        with tarfile.open(fileobj=io.BytesIO(source_archive(repo))) as archive:
            archive.extractall(code, filter="data")
        # The name of a config that only the archive's code finds beside itself.
        (code / "tfx-rcnn/configs/tiny.yaml").rename(code / "tfx-rcnn/configs/sent.yaml")
        venv = os.environ.get("TFX_RCNN_TRAIN_VENV") or sys.prefix
        setup = f"#!/bin/sh\nln -s '{venv}' .venv\n"
        (code / "tfx-rcnn/scripts/setup.sh").write_text(setup)
        environment = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "",
            "TMPDIR": str(tmp_path),
            "SAGEMAKER_BASE_DIR": str(root),
            "PYTHONPATH": str(tmp_path / "toolkit"),
            # AWS's toolkit lists the hosts in the order of the instance group.
            "SM_HOSTS": json.dumps(names),
            "SM_CURRENT_HOST": name,
            "SM_NUM_GPUS": "0",
            "TF_CONFIG": json.dumps({
                "cluster": {"worker": names[::-1]},
                "environment": "cloud",
                "task": {"index": 1 - index, "type": "worker"},
            }),
        }  # fmt: skip
        hosts.append(subprocess.Popen(["./start.sh"], cwd=code, env=environment))
    assert [host.wait(timeout=500) for host in hosts] == [0, 0]
    chief, other = (tmp_path / name for name in names)
    assert (chief / "model/1/saved_model.pb").exists()
    # Written again, as object 1, with the numbers of its validation.
    assert list(chief.glob("checkpoints/*/step-00000004.safetensors~1.complete"))
    assert (chief / "output/data/run/throughput.json").exists()
    assert not (other / "model").exists()
    assert not (other / "checkpoints").exists()
    assert not list(tmp_path.glob("*/output/failure"))

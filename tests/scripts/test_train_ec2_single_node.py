"""The launcher script: the command line that it makes of AWSDet's arguments."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.loader import load_config


@pytest.fixture
def script(repo, tmp_path):
    """Runs the script in `tmp_path`; `python -m ...` only prints its arguments there."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\npwd >here\n')
    python.chmod(0o755)
    (tmp_path / "mine.yaml").write_text("name: mine\ntrain: {batch: 8x3}\n")

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(repo / "scripts/train_ec2_single_node.sh"), *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHON": str(python)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_pipeline_runs_on_the_data_folder_with_so_many_workers(script, repo, tmp_path):
    result = script("4", "mine.yaml", "train.epochs=2")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "here").exists()  # all paths begin where the script is called
    program, *arguments = result.stdout.split()
    assert Path(program).samefile(repo / "tfx_rcnn.py")
    assert arguments == [
        "run",
        "--config", "mine.yaml",
        "--data-dir", "data",
        "--root", "runs/mine",
        "--set=train.workers=4",
        "--set=train.epochs=2",
    ]  # fmt: skip


def test_the_pictures_per_gpu_stay_those_of_the_config(script, tmp_path):
    settings = [
        line.removeprefix("--set=")
        for line in script("2", "mine.yaml").stdout.split()
        if line.startswith("--set=")
    ]
    assert load_config(tmp_path / "mine.yaml", settings).train.batch == "2x3"


def test_the_gpus_may_be_counted(script):
    assert "--set=train.workers=auto" in script("auto", "mine.yaml").stdout.split()


@pytest.mark.parametrize("arguments", [("--help",), ("8", "-h")])
def test_help_is_the_text_at_the_top(script, arguments):
    result = script(*arguments)
    assert result.returncode == 0
    assert result.stdout.startswith("Trains on the GPUs of one machine")
    assert "<NUM_GPUS> <config.yaml> [KEY=VALUE ...]" in result.stdout
    assert "#" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "usage: scripts/train_ec2_single_node.sh <NUM_GPUS> <config.yaml>"),
        (("zero", "mine.yaml"), "usage:"),
        (("0", "mine.yaml"), "usage:"),
        (("2", "none.yaml"), "error: none.yaml: no such config file"),
    ],
)
def test_wrong_arguments_end_with_status_two(script, arguments, message):
    result = script(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(message)


def test_the_configs_weights_are_looked_for_where_the_script_is_called(script, repo, tmp_path):
    for folder in ("annotations", "train2017", "val2017", "pretrained-models"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for split in ("train", "val"):
        (tmp_path / f"data/annotations/instances_{split}2017.json").write_text("{}")
    row = str(repo / "configs/awsdet/faster_rcnn_r50_fpn_1x_coco_8x4.yaml")
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@" --dry-run\n')
    weights = tmp_path / "data/pretrained-models/ImageNet-R50-AlignPadding.npz"
    result = script("8", row)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: weights: there is no file {weights}; ")

"""The launcher script: the command line that it makes of AWSDet's arguments."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def script(repo, tmp_path):
    """Runs the script in `tmp_path`; `python -m ...` only prints its arguments there."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then exec {sys.executable} "$@"; fi\nprintf "%s\\n" "$@"\n'
    )
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


def test_the_pipeline_runs_on_the_data_folder_with_so_many_workers(script, tmp_path):
    result = script("4", "mine.yaml", "train.epochs=2")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [
        "-m", "pipeline", "run",
        "--config", str(tmp_path / "mine.yaml"),
        "--data-dir", str(tmp_path / "data"),
        "--root", str(tmp_path / "runs/mine"),
        "--set=train.epochs=2",
        "--set", "train.batch=4x3",
    ]  # fmt: skip


def test_pictures_per_gpu_may_be_set(script):
    assert script("2", "mine.yaml", "train.batch=1x7").stdout.split()[-1] == "train.batch=2x7"


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

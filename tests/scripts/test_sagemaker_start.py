"""scripts/sagemaker_start.sh as AWS's toolkit starts it, with a stand-in for setup.sh."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from pipeline.sagemaker.source import source_archive

# What is left for the training, in place of the locked environment's Python.
PYTHON = """#!/bin/sh
echo "$$ $*" >>started
env >environment
"""


@pytest.fixture
def code(repo, tmp_path) -> Path:
    """The folder into which the toolkit unpacks the archive."""
    with tarfile.open(fileobj=io.BytesIO(source_archive(repo))) as archive:
        archive.extractall(tmp_path / "ml/code", filter="data")
    return tmp_path / "ml/code"


def start(code: Path, setup: str) -> subprocess.Popen:
    (code / "tfx-rcnn/scripts/setup.sh").write_text(f"#!/bin/sh\n{setup}\n")
    return subprocess.Popen(
        ["./start.sh", "--config", "configs/tiny.yaml", "--train.freeze", "[(a|b)]"],
        cwd=code,
        env={
            "PATH": os.environ["PATH"],
            "SAGEMAKER_BASE_DIR": str(code.parent),
            "PYTHONPATH": "/opt/ml/code:/usr/local/lib/python3.10/site-packages",
            "SM_HOSTS": json.dumps(["algo-1"]),
            "TF_CONFIG": json.dumps({"cluster": {"worker": ["algo-1:8890"]}}),
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_makes_the_environment_and_becomes_the_training(code):
    python = f"mkdir -p .venv/bin; cat >.venv/bin/python <<'EOF'\n{PYTHON}EOF\n"
    process = start(code, f"{python}chmod +x .venv/bin/python; echo 'setup: done' >&2")
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "setup: done\n")
    [line] = (code / "tfx-rcnn/started").read_text().splitlines()
    pid, command = line.split(" ", 1)
    assert command == f"-m pipeline.sagemaker.entry --root {code.parent}"
    # Script and training are one process, so that a signal reaches it.
    assert int(pid) == process.pid
    variables = dict(
        line.split("=", 1) for line in (code / "tfx-rcnn/environment").read_text().splitlines()
    )
    assert "PYTHONPATH" not in variables
    assert variables["SM_HOSTS"] == '["algo-1"]'
    assert "TF_CONFIG" in variables
    assert not (code.parent / "output/failure").exists()


def test_an_environment_that_cannot_be_made_is_the_jobs_failure(code):
    said = "echo 'error: no index'; echo 'hint: `a proxy` is in the way' >&2"
    process = start(code, f"{said}; exit 2")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: no index" in stderr
    assert (code.parent / "output/failure").read_text() == (
        "the environment could not be made: error: no index hint: `a proxy` is in the way"
    )

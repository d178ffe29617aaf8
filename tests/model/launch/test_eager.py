"""`--eager`: the same step without a graph, and a debugger that has its terminal."""

import ast
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ground.errors import ConfigError
from model.detector import build_detector
from model.launch.cluster import Cluster
from model.launch.eager import eager_config
from tests.model.small_detector import LOSSES, NUM_CLASSES, small_batch, small_config
from tests.model.training.sgd_step import sgd_step
from tests.model.training.small_run import SETTINGS, write_examples
from tests.model.training.tiny_run import tiny_config

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("TF_CONFIG", raising=False)


def losses(eager: bool, steps: int) -> list[dict[str, float]]:
    detector = build_detector(small_config(), NUM_CLASSES, seed=1)
    step = sgd_step(detector, clip_norm=1.0, eager=eager)
    batch = small_batch(2, empty=[1])
    return [step.report(step(batch, n, 0.01, False)).losses for n in range(steps)]


@pytest.mark.e2e
def test_eager_steps_give_the_losses_of_the_graph():
    graph, eager = losses(False, 3), losses(True, 3)
    assert list(graph[0]) == LOSSES
    assert graph[2] != graph[0]
    for one, other in zip(graph, eager, strict=True):
        assert other == pytest.approx(one, rel=1e-5)


def test_one_worker_takes_the_pictures_of_each():
    for batch in ("8x4", "autox4"):
        assert eager_config(tiny_config(batch), Cluster()).train.batch == "1x4"


def test_a_cluster_is_refused():
    cluster = Cluster(("a:1", "b:1"), 0, "TF_CONFIG")
    with pytest.raises(ConfigError, match="--eager runs one worker, but TF_CONFIG names 2"):
        eager_config(tiny_config(), cluster)


def line_in(path: str, function: str) -> int:
    """Returns the number of the first line that a function executes."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return node.body[1].lineno  # after the docstring
    raise AssertionError(f"{path} has no {function}")


def in_terminal(command: list[str], typed: str, seconds: float = 120.0) -> tuple[int, str]:
    """Runs a command on a terminal of its own; returns its status and what was to be seen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    seen, deadline = b"", time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and (block := os.read(ours, 4096)):
            seen += block
    except OSError:  # Linux: the other end was closed
        pass
    finally:
        os.close(ours)
        process.kill()
    return process.wait(), seen.decode()


@pytest.mark.e2e
def test_a_breakpoint_in_the_model_gives_a_prompt(tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(json.dumps({**SETTINGS, "train": {**SETTINGS["train"], "batch": "2x2"}}))
    where = f"model/layers/box_head.py:{line_in('model/layers/box_head.py', 'box_loss_terms')}"
    command = [sys.executable, "-m", "pdb", "-c", f"break {where}", "-c", "continue"]
    command += ["-m", "model.train", "--eager", "--config", str(config)]
    command += ["--examples", str(write_examples(tmp_path / "examples"))]
    command += ["--out", str(tmp_path / "out")]
    status, seen = in_terminal(command, "p class_logits.shape\np float(class_logits[0, 0, 0])\nq\n")
    assert "(Pdb) " in seen
    # 2 pictures, 16 sampled RoIs each, 3 classes and the background.
    assert "TensorShape([2, 16, 4])" in seen, seen
    value = seen.split("TensorShape([2, 16, 4])")[1].split()
    assert any(_is_number(word) for word in value), seen
    assert status == 0, seen


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "." in word

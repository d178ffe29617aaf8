"""Whole runs of real worker processes: starting, watching and comparing them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

from model.training.checkpoints import CheckpointStore
from tests.model.training.tiny_run import MODULE

ROOT = Path(__file__).parents[3]


class Checkpoint(NamedTuple):
    """What is in a checkpoint."""

    arrays: dict[str, np.ndarray]
    history: dict[str, Any]


def scalars(run_dir: str) -> dict[str, list[float]]:
    """Returns TensorBoard's values by tag, one a step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorflow import make_ndarray

    accumulator = EventAccumulator(f"{run_dir}/tensorboard", size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: [float(make_ndarray(event.tensor_proto)) for event in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }


def store_of(checkpoints: str | Path) -> CheckpointStore:
    """Returns the checkpoints in a run's folder."""
    folder = Path(checkpoints)
    key = json.loads((folder.parents[1] / "job.json").read_text())["key"]
    return CheckpointStore(folder.parent, key, keep=9)


def final_checkpoint(checkpoints: str | Path) -> Checkpoint:
    """Returns the newest checkpoint in a run's folder."""
    store = store_of(checkpoints)
    return Checkpoint(*store.load(store.steps()[-1]))


def final_arrays(checkpoints: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of the newest checkpoint in a run's folder."""
    return final_checkpoint(checkpoints).arrays


def workers_of(out: Path) -> list[psutil.Process]:
    """Returns the worker processes that run now for a run in `out`."""
    job = str(out / "run" / "job.json")
    return [p for p in psutil.process_iter(["cmdline"]) if job in (p.info["cmdline"] or [])]


def start_run(
    out: Path, examples: Path | None = None, cores: set[int] | None = None, **environment: str
) -> subprocess.Popen:
    """Starts 2x2, 30 steps, a checkpoint each; prints the chief's events."""
    examples = examples or out / "examples"
    cores = cores or os.sched_getaffinity(0)
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, "launch", str(examples), str(out), "2x2", "30"],
        cwd=ROOT,
        env={**os.environ, "TINY_SLOW": "0.05", **environment},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )


def wait_for_step(run: subprocess.Popen, step: int) -> None:
    for line in run.stdout:
        event = json.loads(line)
        if event["event"] == "checkpoint" and event["step"] >= step:
            return
    raise AssertionError(f"the run ended before step {step}")


def wait_until_gone(out: Path) -> None:
    deadline = time.monotonic() + 20
    while workers_of(out):
        assert time.monotonic() < deadline, "workers outlive their launcher"
        time.sleep(0.05)


def assert_same_bits(checkpoint: Checkpoint, expected: Checkpoint) -> None:
    assert checkpoint.arrays.keys() == expected.arrays.keys()
    different = [
        name
        for name, array in expected.arrays.items()
        if checkpoint.arrays[name].tobytes() != array.tobytes()
    ]
    assert different == []
    assert checkpoint.history["validations"] == expected.history["validations"]
    assert len(expected.history["validations"]) == 10  # every three steps of thirty


def write_worker(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> str:
    """Writes a worker without TensorFlow, `status` and `index` in its scope; returns its module."""
    start = (
        "import faulthandler, json, os, signal, sys, time",
        "from model.launch.job import TrainingJob",
        "from model.training.events import CheckpointSaved, WorkerFailed",
        "from model.training.place import worker_place",
        "from model.training.status import WorkerStatus",
        "job, index = TrainingJob.read(sys.argv[1]), worker_place(os.environ)[1]",
        "status = WorkerStatus(job.status_dir, index)",
    )
    (folder / "fake_worker.py").write_text("\n".join([*start, *lines]))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
    return "fake_worker"

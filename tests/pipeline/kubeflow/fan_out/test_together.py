"""A trainer and its pods as real processes, which train together, are evicted and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.kubeflow.fan_out.manifests import name_of
from tests.free_ports import free_ports
from tests.model.training.tiny_run import exported_weights
from tests.pipeline.kubeflow.fan_out.api_server import ApiServer, node_pod, trainer_pod

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MODULE = "tests.pipeline.kubeflow.fan_out.tiny_pods"
NAME = name_of(trainer_pod())
ROOT = Path(__file__).parents[4]


class Pods:
    """The Job's controller: keeps one node at work as long as there is a Job."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self.processes: list[subprocess.Popen[str]] = []

    def listed(self) -> list[dict[str, Any]]:
        """Returns the pods; one that was killed is replaced."""
        job = self._server.state.objects["jobs", NAME]
        if not self.processes or self.processes[-1].poll() not in (None, 0):
            self.processes.append(self._started(job))
        return [
            node_pod(0, self._phase(process, number), startTime=str(number))
            for number, process in enumerate(self.processes)
        ]

    def _phase(self, process: "subprocess.Popen[str]", number: int) -> str:
        if process.poll():
            return "Failed"
        return "Running" if Path(f"{self._folder}/{number}-ready").exists() else "Pending"

    def _started(self, job: dict[str, Any]) -> "subprocess.Popen[str]":
        [container] = job["spec"]["template"]["spec"]["containers"]
        given = {v["name"]: v["value"] for v in container["env"] if v["name"].startswith("TFX_")}
        number = len(self.processes)
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                MODULE,
                "node",
                self._server.address,
                f"{self._folder}/{number}",
            ],
            cwd=ROOT,
            env={**_environment(), **given, "JOB_COMPLETION_INDEX": "0"},
            start_new_session=True,
            text=True,
        )


def _environment() -> dict[str, str]:
    names = ("TF_CONFIG", "TFX_RCNN_HOSTS", "TFX_RCNN_HOST_INDEX")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "CUDA_VISIBLE_DEVICES": "", "TINY_SLOW": "0.05"}


@pytest.fixture
def pods(server: ApiServer, tmp_path: Path) -> Iterator[Pods]:
    made = Pods(server, tmp_path)
    server.state.pods = made.listed
    yield made
    for process in made.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def training(server: ApiServer, pods: Pods, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    hosts = ",".join(f"127.0.0.{i + 1}:{port}" for i, port in enumerate(free_ports(2)))
    places = [str(tmp_path / "examples"), str(tmp_path / "out")]
    started = subprocess.Popen(
        [sys.executable, "-m", MODULE, "trainer", server.address, *places, hosts],
        cwd=ROOT,
        env={
            **_environment(),
            "TFX_RCNN_TRAINER_NODES": "2",
            "KUBERNETES_SERVICE_HOST": "here",
            "KFP_POD_NAME": "trainer",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    yield started
    if started.poll() is None:
        started.kill()
    started.communicate()


def _until_step(training: "subprocess.Popen[str]", step: int) -> None:
    for line in training.stdout:
        event = json.loads(line)
        if event["event"] == "checkpoint" and event["step"] >= step:
            return
    raise AssertionError(f"the training ended before step {step}")


def _children(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_they_train_together_and_nothing_is_left(
    server: ApiServer, pods: Pods, training: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    output, _ = training.communicate(timeout=400)
    assert training.returncode == 0
    events = [json.loads(line) for line in output.splitlines()]
    assert (events[-1]["event"], events[-1]["step"]) == ("done", 30)
    assert exported_weights(tmp_path / "out" / "model").exists()
    [node] = pods.processes
    assert node.wait(30) == 0
    assert set(server.state.objects) == {("pods", "trainer")}


def test_an_evicted_pod_is_replaced_and_the_training_goes_on(
    server: ApiServer, pods: Pods, training: "subprocess.Popen[str]"
) -> None:
    _until_step(training, 3)
    [evicted] = pods.processes
    workers = _children(evicted)
    os.killpg(evicted.pid, signal.SIGKILL)
    psutil.wait_procs(workers, timeout=20)
    output, _ = training.communicate(timeout=400)
    assert training.returncode == 0
    events = [json.loads(line) for line in output.splitlines()]
    assert [event["event"] for event in events].count("restart") == 1
    assert [event["first_step"] for event in events if event["event"] == "start"][-1] >= 3
    assert (events[-1]["event"], events[-1]["step"]) == ("done", 30)
    assert len(pods.processes) == 2 and pods.processes[1].wait(30) == 0


def test_pods_end_with_a_trainer_that_is_killed(
    server: ApiServer, pods: Pods, training: "subprocess.Popen[str]"
) -> None:
    _until_step(training, 3)
    [node] = pods.processes
    workers = _children(node)
    assert workers
    training.kill()
    server.state.objects["pods", "trainer"]["status"]["phase"] = "Failed"
    killed = time.monotonic()
    assert node.wait(120) == 0
    psutil.wait_procs(workers, timeout=20)
    assert not [worker for worker in workers if worker.is_running()]
    assert time.monotonic() - killed < 120

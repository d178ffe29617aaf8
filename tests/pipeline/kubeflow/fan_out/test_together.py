"""A trainer and its pods as real processes, which train together, are evicted and killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.kubeflow.fan_out.kinds import KINDS
from pipeline.kubeflow.fan_out.manifests import name_of
from tests.free_ports import free_ports
from tests.model.training.tiny_run import exported_weights
from tests.pipeline.kubeflow.fan_out.api_server import ApiServer, trainer_pod
from tests.pipeline.kubeflow.fan_out.operators import environment_of, pods_of, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MODULE = "tests.pipeline.kubeflow.fan_out.tiny_pods"
NAME = name_of(trainer_pod())
ROOT = Path(__file__).parents[4]
_SECONDS = 600  # of a machine that has other work


class Pods:
    """What has the pods: keeps each of them at work as long as there is the object."""

    def __init__(self, server: ApiServer, folder: Path, kind: str) -> None:
        self._server, self._folder = server, folder
        self._plurals = [resource.plural for resource in KINDS[kind].resources]
        self.kind = kind
        self.processes: dict[int, list[subprocess.Popen[str]]] = {}

    @property
    def latest(self) -> list["subprocess.Popen[str]"]:
        """Each place's process."""
        return [processes[-1] for processes in self.processes.values()]

    def listed(self) -> list[dict[str, Any]]:
        """Returns the pods; one that was killed is replaced."""
        pods = pods_of([self._server.state.objects[plural, NAME] for plural in self._plurals])
        listed = []
        for place, pod in enumerate(pods):
            processes = self.processes.setdefault(place, [])
            if not processes or processes[-1].poll() not in (None, 0):
                processes.append(self._started(pod, place, len(processes)))
            is_ready = Path(f"{self._folder_of(place, len(processes) - 1)}-ready").exists()
            listed.append(running(pod) if is_ready else pod)
        return listed

    def _folder_of(self, place: int, number: int) -> str:
        return f"{self._folder}/{place}-{number}"

    def _started(self, pod: dict[str, Any], place: int, number: int) -> "subprocess.Popen[str]":
        folder = self._folder_of(place, number)
        ours = ("TFX_", "TF_CONFIG", "JOB_COMPLETION_INDEX")
        given = {k: v for k, v in environment_of(pod).items() if k.startswith(ours)}
        return subprocess.Popen(
            [sys.executable, "-m", MODULE, "node", self._server.address, folder],
            cwd=ROOT,
            env={**_environment(), **given},
            start_new_session=True,
            text=True,
        )


def _environment() -> dict[str, str]:
    names = ("TF_CONFIG", "TFX_RCNN_HOSTS", "TFX_RCNN_HOST_INDEX")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "CUDA_VISIBLE_DEVICES": "", "TINY_SLOW": "0.05"}


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "Job"))


@pytest.fixture
def pods(server: ApiServer, tmp_path: Path, kind: str) -> Iterator[Pods]:
    made = Pods(server, tmp_path, kind)
    server.state.pods = made.listed
    yield made
    for process in [one for ones in made.processes.values() for one in ones]:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def training(server: ApiServer, pods: Pods, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    nodes = 2 if pods.kind == "Job" else 3  # a TFJob of one worker sets no TF_CONFIG
    hosts = ",".join(f"127.0.0.{i + 1}:{port}" for i, port in enumerate(free_ports(nodes)))
    places = [str(tmp_path / "examples"), str(tmp_path / "out")]
    started = subprocess.Popen(
        [sys.executable, "-m", MODULE, "trainer", server.address, *places, hosts],
        cwd=ROOT,
        env={
            **_environment(),
            "TFX_RCNN_TRAINER_NODES": str(nodes),
            "TFX_RCNN_TRAINER_NODES_BY": pods.kind,
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


@pytest.mark.parametrize("kind", list(KINDS), indirect=True)
def test_they_train_together_and_nothing_is_left(
    server: ApiServer, pods: Pods, training: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    output, _ = training.communicate(timeout=_SECONDS)
    assert training.returncode == 0
    events = [json.loads(line) for line in output.splitlines()]
    assert (events[-1]["event"], events[-1]["step"]) == ("done", 30)
    assert exported_weights(tmp_path / "out" / "model").exists()
    assert [len(processes) for processes in pods.processes.values()] in ([1], [1, 1])
    assert [node.wait(60) for node in pods.latest] == [0] * len(pods.latest)
    assert set(server.state.objects) == {("pods", "trainer")}


@pytest.mark.parametrize("kind", ["Job", "TFJob"], indirect=True)
def test_an_evicted_pod_is_replaced_and_the_training_goes_on(
    server: ApiServer, pods: Pods, training: "subprocess.Popen[str]"
) -> None:
    _until_step(training, 3)
    evicted, *others = pods.latest
    workers = _children(evicted)
    os.killpg(evicted.pid, signal.SIGKILL)
    psutil.wait_procs(workers, timeout=20)
    output, _ = training.communicate(timeout=_SECONDS)
    assert training.returncode == 0
    events = [json.loads(line) for line in output.splitlines()]
    assert [event["event"] for event in events].count("restart") == 1
    assert [event["first_step"] for event in events if event["event"] == "start"][-1] >= 3
    assert (events[-1]["event"], events[-1]["step"]) == ("done", 30)
    assert len(pods.processes[0]) == 2
    assert [node.wait(60) for node in (pods.latest[0], *others)] == [0] * (1 + len(others))


def test_pods_end_with_a_trainer_that_is_killed(
    server: ApiServer, pods: Pods, training: "subprocess.Popen[str]"
) -> None:
    _until_step(training, 3)
    [node] = pods.latest
    workers = _children(node)
    assert workers
    training.kill()
    server.state.objects["pods", "trainer"]["status"]["phase"] = "Failed"
    assert node.wait(_SECONDS) == 0
    psutil.wait_procs(workers, timeout=60)
    assert not [worker for worker in workers if worker.is_running()]

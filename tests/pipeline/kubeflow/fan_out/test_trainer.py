"""The trainer's side: pods come, are evicted, are refused or deleted, and nothing is left."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from ground.errors import ConfigError, ServiceError, TrainingError
from model.launch.errors import TrainingStopped, WorkerLostError
from pipeline.kubeflow.fan_out import trainer
from pipeline.kubeflow.fan_out.cluster_api import ClusterApi
from pipeline.kubeflow.fan_out.manifests import WORK_VARIABLE, Work, name_of
from pipeline.kubeflow.fan_out.trainer import EXECUTOR, Patience, fan_out
from tests.pipeline.kubeflow.fan_out.api_server import (
    ApiServer,
    node_pod,
    trainer_pod,
    waiting,
)

# Of the client, whose urllib3 is another one.
pytestmark = pytest.mark.filterwarnings("ignore:HTTPResponse.getheaders:DeprecationWarning")

NAME = name_of(trainer_pod())
FAST = Patience(poll=0.01, image=0.05, start=5.0, away=5.0, stop=0.2)


@pytest.fixture
def environ() -> dict[str, str]:
    return {
        "TFX_RCNN_TRAINER_NODES": "3",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KFP_POD_NAME": "trainer",
    }


@pytest.fixture
def opened(api: ClusterApi, message: dict[str, Any], environ: dict[str, str]) -> Callable[..., Any]:
    """Returns a function that makes the block."""

    def made(patience: Patience = FAST, executor: str = EXECUTOR) -> Any:
        return fan_out(executor, message, "", environ, lambda: api, patience)

    return made


def _left(server: ApiServer) -> set[str]:
    return {kind for kind, _ in server.state.objects if kind != "pods"}


def test_a_played_pod_makes_none(
    server: ApiServer, api: ClusterApi, message: dict[str, Any], environ: dict[str, str]
) -> None:
    with fan_out(EXECUTOR, message, "/tmp/pod", environ, lambda: api, FAST):
        assert "TFX_RCNN_HOSTS" not in environ
    assert server.state.requests == []


def test_pods_are_there_within_the_block_and_gone_after_it(
    server: ApiServer, opened: Any, environ: dict[str, str], message: dict[str, Any]
) -> None:
    looks = iter(range(100))
    server.state.pods = lambda: [node_pod(i) for i in range(min(2, next(looks)))]
    with opened():
        assert _left(server) == {"jobs", "services"}
        assert (
            environ["TFX_RCNN_HOSTS"] == f"10.1.2.3:2222,{NAME}-0.{NAME}:2222,{NAME}-1.{NAME}:2222"
        )
        assert environ["TFX_RCNN_HOST_INDEX"] == "0"
        job = server.state.objects["jobs", NAME]
    assert _left(server) == set()
    assert "TFX_RCNN_HOSTS" not in environ
    [container] = job["spec"]["template"]["spec"]["containers"]
    [text] = [v["value"] for v in container["env"] if v["name"] == WORK_VARIABLE]
    work = Work.from_json(text)
    assert work.examples == "minio://mlpipeline/tiny/1/CocoTransform/examples"
    values = message["inputs"]["parameterValues"]
    assert "train.max_restarts=3" in values["overrides"]
    assert set(work.overrides.split(";")) == {
        "train.epochs=3", "train.max_restarts=3", "model.weights=null",
    }  # fmt: skip
    assert "model.weights" not in values["overrides"]


@pytest.mark.parametrize(
    ("executor", "changed"),
    [
        ("components.coco_evaluator.executor.Executor", {}),
        (EXECUTOR, {"TFX_RCNN_TRAINER_NODES": "1"}),
        (EXECUTOR, {"KUBERNETES_SERVICE_HOST": ""}),
    ],
)
def test_others_and_a_machine_without_kubernetes_have_no_pods(
    server: ApiServer,
    opened: Any,
    environ: dict[str, str],
    executor: str,
    changed: dict[str, str],
) -> None:
    environ.update(changed)
    with opened(executor=executor):
        assert "TFX_RCNN_HOSTS" not in environ
    assert server.state.requests == []


@pytest.mark.parametrize("text", ["0", "x", "", "1001"])
def test_a_number_of_pods_that_is_none_is_refused(
    opened: Any, environ: dict[str, str], text: str
) -> None:
    environ["TFX_RCNN_TRAINER_NODES"] = text
    with pytest.raises(ConfigError, match="expected a number of pods"), opened():
        pass


def _never(opened: Any, patience: Patience = FAST) -> str:
    with pytest.raises(TrainingError) as raised, opened(patience):
        raise AssertionError("the block was entered")
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("pods", "job", "events", "said"),
    [
        (
            [node_pod(0, "Pending", **waiting("ImagePullBackOff", "Back-off pulling image"))],
            {},
            [],
            "ImagePullBackOff: registry.my.org/tfx-rcnn:1 (Back-off pulling image)",
        ),
        (
            [node_pod(0, "Pending", **waiting("InvalidImageName", "couldn't parse"))],
            {},
            [],
            "InvalidImageName: couldn't parse",
        ),
        (
            [],
            {
                "conditions": [
                    {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
                ]
            },
            [],
            f"Job {NAME} failed: BackoffLimitExceeded",
        ),
        (
            [
                node_pod(
                    1,
                    "Failed",
                    containerStatuses=[
                        {
                            "name": "node",
                            "state": {
                                "terminated": {"exitCode": 2, "message": "s3://b/x: nothing"}
                            },
                        }
                    ],
                )
            ],
            {"conditions": [{"type": "FailureTarget", "status": "True", "message": "rule 1"}]},
            [],
            "pod node-1-x1 ended with 2: s3://b/x: nothing",
        ),
    ],
)
def test_pods_that_cannot_come_end_the_task_in_a_line(
    server: ApiServer,
    opened: Any,
    pods: list[dict[str, Any]],
    job: dict[str, Any],
    events: list[str],
    said: str,
) -> None:
    def listed() -> list[dict[str, Any]]:
        server.state.objects["jobs", NAME]["status"] = job
        return pods

    server.state.pods = listed
    server.state.events = events
    assert said in _never(opened)
    if job:
        server.state.pods = list
    assert _left(server) == set()


@pytest.mark.parametrize(
    ("pods", "events", "said"),
    [
        (
            [
                node_pod(
                    0,
                    "Pending",
                    conditions=(
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "message": "0/5 nodes are available: 5 Insufficient nvidia.com/gpu.",
                        },
                    ),
                )
            ],
            [],
            "0 of 2 are ready after 0.05 s: 0/5 nodes are available: 5 Insufficient nvidia.com",
        ),
        ([], ['Error creating: pods "x" is forbidden: exceeded quota: gpus'], "exceeded quota"),
        (
            [
                node_pod(
                    0,
                    "Failed",
                    containerStatuses=[
                        {
                            "name": "node",
                            "state": {"terminated": {"exitCode": 1, "message": "no key"}},
                        }
                    ],
                )
            ],
            [],
            "pod node-0-x1 ended with 1: no key",
        ),
        ([node_pod(0), node_pod(0)], [], "1 of 2 are ready after"),
    ],
)
def test_pods_that_do_not_come_in_time_end_the_task_with_what_keeps_them(
    server: ApiServer, opened: Any, pods: list[dict[str, Any]], events: list[str], said: str
) -> None:
    server.state.pods = lambda: pods
    server.state.events = events
    assert said in _never(opened, Patience(poll=0.01, start=0.05))


def test_a_job_that_somebody_deletes_while_pods_start_ends_the_task(
    server: ApiServer, opened: Any
) -> None:
    def listed() -> list[dict[str, Any]]:
        server.state.objects.pop(("jobs", NAME))
        return []

    server.state.pods = listed
    assert "is gone: somebody deleted it" in _never(opened)


def test_a_quota_on_jobs_ends_the_task_and_leaves_no_service(
    server: ApiServer, opened: Any
) -> None:
    server.state.messages[403] = "exceeded quota: count/jobs.batch=1"
    server.state.troubles["POST", "jobs"] = [403]
    with pytest.raises(ServiceError, match="exceeded quota"), opened():
        raise AssertionError("the block was entered")
    assert _left(server) == set()


def test_a_server_that_is_away_for_a_while_is_waited_for(server: ApiServer, opened: Any) -> None:
    server.state.pods = lambda: [node_pod(0), node_pod(1)]
    server.state.troubles["GET", "jobs"] = ["drop", 500, 503, "drop", 429, 410]
    with opened():
        server.state.troubles["GET", "jobs"] = ["drop", 500, 503, 410, 403, "drop"]
        deadline = time.monotonic() + 10
        while server.state.troubles["GET", "jobs"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not server.state.troubles["GET", "jobs"]


@pytest.fixture
def stops() -> Any:
    """Counts SIGTERMs in place of dying of them."""
    came: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(time.monotonic()))
    yield came
    signal.signal(signal.SIGTERM, before)


def _until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_that_somebody_deletes_stops_the_training_in_two_steps(
    server: ApiServer, opened: Any, stops: list[float]
) -> None:
    server.state.pods = lambda: [node_pod(0), node_pod(1)]
    with pytest.raises(TrainingError, match="somebody deleted it; stopped after 7 steps"), opened():
        server.state.objects.pop(("jobs", NAME))
        _until(lambda: len(stops) == 2)
        assert stops[1] - stops[0] >= FAST.stop
        raise TrainingStopped(7)
    assert len(stops) == 2


def test_an_eviction_stops_nothing_and_is_told_once(
    server: ApiServer,
    opened: Any,
    stops: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(trainer.logging, "warning", lambda text, *args: told.append(text % args))
    evicted = node_pod(0, "Failed", reason="Evicted", message="The node was low on memory.")
    disrupted = node_pod(
        1, conditions=({"type": "DisruptionTarget", "status": "True", "message": "preempted"},)
    )
    server.state.pods = lambda: [node_pod(0), node_pod(1)]
    with opened():
        server.state.pods = lambda: [evicted, disrupted, node_pod(0)]
        looks = server.state.count("GET", "jobs")
        _until(lambda: server.state.count("GET", "jobs") > looks + 3)
    assert sorted(told) == [
        "pod node-0-x2 was evicted (The node was low on memory.): the Job makes another",
        "pod node-1-x1 was evicted (preempted): the Job makes another",
    ]
    assert stops == []


def test_a_lost_worker_is_explained_by_what_became_of_its_pod(
    server: ApiServer, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_watch", lambda *_: None)
    server.state.pods = lambda: [node_pod(0), node_pod(1)]
    with pytest.raises(TrainingError, match=r"failed: too many; worker 3 died"), opened():
        failed = {"type": "Failed", "status": "True", "message": "too many"}
        server.state.objects["jobs", NAME]["status"] = {"conditions": [failed]}
        raise WorkerLostError("worker 3 died")
    with pytest.raises(WorkerLostError, match=r"^worker 3 died"), opened():
        raise WorkerLostError("worker 3 died")


def test_sigterm_deletes_and_stays_what_it_is(server: ApiServer, opened: Any) -> None:
    server.state.pods = lambda: [node_pod(0), node_pod(1)]
    with pytest.raises(TrainingStopped), opened():
        raise TrainingStopped(3)
    assert _left(server) == set()
    assert os.getpid()  # and this process lives

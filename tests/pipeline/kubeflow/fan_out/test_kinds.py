"""TFJob and TrainJob by Kubernetes' own client, with what their operators make and say."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ground.errors import ConfigError, ServiceError, TrainingError
from model.launch.errors import TrainingStopped, WorkerLostError
from pipeline.kubeflow.fan_out import trainer
from pipeline.kubeflow.fan_out.cluster_api import ClusterApi
from pipeline.kubeflow.fan_out.kinds import KINDS
from pipeline.kubeflow.fan_out.manifests import name_of
from pipeline.kubeflow.fan_out.trainer import EXECUTOR, Patience, fan_out
from tests.pipeline.kubeflow.fan_out.api_server import ApiServer, trainer_pod, waiting
from tests.pipeline.kubeflow.fan_out.operators import host_of, pods_of, running

# Of the client, whose urllib3 is another one.
pytestmark = pytest.mark.filterwarnings("ignore:HTTPResponse.getheaders:DeprecationWarning")

NAME = name_of(trainer_pod())
FAST = Patience(poll=0.01, image=0.05, start=5.0, away=5.0, stop=0.2)
IMPATIENT = Patience(poll=0.01, start=0.05)


class Cluster:
    """The API server, with a controller that makes the pods of one kind of object."""

    def __init__(self, server: ApiServer, kind: str) -> None:
        self.server, self.kind = server, KINDS[kind]
        self.plurals = [resource.plural for resource in self.kind.resources]
        self.change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = list
        self.condition: dict[str, str] = {}
        server.state.pods = self._pods
        server.state.objects["pods", "trainer"] = trainer_pod()

    @property
    def job(self) -> tuple[str, str]:
        """The key of the object that has the pods."""
        return self.plurals[-1], NAME

    @property
    def left(self) -> set[str]:
        return {plural for plural, _ in self.server.state.objects if plural != "pods"}

    def _pods(self) -> list[dict[str, Any]]:
        objects = [self.server.state.objects.get((plural, NAME)) for plural in self.plurals]
        if not all(objects):
            return []
        if self.condition:
            told = {"status": "True", "lastTransitionTime": "1", **self.condition}
            objects[-1]["status"] = {"conditions": [told]}
        assert self.server.state.queries[-1] == {"labelSelector": f"{self.kind.label}={NAME}"}
        return self.change([running(pod) for pod in pods_of(objects)])


@pytest.fixture(params=["TFJob", "TrainJob"])
def cluster(request: pytest.FixtureRequest, server: ApiServer) -> Cluster:
    return Cluster(server, request.param)


@pytest.fixture
def environ(cluster: Cluster) -> dict[str, str]:
    return {
        "TFX_RCNN_TRAINER_NODES": "3",
        "TFX_RCNN_TRAINER_NODES_BY": cluster.kind.name,
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KFP_POD_NAME": "trainer",
    }


@pytest.fixture
def opened(api: ClusterApi, message: dict[str, Any], environ: dict[str, str]) -> Callable[..., Any]:
    """Returns a function that makes the block."""

    def made(patience: Patience = FAST) -> Any:
        return fan_out(EXECUTOR, message, "", environ, lambda: api, patience)

    return made


def _never(opened: Any, patience: Patience = FAST) -> str:
    with pytest.raises((TrainingError, ServiceError)) as raised, opened(patience):
        raise AssertionError("the block was entered")
    assert "\n" not in str(raised.value)
    return str(raised.value)


def _until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def stops() -> Iterator[list[float]]:
    """Counts SIGTERMs in place of dying of them."""
    came: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(time.monotonic()))
    yield came
    signal.signal(signal.SIGTERM, before)


def test_pods_are_there_within_the_block_and_gone_after_it(
    cluster: Cluster, opened: Any, environ: dict[str, str]
) -> None:
    with pytest.raises(TrainingStopped), opened():
        assert cluster.left == set(cluster.plurals)
        objects = [cluster.server.state.objects[plural, NAME] for plural in cluster.plurals]
        hosts = [f"{host_of(pod)}:2222" for pod in pods_of(objects)]
        assert environ["TFX_RCNN_HOSTS"] == ",".join(["10.1.2.3:2222", *hosts])
        raise TrainingStopped(3)  # of a SIGTERM
    assert cluster.left == set()
    deleted = [path for method, path in cluster.server.state.requests if method == "DELETE"]
    assert deleted == [f"{plural}/{NAME}" for plural in reversed(cluster.plurals)]
    assert "TFX_RCNN_HOSTS" not in environ


@pytest.mark.parametrize("place", [0, -1])
def test_a_kind_that_is_not_installed_ends_in_a_line(
    cluster: Cluster, opened: Any, place: int
) -> None:
    cluster.server.state.missing = {cluster.plurals[place]}
    said = _never(opened)
    kind, operator = cluster.kind.name, cluster.kind.operator
    assert said.startswith(f"this cluster has no {cluster.kind.resources[place].kind} (")
    assert said.endswith(f"_nodes_by={kind} needs: install {operator}, or take Job")
    assert cluster.left == set()


@pytest.mark.parametrize(
    ("status", "answer", "said", "is_of_rights"),
    [
        (403, "User x cannot create resource", "cannot create resource; docker/k8s/", True),
        (403, 'admission webhook "v" denied the request: no', "denied the request: no", False),
        (422, 'X "a" is invalid: spec.b: Required value', "422 X", False),
    ],
)
def test_a_refusal_ends_in_a_line(
    cluster: Cluster, opened: Any, status: int, answer: str, said: str, is_of_rights: bool
) -> None:
    cluster.server.state.messages[status] = answer
    cluster.server.state.troubles["POST", cluster.plurals[-1]] = [status]
    line = _never(opened)
    assert said in line and ("trainer-nodes.yaml" in line) == is_of_rights
    assert line.startswith(f"Kubernetes, {cluster.kind.name} for the trainer's other pods: ")
    assert cluster.left == set()


@pytest.mark.parametrize("what", ["drop", "lose", 500, 503, 429])
def test_each_is_made_once_whatever_breaks(cluster: Cluster, opened: Any, what: Any) -> None:
    for plural in cluster.plurals:
        cluster.server.state.troubles["POST", plural] = [what, what]
    with opened():
        assert cluster.left == set(cluster.plurals)


def test_a_server_that_is_away_for_a_while_is_waited_for(cluster: Cluster, opened: Any) -> None:
    troubles, key = cluster.server.state.troubles, ("GET", cluster.plurals[-1])
    troubles[key] = ["drop", 500, 503, "drop", 429]
    with opened():
        troubles[key] = ["drop", 500, 503, 403, "drop"]
        _until(lambda: not troubles[key])


def test_an_image_that_cannot_be_pulled_ends_the_task(cluster: Cluster, opened: Any) -> None:
    status = {"phase": "Pending", **waiting("ImagePullBackOff", "Back-off pulling image")}
    cluster.change = lambda pods: [{**pods[0], "status": status}, pods[1]]
    said = _never(opened)
    assert f"pod {NAME}-" in said
    assert "ImagePullBackOff: registry.my.org/tfx-rcnn@sha256:" in said
    assert cluster.left == set()


def test_a_quota_is_told_when_no_pods_come(cluster: Cluster, opened: Any) -> None:
    cluster.change = lambda pods: []
    quota = 'Error creating: pods "x" is forbidden: exceeded quota: gpus'
    if cluster.kind.name == "TFJob":
        cluster.server.state.events = [quota]
    else:  # of the Job that the JobSet makes
        cluster.server.state.events = ["an older one"]
        cluster.server.state.other_events = {f"{NAME}-node-0": [quota]}
    assert _never(opened, IMPATIENT).endswith(f"0 of 2 are ready after 0.05 s: {quota}")


def test_what_holds_the_pods_back_is_told(cluster: Cluster, opened: Any) -> None:
    cluster.change = lambda pods: []
    said = _never(opened, IMPATIENT)
    what, operator = f"{cluster.kind.name} {NAME}", cluster.kind.operator
    assert f"nothing has become of {what}: does {operator} run in this cluster?" in said
    cluster.condition = {"type": "Suspended", "message": "held by Kueue"}
    said = _never(opened, IMPATIENT)
    assert said.endswith(f"{what} is suspended, by a queue or by somebody: held by Kueue")


def test_a_job_that_fails_ends_the_task_with_the_last_words(cluster: Cluster, opened: Any) -> None:
    ended = {"exitCode": 1, "message": "worker 3 died", "finishedAt": "1"}
    status = {
        "phase": "Failed",
        "containerStatuses": [{"name": "x", "state": {"terminated": ended}}],
    }
    cluster.change = lambda pods: [pods[0], {**pods[1], "status": status}]
    cluster.condition = {"type": "Failed", "reason": "BackoffLimit", "message": "too  many\nfailed"}
    said = _never(opened)
    assert f"{cluster.kind.name} {NAME} failed: too many failed; pod {NAME}-" in said
    assert said.endswith("ended with 1: worker 3 died")


def test_wrong_usage_is_not_tried_again(cluster: Cluster, opened: Any) -> None:
    ended = {"terminated": {"exitCode": 2, "message": "train.epochs: expected a number"}}
    again = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    status = {
        "phase": "Running",
        "containerStatuses": [{"name": "x", "state": again, "lastState": ended}],
    }
    cluster.change = lambda pods: [{**pods[0], "status": status}, pods[1]]
    assert _never(opened).endswith("ended with 2: train.epochs: expected a number")


def test_an_eviction_stops_nothing_and_is_told_once(
    cluster: Cluster, opened: Any, stops: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(trainer.logging, "warning", lambda text, *args: told.append(text % args))
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    with opened():
        cluster.change = lambda pods: [{**pods[0], "status": evicted}, pods[1]]
        cluster.condition = {"type": "Restarting", "message": "job is restarting"}
        looks = cluster.server.state.count("GET", cluster.plurals[-1])
        _until(lambda: cluster.server.state.count("GET", cluster.plurals[-1]) > looks + 3)
    kind = cluster.kind.name
    assert sorted(told) == [
        f"{kind}: job is restarting",
        f"pod {pods_name(cluster)} was evicted (The node was low on memory.): "
        f"the {kind} makes another",
    ]
    assert stops == []


def pods_name(cluster: Cluster) -> str:
    """Returns the name of the first pod."""
    return f"{NAME}-worker-0" if cluster.kind.name == "TFJob" else f"{NAME}-node-0-0-00000"


def test_one_that_somebody_deletes_stops_the_training(
    cluster: Cluster, opened: Any, stops: list[float]
) -> None:
    with pytest.raises(TrainingError, match="somebody deleted it; stopped after 7 steps"), opened():
        cluster.server.state.objects.pop(cluster.job)
        _until(lambda: len(stops) == 2)
        raise TrainingStopped(7)
    assert cluster.left == set()


def test_pods_that_a_queue_takes_away_explain_a_lost_worker(
    cluster: Cluster, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_watch", lambda *_: None)
    with pytest.raises(TrainingError, match=r"is suspended.*preempted; worker 3 died"), opened():
        job = cluster.server.state.objects[cluster.job]
        condition = {"type": "Suspended", "status": "True", "message": "preempted"}
        job["status"] = {"conditions": [condition]}
        raise WorkerLostError("worker 3 died")


def test_a_kind_that_is_none_is_refused(opened: Any, environ: dict[str, str]) -> None:
    environ["TFX_RCNN_TRAINER_NODES_BY"] = "PyTorchJob"
    with pytest.raises(ConfigError, match="'PyTorchJob': expected one of Job, TFJob"), opened():
        pass

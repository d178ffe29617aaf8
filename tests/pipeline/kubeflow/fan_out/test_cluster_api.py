"""Kubernetes' own client against a server that refuses, breaks and is away."""

import json

import pytest
from absl import logging

from ground.errors import ServiceError
from pipeline.kubeflow.fan_out.cluster_api import ApiAway, ApiRefusal, ClusterApi
from pipeline.kubeflow.fan_out.kinds import KINDS
from pipeline.kubeflow.fan_out.manifests import Work, name_of
from tests.pipeline.kubeflow.fan_out.api_server import UID, ApiServer, node_pod, trainer_pod
from tests.pipeline.kubeflow.fan_out.conftest import connected

# Of the client, whose urllib3 is another one.
pytestmark = pytest.mark.filterwarnings("ignore:HTTPResponse.getheaders:DeprecationWarning")

POD = trainer_pod()
NAME = name_of(POD)
WORK = Work("{}", "", "s3://b/x", ("10.1.2.3:2222", f"{NAME}-0.{NAME}:2222"), "trainer", UID)
JOBS = KINDS["Job"]
MANIFESTS = JOBS.manifests(POD, WORK, 3)


def test_what_is_made_is_seen_and_deleted(server: ApiServer, api: ClusterApi) -> None:
    assert api.own_pod({"KFP_POD_NAME": "trainer"}) == POD
    assert api.own_pod({"HOSTNAME": "trainer"}) == POD
    api.create(JOBS, MANIFESTS)
    for plural, manifest in zip(("services", "jobs"), MANIFESTS, strict=True):
        made = server.state.objects[plural, NAME]
        assert made["spec"] == manifest["spec"]
        assert made["metadata"].items() >= manifest["metadata"].items()
    server.state.pods = lambda: [node_pod(0)]
    server.state.events = ["exceeded quota: gpus"]
    seen = api.look(JOBS, NAME)
    assert seen.job == server.state.objects["jobs", NAME] and seen.pods == [node_pod(0)]
    assert seen.events == ["exceeded quota: gpus"]
    assert server.state.queries[-2] == {"labelSelector": f"job-name={NAME}"}
    api.delete(JOBS, POD)
    assert {"propagationPolicy": "Background"} in server.state.queries
    assert set(server.state.objects) == {("pods", "trainer")}
    assert api.look(JOBS, NAME).job is None
    api.delete(JOBS, POD)  # gone already


@pytest.mark.parametrize("what", ["drop", "lose", 500, 503, 429])
@pytest.mark.parametrize("kind", ["services", "jobs"])
def test_each_is_made_once_whatever_breaks(
    server: ApiServer, api: ClusterApi, kind: str, what: str | int
) -> None:
    server.state.troubles["POST", kind] = [what, what]
    api.create(JOBS, MANIFESTS)
    assert set(server.state.objects) == {("pods", "trainer"), ("services", NAME), ("jobs", NAME)}


def test_one_of_somebody_else_is_not_ours(server: ApiServer, api: ClusterApi) -> None:
    other = json.loads(json.dumps(MANIFESTS[-1]))
    other["metadata"]["ownerReferences"][0]["uid"] = "another"
    server.state.objects["jobs", NAME] = other
    with pytest.raises(ApiRefusal, match=r"409 .* already exists"):
        api.create(JOBS, MANIFESTS)


def test_quota_and_rights_end_in_a_line(server: ApiServer, api: ClusterApi) -> None:
    quota = f'jobs.batch "{NAME}" is forbidden: exceeded quota: gpus, requested: 8, limited: 4'
    server.state.messages[403] = quota
    server.state.troubles["POST", "jobs"] = [403]
    with pytest.raises(ApiRefusal) as raised:
        api.create(JOBS, MANIFESTS)
    assert "Job for the trainer's other pods: 403 " in str(raised.value)
    assert "exceeded quota: gpus" in str(raised.value) and "\n" not in str(raised.value)
    assert "trainer-nodes.yaml" not in str(raised.value)
    server.state.messages[403] = 'User "system:serviceaccount:team:x" cannot create resource "jobs"'
    server.state.troubles["POST", "jobs"] = [403]
    with pytest.raises(ApiRefusal, match=r"cannot create.*docker/k8s/trainer-nodes\.yaml has"):
        api.create(JOBS, MANIFESTS)
    assert server.state.count("POST", "jobs") == 2


def test_without_the_right_to_read_events_none_are_read(server: ApiServer, api: ClusterApi) -> None:
    api.create(JOBS, MANIFESTS)
    server.state.troubles["GET", "events"] = [403, 500]
    assert api.look(JOBS, NAME).events == []
    assert api.look(JOBS, NAME).events == []
    assert server.state.count("GET", "events") == 1


def test_a_server_that_is_away_is_waited_for_and_then_told_of(server: ApiServer) -> None:
    slept: list[float] = []
    api = connected(server.address, slept.append)
    server.state.troubles["GET", "pods"] = ["drop", 503, "drop"]
    assert api.own_pod({"HOSTNAME": "trainer"})["metadata"]["uid"] == UID
    assert slept == [1.0, 2.0, 5.0]
    with pytest.raises(ApiAway, match="no answer"):
        connected("http://127.0.0.1:1", slept.append).own_pod({"HOSTNAME": "trainer"})
    assert sum(slept) > 120


def test_what_cannot_be_deleted_is_told_and_left(
    server: ApiServer, api: ClusterApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: told.append(text % args))
    server.state.troubles["DELETE", "jobs"] = [403]
    server.state.troubles["DELETE", "services"] = ["drop"]
    api.create(JOBS, MANIFESTS)
    api.delete(JOBS, POD)
    assert [line.count("goes with this pod") for line in told] == [1, 1]


def test_a_pod_without_an_account_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ServiceError, match="this pod has no account to ask Kubernetes with"):
        ClusterApi.of_this_pod()

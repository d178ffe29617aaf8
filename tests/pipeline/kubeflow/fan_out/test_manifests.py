"""Service and Job are what Kubernetes takes, and what the trainer's own pod is."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from model.launch.cluster import cluster_from_environment
from pipeline.kubeflow.entry import COMMAND
from pipeline.kubeflow.fan_out.manifests import (
    READY_FILE,
    WORK_VARIABLE,
    Work,
    hosts_of,
    job_manifest,
    name_of,
    service_manifest,
)
from tests.pipeline.kubeflow.fan_out.api_server import UID, trainer_pod

ROOT = Path(__file__).parents[4]


def _work(nodes: int = 3, address: str = "10.1.2.3") -> Work:
    hosts = hosts_of(trainer_pod(address), nodes, {})
    return Work("{}", "", "minio://mlpipeline/x", hosts, "trainer", UID)


def _check(value: Any, kind: str, where: str) -> None:
    """Compares a manifest with Kubernetes' OpenAPI schema, of which its client is made."""
    if kind.startswith("list["):
        assert isinstance(value, list), where
        for index, item in enumerate(value):
            _check(item, kind[5:-1], f"{where}[{index}]")
    elif kind.startswith("dict("):
        assert isinstance(value, dict), where
        for key, item in value.items():
            _check(item, kind[5:-1].split(", ")[1], f"{where}.{key}")
    elif kind in ("str", "int", "bool", "datetime", "object"):
        wanted = {"str": str, "int": int, "bool": bool, "datetime": str, "object": object}[kind]
        assert isinstance(value, wanted), f"{where}: {value!r} is no {kind}"
    else:
        model = getattr(client, kind)
        names = {json_name: name for name, json_name in model.attribute_map.items()}
        assert isinstance(value, dict), where
        for key, item in value.items():
            assert key in names, f"{where}.{key}: {kind} has no such field"
            _check(item, model.openapi_types[names[key]], f"{where}.{key}")


def test_manifests_are_what_the_schema_says() -> None:
    pod = trainer_pod()
    _check(service_manifest(pod), "V1Service", "Service")
    _check(job_manifest(pod, _work(), 3), "V1Job", "Job")
    with pytest.raises(AssertionError, match="V1JobSpec has no such field"):
        _check({"spec": {"completion": 3}}, "V1Job", "Job")
    with pytest.raises(AssertionError, match="is no int"):
        _check({"spec": {"completions": "3"}}, "V1Job", "Job")


def test_rights_are_what_the_schema_says_and_what_we_ask_for() -> None:
    role, binding = yaml.safe_load_all((ROOT / "docker/k8s/trainer-nodes.yaml").read_text())
    _check(role, "V1Role", "Role")
    _check(binding, "V1RoleBinding", "RoleBinding")
    rights = {(r, v) for rule in role["rules"] for r in rule["resources"] for v in rule["verbs"]}
    assert rights == {
        ("pods", "get"), ("pods", "list"), ("events", "list"),
        ("services", "create"), ("services", "get"), ("services", "delete"),
        ("jobs", "create"), ("jobs", "get"), ("jobs", "delete"),
    }  # fmt: skip


def test_pods_are_found_by_the_names_that_the_hosts_have() -> None:
    pod, work = trainer_pod(), _work()
    service, job = service_manifest(pod), job_manifest(pod, work, 3)
    name = name_of(pod)
    assert len(f"{name}-999") <= 63
    assert service["metadata"]["name"] == job["metadata"]["name"] == name
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert job["spec"]["template"]["spec"]["subdomain"] == name
    assert work.hosts == (
        "10.1.2.3:2222",
        f"{name}-0.{name}:2222",
        f"{name}-1.{name}:2222",
    )
    assert hosts_of(trainer_pod("fd00::5"), 2, {"TFX_RCNN_PORT": "7000"})[0] == "[fd00::5]:7000"
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (2, 2)
    assert job["spec"]["completionMode"] == "Indexed"


def test_every_pod_has_its_place_among_the_workers() -> None:
    work = _work()
    places = []
    for index in range(3):
        environ = {"TFX_RCNN_HOSTS": ",".join(work.hosts), "TFX_RCNN_HOST_INDEX": str(index)}
        if index:
            environ["JOB_COMPLETION_INDEX"] = str(index - 1)
        cluster = cluster_from_environment(environ)
        places.append((cluster.index, cluster.is_chief, cluster.worker_addresses(6)))
    assert [place[:2] for place in places] == [(0, True), (1, False), (2, False)]
    assert places[0][2] == places[1][2] == places[2][2]
    assert places[0][2][:3] == ["10.1.2.3:2222", "10.1.2.3:2223", work.hosts[1]]


def test_they_go_with_the_trainer_s_pod_and_are_not_argo_s() -> None:
    pod = trainer_pod()
    for manifest in (service_manifest(pod), job_manifest(pod, _work(), 3)):
        [owner] = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", "trainer", UID)
        assert not owner["blockOwnerDeletion"]
        assert "argoproj" not in json.dumps(manifest)
    template = job_manifest(pod, _work(), 3)["spec"]["template"]
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


def test_a_pod_has_what_the_trainer_s_own_has() -> None:
    pod = trainer_pod()
    spec = job_manifest(pod, _work(), 3)["spec"]["template"]["spec"]
    [container] = spec["containers"]
    main = pod["spec"]["containers"][1]
    assert container["command"] == [*COMMAND, "node"] and "args" not in container
    assert container["readinessProbe"]["exec"]["command"] == ["test", "-e", READY_FILE]
    assert container["image"] == main["image"] and container["resources"] == main["resources"]
    assert [m["mountPath"] for m in container["volumeMounts"]] == ["/data", "/dev/shm", "/minio"]
    assert [v["name"] for v in spec["volumes"]] == [
        "coco", "tfx-rcnn-shared-memory", "minio-scratch",
    ]  # fmt: skip
    names = [variable["name"] for variable in container["env"]]
    assert names == ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "KFP_POD_NAME", WORK_VARIABLE]
    assert container["env"][1] == main["env"][1]  # the secret by its name
    for key in ("nodeSelector", "tolerations", "imagePullSecrets", "serviceAccountName"):
        assert spec[key] == pod["spec"][key]
    assert "nodeName" not in spec and spec["restartPolicy"] == "Never"
    assert Work.from_json(container["env"][-1]["value"]) == _work()


def test_an_eviction_is_not_counted_and_wrong_settings_end_the_job() -> None:
    spec = job_manifest(trainer_pod(), _work(), 3)["spec"]
    ignored, ended = spec["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert ignored["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert (ended["action"], ended["onExitCodes"]["values"]) == ("FailJob", [2, 3])
    assert spec["backoffLimit"] == 8

"""What is made is what Kubernetes and the operators take, and what the trainer's own pod is."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ground.errors import ConfigError
from model.launch.cluster import cluster_from_environment
from model.launch.host import worker_environments
from pipeline.kubeflow.entry import COMMAND
from pipeline.kubeflow.fan_out.kinds import KINDS, kind_from
from pipeline.kubeflow.fan_out.manifests import (
    READY_FILE,
    WORK_VARIABLE,
    Work,
    hosts_of,
    name_of,
)
from pipeline.kubeflow.fan_out.node import _take_place
from tests.pipeline.kubeflow.fan_out.api_server import UID, trainer_pod
from tests.pipeline.kubeflow.fan_out.operators import environment_of, host_of, pods_of
from tests.pipeline.kubeflow.fan_out.schemas import WrongManifest, check, check_fields

ROOT = Path(__file__).parents[4]
every_kind = pytest.mark.parametrize("kind", KINDS)


def _work(kind: str, nodes: int = 3, address: str = "10.1.2.3", port: str = "") -> Work:
    environ = {"TFX_RCNN_PORT": port}
    hosts = hosts_of(trainer_pod(address), nodes, environ, KINDS[kind].host)
    return Work("{}", "", "minio://mlpipeline/x", hosts, "trainer", UID)


def _manifests(kind: str, nodes: int = 3, port: str = "") -> tuple[dict[str, Any], ...]:
    return KINDS[kind].manifests(trainer_pod(), _work(kind, nodes, port=port), 3)


@every_kind
def test_manifests_are_what_the_schema_says(kind: str) -> None:
    for nodes in (2, 3, 1000):
        for manifest, resource in zip(_manifests(kind, nodes), KINDS[kind].resources, strict=True):
            check(manifest)
            assert (manifest["kind"], manifest["apiVersion"]) == (resource.kind, resource.group)


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("Job", "spec.completion", 3, "V1JobSpec has no such field"),
        ("Job", "spec.completions", "3", "is no int"),
        ("TFJob", "spec.runPolicy.cleanPodPolicy", "all", "is not of enum"),
        ("TFJob", "spec.tfReplicaSpecs.Worker.template.spec.containers.0.name", "x", "tensorflow"),
        ("TFJob", "metadata.name", "0-begins-with-a-digit", "no name of RFC 1035"),
        ("TrainJob", "spec.runtimeRef.kind", "Runtime", "is not of enum"),
        ("TrainJob", "spec.podSpecOverrides", [], "TrainJobSpec has no such field"),
        ("TrainJob", "metadata.name", "a" * 64, "longer than 63"),
    ],
)
def test_the_schema_refuses(kind: str, path: str, value: Any, said: str) -> None:
    manifest = json.loads(json.dumps(_manifests(kind)[-1]))
    *above, last = path.split(".")
    place = manifest
    for key in above:
        place = place[int(key)] if key.isdigit() else place[key]
    place[last] = value
    with pytest.raises(WrongManifest, match=said):
        check(manifest)


def test_rights_are_what_the_schema_says_and_what_we_ask_for() -> None:
    role, binding = yaml.safe_load_all((ROOT / "docker/k8s/trainer-nodes.yaml").read_text())
    check_fields(role, "V1Role", "Role")
    check_fields(binding, "V1RoleBinding", "RoleBinding")
    rights = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    made = {
        (resource.group.rpartition("/")[0], resource.plural, verb)
        for kind in KINDS.values()
        for resource in kind.resources
        for verb in ("create", "get", "delete")
    }
    assert rights == made | {("", "pods", "get"), ("", "pods", "list"), ("", "events", "list")}


@every_kind
@pytest.mark.parametrize("others", [1, 2, 4])
def test_every_pod_finds_its_place_among_the_workers(kind: str, others: int) -> None:
    manifests = _manifests(kind, others + 1, port="2300")
    pods = pods_of([json.loads(json.dumps(one)) for one in manifests])
    hosts = _work(kind, others + 1, port="2300").hosts
    assert hosts == ("10.1.2.3:2300", *(f"{host_of(pod)}:2300" for pod in pods))
    environments = [{"TFX_RCNN_HOSTS": ",".join(hosts), "TFX_RCNN_HOST_INDEX": "0"}]
    for pod in pods:
        environ = environment_of(pod)
        assert ("TF_CONFIG" in environ) == (kind == "TFJob" and others > 1)
        _take_place(environ)
        environments.append(environ)
    workers = 2 * len(hosts)
    settings = [
        (worker, json.loads(variables["TF_CONFIG"]))
        for environ in environments
        for worker, variables in worker_environments(
            workers, cluster_from_environment(environ), {"CUDA_VISIBLE_DEVICES": ""}
        ).items()
    ]
    assert [worker for worker, _ in settings] == list(range(workers))
    addresses = [f"{host.partition(':')[0]}:{port}" for host in hosts for port in (2300, 2301)]
    for worker, setting in settings:
        assert setting == {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": worker},
        }


def test_pods_are_found_by_the_names_that_the_hosts_have() -> None:
    name = name_of(trainer_pod())
    assert _work("Job").hosts == (
        "10.1.2.3:2222",
        f"{name}-0.{name}:2222",
        f"{name}-1.{name}:2222",
    )
    assert _work("TFJob").hosts[1] == f"{name}-worker-0:2222"
    assert _work("TrainJob").hosts[1] == f"{name}-node-0-0.{name}:2222"
    own, *_ = hosts_of(trainer_pod("fd00::5"), 2, {"TFX_RCNN_PORT": "7000"}, "{name}")
    assert own == "[fd00::5]:7000"
    service, job = _manifests("Job")
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert job["spec"]["completionMode"] == "Indexed"
    for port in ("x", "0", "65536"):
        with pytest.raises(ConfigError, match="expected the number of a port"):
            _work("Job", port=port)


@every_kind
def test_they_go_with_the_trainer_s_pod_and_are_not_argo_s(kind: str) -> None:
    for manifest in _manifests(kind):
        [owner] = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", "trainer", UID)
        assert not owner["blockOwnerDeletion"]
        assert "argoproj" not in json.dumps(manifest)
    for pod in pods_of(list(_manifests(kind))):
        assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
        label = KINDS[kind].label
        assert pod["metadata"]["labels"][label] == name_of(trainer_pod())


@every_kind
def test_a_pod_has_what_the_trainer_s_own_has(kind: str) -> None:
    own = trainer_pod()
    for pod in pods_of(list(_manifests(kind))):
        spec = pod["spec"]
        [container] = spec["containers"]
        main = own["spec"]["containers"][1]
        assert container["command"] == [*COMMAND, "node"] and "args" not in container
        assert container["readinessProbe"]["exec"]["command"] == ["test", "-e", READY_FILE]
        assert container["image"] == main["image"]
        assert container["resources"] == main["resources"]
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert paths == ["/data", "/dev/shm", "/minio"]
        assert [v["name"] for v in spec["volumes"]] == [
            "coco", "tfx-rcnn-shared-memory", "minio-scratch",
        ]  # fmt: skip
        names = [variable["name"] for variable in container["env"]]
        assert names[:4] == [
            "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "KFP_POD_NAME", WORK_VARIABLE,
        ]  # fmt: skip
        assert set(names[4:]) <= {"JOB_COMPLETION_INDEX", "TFX_RCNN_NODE_PLACE", "TF_CONFIG"}
        assert container["env"][1] == main["env"][1]  # the secret by its name
        for key in ("nodeSelector", "tolerations", "imagePullSecrets", "serviceAccountName"):
            assert spec[key] == own["spec"][key]
        assert "nodeName" not in spec
        assert Work.from_json(container["env"][3]["value"]) == _work(kind)


@pytest.mark.parametrize("kind", ["Job", "TrainJob"])
def test_an_eviction_is_not_counted_and_wrong_settings_end_the_job(kind: str) -> None:
    spec = _manifests(kind)[-1]["spec"]
    if kind == "TrainJob":
        jobset = _manifests(kind)[0]["spec"]["template"]["spec"]
        spec = jobset["replicatedJobs"][0]["template"]["spec"]
    ignored, ended = spec["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert ignored["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert (ended["action"], ended["onExitCodes"]["values"]) == ("FailJob", [2, 3])
    assert spec["backoffLimit"] == 8
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_a_tf_job_starts_containers_again_and_counts_them() -> None:
    [job] = _manifests("TFJob")
    assert job["spec"]["runPolicy"]["backoffLimit"] == 8
    assert job["spec"]["tfReplicaSpecs"]["Worker"]["restartPolicy"] == "OnFailure"
    assert job["spec"]["successPolicy"] == "AllWorkers"


def test_the_kind_is_what_the_container_is_told() -> None:
    assert kind_from({}).name == "Job"
    assert kind_from({"TFX_RCNN_TRAINER_NODES_BY": "TrainJob"}).name == "TrainJob"
    with pytest.raises(ConfigError, match=r"MPIJob.*expected one of Job, TFJob, TrainJob"):
        kind_from({"TFX_RCNN_TRAINER_NODES_BY": "MPIJob"})

"""What the API server and the operators' webhooks accept, for a check of manifests.

Kubernetes' own types are those of its client, which is made of its OpenAPI schema. Of the
operators' types here stand the fields, as far as we use them, and the rules, as read in

    kubeflow/training-operator release-1.9   pkg/apis/kubeflow.org/v1/{tensorflow,common}_types.go,
                                             pkg/webhooks/tensorflow/tfjob_webhook.go
    kubeflow/trainer v2.0.0 and v2.3.0       pkg/apis/trainer/v1alpha1/*_types.go,
                                             pkg/webhooks/trainingruntime_webhook.go
    kubernetes-sigs/jobset                   api/jobset/v1alpha2/jobset_types.go,
                                             pkg/webhooks/jobset_webhook.go
"""

import re
from typing import Any

from kubernetes import client

_STEP = "trainer.kubeflow.org/trainjob-ancestor-step"
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST_NAME = 63
_PLAIN = {"str": str, "int": int, "bool": bool, "datetime": str, "object": object}
_OBJECT = {"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta"}
_FIELDS = {
    "TFJob": {**_OBJECT, "spec": "TFJobSpec"},
    "TFJobSpec": {
        "runPolicy": "RunPolicy",
        "successPolicy": "enum( AllWorkers)",
        "tfReplicaSpecs": "dict(str, ReplicaSpec)",
        "enableDynamicWorker": "bool",
    },
    "RunPolicy": {
        "cleanPodPolicy": "enum(All Running None)",
        "ttlSecondsAfterFinished": "int",
        "activeDeadlineSeconds": "int",
        "backoffLimit": "int",
        "schedulingPolicy": "object",
        "suspend": "bool",
        "managedBy": "str",
    },
    "ReplicaSpec": {
        "replicas": "int",
        "template": "V1PodTemplateSpec",
        "restartPolicy": "enum(Always OnFailure Never ExitCode)",
    },
    "TrainingRuntime": {**_OBJECT, "spec": "TrainingRuntimeSpec"},
    "TrainingRuntimeSpec": {
        "mlPolicy": "MLPolicy",
        "podGroupPolicy": "object",
        "template": "JobSetTemplateSpec",
    },
    "MLPolicy": {"numNodes": "int", "torch": "object", "mpi": "object"},
    "JobSetTemplateSpec": {"metadata": "V1ObjectMeta", "spec": "JobSetSpec"},
    "JobSetSpec": {
        "replicatedJobs": "list[ReplicatedJob]",
        "network": "Network",
        "successPolicy": "object",
        "failurePolicy": "object",
        "startupPolicy": "object",
        "suspend": "bool",
        "coordinator": "object",
        "managedBy": "str",
        "ttlSecondsAfterFinished": "int",
    },
    "ReplicatedJob": {
        "name": "str",
        "replicas": "int",
        "template": "V1JobTemplateSpec",
        "dependsOn": "object",
    },
    "Network": {
        "enableDNSHostnames": "bool",
        "publishNotReadyAddresses": "bool",
        "subdomain": "str",
    },
    "TrainJob": {**_OBJECT, "spec": "TrainJobSpec"},
    "TrainJobSpec": {
        "runtimeRef": "RuntimeRef",
        "initializer": "object",
        "trainer": "Trainer",
        "suspend": "bool",
        "managedBy": "str",
    },
    "RuntimeRef": {
        "name": "str",
        "apiGroup": "enum(trainer.kubeflow.org)",
        "kind": "enum(TrainingRuntime ClusterTrainingRuntime)",
    },
    "Trainer": {
        "image": "str",
        "command": "list[str]",
        "args": "list[str]",
        "env": "list[V1EnvVar]",
        "numNodes": "int",
        "resourcesPerNode": "V1ResourceRequirements",
    },
}
_REQUIRED = {
    "TFJobSpec": ("tfReplicaSpecs",),
    "ReplicatedJob": ("name", "template"),
    "TrainJobSpec": ("runtimeRef",),
    "RuntimeRef": ("name",),
}


class WrongManifest(ValueError):
    """The API server would answer 422, or a webhook refuse."""


def check(manifest: dict[str, Any]) -> None:
    """Refuses a manifest as the API server and the operators do.

    Raises:
        WrongManifest: with the field.
    """
    kind = manifest["kind"]
    check_fields(manifest, kind if kind in _FIELDS else f"V1{kind}", kind)
    {"TFJob": _check_tf_job, "TrainingRuntime": _check_runtime, "TrainJob": _check_train_job}.get(
        kind, lambda _: None
    )(manifest)


def check_fields(value: Any, kind: str, where: str) -> None:
    """Compares a value with a type: of ours above, else of Kubernetes' client.

    Raises:
        WrongManifest: with the field.
    """
    if kind.startswith("list["):
        _demand(isinstance(value, list), f"{where}: {value!r} is no list")
        for index, item in enumerate(value):
            check_fields(item, kind[5:-1], f"{where}[{index}]")
    elif kind.startswith("dict("):
        _demand(isinstance(value, dict), f"{where}: {value!r} is no object")
        for key, item in value.items():
            check_fields(item, kind[5:-1].split(", ")[1], f"{where}.{key}")
    elif kind.startswith("enum("):
        _demand(value in kind[5:-1].split(" "), f"{where}: {value!r} is not of {kind}")
    elif kind in _PLAIN:
        is_wrong_bool = kind == "int" and isinstance(value, bool)
        is_kind = isinstance(value, _PLAIN[kind]) and not is_wrong_bool
        _demand(is_kind, f"{where}: {value!r} is no {kind}")
    else:
        _check_object(value, kind, where)


def _check_object(value: Any, kind: str, where: str) -> None:
    _demand(isinstance(value, dict), f"{where}: {value!r} is no object")
    if kind in _FIELDS:
        types = _FIELDS[kind]
    else:
        model = getattr(client, kind)
        types = {json: model.openapi_types[name] for name, json in model.attribute_map.items()}
    for key, item in value.items():
        _demand(key in types, f"{where}.{key}: {kind} has no such field")
        check_fields(item, types[key], f"{where}.{key}")
    for key in _REQUIRED.get(kind, ()):
        _demand(key in value, f"{where}.{key}: required")


def _check_tf_job(job: dict[str, Any]) -> None:
    _check_name(job["metadata"]["name"])
    for kind, replica in job["spec"]["tfReplicaSpecs"].items():
        _demand(kind in ("Chief", "Worker"), f"{kind}: no replica of ours")
        spec = replica["template"]["spec"]
        names = [container["name"] for container in spec["containers"]]
        _demand("tensorflow" in names, "must have a container with name tensorflow")
        # pkg/controller.v1/common/pod.go warns: the replica's own restart policy counts.
        _demand("restartPolicy" not in spec, "a restart policy of the template is overwritten")
        _check_name(f"{job['metadata']['name']}-{kind.lower()}-{replica['replicas'] - 1}")


def _check_runtime(runtime: dict[str, Any]) -> None:
    jobs = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    [job] = [job for job in jobs if _step_of(job) == "trainer"]
    _demand(job.get("replicas", 1) == 1, "replicas: always must be 1")
    spec = job["template"]["spec"]
    names = [container["name"] for container in spec["template"]["spec"]["containers"]]
    _demand("node" in names, "must contain the required container for the ancestor: node")
    last = runtime["spec"]["mlPolicy"]["numNodes"] - 1
    _check_name(f"{runtime['metadata']['name']}-{job['name']}-0-{last}-abcde")


def _check_train_job(job: dict[str, Any]) -> None:
    _check_name(job["metadata"]["name"])


def _step_of(job: dict[str, Any]) -> str | None:
    return (job["template"].get("metadata", {}).get("labels") or {}).get(_STEP)


def _check_name(name: str) -> None:
    is_name = _DNS_1035.fullmatch(name) and len(name) <= _LONGEST_NAME
    _demand(bool(is_name), f"{name}: no name of RFC 1035, or longer than {_LONGEST_NAME}")


def _demand(is_so: bool, message: str) -> None:
    if not is_so:
        raise WrongManifest(message)

"""What becomes of a Job, a TFJob and a TrainJob: pods, as Kubernetes and the operators make them.

TFJob: pkg/controller.v1/{common/pod.go,tensorflow/tensorflow.go} of kubeflow/training-operator's
release-1.9. TrainJob: pkg/runtime of kubeflow/trainer v2.3.0 makes a JobSet, whose controller
(kubernetes-sigs/jobset) makes an Indexed Job.
"""

import json
import re
from typing import Any

from tests.pipeline.kubeflow.fan_out.api_server import NAMESPACE

Manifest = dict[str, Any]
_INDEX = "batch.kubernetes.io/job-completion-index"


def pods_of(objects: list[Manifest]) -> list[Manifest]:
    """Returns the pods of what was posted, not started yet.

    Args:
        objects: as posted; the last one has the pods.
    """
    make = {"Job": _of_job, "TFJob": _of_tf_job, "TrainJob": _of_train_job}
    return make[objects[-1]["kind"]](objects)


def host_of(pod: Manifest) -> str:
    """Returns the name in DNS under which a pod is found in its namespace."""
    if "subdomain" in pod["spec"]:
        return f"{pod['spec']['hostname']}.{pod['spec']['subdomain']}"
    return str(pod["metadata"]["name"])  # TFJob's Services are called as their pods


def environment_of(pod: Manifest) -> dict[str, str]:
    """Returns the variables of a pod's container as the kubelet has them, but for secrets."""
    [container] = pod["spec"]["containers"]
    found = {}
    for variable in container["env"]:
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        elif "fieldRef" in variable["valueFrom"]:
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            found[variable["name"]] = _field(pod, path)
    return found


def _field(pod: Manifest, path: str) -> str:
    named = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if named:
        return str(pod["metadata"][named[1]][named[2]])
    assert path == "metadata.name"
    return str(pod["metadata"]["name"])


def _of_job(objects: list[Manifest]) -> list[Manifest]:
    service, job = objects
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert service["metadata"]["name"] == job["spec"]["template"]["spec"]["subdomain"]
    return _indexed(job["metadata"]["name"], job["spec"])


def _indexed(name: str, spec: Manifest, labels: dict[str, str] | None = None) -> list[Manifest]:
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    pods = []
    for index in range(spec["completions"]):
        pod = _pod(spec["template"], f"{name}-{index}-{index:05}")
        pod["metadata"]["labels"] |= {"job-name": name, **(labels or {})}
        pod["metadata"]["annotations"][_INDEX] = str(index)
        pod["spec"]["hostname"] = f"{name}-{index}"
        reference = {"fieldRef": {"fieldPath": f"metadata.annotations['{_INDEX}']"}}
        pod["spec"]["containers"][0]["env"].append(
            {"name": "JOB_COMPLETION_INDEX", "valueFrom": reference}
        )
        pods.append(pod)
    return pods


def _of_tf_job(objects: list[Manifest]) -> list[Manifest]:
    [job] = objects
    name, worker = job["metadata"]["name"], job["spec"]["tfReplicaSpecs"]["Worker"]
    count = worker["replicas"]
    [container] = worker["template"]["spec"]["containers"]
    [port] = [p["containerPort"] for p in container["ports"] if p["name"] == "tfjob-port"]
    hosts = [f"{name}-worker-{index}.{NAMESPACE}.svc:{port}" for index in range(count)]
    pods = []
    for index in range(count):
        pod = _pod(worker["template"], f"{name}-worker-{index}")
        pod["metadata"]["labels"] |= {
            "training.kubeflow.org/operator-name": "tfjob-controller",
            "training.kubeflow.org/job-name": name,
            "training.kubeflow.org/replica-type": "worker",
            "training.kubeflow.org/replica-index": str(index),
        }
        pod["spec"]["restartPolicy"] = worker["restartPolicy"]
        if count != 1:  # isDistributed
            task = {"type": "worker", "index": index}
            settings = {"cluster": {"worker": hosts}, "task": task, "environment": "cloud"}
            pod["spec"]["containers"][0]["env"].append(
                {"name": "TF_CONFIG", "value": json.dumps(settings)}
            )
        pods.append(pod)
    return pods


def _of_train_job(objects: list[Manifest]) -> list[Manifest]:
    runtime, job = objects
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    assert job["spec"]["runtimeRef"]["kind"] == "TrainingRuntime"
    name = job["metadata"]["name"]
    jobset = runtime["spec"]["template"]["spec"]
    [replicated] = jobset["replicatedJobs"]
    count = job["spec"]["trainer"]["numNodes"]  # wins over the runtime's, and over the Job's
    spec = {**replicated["template"]["spec"], "completions": count, "parallelism": count}
    pods = _indexed(
        f"{name}-{replicated['name']}-0", spec, {"jobset.sigs.k8s.io/jobset-name": name}
    )
    assert jobset["network"]["enableDNSHostnames"]
    for pod in pods:
        pod["spec"]["subdomain"] = jobset["network"].get("subdomain", name)
    return pods


def _pod(template: Manifest, name: str) -> Manifest:
    pod = json.loads(json.dumps(template))
    pod["metadata"]["name"] = name
    pod["metadata"]["uid"] = f"uid-{name}"
    pod["status"] = {"phase": "Pending"}
    return pod


def running(pod: Manifest) -> Manifest:
    """Returns a pod that is ready."""
    condition = {"type": "Ready", "status": "True"}
    return {**pod, "status": {"phase": "Running", "conditions": [condition]}}

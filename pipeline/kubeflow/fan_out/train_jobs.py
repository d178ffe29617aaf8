"""Kubeflow Trainer's TrainJob (trainer.kubeflow.org/v1alpha1), read in its v2.0.0 to v2.3.0.

A TrainJob names a runtime, which holds a template of a JobSet. What a TrainJob itself may say of
volumes, node labels and the like was called podSpecOverrides in 2.0, podTemplateOverrides in 2.1
and runtimePatches from 2.2 on; a TrainingRuntime has stayed the same. So each training brings a
TrainingRuntime with all of the pod in it, and a TrainJob that names it and the number of pods.

The trainer makes a JobSet of the TrainJob's name, the JobSet an Indexed Job `<name>-node-0`, whose
pods are found as `<name>-node-0-<index>.<name>` (pkg/runtime/framework/plugins/jobset). PET_... is
for runtimes with a torch policy; this one has none. The pods' place is the Job's completion index,
and TensorFlow's TF_CONFIG is made of that and of the hosts that the trainer's pod names (node.py).
"""

from pipeline.kubeflow.fan_out import jobs
from pipeline.kubeflow.fan_out.manifests import (
    SECONDS_KEPT,
    Manifest,
    Work,
    metadata_of,
    name_of,
    pod_template,
)

LABEL = "jobset.sigs.k8s.io/jobset-name"
HOST = "{name}-node-0-{index}.{name}"
JOB = "{name}-node-0"  # of which Kubernetes tells that no pod can be made
_API = "trainer.kubeflow.org/v1alpha1"
_NODE = "node"  # of the replicated job and of its container, as the trainer asks for
_STEP = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}


def manifests(pod: Manifest, work: Work, max_restarts: int) -> tuple[Manifest, ...]:
    """Returns the TrainingRuntime and the TrainJob of all pods but the trainer's own.

    Args:
        pod: the trainer's, as the API server has it.
        work: what the pods do.
        max_restarts: the training's; a pod that fails is replaced as often.
    """
    count = len(work.hosts) - 1
    job = jobs.indexed_job(pod_template(pod, work, _NODE), count, max_restarts)
    jobset = {
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        "ttlSecondsAfterFinished": SECONDS_KEPT,
        "replicatedJobs": [
            {
                "name": _NODE,
                "replicas": 1,
                "template": {"metadata": {"labels": _STEP}, "spec": job},
            }
        ],
    }
    runtime = {
        "apiVersion": _API,
        "kind": "TrainingRuntime",
        "metadata": metadata_of(pod),
        "spec": {"mlPolicy": {"numNodes": count}, "template": {"spec": jobset}},
    }
    reference = {"apiGroup": _API.partition("/")[0], "kind": "TrainingRuntime"}
    train_job = {
        "apiVersion": _API,
        "kind": "TrainJob",
        "metadata": metadata_of(pod),
        "spec": {
            "runtimeRef": {**reference, "name": name_of(pod)},
            "trainer": {"numNodes": count},
        },
    }
    return runtime, train_job

"""Training Operator's TFJob (kubeflow.org/v1), read in its release-1.9.

The operator (pkg/controller.v1) makes a pod and a headless Service for each replica, both called
`<job>-worker-<index>`; the Service's address is there once the pod is ready. It sets TF_CONFIG in
the container called tensorflow where there are several replicas. That names its own pods only, so
ours go by the hosts that the trainer names (node.py), at the place that a label gives them.

A container that fails is started again in its pod, as often as backoffLimit says; a pod that is
evicted or deleted is made anew. Nothing here says that a status of wrong usage shall end the job
(restart policy ExitCode would take every status below 128 for final): pods.py looks for those.
"""

from pipeline.kubeflow.fan_out.manifests import (
    PLACE_VARIABLE,
    SECONDS_KEPT,
    Manifest,
    Work,
    metadata_of,
    pod_template,
)

LABEL = "training.kubeflow.org/job-name"
INDEX_LABEL = "training.kubeflow.org/replica-index"
HOST = "{name}-worker-{index}"
_CONTAINER, _PORT = "tensorflow", "tfjob-port"  # TFJobDefaultContainerName, -PortName


def manifests(pod: Manifest, work: Work, max_restarts: int) -> tuple[Manifest, ...]:
    """Returns the TFJob of all pods but the trainer's own.

    Args:
        pod: the trainer's, as the API server has it.
        work: what the pods do.
        max_restarts: the training's; containers that fail are started again as often.
    """
    count = len(work.hosts) - 1
    template = pod_template(pod, work, _CONTAINER)
    [container] = template["spec"]["containers"]
    place = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX_LABEL}']"}}
    container["env"].append({"name": PLACE_VARIABLE, "valueFrom": place})
    port = int(work.hosts[0].rpartition(":")[2])
    container["ports"] = [{"name": _PORT, "containerPort": port}]
    return (
        {
            "apiVersion": "kubeflow.org/v1",
            "kind": "TFJob",
            "metadata": metadata_of(pod),
            "spec": {
                "runPolicy": {
                    "backoffLimit": count * (max_restarts + 1),
                    # Pods that failed stay, and with them what they said.
                    "cleanPodPolicy": "Running",
                    "ttlSecondsAfterFinished": SECONDS_KEPT,
                },
                "successPolicy": "AllWorkers",
                "tfReplicaSpecs": {
                    "Worker": {
                        "replicas": count,
                        "restartPolicy": "OnFailure",
                        "template": template,
                    }
                },
            },
        },
    )

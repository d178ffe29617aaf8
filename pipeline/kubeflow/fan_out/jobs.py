"""Kubernetes' own: an Indexed Job, and a headless Service that gives its pods their names."""

from pipeline.kubeflow.fan_out.manifests import (
    SECONDS_KEPT,
    STATUSES_THAT_STAY,
    Manifest,
    Work,
    metadata_of,
    name_of,
    pod_template,
)

LABEL = "job-name"  # what every Kubernetes with Jobs puts on their pods
HOST = "{name}-{index}.{name}"


def manifests(pod: Manifest, work: Work, max_restarts: int) -> tuple[Manifest, ...]:
    """Returns the Service and the Job of all pods but the trainer's own.

    Args:
        pod: the trainer's, as the API server has it.
        work: what the pods do.
        max_restarts: the training's; a pod that fails is replaced as often.
    """
    name = name_of(pod)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata_of(pod),
        "spec": {
            "clusterIP": "None",
            "selector": {LABEL: name},
            # Workers look for each other before any of them is ready.
            "publishNotReadyAddresses": True,
        },
    }
    template = pod_template(pod, work, "node")
    template["spec"]["subdomain"] = name
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata_of(pod),
        "spec": {
            **indexed_job(template, len(work.hosts) - 1, max_restarts),
            "ttlSecondsAfterFinished": SECONDS_KEPT,
        },
    }
    return service, job


def indexed_job(template: Manifest, count: int, max_restarts: int) -> Manifest:
    """Returns the spec of an Indexed Job of `count` pods, which replaces those that are lost.

    Args:
        template: template of its pods; gets a restart policy.
        count: count of its pods.
        max_restarts: the training's; a pod that fails is replaced as often.
    """
    template["spec"]["restartPolicy"] = "Never"
    return {
        "completionMode": "Indexed",
        "completions": count,
        "parallelism": count,
        "backoffLimit": count * (max_restarts + 1),
        "podFailurePolicy": {
            "rules": [
                # An eviction is nobody's fault, and is not counted.
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                {
                    "action": "FailJob",
                    "onExitCodes": {"operator": "In", "values": list(STATUSES_THAT_STAY)},
                },
            ]
        },
        "template": template,
    }

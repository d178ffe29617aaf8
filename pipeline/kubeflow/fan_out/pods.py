"""What the state of a Job and its pods means for the training."""

from typing import Any

from pipeline.kubeflow.fan_out.cluster_api import Seen
from pipeline.kubeflow.fan_out.manifests import Manifest

# Waiting reasons that do not pass by themselves; an image may be pulled at the second try.
_WRONG = (
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)
_PULL = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable")


def why_hopeless(seen: Seen, name: str) -> str:
    """Returns in one line why no other pods will come, or come no more; "" where they may."""
    if seen.job is None:
        return f"Job {name} is gone: somebody deleted it"
    for condition in seen.job.get("status", {}).get("conditions") or []:
        if condition.get("type") in ("Failed", "FailureTarget") and condition["status"] == "True":
            said = " ".join(str(condition.get("message") or condition.get("reason")).split())
            return f"Job {name} failed: {said}{last_words(seen)}"
    for pod in seen.pods:
        reason, said = _waiting(pod)
        if reason in _WRONG:
            return f"pod {pod['metadata']['name']}: {reason}: {said}"
    return ""


def why_no_image(seen: Seen) -> str:
    """Returns in one line which pod cannot get its image; "" where all do."""
    for pod in seen.pods:
        reason, said = _waiting(pod)
        if reason in _PULL:
            image = pod["spec"]["containers"][0].get("image", "")
            return f"pod {pod['metadata']['name']}: {reason}: {image} ({said})"
    return ""


def last_words(seen: Seen) -> str:
    """Returns what the container that failed first left as its last message; "" without any."""
    told = []
    for pod in seen.pods:
        for status in pod.get("status", {}).get("containerStatuses") or []:
            ended = (status.get("state") or {}).get("terminated") or {}
            if ended.get("exitCode"):
                said = " ".join(str(ended.get("message") or ended.get("reason") or "").split())
                line = f"pod {pod['metadata']['name']} ended with {ended['exitCode']}: {said}"
                told.append((str(ended.get("finishedAt") or ""), line))
    return f"; {min(told)[1]}" if told else ""


def is_ready(pod: Manifest) -> bool:
    """Returns whether a pod has its examples and can train."""
    status: dict[str, Any] = pod.get("status", {})
    conditions = status.get("conditions") or []
    is_well = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return is_well and not pod["metadata"].get("deletionTimestamp")


def ready(seen: Seen) -> int:
    """Returns how many of the Job's places have a pod that can train."""
    return len({place_of(pod) for pod in seen.pods if is_ready(pod)})


def place_of(pod: Manifest) -> str:
    """Returns a pod's place in its Job."""
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get("batch.kubernetes.io/job-completion-index", pod["metadata"]["name"]))


def why_waiting(seen: Seen) -> str:
    """Returns what keeps the pods from running, as Kubernetes says it; "" where it does not."""
    for pod in seen.pods:
        reason, said = _waiting(pod)
        if reason not in ("", "ContainerCreating", "PodInitializing"):
            return f"{reason}: {said}"
        for condition in pod.get("status", {}).get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return " ".join(str(condition.get("message") or condition.get("reason")).split())
    if seen.events and not seen.pods:
        return seen.events[-1]
    return last_words(seen).removeprefix("; ")


def evictions(seen: Seen) -> dict[str, str]:
    """Returns, by name, why pods were evicted or taken from their node."""
    found = {}
    for pod in seen.pods:
        status = pod.get("status", {})
        conditions = status.get("conditions") or []
        disrupted = [c for c in conditions if c.get("type") == "DisruptionTarget"]
        if status.get("reason") == "Evicted" or disrupted:
            said = status.get("message") or (disrupted and disrupted[0].get("message")) or "Evicted"
            found[pod["metadata"]["name"]] = " ".join(str(said).split())
    return found


def _waiting(pod: Manifest) -> tuple[str, str]:
    for status in pod.get("status", {}).get("containerStatuses") or []:
        waiting = (status.get("state") or {}).get("waiting")
        if waiting:
            said = " ".join(str(waiting.get("message") or "").split())
            return str(waiting.get("reason") or ""), said
    return "", ""

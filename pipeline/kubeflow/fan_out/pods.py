"""What the state of a Job (or a TFJob, or a TrainJob) and its pods means for the training."""

from typing import Any

from pipeline.kubeflow.fan_out.cluster_api import Seen
from pipeline.kubeflow.fan_out.manifests import STATUSES_THAT_STAY, Manifest
from pipeline.kubeflow.fan_out.tf_jobs import INDEX_LABEL

# Waiting reasons that do not pass by themselves; an image may be pulled at the second try.
_WRONG = (
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)
_DISRUPTED = "DisruptionTarget"
_COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
_PULL = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable")


def why_hopeless(seen: Seen) -> str:
    """Returns in one line why no other pods will come, or come no more; "" where they may."""
    if seen.job is None:
        return f"{seen.what} is gone: somebody deleted it"
    for condition in _true_conditions(seen):
        if condition.get("type") in ("Failed", "FailureTarget"):
            return f"{seen.what} failed: {_said(condition)}{last_words(seen)}"
    for pod in seen.pods:
        reason, said = _waiting(pod)
        if reason in _WRONG:
            return f"pod {pod['metadata']['name']}: {reason}: {said}"
        # A Job says so itself; a TFJob would start the container again and again.
        if any(ended.get("exitCode") in STATUSES_THAT_STAY for ended in _endings(pod)):
            return last_words(seen).removeprefix("; ")
    return ""


def _true_conditions(seen: Seen) -> list[dict[str, Any]]:
    conditions = (seen.job or {}).get("status", {}).get("conditions") or []
    return [condition for condition in conditions if condition.get("status") == "True"]


def _said(condition: dict[str, Any]) -> str:
    return " ".join(str(condition.get("message") or condition.get("reason")).split())


def why_suspended(seen: Seen) -> str:
    """Returns in one line that the pods were taken away or are held back; "" where not."""
    for condition in _true_conditions(seen):
        if condition.get("type") == "Suspended":
            return f"{seen.what} is suspended, by a queue or by somebody: {_said(condition)}"
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
        for ended in _endings(pod):
            said = " ".join(str(ended.get("message") or ended.get("reason") or "").split())
            line = f"pod {pod['metadata']['name']} ended with {ended['exitCode']}: {said}"
            told.append((str(ended.get("finishedAt") or ""), line))
    return f"; {min(told)[1]}" if told else ""


def _endings(pod: Manifest) -> list[dict[str, Any]]:
    """Returns how a pod's containers failed, also those that were started again since."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    states = [status.get(name) or {} for status in statuses for name in ("state", "lastState")]
    return [state["terminated"] for state in states if _exit_code(state)]


def _exit_code(state: dict[str, Any]) -> int:
    return int((state.get("terminated") or {}).get("exitCode") or 0)


def is_ready(pod: Manifest) -> bool:
    """Returns whether a pod has its examples and can train."""
    status: dict[str, Any] = pod.get("status", {})
    conditions = status.get("conditions") or []
    is_well = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return is_well and not pod["metadata"].get("deletionTimestamp")


def ready(seen: Seen) -> int:
    """Returns how many of the places have a pod that can train."""
    return len({place_of(pod) for pod in seen.pods if is_ready(pod)})


def place_of(pod: Manifest) -> str:
    """Returns a pod's place among the others."""
    metadata = pod["metadata"]
    index = (metadata.get("annotations") or {}).get(_COMPLETION_INDEX)
    index = index or (metadata.get("labels") or {}).get(INDEX_LABEL)
    return str(index or metadata["name"])


def why_waiting(seen: Seen) -> str:
    """Returns what keeps the pods from running, as Kubernetes says it; "" where it does not."""
    for pod in seen.pods:
        reason, said = _waiting(pod)
        if reason not in ("", "ContainerCreating", "PodInitializing"):
            return f"{reason}: {said}"
        for condition in pod.get("status", {}).get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return _said(condition)
    if suspended := why_suspended(seen):
        return suspended
    if seen.events and not seen.pods:
        return seen.events[-1]
    if seen.operator and not seen.pods and not (seen.job or {}).get("status"):
        return f"nothing has become of {seen.what}: does {seen.operator} run in this cluster?"
    return last_words(seen).removeprefix("; ")


def losses(seen: Seen) -> dict[str, str]:
    """Returns lines that tell of pods which were evicted, taken from their node or replaced.

    The keys are the same for the same loss.
    """
    found, maker = {}, seen.what.partition(" ")[0]
    for pod in seen.pods:
        status, name = pod.get("status", {}), pod["metadata"]["name"]
        disrupted = [c for c in status.get("conditions") or [] if c.get("type") == _DISRUPTED]
        if status.get("reason") == "Evicted" or disrupted:
            said = status.get("message") or (disrupted and disrupted[0].get("message")) or "Evicted"
            reason = " ".join(str(said).split())
            key = str(pod["metadata"].get("uid") or name)  # a TFJob gives the next the same name
            found[key] = f"pod {name} was evicted ({reason}): the {maker} makes another"
    for condition in _true_conditions(seen):
        if condition.get("type") == "Restarting":
            found[str(condition.get("lastTransitionTime"))] = f"{maker}: {_said(condition)}"
    return found


def _waiting(pod: Manifest) -> tuple[str, str]:
    for status in pod.get("status", {}).get("containerStatuses") or []:
        waiting = (status.get("state") or {}).get("waiting")
        if waiting:
            said = " ".join(str(waiting.get("message") or "").split())
            return str(waiting.get("reason") or ""), said
    return "", ""

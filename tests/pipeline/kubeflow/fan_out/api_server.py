"""A stand-in for Kubernetes' API server, of one namespace, on a loopback port.

It keeps what is posted and answers with it, as `Status` where it refuses; pods come and go as a
test says. Paths and answers are those of Kubernetes' API reference (v1, batch/v1), and of custom
resources as k8s.io/apiextensions-apiserver serves them: checked by a schema, `status` is not
taken from a POST, and a kind that is not installed is no `Status` but a page that is not there.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tests.loopback import Handler, LoopbackServer
from tests.pipeline.kubeflow.fan_out.schemas import WrongManifest, check

_APIS = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "events": "/api/v1",
    "jobs": "/apis/batch/v1",
    "tfjobs": "/apis/kubeflow.org/v1",
    "trainingruntimes": "/apis/trainer.kubeflow.org/v1alpha1",
    "trainjobs": "/apis/trainer.kubeflow.org/v1alpha1",
}
NAMESPACE = "team"
UID = "0a1b2c3d-1111-2222-3333-444455556666"


@dataclasses.dataclass
class State:
    """What the server has, was asked, and how it shall misbehave.

    Attributes:
        pods: of the Job, as lists would have them; a function is called for each list.
        events: warnings about what was posted; `other_events` by the name of what was not.
        missing: plurals of kinds that are not installed.
        troubles: statuses or `drop`/`lose` (done, without an answer) of the next requests, by
            method and the last word of the path.
    """

    objects: dict[tuple[str, str], dict[str, Any]] = dataclasses.field(default_factory=dict)
    pods: Callable[[], list[dict[str, Any]]] = list
    events: list[str] = dataclasses.field(default_factory=list)
    other_events: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    missing: set[str] = dataclasses.field(default_factory=set)
    requests: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    queries: list[dict[str, str]] = dataclasses.field(default_factory=list)
    troubles: dict[tuple[str, str], list[Any]] = dataclasses.field(default_factory=dict)
    messages: dict[int, str] = dataclasses.field(default_factory=dict)

    def count(self, method: str, kind: str) -> int:
        """Returns how often something was asked for."""
        return sum(m == method and kind in path.split("/") for m, path in self.requests)


class _Handler(Handler):
    def answer_request(self, body: bytes) -> None:
        state, method = self.state, self.command
        parts = urlsplit(self.path)
        api, _, rest = parts.path.partition(f"/namespaces/{NAMESPACE}/")
        words = rest.split("/")
        state.requests.append((method, "/".join(words)))
        state.queries.append(self.query)
        troubles = state.troubles.get((method, words[0])) or [None]
        trouble = troubles.pop(0) if len(troubles) > 1 or troubles != [None] else None
        if _APIS.get(words[0]) != api or words[0] in state.missing:
            self._send(404, "404 page not found\n", "text/plain; charset=utf-8")
        elif isinstance(trouble, int):
            self._refuse(trouble, state.messages.get(trouble, "as the test says"))
        elif trouble == "drop":
            self.break_off()
        else:
            self._do(method, words, body, trouble == "lose")

    def _do(self, method: str, words: list[str], body: bytes, is_lost: bool) -> None:
        state: State = self.state
        kind, name = words[0], words[1] if len(words) > 1 else ""
        status, answer = 200, {}
        if method == "POST":
            answer = json.loads(body)
            key = (kind, answer["metadata"]["name"])
            if key in state.objects:
                self._refuse(409, f'{kind} "{key[1]}" already exists')
                return
            try:
                check(answer)
            except WrongManifest as error:
                self._refuse(422, f'{answer["kind"]} "{key[1]}" is invalid: {error}')
                return
            answer.pop("status", None)
            answer["metadata"] |= {"uid": f"uid-of-{kind}", "namespace": NAMESPACE}
            answer["metadata"]["creationTimestamp"] = "2026-11-30T00:00:00Z"
            state.objects[key] = answer
            status = 201
        elif kind == "pods" and not name:
            answer = {"kind": "PodList", "apiVersion": "v1", "items": state.pods()}
        elif kind == "events":
            about = state.queries[-1]["fieldSelector"].removeprefix("involvedObject.name=")
            name = about.removesuffix(",type=Warning")
            is_posted = any(name == posted for _, posted in state.objects)
            texts = state.events if is_posted else state.other_events.get(name, [])
            answer = {"kind": "EventList", "items": [{"message": text} for text in texts]}
        elif (kind, name) not in state.objects:
            self._refuse(404, f'{kind} "{name}" not found')
            return
        elif method == "DELETE":
            state.objects.pop((kind, name))
            answer = {"kind": "Status", "status": "Success"}
        else:
            answer = state.objects[kind, name]
        if is_lost:
            self.break_off()
        else:
            self._send(status, answer)

    def _refuse(self, status: int, message: str) -> None:
        reason = {
            403: "Forbidden",
            404: "NotFound",
            409: "AlreadyExists",
            410: "Expired",
            422: "Invalid",
        }
        body = {"kind": "Status", "status": "Failure", "message": message, "code": status}
        self._send(status, {**body, "reason": reason.get(status, "InternalError")})

    def _send(self, status: int, body: Any, kind: str = "application/json") -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send(status, {"Content-Type": kind}, content)


class ApiServer(LoopbackServer):
    """The server, with the trainer's pod."""

    state: State

    def __init__(self) -> None:
        super().__init__(_Handler, State())
        self.state.objects["pods", "trainer"] = trainer_pod()


def trainer_pod(address: str = "10.1.2.3") -> dict[str, Any]:
    """Returns a pod as Argo and KFP 2.5 make it and the API server has it, in what matters here."""
    secret = {"secretKeyRef": {"name": "mlpipeline-minio-artifact", "key": "accesskey"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "trainer",
            "namespace": NAMESPACE,
            "uid": UID,
            "labels": {
                "workflows.argoproj.io/workflow": "coco-x7k2p",
                "workflows.argoproj.io/completed": "false",
            },
            "ownerReferences": [{"kind": "Workflow", "name": "coco-x7k2p", "uid": "w"}],
        },
        "spec": {
            "serviceAccountName": "default-editor",
            "nodeName": "gpu-node-1",
            "nodeSelector": {"nvidia.com/gpu.product": "H100"},
            "imagePullSecrets": [{"name": "registry"}],
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
            ],
            "initContainers": [{"name": "init", "image": "argoexec"}],
            "containers": [
                {"name": "wait", "image": "argoexec"},
                {
                    "name": "main",
                    "image": "registry.my.org/tfx-rcnn@sha256:" + "0" * 64,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/var/run/argo/argoexec", "emissary"],
                    "args": ["--", "/kfp-launcher/launch", "--executor_input", "{}"],
                    "env": [
                        {"name": "AWS_ENDPOINT_URL", "value": "http://minio:9000"},
                        {"name": "AWS_ACCESS_KEY_ID", "valueFrom": secret},
                        {"name": "TFX_RCNN_TRAINER_NODES", "value": "3"},
                        {"name": "ARGO_TEMPLATE", "value": "{}" * 1000},
                        {
                            "name": "KFP_POD_NAME",
                            "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
                        },
                    ],
                    "resources": {
                        "limits": {"nvidia.com/gpu": "8", "memory": "240Gi"},
                        "requests": {"cpu": "48"},
                    },
                    "volumeMounts": [
                        {"name": "coco", "mountPath": "/data"},
                        {"name": "tfx-rcnn-shared-memory", "mountPath": "/dev/shm"},
                        {"name": "minio-scratch", "mountPath": "/minio"},
                        {"name": "kfp-launcher", "mountPath": "/kfp-launcher"},
                        {"name": "var-run-argo", "mountPath": "/var/run/argo"},
                        {
                            "name": "kube-api-access-abcde",
                            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                            "readOnly": True,
                        },
                    ],
                },
            ],
            "volumes": [
                {"name": "coco", "persistentVolumeClaim": {"claimName": "coco"}},
                {"name": "tfx-rcnn-shared-memory", "emptyDir": {"medium": "Memory"}},
                {"name": "minio-scratch", "emptyDir": {}},
                {"name": "kfp-launcher", "emptyDir": {}},
                {"name": "var-run-argo", "emptyDir": {}},
                {"name": "kube-api-access-abcde", "projected": {"sources": []}},
            ],
        },
        "status": {"phase": "Running", "podIP": address},
    }


def node_pod(
    index: int, phase: str = "Running", conditions: tuple[dict[str, str], ...] = (), **status: Any
) -> dict[str, Any]:
    """Returns a pod of the Job; one that runs is ready."""
    is_ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
    return {
        "metadata": {
            "name": f"node-{index}-x{len(status) + len(conditions)}",
            "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
        },
        "spec": {"containers": [{"name": "node", "image": "registry.my.org/tfx-rcnn:1"}]},
        "status": {"phase": phase, "conditions": [is_ready, *conditions], **status},
    }


def waiting(reason: str, message: str) -> dict[str, Any]:
    """Returns the status of a pod whose container waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "node", "state": state}]}

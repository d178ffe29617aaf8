"""What we ask of Kubernetes' API server, by its own client; it may be away for a while."""

import functools
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from absl import logging

from ground.errors import ServiceError
from pipeline.kubeflow.api.connection import POD_NAMESPACE_FILE
from pipeline.kubeflow.fan_out.kinds import Kind, Resource
from pipeline.kubeflow.fan_out.manifests import Manifest, name_of

POD_VARIABLE = "KFP_POD_NAME"
_TIMEOUTS = (10, 60)  # seconds, to connect and to answer
_PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0)
_RIGHTS = "docker/k8s/trainer-nodes.yaml has the rights that the trainer's service account needs"
_NOT_OF_RIGHTS = ("quota", "admission webhook")  # refused by these, whoever asks
_PASSING = (0, 408, 410, 429)  # 410: what was asked for is too old, the next answer is new
_LONGEST_MESSAGE = 400


class ApiAway(ServiceError):
    """The API server does not answer, or not as it should; that may pass."""


class ApiRefusal(ServiceError):
    """The API server refused."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Seen:
    """The object that has the other pods, as it is.

    Attributes:
        what: its kind and name.
        job: None where it is gone.
        pods: its pods.
        events: warnings about it.
        operator: what has to look after it; "" where Kubernetes does.
    """

    what: str
    job: Manifest | None
    pods: list[Manifest] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    operator: str = ""


class ClusterApi:
    """The API server as a pod of a namespace sees it.

    Args:
        client: Kubernetes' own.
        namespace: namespace of the pod.
        sleep: waits so many seconds.
    """

    def __init__(
        self, client: Any, namespace: str, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        from kubernetes.client import CoreV1Api, CustomObjectsApi

        self._core, self._objects = CoreV1Api(client), CustomObjectsApi(client)
        self._namespace, self._sleep = namespace, sleep
        self._may_list_events = True

    @classmethod
    def of_this_pod(cls) -> "ClusterApi":
        """Returns the API server of the cluster that this pod is in.

        Raises:
            ServiceError: Kubernetes gave the pod no account.
        """
        from kubernetes import client, config

        try:
            config.load_incluster_config()
            namespace = Path(POD_NAMESPACE_FILE).read_text(encoding="ascii").strip()
        except (config.ConfigException, OSError) as error:
            raise ServiceError(
                f"this pod has no account to ask Kubernetes with ({error}): "
                "pipeline.kubeflow.trainer_nodes needs a service account; " + _RIGHTS
            ) from None
        return cls(client.ApiClient(), namespace)

    def own_pod(self, environ: Mapping[str, str] = os.environ) -> Manifest:
        """Returns the pod that this process runs in.

        Raises:
            ServiceError: the API server refuses, or does not answer for minutes.
        """
        name = environ.get(POD_VARIABLE) or environ.get("HOSTNAME", "")
        pod: Manifest = self._patiently(lambda: self.pod(name), f"pod {name}")
        return pod

    def pod(self, name: str) -> Manifest:
        """Returns a pod.

        Raises:
            ServiceError: the API server refuses, or does not answer.
        """
        read = self._core.read_namespaced_pod
        return self._asked(f"pod {name}", lambda **how: read(name, self._namespace, **how))

    def create(self, kind: Kind, manifests: tuple[Manifest, ...]) -> None:
        """Makes what a kind needs, each once: where an answer is lost, it is looked for.

        Args:
            kind: kind of the object that has the pods.
            manifests: manifests of its resources, in their order.

        Raises:
            ServiceError: the API server refuses (a quota, a right), does not know the kind, or does
                not answer for minutes.
        """
        for resource, manifest in zip(kind.resources, manifests, strict=True):
            try:
                self._create_one(resource, manifest)
            except ApiRefusal as refusal:
                if refusal.status != 404 or not kind.operator:
                    raise
                raise ServiceError(
                    f"this cluster has no {resource.kind} ({resource.group}), which "
                    f"pipeline.kubeflow.trainer_nodes_by={kind.name} needs: install {kind.operator}"
                    ", or take Job"
                ) from None

    def _create_one(self, resource: Resource, manifest: Manifest) -> None:
        what = f"{resource.kind} for the trainer's other pods"
        make, read, _ = self._verbs(resource)

        def make_it() -> None:
            try:
                self._asked(what, lambda **how: make(manifest, **how))
            except ApiRefusal as refusal:
                if refusal.status != 409:
                    raise
                # A lost answer: ours has our owner, whose uid nobody else has.
                name = manifest["metadata"]["name"]
                found = self._asked(what, lambda **how: read(name, **how))
                if _owners(found) != _owners(manifest):
                    raise

        self._patiently(make_it, what)

    def _verbs(self, resource: Resource) -> tuple[Callable[..., Any], ...]:
        """Returns what creates (a manifest), reads and deletes (a name) a kind of object."""
        if resource.kind == "Service":
            core, there = self._core, {"namespace": self._namespace}
            return (
                functools.partial(core.create_namespaced_service, self._namespace),
                functools.partial(core.read_namespaced_service, **there),
                functools.partial(core.delete_namespaced_service, **there),
            )
        objects, (group, version) = self._objects, resource.group.split("/")
        place = (group, version, self._namespace, resource.plural)
        return (
            functools.partial(objects.create_namespaced_custom_object, *place),
            functools.partial(objects.get_namespaced_custom_object, *place),
            functools.partial(objects.delete_namespaced_custom_object, *place),
        )

    def look(self, kind: Kind, name: str) -> Seen:
        """Returns the object called `name` as it is now.

        Raises:
            ServiceError: the API server refuses, or does not answer.
        """
        what = f"{kind.name} {name}"
        _, read, _ = self._verbs(kind.resources[-1])
        listed = self._core.list_namespaced_pod
        try:
            job = self._asked(what, lambda **how: read(name, **how))
        except ApiRefusal as refusal:
            if refusal.status != 404:
                raise
            return Seen(what, None)
        selector = f"{kind.label}={name}"
        pods = self._asked(
            f"pods of {what}",
            lambda **how: listed(self._namespace, label_selector=selector, **how),
        )
        events = [
            event for pattern in kind.told_of for event in self._events(pattern.format(name=name))
        ]
        return Seen(what, job, pods.get("items") or [], events, kind.operator)

    def _events(self, name: str) -> list[str]:
        """Returns the warnings about an object; [] without the right to read them."""
        if not self._may_list_events:
            return []
        listed = self._core.list_namespaced_event
        selector = f"involvedObject.name={name},type=Warning"
        try:
            found = self._asked(
                "events", lambda **how: listed(self._namespace, field_selector=selector, **how)
            )
        except ApiRefusal:
            self._may_list_events = False
            return []
        return [_one_line(event.get("message")) for event in found.get("items") or []]

    def delete(self, kind: Kind, pod: Manifest) -> None:
        """Deletes what a trainer's pod has made; what cannot be deleted is told, not raised.

        It goes with its owner at the latest.
        """
        name = name_of(pod)
        for resource in reversed(kind.resources):
            what = f"{resource.kind} {name}"
            *_, delete = self._verbs(resource)
            try:
                self._asked(
                    what,
                    lambda delete=delete, **how: delete(
                        name, propagation_policy="Background", **how
                    ),
                )
            except ApiRefusal as refusal:
                if refusal.status != 404:
                    logging.warning("%s; it goes with this pod", refusal)
            except ApiAway as away:
                logging.warning("%s; %s goes with this pod", away, what)

    def _patiently(self, ask: Callable[[], Any], what: str) -> Any:
        """Returns the answer, also where the API server is away for some minutes."""
        for pause in _PAUSES_SECONDS:
            try:
                return ask()
            except ApiAway as away:
                logging.warning("%s: tried again in %g s (%s)", away, pause, what)
                self._sleep(pause)
        return ask()

    def _asked(self, what: str, ask: Callable[..., Any]) -> Manifest:
        """Returns an answer as plain JSON.

        Raises:
            ApiAway: there is none, or the server is in trouble.
            ApiRefusal: it is a refusal.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            # The client's own objects refuse what a newer server says, and drop what they lack.
            response = ask(_request_timeout=_TIMEOUTS, _preload_content=False)
            answer = json.loads(response.data)
        except ApiException as error:
            status = int(error.status or 0)
            line = f"Kubernetes, {what}: {status} {_said(error)}"
            if status in _PASSING or status >= 500:
                raise ApiAway(line) from None
            if status in (401, 403) and not any(word in line for word in _NOT_OF_RIGHTS):
                line = f"{line}; {_RIGHTS}"
            raise ApiRefusal(line, status) from None
        except (HTTPError, OSError, ValueError) as error:  # the last: no JSON, or not of its kind
            reason = getattr(error, "reason", None) or error
            kind = type(reason).__name__
            raise ApiAway(f"Kubernetes, {what}: no answer ({kind})") from None
        if not isinstance(answer, dict):
            raise ApiAway(f"Kubernetes, {what}: answered with no object")
        return answer


def _owners(manifest: Manifest) -> list[str]:
    owners = manifest.get("metadata", {}).get("ownerReferences") or []
    return [owner.get("uid", "") for owner in owners]


def _said(error: Any) -> str:
    """Returns the message of a `Status`, else the HTTP reason."""
    try:
        message = json.loads(error.body).get("message")
    except (TypeError, ValueError, AttributeError):
        message = None
    return _one_line(message or error.reason)


def _one_line(text: Any) -> str:
    return " ".join(str(text or "").split())[:_LONGEST_MESSAGE]

"""What we ask of Kubernetes' API server, by its own client; it may be away for a while."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from absl import logging

from configs.errors import ServiceError
from pipeline.kubeflow.api.connection import POD_NAMESPACE_FILE
from pipeline.kubeflow.fan_out.manifests import JOB_LABEL, Manifest, name_of

POD_VARIABLE = "KFP_POD_NAME"
_TIMEOUTS = (10, 60)  # seconds, to connect and to answer
_PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0)
_RIGHTS = "docker/k8s/trainer-nodes.yaml has the rights that the trainer's service account needs"
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
    """The Job as it is: None where it is gone; its pods; what was said about it."""

    job: Manifest | None
    pods: list[Manifest] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


class ClusterApi:
    """The API server as a pod of a namespace sees it.

    Args:
        client: Kubernetes' own.
        namespace: of the pod.
        sleep: waits so many seconds.
    """

    def __init__(
        self, client: Any, namespace: str, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        from kubernetes.client import BatchV1Api, CoreV1Api

        self._core, self._batch = CoreV1Api(client), BatchV1Api(client)
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
        return self._patiently(lambda: self.pod(name), f"pod {name}")

    def pod(self, name: str) -> Manifest:
        """Returns a pod.

        Raises:
            ServiceError: the API server refuses, or does not answer.
        """
        read = self._core.read_namespaced_pod
        return self._asked(f"pod {name}", lambda **how: read(name, self._namespace, **how))

    def create(self, service: Manifest, job: Manifest) -> None:
        """Makes Service and Job, each once: where an answer is lost, it is looked for.

        Raises:
            ServiceError: the API server refuses (a quota, a right), or does not answer for
                minutes.
        """
        core, batch = self._core, self._batch
        for manifest, read, make in (
            (service, core.read_namespaced_service, core.create_namespaced_service),
            (job, batch.read_namespaced_job, batch.create_namespaced_job),
        ):
            self._create_one(manifest, read, make)

    def _create_one(self, manifest: Manifest, read: Any, make: Any) -> None:
        name, what = (
            manifest["metadata"]["name"],
            f"{manifest['kind']} for the trainer's other pods",
        )

        def make_it() -> None:
            try:
                self._asked(what, lambda **how: make(self._namespace, manifest, **how))
            except ApiRefusal as refusal:
                if refusal.status != 409:
                    raise
                # A lost answer: ours has our owner, whose uid nobody else has.
                found = self._asked(what, lambda **how: read(name, self._namespace, **how))
                if _owners(found) != _owners(manifest):
                    raise

        self._patiently(make_it, what)

    def look(self, name: str) -> Seen:
        """Returns the Job called `name` as it is now.

        Raises:
            ServiceError: the API server refuses, or does not answer.
        """
        read, listed = self._batch.read_namespaced_job, self._core.list_namespaced_pod
        try:
            job = self._asked(f"Job {name}", lambda **how: read(name, self._namespace, **how))
        except ApiRefusal as refusal:
            if refusal.status != 404:
                raise
            return Seen(None)
        selector = f"{JOB_LABEL}={name}"
        pods = self._asked(
            f"pods of Job {name}",
            lambda **how: listed(self._namespace, label_selector=selector, **how),
        )
        return Seen(job, pods.get("items") or [], self._events(name))

    def _events(self, name: str) -> list[str]:
        """Returns the warnings about a Job, the oldest first; [] without the right to read them."""
        if not self._may_list_events:
            return []
        listed = self._core.list_namespaced_event
        selector = f"involvedObject.kind=Job,involvedObject.name={name},type=Warning"
        try:
            found = self._asked(
                "events", lambda **how: listed(self._namespace, field_selector=selector, **how)
            )
        except ApiRefusal:
            self._may_list_events = False
            return []
        return [_one_line(event.get("message")) for event in found.get("items") or []]

    def delete(self, pod: Manifest) -> None:
        """Deletes what a trainer's pod has made; what cannot be deleted is told, not raised.

        It goes with its owner at the latest.
        """
        name = name_of(pod)
        for kind, delete in (
            ("Job", self._batch.delete_namespaced_job),
            ("Service", self._core.delete_namespaced_service),
        ):
            try:
                self._asked(
                    f"{kind} {name}",
                    lambda delete=delete, **how: delete(
                        name, self._namespace, propagation_policy="Background", **how
                    ),
                )
            except ApiRefusal as refusal:
                if refusal.status != 404:
                    logging.warning("%s; it goes with this pod", refusal)
            except ApiAway as away:
                logging.warning("%s; %s %s goes with this pod", away, kind, name)

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
            if status in (401, 403) and "quota" not in line:
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

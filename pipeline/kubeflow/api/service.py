"""Requests to Kubeflow Pipelines: tries with pauses, pages, nothing stored twice."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ground.errors import ConfigError, ServiceError
from pipeline.kubeflow.api.answers import INTERNAL, NoAnswer, Refusal, Unreachable, read_answer
from pipeline.kubeflow.api.connection import Connection, pod_namespace
from pipeline.kubeflow.api.transport import READ_SECONDS, Transport

Message = dict[str, Any]
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
_LONGEST_WAIT_SECONDS = 30.0  # of what a server asks for
_SENDINGS = 3
_PAGE_SIZE = 100
_MOST_PAGES = 10_000
_ROOT = "apis/v2beta1"
_LOGS = "apis/v1alpha1/runs"  # in no other version of the API


class Service:
    """Kubeflow Pipelines at one address.

    Args:
        connection: what the options say.
        environ: environment of the process.
        read_seconds: limit for one answer.
        pauses: seconds between tries.
        sleep: waits so many seconds.

    Raises:
        ConfigError: the address or a secret is none, or would be told to everyone.
    """

    def __init__(
        self,
        connection: Connection,
        environ: Mapping[str, str] = os.environ,
        read_seconds: float = READ_SECONDS,
        pauses: tuple[float, ...] = PAUSES_SECONDS,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.connection = connection
        self._transport = Transport(connection, environ, read_seconds)
        self.host = self._transport.host
        self._pauses, self.sleep = pauses, sleep
        self._namespace: str | None = None

    def namespace(self) -> str:
        """Returns the namespace of runs and schedules; "" where the service has users of one kind.

        Raises:
            ConfigError: there are several, and none is named.
            ServiceError: the service does not answer.
        """
        if self._namespace is None:
            named = self.connection.namespace
            if not named and self.get("healthz").get("multi_user"):
                named = pod_namespace()
                if not named:
                    raise ConfigError(f"{self.host}: is for several users: give --namespace")
            self._namespace = named or ""
        return self._namespace

    def get(self, path: str, **query: Any) -> Message:
        """Returns what is at `path`; tried again while the service or the way there fails.

        Raises:
            ServiceError: see `read_answer`.
        """
        return self._repeated("GET", path, query)

    def listed(self, path: str, key: str, **query: Any) -> Iterator[Message]:
        """Returns the objects of a list, page after page.

        Raises:
            ServiceError: see `read_answer`; or the pages have no end.
        """
        given = {name: value for name, value in query.items() if value}
        seen: set[str] = set()
        while True:
            page = self.get(path, page_size=_PAGE_SIZE, **given)
            found = page.get(key) or []
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise ServiceError(
                    f"{self.host}: answered with a list of {key} that is none: is this the address "
                    "of Kubeflow Pipelines?"
                )
            yield from found
            token = page.get("next_page_token")
            if not token:
                return
            if token in seen or len(seen) > _MOST_PAGES:
                raise ServiceError(f"{self.host}: its list of {key} has no end")
            seen.add(token)
            given["page_token"] = token

    def delete(self, path: str) -> bool:
        """Deletes what is at `path`.

        Returns:
            Whether there was something.

        Raises:
            ServiceError: see `read_answer`.
        """
        try:
            self._repeated("DELETE", path, {})
        except Refusal as error:
            if error.status != 404 or "is this the address" in str(error):
                raise
            return False
        return True

    def act(self, path: str) -> None:
        """Posts what may be posted twice, such as `runs/ID:terminate`.

        Raises:
            ServiceError: see `read_answer`.
        """
        self._repeated("POST", path, {})

    def create(
        self,
        path: str,
        find: Callable[[], Message | None],
        body: Message | None = None,
        file: bytes | None = None,
        **query: Any,
    ) -> Message:
        """Posts what must not be stored twice: before it is sent again, it is looked for.

        Where the service may still be at work on it (it was slow, or failed inside), it is looked
        for only.

        Args:
            path: path of the collection.
            find: returns what was sent before, as the service has it, or None.
            body: the JSON message.
            file: content of the multipart form's one file.
            **query: of the address.

        Raises:
            ServiceError: see `read_answer`.
        """
        for sending in range(1, _SENDINGS + 1):
            try:
                return self._send("POST", path, query, body, file)
            except Unreachable as error:
                if not error.is_temporary or sending == _SENDINGS:
                    raise
                self.sleep(self._pause(sending))
            except Refusal as error:
                is_known = error.status in (409, INTERNAL) or error.is_temporary
                found = self._looked_for(find, error) if is_known else None
                if found is not None:
                    return found
                if not error.is_temporary or sending == _SENDINGS:
                    raise
                self.sleep(min(error.wait_seconds, _LONGEST_WAIT_SECONDS))
            except NoAnswer as error:
                found = self._looked_for(find, error)
                if found is not None:
                    return found
                if error.is_slow or sending == _SENDINGS:
                    raise
        raise AssertionError("unreachable")

    def _looked_for(
        self, find: Callable[[], Message | None], error: ServiceError
    ) -> Message | None:
        """Returns what is stored, perhaps a moment later.

        Raises:
            ServiceError: the first one, where the service cannot be asked.
        """
        is_there_already = isinstance(error, Refusal) and error.status == 409
        for pause in (0.0,) if is_there_already else self._pauses:
            self.sleep(pause)
            try:
                found = find()
            except ServiceError:
                raise error from None
            if found is not None:
                return found
        return None

    def _repeated(self, method: str, path: str, query: Mapping[str, Any]) -> Message:
        for attempt in range(len(self._pauses) + 1):
            wait = self._pause(attempt + 1)
            try:
                return self._send(method, path, query)
            except (Unreachable, Refusal) as error:
                is_internal = isinstance(error, Refusal) and error.status == INTERNAL
                may_help = error.is_temporary or is_internal
                if not may_help or attempt == len(self._pauses):
                    raise
                wait = max(wait, min(getattr(error, "wait_seconds", 0.0), _LONGEST_WAIT_SECONDS))
            except NoAnswer:
                if attempt == len(self._pauses):
                    raise
            self.sleep(wait)
        raise AssertionError("unreachable")

    def _pause(self, attempt: int) -> float:
        return self._pauses[min(attempt, len(self._pauses)) - 1]

    def log(self, run_id: str, pod: str) -> str:
        """Returns the log of a pod's main container, where the service still has it.

        Raises:
            ServiceError: see `read_answer`.
        """
        address = f"{self.host}/{_LOGS}/{path_of(run_id, 'nodes', pod, 'log')}"
        status, headers, content = self._transport.exchange("GET", address, {})
        if status != 200:
            read_answer(self.host, status, headers, content)
        return content.decode("utf-8", "replace")

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Message | None = None,
        file: bytes | None = None,
    ) -> Message:
        """Sends one request once and reads its answer."""
        content: dict[str, Any] = {}
        if body is not None:
            content = {"data": _json(body), "headers": {"Content-Type": "application/json"}}
        if file is not None:
            content = {"files": {"uploadfile": ("pipeline.yaml", file, "application/x-yaml")}}
        given = {name: value for name, value in query.items() if value}
        status, headers, received = self._transport.exchange(
            method, f"{self.host}/{_ROOT}/{path}", given, **content
        )
        try:
            return read_answer(self.host, status, headers, received)
        except ServiceError as error:
            error.args = (self._transport.hidden(str(error)),)
            raise


def _json(body: Message) -> bytes:
    """Returns a message's bytes.

    Raises:
        ConfigError: a number in it is none.
    """
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError:
        raise ConfigError("a parameter is NaN or infinite, which Kubeflow cannot keep") from None


def path_of(*parts: str) -> str:
    """Returns a path below the API's root.

    >>> path_of("runs", "a b:terminate")
    'runs/a%20b:terminate'
    """
    return "/".join(quote(part, safe=":") for part in parts)


def named(name: str, operation: str = "EQUALS", key: str = "display_name") -> str:
    """Returns the filter of a list for what has a name."""
    predicate = {"operation": operation, "key": key, "stringValue": name}
    return json.dumps({"predicates": [predicate]}, separators=(",", ":"))

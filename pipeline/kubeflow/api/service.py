"""HTTP with Kubeflow Pipelines: limited waiting, tries with pauses, nothing stored twice."""

import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from ground.errors import ConfigError, ServiceError
from pipeline.kubeflow.api.answers import INTERNAL, NoAnswer, Refusal, Unreachable, read_answer
from pipeline.kubeflow.api.connection import (
    Connection,
    check_secrets_are_safe,
    checked_host,
    is_this_machine,
    pod_namespace,
    read_cookie,
    read_token,
)

Message = dict[str, Any]
CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
_LONGEST_WAIT_SECONDS = 30.0  # of what a server asks for
_SENDINGS = 3
_LARGEST_ANSWER = 1 << 26
_CHUNK = 1 << 10  # small: the clock is looked at between two of them
_PAGE_SIZE = 100
_MOST_PAGES = 10_000
_ROOT = "apis/v2beta1"
_LOGS = "apis/v1alpha1/runs"  # in no other version of the API
# How urllib3 names its own connection in front of what went wrong; a proxy's password.
_OBJECT = re.compile(r"<[^>]* object at 0x[0-9a-f]+>: |\w+\(host=[^)]*\): ")
_PASSWORD = re.compile(r"//[^/@\s]+@")


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
        self.host = checked_host(connection.host)
        self.connection = connection
        self._token = read_token(connection.token_file, environ)
        self._cookie = read_cookie(connection.cookie_file, environ)
        has_secrets = self._token is not None or self._cookie is not None
        check_secrets_are_safe(self.host, has_secrets, connection.allow_http)
        self._authorities = connection.ca_file or environ.get("SSL_CERT_FILE") or None
        if connection.ca_file is not None and not connection.ca_file.is_file():
            raise ConfigError(f"--ca-file {connection.ca_file}: no such file")
        self._read_seconds, self._pauses, self.sleep = read_seconds, pauses, sleep
        self._session: Any = None
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
        status, headers, content = self._exchange("GET", address, {})
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
        status, headers, received = self._exchange(
            method, f"{self.host}/{_ROOT}/{path}", given, **content
        )
        try:
            return read_answer(self.host, status, headers, received)
        except ServiceError as error:
            error.args = (self._hidden(str(error)),)
            raise

    def _exchange(
        self, method: str, address: str, query: Mapping[str, Any], **content: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Returns status, headers and body of an answer."""
        import requests
        import urllib3

        # Not through a proxy to this machine: it would see the secrets of a plain connection.
        local = {"no_proxy": urlsplit(self.host).hostname} if is_this_machine(self.host) else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of versions that go with each other
                response = self._sender(requests).request(
                    method,
                    address,
                    params=query,
                    timeout=(CONNECT_SECONDS, self._read_seconds),
                    allow_redirects=False,
                    stream=True,
                    verify=str(self._authorities) if self._authorities else None,
                    proxies=local,
                    **content,
                )
                with response:
                    received = _received(response, time.monotonic() + self._read_seconds)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._failure(error) from None
        except UnicodeError as error:  # a label of the name longer than names can be
            raise ConfigError(f"--host {self.host}: is no name of a machine ({error})") from None
        return response.status_code, response.headers, received

    def _sender(self, requests: Any) -> Any:
        if self._session is None:
            self._session = requests.Session()
            # A callable of our own also keeps the user's .netrc out.
            self._session.auth = self._known_by
            # Nor does it read addresses that we do not follow.
            self._session.get_redirect_target = lambda _: None
        return self._session

    def _known_by(self, request: Any) -> Any:
        """Adds the secrets as they are now."""
        request.headers.pop("Cookie", None)
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token.text()}"
        if self._cookie is not None:
            request.headers["Cookie"] = self._cookie.text()
        return request

    def _failure(self, error: Exception) -> ServiceError:
        """Returns an error of the way there in one line."""
        import requests
        import urllib3
        from requests.exceptions import ConnectTimeout, InvalidURL
        from urllib3.exceptions import LocationValueError

        inner: Any = error.args[0] if error.args else error
        reason = getattr(inner, "reason", None) or inner
        if not isinstance(reason, Exception):
            reason = error
        said = " ".join(_PASSWORD.sub("//", _OBJECT.sub("", str(reason))).split())[:300]
        line = self._hidden(f"{self.host}: no answer ({type(reason).__name__}: {said})")
        if isinstance(error, requests.exceptions.SSLError):
            return Unreachable(
                f"{line}: check http or https in --host; for a certificate of your own name its "
                "authority's file by --ca-file",
                is_temporary=False,
            )
        sent_nothing = (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            urllib3.exceptions.ProxyError,
            LocationValueError,
        )
        if isinstance(reason, sent_nothing) or isinstance(error, (ConnectTimeout, InvalidURL)):
            told = f"{line}: nothing was sent: check the address and the network"
            is_no_name = isinstance(reason, LocationValueError) or isinstance(error, InvalidURL)
            return Unreachable(told, is_temporary=not is_no_name)
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            return Unreachable(f"{line}: nothing was sent", is_temporary=False)
        slow = (requests.Timeout, urllib3.exceptions.TimeoutError)
        return NoAnswer(
            f"{line}: check the address and the network; what was sent may or may not have been "
            "stored, so look before repeating it",
            is_slow=isinstance(error, slow) or isinstance(reason, slow),
        )

    def _hidden(self, text: str) -> str:
        """Returns a text without our secrets."""
        for secret in (self._token, self._cookie):
            if secret is None:
                continue
            value = secret.last
            parts = [part.partition("=")[2].strip() for part in value.split(";") if "=" in part]
            for hidden in sorted({value, *parts}, key=len, reverse=True):
                text = text.replace(hidden, "***") if len(hidden) > 3 else text
        return text


def _json(body: Message) -> bytes:
    """Returns a message's bytes.

    Raises:
        ConfigError: a number in it is none.
    """
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError:
        raise ConfigError("a parameter is NaN or infinite, which Kubeflow cannot keep") from None


def _received(response: Any, deadline: float) -> bytes:
    """Returns an answer's body, unpacked.

    Raises:
        NoAnswer: it comes too slowly.
        ServiceError: it is larger than any answer of Kubeflow Pipelines.
    """
    parts: list[bytes] = []
    size = 0
    for part in response.iter_content(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise ServiceError(f"{response.url}: answered with more than {_LARGEST_ANSWER:,} bytes")
        if time.monotonic() > deadline:
            raise NoAnswer(f"{response.url}: its answer takes too long", is_slow=True)
    return b"".join(parts)


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

"""One request over HTTP: secrets, certificates, limited waiting; what went wrong in one line."""

import re
import time
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ground.errors import ConfigError, ServiceError
from pipeline.kubeflow.api.answers import NoAnswer, Unreachable
from pipeline.kubeflow.api.connection import (
    Connection,
    check_secrets_are_safe,
    checked_host,
    is_this_machine,
    read_cookie,
    read_token,
)

CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
_LARGEST_ANSWER = 1 << 26
_CHUNK = 1 << 10  # small: the clock is looked at between two of them
# How urllib3 names its own connection in front of what went wrong; a proxy's password.
_OBJECT = re.compile(r"<[^>]* object at 0x[0-9a-f]+>: |\w+\(host=[^)]*\): ")
_PASSWORD = re.compile(r"//[^/@\s]+@")


class Transport:
    """The way to one address.

    Args:
        connection: what the options say.
        environ: environment of the process.
        read_seconds: limit for one answer.

    Raises:
        ConfigError: the address or a secret is none, or would be told to everyone.
    """

    def __init__(
        self, connection: Connection, environ: Mapping[str, str], read_seconds: float
    ) -> None:
        self.host = checked_host(connection.host)
        self._token = read_token(connection.token_file, environ)
        self._cookie = read_cookie(connection.cookie_file, environ)
        has_secrets = self._token is not None or self._cookie is not None
        check_secrets_are_safe(self.host, has_secrets, connection.allow_http)
        self._authorities = connection.ca_file or environ.get("SSL_CERT_FILE") or None
        if connection.ca_file is not None and not connection.ca_file.is_file():
            raise ConfigError(f"--ca-file {connection.ca_file}: no such file")
        self._read_seconds = read_seconds
        self._session: Any = None

    def exchange(
        self, method: str, address: str, query: Mapping[str, Any], **content: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Returns status, headers and body of an answer; sends once.

        Raises:
            Unreachable: nothing was sent.
            NoAnswer: it may have been sent.
            ServiceError: the answer is larger than any of Kubeflow Pipelines.
            ConfigError: the host's name is none.
        """
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
        line = self.hidden(f"{self.host}: no answer ({type(reason).__name__}: {said})")
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

    def hidden(self, text: str) -> str:
        """Returns a text without our secrets."""
        for secret in (self._token, self._cookie):
            if secret is None:
                continue
            value = secret.last
            parts = [part.partition("=")[2].strip() for part in value.split(";") if "=" in part]
            for hidden in sorted({value, *parts}, key=len, reverse=True):
                text = text.replace(hidden, "***") if len(hidden) > 3 else text
        return text


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

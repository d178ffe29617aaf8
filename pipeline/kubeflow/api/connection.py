"""Where Kubeflow Pipelines is, and what it knows us by: a token, a cookie, an authority's file.

A secret comes from a file or the environment, never from the command line, and is read anew from
its file for each request: in a pod, Kubernetes puts another one there before the old one expires.
"""

import ipaddress
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ground.errors import ConfigError

HOST_VARIABLE = "KF_PIPELINES_ENDPOINT"  # kfp's own
TOKEN_VARIABLE = "KF_PIPELINES_TOKEN"
COOKIE_VARIABLE = "KF_PIPELINES_COOKIE"
# kfp's names for the token that Kubernetes puts into a pod which asks for one.
POD_TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
POD_TOKEN_FILE = "/var/run/secrets/kubeflow/pipelines/token"
POD_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

HOW_TO_LOG_IN = (
    f"put a valid token in ${TOKEN_VARIABLE} or a file named by --token-file, or the cookie of a "
    "browser that is logged in, such as authservice_session=..., in a file named by --cookie-file"
)
_ADDRESS = re.compile(r"[!-~]{1,2000}")
_LONGEST_SECRET = 1 << 16
_TOKEN = re.compile(rb"[!-~]+")
_COOKIE = re.compile(rb"[!-~]+=[ -~]*")


@dataclass(frozen=True)
class Connection:
    """What the options of a command say of the service.

    Attributes:
        host: address of Kubeflow Pipelines, `https://kubeflow.example.com/pipeline`.
        namespace: namespace in a multi-user Kubeflow; None for what the service takes by itself.
        token_file: file with a bearer token; None for the environment's or the pod's.
        cookie_file: file with a `name=value` cookie; None for the environment's.
        ca_file: certificates of the authorities that are trusted; None for the usual ones.
        allow_http: whether a secret may go over plain http to another machine.
    """

    host: str
    namespace: str | None = None
    token_file: Path | None = None
    cookie_file: Path | None = None
    ca_file: Path | None = None
    allow_http: bool = False

    def options(self) -> str:
        """Returns the options of a command that talks to the same service; no secret is in them."""
        named = {
            "--host": self.host,
            "--namespace": self.namespace,
            "--token-file": self.token_file,
            "--cookie-file": self.cookie_file,
            "--ca-file": self.ca_file,
        }
        given = [f"{name} {shlex.quote(str(value))}" for name, value in named.items() if value]
        return " ".join([*given, *(["--allow-http"] if self.allow_http else [])])


class Secret:
    """A token or a cookie.

    Args:
        source: what it is read from, for errors.
        pattern: pattern of its bytes.
        path: file that it is in; None where it is `value`.
        value: it.

    Attributes:
        last: what was read last.

    Raises:
        ConfigError: there is none, or an HTTP header cannot hold it; it is not shown.
    """

    def __init__(
        self, source: str, pattern: re.Pattern[bytes], path: Path | None, value: bytes = b""
    ) -> None:
        self._source, self._pattern, self._path = source, pattern, path
        self.last = self._checked(value if path is None else self._read(path))
        # A pipe (`--token-file <(...)` keeps a token off the disk) is read once.
        self._is_kept = path is None or not path.is_file()

    def text(self) -> str:
        """Returns it as it is now."""
        if self._path is not None and not self._is_kept:
            self.last = self._checked(self._read(self._path))
        return self.last

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as stream:
                return stream.read(_LONGEST_SECRET + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{self._source}: {reason}") from None

    def _checked(self, value: bytes) -> str:
        value = value.strip()
        if not value:
            raise ConfigError(f"{self._source}: is empty")
        if len(value) > _LONGEST_SECRET or not self._pattern.fullmatch(value):
            what = "token (one word of" if self._pattern is _TOKEN else "cookie (name=value in"
            raise ConfigError(f"{self._source}: holds no {what} ASCII characters)")
        return value.decode("ascii")


def read_token(token_file: Path | None, environ: Mapping[str, str]) -> Secret | None:
    """Returns the token of a file, else of the environment, else of the pod, else None.

    Raises:
        ConfigError: the file is missing or empty, or there is no token in it.
    """
    if token_file is not None:
        return Secret(f"--token-file {token_file}", _TOKEN, token_file)
    value = os.fsencode(environ.get(TOKEN_VARIABLE, "")).strip()
    if value:
        return Secret(f"${TOKEN_VARIABLE}", _TOKEN, None, value)
    if environ.get(POD_TOKEN_VARIABLE):
        path = Path(environ[POD_TOKEN_VARIABLE])
        return Secret(f"${POD_TOKEN_VARIABLE} {path}", _TOKEN, path)
    if Path(POD_TOKEN_FILE).exists():
        return Secret(POD_TOKEN_FILE, _TOKEN, Path(POD_TOKEN_FILE))
    return None


def read_cookie(cookie_file: Path | None, environ: Mapping[str, str]) -> Secret | None:
    """Returns the cookie of a file, else of the environment, else None.

    Raises:
        ConfigError: the file is missing or empty, or there is no cookie in it.
    """
    if cookie_file is not None:
        return Secret(f"--cookie-file {cookie_file}", _COOKIE, cookie_file)
    value = os.fsencode(environ.get(COOKIE_VARIABLE, "")).strip()
    return Secret(f"${COOKIE_VARIABLE}", _COOKIE, None, value) if value else None


def pod_namespace() -> str | None:
    """Returns the namespace of the pod that this is; None where it is none."""
    try:
        return Path(POD_NAMESPACE_FILE).read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def checked_host(host: str) -> str:
    """Returns the address without a slash at its end.

    Raises:
        ConfigError: it is none, or holds what belongs elsewhere.
    """
    try:
        parts = urlsplit(host)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets or a port that are none
        is_address = False
    if not is_address or not _ADDRESS.fullmatch(host):
        raise ConfigError(f"--host {host!r}: expected an address such as https://kubeflow.my.org")
    if parts.username is not None:
        raise ConfigError(f"--host: no name and password in it: {HOW_TO_LOG_IN}")
    if parts.query or parts.fragment or host.endswith(("?", "#")):
        raise ConfigError(f"--host {host}: leave out what begins with # or ?")
    return host.rstrip("/")


def check_secrets_are_safe(host: str, has_secrets: bool, allow_http: bool) -> None:
    """Checks that nobody on the way reads a token or a cookie.

    Raises:
        ConfigError: they would go over plain http to another machine.
    """
    parts = urlsplit(host)
    if has_secrets and parts.scheme == "http" and not is_this_machine(host) and not allow_http:
        raise ConfigError(
            f"--host {host}: a token or cookie would go over plain http to another machine, for "
            "everyone on the way to read: use https, or --allow-http inside a network that is safe"
        )


def is_this_machine(host: str) -> bool:
    """Returns whether an address is one of this machine."""
    name = (urlsplit(host).hostname or "").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

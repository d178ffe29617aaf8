"""Uploads a compiled pipeline file to Kubeflow Pipelines, with its own client."""

import contextlib
import dataclasses
import io
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from configs.errors import ConfigError, ServiceError
from configs.yaml_reader import read_documents, read_text_file
from model.lanes import kubeflow_health
from pipeline.kfp_answers import check_answer, checked_id

TOKEN_VARIABLE = "KF_PIPELINES_TOKEN"
# kfp passes none: a server that takes the connection and never answers would hold us for ever.
CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0

_LOG_IN = f"put a valid token in ${TOKEN_VARIABLE} or a file named by --token-file"
_UNREADABLE = "answered with what kfp cannot read; look what is stored before repeating it"
_LARGEST_PIPELINE_BYTES = 1 << 24
_ADDRESS = re.compile(r"[!-~]{1,2000}")
_LONGEST_TOKEN = 1 << 16
_TOKEN = re.compile(rb"[!-~]+")

# Of a compiled file's first document, and of the second where it has one.
_PIPELINE_KEYS = ("pipelineInfo", "root", "components", "deploymentSpec", "schemaVersion")
_PLATFORM_KEYS = ("platforms",)

# How urllib3 names its own connection in front of what went wrong.
_OBJECT = re.compile(r"<[^>]* object at 0x[0-9a-f]+>: ")


@dataclasses.dataclass(frozen=True)
class Uploaded:
    """What the service stored: ids, and where a person finds it."""

    pipeline_id: str
    version_id: str | None
    address: str


def upload(
    pipeline_file: Path,
    host: str,
    name: str,
    version: str | None = None,
    namespace: str | None = None,
    token: str | None = None,
    read_seconds: float = READ_SECONDS,
) -> Uploaded:
    """Stores a compiled pipeline under `name`, or as the new version `version` of it.

    Args:
        pipeline_file: what `python -m pipeline compile` wrote.
        host: address of Kubeflow Pipelines, `https://kubeflow.example.com/pipeline`.
        name: of the pipeline in Kubeflow.
        version: None creates the pipeline; otherwise it must exist.
        namespace: of a multi-user Kubeflow.
        token: bearer token; None for an open service. It never shows in an error.
        read_seconds: limit for one answer.

    Raises:
        ConfigError: the file is none that `compile` wrote, or `host` is no address.
        ServiceError: the service refused, failed or could not be reached.
    """
    for option, text in (("--name", name), ("--version", version)):
        if text is not None and not text.strip():
            raise ConfigError(f"{option}: is empty")
    check_pipeline_file(pipeline_file)
    host = _checked_host(host)
    with _service_errors(host, name, version, token):
        client = _connect(host, token, read_seconds)
        if version is None:
            pipeline = client.upload_pipeline(
                str(pipeline_file), pipeline_name=name, namespace=namespace
            )
            pipeline_id = checked_id(host, "pipeline", pipeline.pipeline_id)
            return Uploaded(pipeline_id, None, f"{host}/#/pipelines/details/{pipeline_id}")
        pipeline_id = _pipeline_id(client, host, name, namespace)
        stored = client.upload_pipeline_version(
            str(pipeline_file), pipeline_version_name=version, pipeline_id=pipeline_id
        )
        version_id = checked_id(host, "version", stored.pipeline_version_id)
        address = f"{host}/#/pipelines/details/{pipeline_id}/version/{version_id}"
        return Uploaded(pipeline_id, version_id, address)


def _checked_host(host: str) -> str:
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
        raise ConfigError(f"--host: no name and password in it: {_LOG_IN}")
    if parts.query or parts.fragment or host.endswith(("?", "#")):
        raise ConfigError(f"--host {host}: leave out what begins with # or ?")
    return host.rstrip("/")


def read_token(token_file: Path | None) -> str | None:
    """Returns the token of a file, else of the environment variable, else None.

    Raises:
        ConfigError: the file is missing or empty, or there is no token in it.
    """
    if token_file is None:
        token = os.environb.get(TOKEN_VARIABLE.encode(), b"").strip()
        return _checked_token(token, f"${TOKEN_VARIABLE}") if token else None
    try:
        # Not only a regular file: `--token-file <(...)` keeps a token off the disk.
        with token_file.open("rb") as stream:
            token = stream.read(_LONGEST_TOKEN + 1).strip()
    except OSError as error:
        raise ConfigError(f"--token-file {token_file}: {error.strerror}") from None
    if not token:
        raise ConfigError(f"--token-file {token_file}: is empty")
    return _checked_token(token, f"--token-file {token_file}")


def _checked_token(token: bytes, source: str) -> str:
    """Returns a token that an HTTP header can hold.

    Raises:
        ConfigError: it is none; it is not shown.
    """
    if len(token) > _LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise ConfigError(f"{source}: holds no token (one word of ASCII characters)")
    return token.decode("ascii")


def check_pipeline_file(path: Path) -> None:
    """Checks that a file is a compiled pipeline; the service itself does not.

    Raises:
        ConfigError: it is missing, not YAML, or not a KFP v2 pipeline.
    """
    hint = "expected the YAML file that `python -m pipeline compile -o F.yaml` wrote"
    try:
        text = read_text_file(path, _LARGEST_PIPELINE_BYTES)
        documents = read_documents(text, str(path), _LARGEST_PIPELINE_BYTES) or [None]
    except ConfigError as error:
        raise ConfigError(f"{error}; {hint}") from None
    # The pipeline, and perhaps what it asks of Kubernetes.
    for document, wanted in zip(documents, (_PIPELINE_KEYS, _PLATFORM_KEYS), strict=False):
        missing = [k for k in wanted if not isinstance(document, dict) or k not in document]
        if missing:
            raise ConfigError(f"{path}: no KFP v2 pipeline ({', '.join(missing)} missing); {hint}")
    if len(documents) > 2:
        raise ConfigError(f"{path}: no KFP v2 pipeline ({len(documents)} documents); {hint}")


def _connect(host: str, token: str | None, read_seconds: float) -> Any:
    """Returns a kfp client that asks once for the service's health and waits a limited time."""
    import kfp
    import urllib3

    class Client(kfp.Client):  # type: ignore[misc]
        """Without kfp's five tries of five seconds, each with a traceback in the log."""

        is_watched = False

        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            self.watch_answers()
            return kubeflow_health(self._healthz_api)

        def watch_answers(self) -> None:
            """Sets the time limits for which kfp's methods have no argument, and checks answers."""
            if self.is_watched:
                return
            pools = self._healthz_api.api_client.rest_client.pool_manager
            send = pools.request
            limit = urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds)

            def request(*args: Any, **kwargs: Any) -> Any:
                answer = send(*args, **{**kwargs, "timeout": limit, "redirect": False})
                check_answer(host, answer.status, answer.headers, answer.data, _LOG_IN)
                return answer

            pools.request = request
            self.is_watched = True

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "This client only works with v2": known, and wanted.
        authority = os.environ.get("SSL_CERT_FILE") or None  # kfp itself looks at certifi's alone
        client = Client(host=host, existing_token=token, ssl_ca_cert=authority)
    client.watch_answers()
    return client


def _pipeline_id(client: Any, host: str, name: str, namespace: str | None) -> str:
    """Returns the id of the pipeline called `name`.

    Raises:
        ServiceError: there is none.
    """
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    answer = client.list_pipelines(
        namespace=namespace, filter=json.dumps({"predicates": [predicate]})
    )
    for pipeline in answer.pipelines or []:
        if pipeline.display_name == name:
            return checked_id(host, "pipeline", pipeline.pipeline_id)
    raise ServiceError(f"{host}: no pipeline {name!r} yet: leave out --version to create it")


@contextlib.contextmanager
def _service_errors(host: str, name: str, version: str | None, token: str | None) -> Iterator[None]:
    """Turns what kfp and its HTTP library raise into one line; keeps kfp's prints off the screen.

    Raises:
        ServiceError: see above.
    """
    import kfp_server_api
    import urllib3

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except kfp_server_api.ApiException as error:
        said = _hide(_message(error), token)
        raise ServiceError(f"{host}: {_advice(error.status, said, name, version)}") from None
    except urllib3.exceptions.HTTPError as error:
        reason = getattr(error, "reason", None) or error
        said = _hide(" ".join(_OBJECT.sub("", str(reason)).split()), token)
        raise ServiceError(
            f"{host}: no answer ({type(reason).__name__}: {said}): {_network_advice(reason)}"
        ) from None
    except ValueError as error:  # kfp's own checks, such as a version in a pipeline's name
        raise ServiceError(f"{host}: {_hide(' '.join(str(error).split()), token)}") from None
    except (TypeError, AttributeError, KeyError) as error:  # kfp's, in JSON of another shape
        raise ServiceError(f"{host}: {_UNREADABLE}") from error


def _network_advice(reason: Any) -> str:
    """Returns what to do where no answer came."""
    import urllib3

    if isinstance(reason, urllib3.exceptions.SSLError):
        return (
            "check http or https in --host; for a certificate of your own name its authority's "
            "file in the variable SSL_CERT_FILE"
        )
    never_reached = (
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        urllib3.exceptions.ProxyError,
    )
    if isinstance(reason, never_reached):
        return "nothing was sent: check the address and the network"
    return (
        "check the address and the network; what was sent may or may not have been stored, so "
        "look before repeating it"
    )


def _message(error: Any) -> str:
    """Returns what the service said: its JSON message where there is one, else the reason."""
    try:
        body = json.loads(error.body)
        said = body.get("error_message") or body.get("message") or body.get("error") or ""
        said = said.get("message", "") if isinstance(said, dict) else said
    except (TypeError, ValueError, AttributeError, RecursionError):
        said = ""
    return " ".join(str(said or error.reason or "").split())[:300]


def _advice(status: int, said: str, name: str, version: str | None) -> str:
    """Returns what went wrong and what to do about it."""
    if status in (401, 403):
        return f"{status}, not allowed ({said}): {_LOG_IN}"
    # Before KFP 2.1 the upload answers 500 for a name that exists.
    if status == 409 or "already exist" in said.lower():
        if version is None:
            return (
                f"a pipeline {name!r} exists already: add a version to it with --version, "
                "or choose another --name"
            )
        return f"pipeline {name!r} has a version {version!r} already: choose another --version"
    if not status:  # kfp's own, of an answer that came
        return f"{_UNREADABLE} ({said})"
    if status == 404:
        return f"404 ({said}): is this the address of Kubeflow Pipelines?"
    if status >= 500:
        return f"the service failed with {status} ({said}): its log says more; try again later"
    return f"the service refused with {status} ({said})"


def _hide(text: str, token: str | None) -> str:
    return text.replace(token, "***") if token else text

"""A stand-in for the REST API of Kubeflow Pipelines, on a loopback port.

Paths, parameters and messages are those of backend/api/v2beta1/*.proto as the gateway has them;
bodies may hold only the fields that KFP 2.0 knows, since its gateway refuses others. Refusals and
what is unique are as in backend/src/apiserver: server/{pipeline_upload,run,job}_server.go,
server/list_request_util.go, resource/resource_manager.go; page tokens as in list/list.go.
"""

import base64
import dataclasses
import email
import gzip
import json
import re
import threading
import uuid
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from tests.loopback import Handler, LoopbackServer

ROOT = "/apis/v2beta1"
LOGS = "/apis/v1alpha1/runs/"
NOW = "2026-01-02T03:04:05Z"
NEVER = "1970-01-01T00:00:00Z"
HTML = {"Content-Type": "text/html; charset=utf-8"}
JSON = {"Content-Type": "application/json"}

_FIELDS = {
    "pipelines": {"display_name", "description", "namespace"},
    "experiments": {"display_name", "description", "namespace"},
    "runs": {
        "experiment_id", "display_name", "description", "pipeline_spec",
        "pipeline_version_reference", "runtime_config", "service_account",
    },
    "recurringruns": {
        "display_name", "description", "pipeline_spec", "pipeline_version_reference",
        "runtime_config", "service_account", "max_concurrency", "trigger", "mode", "no_catchup",
        "experiment_id",
    },
}  # fmt: skip
_IDS = {"pipelines": "pipeline_id", "experiments": "experiment_id", "runs": "run_id",
        "recurringruns": "recurring_run_id", "versions": "pipeline_version_id"}  # fmt: skip
_LISTS = {"recurringruns": "recurringRuns", "versions": "pipeline_versions"}


@dataclasses.dataclass
class Trouble:
    """What happens to requests of a kind, so many times.

    Attributes:
        what: a status; a whole answer; or `drop`, `lose` (done, but the connection breaks before
            the answer), or `hang` (done, but no answer).
        method: of the request.
        path: regular expression of it, below the API's root.
        times: how often.
    """

    what: int | str | tuple[int, dict[str, str], bytes]
    method: str = "GET"
    path: str = ".*"
    times: int = 1


@dataclasses.dataclass
class State:
    """What the service holds, what it was asked, and how it shall misbehave."""

    token: str | None = None
    cookie: str | None = None
    is_multi_user: bool = False
    is_packed: bool = False
    page_size: int | None = None
    troubles: list[Trouble] = dataclasses.field(default_factory=list)
    requests: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    headers: list[dict[str, str]] = dataclasses.field(default_factory=list)
    queries: list[dict[str, str]] = dataclasses.field(default_factory=list)
    stored: dict[str, list[dict[str, Any]]] = dataclasses.field(
        default_factory=lambda: {kind: [] for kind in _IDS}
    )
    files: list[bytes] = dataclasses.field(default_factory=list)
    # States of every run, one after the other each time that it is looked at.
    progress: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    logs: dict[str, str] = dataclasses.field(default_factory=dict)
    lock: Any = dataclasses.field(default_factory=threading.RLock)
    hang_over: threading.Event = dataclasses.field(default_factory=threading.Event)

    def count(self, method: str, path: str) -> int:
        """Returns how often something was asked for."""
        return sum(m == method and re.fullmatch(path, p) is not None for m, p in self.requests)


class Refused(Exception):
    """An answer with the status of an error."""

    def __init__(self, status: int, message: str, is_upload: bool = False) -> None:
        self.status = status
        self.body = upload_error(message) if is_upload else grpc_error(status, message)


def grpc_error(status: int, message: str) -> dict[str, Any]:
    code = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 503: 14}.get(status, 13)
    detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": message}
    return {"error": message, "code": code, "message": f"Wrapped: {message}", "details": [detail]}


def upload_error(message: str) -> dict[str, Any]:
    return {"error_message": message, "error_details": f"Failed: {message}"}


class _Handler(Handler):
    def answer_request(self, body: bytes) -> None:
        method = self.command
        parts = urlsplit(self.path)
        query = {key: value for key, value in self.query.items() if value}
        path = unquote(parts.path.removeprefix(ROOT + "/"))
        with self.state.lock:
            self.state.requests.append((method, path))
            self.state.headers.append(dict(self.headers.items()))
            self.state.queries.append(query)
            trouble = self._trouble(method, path)
        if isinstance(trouble, tuple):
            self._send(*trouble)
        elif isinstance(trouble, int):
            self._answer(trouble, grpc_error(trouble, f"{path} is out of order"))
        elif trouble == "drop":
            self.break_off()
        else:
            self._done(method, path, query, body, trouble)

    def _done(
        self, method: str, path: str, query: dict[str, str], body: bytes, trouble: str | None
    ) -> None:
        try:
            self._check_user()
            if unquote(self.path).startswith(LOGS):
                self._send(200, {"Content-Type": "text/plain"}, self._log())
                return
            with self.state.lock:
                answer = self._do(method, path, query, body)
        except Refused as refused:
            self._answer(refused.status, refused.body)
            return
        if trouble == "hang":
            self.state.hang_over.wait(20)
        if trouble:
            self.break_off()
        else:
            self._answer(200, answer)

    def _trouble(self, method: str, path: str) -> Any:
        for trouble in self.state.troubles:
            if trouble.times and trouble.method == method and re.fullmatch(trouble.path, path):
                trouble.times -= 1
                return trouble.what
        return None

    def _check_user(self) -> None:
        given = self.headers.get("Authorization")
        if self.state.token and given != f"Bearer {self.state.token}":
            raise Refused(401, f"Unauthenticated: bad token {given}")
        if self.state.cookie and self.headers.get("Cookie") != self.state.cookie:
            raise Refused(401, f"Unauthenticated: bad cookie {self.headers.get('Cookie')}")

    def _do(self, method: str, path: str, query: dict[str, str], body: bytes) -> dict[str, Any]:
        parts = path.split("/")
        if path == "healthz":
            return {"multi_user": True} if self.state.is_multi_user else {}
        if path == "pipelines/upload_version":
            return self._upload_version(query, body)
        kind = "versions" if "versions" in parts else parts[0]
        if kind not in self.state.stored:
            raise Refused(404, "Not Found")
        name, _, action = parts[-1].partition(":")
        if action:
            return self._act(kind, name, action)
        if parts[-1] == kind:
            of = parts[1] if kind == "versions" else None
            if method == "GET":
                return self._listed(kind, query, of)
            return self._create(kind, json.loads(body))
        return self._one(method, kind, name)

    def _one(self, method: str, kind: str, name: str) -> dict[str, Any]:
        found = self._found(kind, name)
        if method == "DELETE":
            if kind == "pipelines" and any(
                version["pipeline_id"] == name for version in self.state.stored["versions"]
            ):
                raise Refused(400, "Set cascade=true to delete all versions")
            self.state.stored[kind].remove(found)
            return {}
        if kind == "runs" and self.state.progress:
            found.update(self.state.progress.pop(0))
        return found

    def _found(self, kind: str, name: str) -> dict[str, Any]:
        for found in self.state.stored[kind]:
            if found[_IDS[kind]] == name:
                return found
        raise Refused(404, f"{kind} {name} not found")

    def _act(self, kind: str, name: str, action: str) -> dict[str, Any]:
        found = self._found(kind, name)
        if action == "terminate":
            if found["state"] not in ("PENDING", "RUNNING", "PAUSED"):
                raise Refused(400, f"Failed to terminate a run {name}. Row not found")
            found["state"] = "CANCELING"
        else:
            found["status"] = {"enable": "ENABLED", "disable": "DISABLED"}[action]
        return {}

    def _listed(self, kind: str, query: dict[str, str], of: str | None) -> dict[str, Any]:
        self._check_namespace(kind, query.get("namespace"), query.get("experiment_id"))
        found = [one for one in self.state.stored[kind] if not of or one["pipeline_id"] == of]
        for key in ("namespace", "experiment_id"):
            if query.get(key) and not (key == "namespace" and kind in ("runs", "versions")):
                found = [one for one in found if one.get(key, "") == query[key]]
        for predicate in json.loads(query.get("filter", "{}")).get("predicates", []):
            wanted, key = predicate["stringValue"], predicate["key"]
            if predicate["operation"] == "EQUALS":
                found = [one for one in found if one[key] == wanted]
            else:
                assert predicate["operation"] == "IS_SUBSTRING"
                found = [one for one in found if wanted in one[key]]
        if query.get("sort_by") == "created_at desc":
            found = found[::-1]
        start = 0
        if token := query.get("page_token"):
            known = json.loads(base64.b64decode(token))
            if known["filter"] != query.get("filter") or known["sort"] != query.get("sort_by"):
                raise Refused(400, "page token does not match the supplied sort by and/or filter")
            start = known["start"]
        size = min(self.state.page_size or 200, int(query.get("page_size", 20)))
        page = {_LISTS.get(kind, kind): found[start : start + size], "total_size": len(found)}
        if start + size < len(found):
            token = {
                "filter": query.get("filter"),
                "sort": query.get("sort_by"),
                "start": start + size,
            }
            page["next_page_token"] = base64.b64encode(json.dumps(token).encode()).decode()
        # The gateway leaves out what is empty.
        return {key: value for key, value in page.items() if value}

    def _check_namespace(self, kind: str, namespace: str | None, experiment: str | None) -> None:
        if self.state.is_multi_user and kind in ("runs", "experiments", "recurringruns"):
            if not namespace and not experiment:
                raise Refused(400, "A run cannot have an empty namespace in multi-user mode")
            if namespace not in (None, "team"):
                raise Refused(403, f"User is not authorized to list {kind} in {namespace}")

    def _create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        unknown = set(body) - _FIELDS[kind]
        if unknown:
            raise Refused(400, f"unknown field {unknown} in {kind}")
        if not body.get("display_name"):
            raise Refused(400, "The run name is empty. Please specify a valid name")
        if kind in ("pipelines", "experiments"):
            self._check_namespace(kind, body.get("namespace"), None)
            if any(
                one["display_name"] == body["display_name"]
                and one.get("namespace") == body.get("namespace")
                for one in self.state.stored[kind]
            ):
                raise Refused(409, f"Already exist error: the name {body['display_name']}")
        else:
            self._check_run(body)
        found = {_IDS[kind]: str(uuid.uuid4()), "created_at": NOW, **body}
        if kind == "runs":
            found |= {"state": "PENDING", "finished_at": NEVER, "storage_state": "AVAILABLE"}
        if kind == "recurringruns":
            on = body.get("mode") == "ENABLE"
            account = body.get("service_account", "pipeline-runner")
            found |= {"status": "ENABLED" if on else "DISABLED", "service_account": account}
            if self.state.is_multi_user:
                found["namespace"] = "team"
        self.state.stored[kind].append(found)
        return found

    def _check_run(self, body: dict[str, Any]) -> None:
        if not body.get("experiment_id"):
            raise Refused(400, "Experiment id can not be empty in multi-user mode")
        self._found("experiments", body["experiment_id"])
        spec = body.get("pipeline_spec")
        if spec is None:
            reference = body["pipeline_version_reference"]
            version = self._found("versions", reference["pipeline_version_id"])
            spec = version["pipeline_spec"]
        inputs = spec.get("pipeline_spec", spec)["root"].get("inputDefinitions", {})
        for name in body.get("runtime_config", {}).get("parameters", {}):
            if name not in inputs.get("parameters", {}):
                raise Refused(400, f"Invalid input error: unknown parameter {name}")

    def _upload_version(self, query: dict[str, str], body: bytes) -> dict[str, Any]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        [part] = email.message_from_bytes(head + body).get_payload()
        assert part.get_param("name", header="content-disposition") == "uploadfile"
        if not any(p["pipeline_id"] == query["pipelineid"] for p in self.state.stored["pipelines"]):
            raise Refused(400, "Failed to create a pipeline version", is_upload=True)
        if any(
            one["display_name"] == query["name"] and one["pipeline_id"] == query["pipelineid"]
            for one in self.state.stored["versions"]
        ):
            raise Refused(409, "Failed to create a pipeline version", is_upload=True)
        content = part.get_payload(decode=True)
        self.state.files.append(content)
        documents = list(yaml.safe_load_all(content))
        spec = documents[0]
        if len(documents) > 1:
            spec = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        version = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": str(uuid.uuid4()),
            "display_name": query["name"],
            "created_at": NOW,
            "pipeline_spec": spec,
        }
        self.state.stored["versions"].append(version)
        return version

    def _log(self) -> bytes:
        pod = unquote(self.path).split("/")[-2]
        if pod in self.state.logs:
            return self.state.logs[pod].encode()
        # The status is sent before the log is looked for.
        return json.dumps(upload_error(f"Failed to read logs from pod {pod}")).encode()

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, JSON, json.dumps(body).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        headers = dict(headers)
        if self.state.is_packed and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        self.send(status, headers, body)


class KfpServer(LoopbackServer):
    """The service."""

    state: State

    def __init__(self) -> None:
        super().__init__(_Handler, State())

    def __exit__(self, *_: object) -> None:
        self.state.hang_over.set()
        super().__exit__()

"""A stand-in for the REST API of Kubeflow Pipelines v2beta1, on a loopback port.

Paths, parameters, JSON bodies and error bodies are those of the backend that goes with kfp 2.5
(backend/api/v2beta1, and resource/pipeline_upload_server.go for the two multipart paths).
"""

import dataclasses
import email
import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT = "/apis/v2beta1"


@dataclasses.dataclass
class State:
    """What the service holds, what it was asked, and how it shall misbehave."""

    token: str | None = None
    fail_with: dict[str, int | str] = dataclasses.field(default_factory=dict)
    answer_with: dict[str, tuple[int, dict[str, str], bytes]] = dataclasses.field(
        default_factory=dict
    )
    tokens: list[str | None] = dataclasses.field(default_factory=list)
    requests: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    pipelines: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    files: list[bytes] = dataclasses.field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _handle(self, method: str) -> None:
        state: State = self.server.state  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        path = parts.path.removeprefix(ROOT)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        state.requests.append((method, path))
        state.tokens.append(self.headers.get("authorization"))
        if answer := state.answer_with.get(path) or state.answer_with.get("*"):
            self._send(*answer)
            return
        trouble = state.fail_with.get(path)
        if trouble == "drop":
            self.close_connection = True
            self.connection.close()
        elif trouble == "hang":
            self.server.hang_over.wait(20)  # type: ignore[attr-defined]
            self.close_connection = True
        elif isinstance(trouble, int):
            self._answer(trouble, _grpc_error(13, f"Failed: {path} is out of order"))
        elif state.token and self.headers.get("authorization") != f"Bearer {state.token}":
            said = f"Unauthenticated: bad token {self.headers.get('authorization')}"
            self._answer(401, _grpc_error(16, said))
        elif path == "/healthz":
            self._answer(200, {"multi_user": False})
        elif path == "/pipelines" and method == "GET":
            self._list(state, query)
        elif path == "/pipelines/upload":
            self._upload(state, query, body)
        elif path == "/pipelines/upload_version":
            self._upload_version(state, query, body)
        else:
            self._answer(404, _grpc_error(5, "Not Found"))

    def _list(self, state: State, query: dict[str, str]) -> None:
        [predicate] = json.loads(query["filter"])["predicates"]
        assert predicate["operation"] in ("EQUALS", 1)
        name = predicate["stringValue"]
        found = [p for p in state.pipelines.values() if p[predicate["key"]] == name]
        # The gateway leaves out empty lists.
        self._answer(200, {"pipelines": found, "total_size": len(found)} if found else {})

    def _upload(self, state: State, query: dict[str, str], body: bytes) -> None:
        if any(p["display_name"] == query["name"] for p in state.pipelines.values()):
            self._answer(409, _upload_error("Failed to create a pipeline: Already exist error"))
            return
        self._store_file(state, body)
        pipeline = {
            "pipeline_id": str(uuid.uuid5(uuid.NAMESPACE_URL, query["name"])),
            "display_name": query["name"],
            "created_at": "2026-01-02T03:04:05Z",
        }
        state.pipelines[pipeline["pipeline_id"]] = pipeline
        self._answer(200, pipeline)

    def _upload_version(self, state: State, query: dict[str, str], body: bytes) -> None:
        if query["pipelineid"] not in state.pipelines:
            self._answer(404, _upload_error("ResourceNotFoundError: Pipeline not found"))
            return
        if query["name"] in state.versions:
            self._answer(409, _upload_error("Already exist error: version"))
            return
        self._store_file(state, body)
        version = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": str(uuid.uuid5(uuid.NAMESPACE_URL, query["name"])),
            "display_name": query["name"],
            "created_at": "2026-01-02T03:04:05Z",
        }
        state.versions[query["name"]] = version
        self._answer(200, version)

    def _store_file(self, state: State, body: bytes) -> None:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        [part] = email.message_from_bytes(head + body).get_payload()
        assert part.get_param("name", header="content-disposition") == "uploadfile"
        state.files.append(part.get_payload(decode=True))

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _grpc_error(code: int, message: str) -> dict[str, Any]:
    return {"error": message, "code": code, "message": message, "details": []}


def _upload_error(message: str) -> dict[str, Any]:
    return {"error_message": message, "error_details": message}


class KfpServer:
    """The service as a context manager; `address` is where it listens."""

    def __init__(self) -> None:
        self.state = State()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.state = self.state  # type: ignore[attr-defined]
        self._server.hang_over = threading.Event()  # type: ignore[attr-defined]
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "KfpServer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.hang_over.set()  # type: ignore[attr-defined]
        self._server.shutdown()
        self._server.server_close()

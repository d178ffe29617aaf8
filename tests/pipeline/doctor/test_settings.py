"""A config, its data and its services, looked at by the doctor."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.doctor.probes import settings as probe
from pipeline.doctor.settings import kubeflow_row, settings_rows, store_row
from pipeline.shapes import generate_shapes

SECRET = "a-token-that-is-not-shown"
WELL = {"config": "ok", "weights": "ok", "workers": "ok"}


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A service whose next answer is `status`, `body`; it notes the headers that it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.seen = (self.path, self.headers.get("Authorization"))
            self.send_response(service.status)
            self.end_headers()
            self.wfile.write(service.body)

        def log_message(self, *arguments: object) -> None:
            pass

    service = HTTPServer(("127.0.0.1", 0), Handler)
    service.status, service.body, service.seen = 200, b'{"tag_name": "2.4.0"}', None
    thread = threading.Thread(target=service.serve_forever, daemon=True)
    thread.start()
    yield service
    service.shutdown()
    service.server_close()
    thread.join()


def address(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/pipeline"


def test_a_healthy_kubeflow_is_well(server) -> None:
    row = kubeflow_row(address(server) + "/", {"KF_PIPELINES_TOKEN": f" {SECRET}\n"})
    assert row.status == "ok" and row.found.endswith("Kubeflow Pipelines 2.4.0")
    assert server.seen == ("/pipeline/apis/v2beta1/healthz", f"Bearer {SECRET}")


@pytest.mark.parametrize(
    ("status", "body", "found", "mend"),
    [
        (401, b"", "answers 401", "KF_PIPELINES_TOKEN"),
        (403, b"", "answers 403", "KF_PIPELINES_TOKEN"),
        (404, b"", "answers 404", "check the address"),
        (500, b"", "answers 500", "check the address"),
        (200, b"<html>log in</html>", "a log-in page?", "log-in"),
        (200, b"[]", "a log-in page?", "log-in"),
        (200, b"\xff", "a log-in page?", "log-in"),
    ],
)
def test_another_answer_is_an_error(server, status, body, found, mend) -> None:
    server.status, server.body = status, body
    row = kubeflow_row(address(server), {"KF_PIPELINES_TOKEN": SECRET})
    assert row.status == "error" and found in row.found and mend in row.mend
    assert SECRET not in row.found + row.mend


@pytest.mark.parametrize("given", ["kubeflow.my.org", "ftp://a", "http://127.0.0.1:1", "http://["])
def test_no_kubeflow_is_an_error(given) -> None:
    assert kubeflow_row(given, {}).status == "error"


def test_an_object_store_that_is_not_reached_is_a_warning(server) -> None:
    assert store_row(address(server)).status == "ok"
    assert store_row("http://127.0.0.1:1").status == "warning"


@pytest.mark.parametrize(
    ("change", "data", "statuses"),
    [
        ("", "", WELL),
        ("", "data", WELL | {"data": "ok"}),
        ("", "absent", WELL | {"data": "error"}),
        ("model: {weights: absent.npz}", "", WELL | {"weights": "error"}),
        ("train: {device: gpu}", "", WELL | {"workers": "error"}),
        ("trian: {}", "", {"config": "error"}),
        ("a: [", "", {"config": "error"}),
    ],
)
def test_what_a_user_gives_is_looked_at(
    tmp_path, capsys, monkeypatch, repo, change, data, statuses
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    config = tmp_path / "mine.yaml"
    config.write_text(f"base: {repo}/configs/tiny.yaml\n{change}\n")
    if data == "data":
        generate_shapes(tmp_path / data, 2, 2, 0, 48)
    probe.main(str(config), str(tmp_path / data) if data else "")
    answer = json.loads(capsys.readouterr().out)
    found = {name: "error" if problem else "ok" for name, problem, _ in answer["checks"]}
    assert found == statuses


def test_secrets_of_the_data_are_refused_as_by_a_run_and_not_shown(capsys, repo) -> None:
    probe.main(str(repo / "configs/tiny.yaml"), "ftp://me:hunter2@127.0.0.1:1/coco")
    said = capsys.readouterr().out
    [row] = [check for check in json.loads(said)["checks"] if check[0] == "data"]
    assert "FSSPEC_FTP_PASSWORD" in row[1] and row[2] == "ftp://me:***@127.0.0.1:1/coco"
    assert "hunter2" not in said


def test_the_rows_say_where_and_what_mends_it(tmp_path) -> None:
    [row] = settings_rows(str(tmp_path / "absent.yaml"), "", 60.0)
    assert row.status == "error" and "absent.yaml" in row.found and "docs/configs.md" in row.mend

"""Uploads through kfp's own client to a server that speaks kfp's REST messages."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from configs.errors import ConfigError, ServiceError
from pipeline.__main__ import main
from pipeline.upload import read_token, upload
from tests.pipeline.kfp_server import KfpServer

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PIPELINE = yaml.safe_dump(
    {
        "pipelineInfo": {"name": "shapes"},
        "root": {"dag": {}},
        "components": {},
        "deploymentSpec": {},
        "schemaVersion": "2.1.0",
    }
)


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer() as running:
        yield running


@pytest.fixture
def pipeline_file(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.yaml"
    path.write_text(PIPELINE)
    return path


def test_upload_creates_a_pipeline(server: KfpServer, pipeline_file: Path) -> None:
    uploaded = upload(pipeline_file, server.address + "/", "detector")

    [stored] = server.state.pipelines.values()
    assert stored["display_name"] == "detector"
    assert uploaded.pipeline_id == stored["pipeline_id"]
    assert uploaded.version_id is None
    assert uploaded.address == f"{server.address}/#/pipelines/details/{stored['pipeline_id']}"
    assert server.state.files == [pipeline_file.read_bytes()]


def test_upload_sends_what_is_asked_of_kubernetes(server: KfpServer, pipeline_file: Path) -> None:
    with pipeline_file.open("a") as file:
        file.write("---\nplatforms: {kubernetes: {deploymentSpec: {executors: {}}}}\n")
    upload(pipeline_file, server.address, "detector")
    assert server.state.files == [pipeline_file.read_bytes()]


def test_upload_adds_a_version_to_an_existing_pipeline(
    server: KfpServer, pipeline_file: Path
) -> None:
    created = upload(pipeline_file, server.address, "detector")
    uploaded = upload(pipeline_file, server.address, "detector", version="v2")

    assert uploaded.pipeline_id == created.pipeline_id
    assert uploaded.version_id == server.state.versions["v2"]["pipeline_version_id"]
    assert uploaded.address.endswith(f"/{created.pipeline_id}/version/{uploaded.version_id}")
    assert len(server.state.pipelines) == 1


def test_existing_name_says_to_use_version(server: KfpServer, pipeline_file: Path) -> None:
    upload(pipeline_file, server.address, "detector")
    with pytest.raises(ServiceError, match="exists already: add a version to it with --version"):
        upload(pipeline_file, server.address, "detector")


def test_existing_version_says_so(server: KfpServer, pipeline_file: Path) -> None:
    upload(pipeline_file, server.address, "detector")
    upload(pipeline_file, server.address, "detector", version="v2")
    with pytest.raises(ServiceError, match="has a version 'v2' already"):
        upload(pipeline_file, server.address, "detector", version="v2")


def test_version_of_an_unknown_pipeline_says_to_create_it(
    server: KfpServer, pipeline_file: Path
) -> None:
    with pytest.raises(ServiceError, match="no pipeline 'detector' yet: leave out --version"):
        upload(pipeline_file, server.address, "detector", version="v2")
    assert not server.state.files


def test_wrong_token_is_refused_and_not_shown(server: KfpServer, pipeline_file: Path) -> None:
    server.state.token = "right"
    with pytest.raises(ServiceError, match="401, not allowed") as raised:
        upload(pipeline_file, server.address, "detector", token="wrong-secret")
    assert "wrong-secret" not in str(raised.value)
    assert "KF_PIPELINES_TOKEN" in str(raised.value)

    assert upload(pipeline_file, server.address, "detector", token="right").pipeline_id


@pytest.mark.parametrize("path", ["/healthz", "/pipelines/upload"])
def test_failing_service_ends_after_one_try(
    server: KfpServer, pipeline_file: Path, path: str
) -> None:
    server.state.fail_with[path] = 500
    with pytest.raises(ServiceError, match=r"the service failed with 500 \(Failed: "):
        upload(pipeline_file, server.address, "detector")
    assert server.state.requests.count(("POST", path)) <= 1
    assert server.state.requests.count(("GET", path)) <= 1


@pytest.mark.parametrize("path", ["/healthz", "/pipelines/upload"])
def test_dropped_connection_ends_in_one_line(
    server: KfpServer, pipeline_file: Path, path: str
) -> None:
    server.state.fail_with[path] = "drop"
    with pytest.raises(ServiceError, match="no answer") as raised:
        upload(pipeline_file, server.address, "detector")
    assert "\n" not in str(raised.value)
    assert len(server.state.requests) <= 5
    # What may have been stored is never sent twice.
    assert server.state.requests.count(("POST", "/pipelines/upload")) <= 1


def test_silent_service_is_given_up(server: KfpServer, pipeline_file: Path) -> None:
    server.state.fail_with["/pipelines/upload"] = "hang"
    with pytest.raises(ServiceError, match="no answer"):
        upload(pipeline_file, server.address, "detector", read_seconds=0.2)


def test_nobody_listening_ends_in_one_line(pipeline_file: Path) -> None:
    with KfpServer() as server:
        address = server.address
    with pytest.raises(ServiceError, match=r"no answer .*refused") as raised:
        upload(pipeline_file, address, "detector")
    assert " object at 0x" not in str(raised.value)


def test_other_service_at_the_address_is_recognised(server: KfpServer, pipeline_file: Path) -> None:
    with pytest.raises(ServiceError, match="is this the address of Kubeflow Pipelines"):
        upload(pipeline_file, server.address + "/elsewhere", "detector")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        ("a: [", "not YAML"),
        ("name: tiny", "no KFP v2 pipeline"),
        ("", "no KFP v2 pipeline"),
        (f"{PIPELINE}---\nname: tiny\n", r"no KFP v2 pipeline \(platforms missing\)"),
        (f"{PIPELINE}---\nplatforms: {{}}\n---\na: 1\n", r"no KFP v2 pipeline \(3 documents\)"),
    ],
)
def test_wrong_file_is_refused_before_anything_is_sent(
    server: KfpServer, tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "wrong.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        upload(path, server.address, "detector")
    assert not server.state.requests


def test_address_without_scheme_is_refused(pipeline_file: Path) -> None:
    with pytest.raises(ConfigError, match="expected an address such as"):
        upload(pipeline_file, "localhost:8080", "detector")


HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json"}
LOGIN_PAGE = b"<!doctype html><html><head><title>Log in to\n Your Account</title></head></html>"
OTHER_ID = "0" * 8 + "-1111-2222-3333-" + "4" * 12


def _json(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, JSON, json.dumps(value).encode()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, HTML, LOGIN_PAGE), "a web page ('Log in to Your Account'), as a login does: log in"),
        ((200, JSON, LOGIN_PAGE), "a web page ('Log in to Your Account')"),
        ((200, HTML, b""), "a web page, as a login does: log in: put a valid token in $KF_"),
        ((302, {"Location": "/dex/auth?state=x"}, b""), "redirects to http://127.0.0.1:"),
        ((302, {"Location": "/dex/auth?state=x"}, b""), "/dex/auth: log in: put a valid token"),
        ((307, {"Location": "https://sso.my.org/"}, b""), "https://sso.my.org/: log in"),
        ((301, {"Location": "/elsewhere/"}, b""), "/elsewhere/: give --host the address"),
        ((308, {}, b""), "redirects to"),
        ((302, {"Location": "http://[::1"}, b""), "redirects to"),
        ((200, JSON, b"[]"), "answered with '[]', which Kubeflow Pipelines does not"),
        ((200, JSON, b""), "answered with ''"),
        ((200, JSON, b"ok"), "answered with 'ok'"),
        ((200, JSON, b'{"pipeline_id": "'), "which Kubeflow Pipelines does not"),
        ((200, JSON, b"\xff\xfe\x00"), "which Kubeflow Pipelines does not"),
        ((200, JSON, b"[" * 100_000), "which Kubeflow Pipelines does not"),
        ((204, {}, b""), "answered with ''"),
        ((418, HTML, LOGIN_PAGE), "refused with 418"),
        ((403, HTML, LOGIN_PAGE), "403, not allowed"),
        ((502, HTML, b"<html>bad gateway"), "failed with 502"),
        ((400, JSON, b'{"error": {"code": 400, "message": "no such field"}}'), "no such field"),
        ((400, JSON, b"[1]"), "refused with 400"),
    ],
)
@pytest.mark.parametrize("path", ["*", "/pipelines/upload"])
def test_an_answer_of_something_else_is_no_success(
    server: KfpServer,
    pipeline_file: Path,
    path: str,
    answer: tuple[int, dict[str, str], bytes],
    said: str,
) -> None:
    server.state.answer_with[path] = answer
    with pytest.raises(ServiceError) as raised:
        upload(pipeline_file, server.address, "detector", token="secret")
    message = str(raised.value)
    assert said in message
    assert "\n" not in message and "secret" not in message and len(message) < 500
    assert server.state.requests.count(("POST", "/pipelines/upload")) <= 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "answered with no id of the pipeline"),
        ({"id": OTHER_ID, "name": "detector"}, "answered with no id of the pipeline"),
        ({"pipeline_id": ""}, "the id ''"),
        ({"pipeline_id": 5}, "the id '5'"),
        ({"pipeline_id": None}, "no id"),
        ({"pipeline_id": {"a": 1}}, "the id"),
        ({"pipeline_id": "login required"}, "the id 'login required'"),
        ({"pipeline_id": OTHER_ID, "created_at": "yesterday"}, "what kfp cannot read"),
    ],
)
def test_an_answer_without_an_id_is_no_success(
    server: KfpServer, pipeline_file: Path, answer: dict[str, object], said: str
) -> None:
    server.state.answer_with["/pipelines/upload"] = _json(answer)
    with pytest.raises(ServiceError) as raised:
        upload(pipeline_file, server.address, "detector")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/pipelines/upload_version", {}, "no id of the version"),
        ("/pipelines/upload_version", {"pipeline_id": OTHER_ID}, "no id of the version"),
        ("/pipelines", {}, "no pipeline 'detector' yet"),
        ("/pipelines", {"pipelines": 5}, "what kfp cannot read"),
        ("/pipelines", {"pipelines": [{"display_name": "detector"}]}, "no id of the pipeline"),
        ("/pipelines", {"pipelines": ["detector"]}, ""),
    ],
)
def test_a_version_needs_both_ids(
    server: KfpServer, pipeline_file: Path, path: str, answer: object, said: str
) -> None:
    upload(pipeline_file, server.address, "detector")
    server.state.answer_with[path] = _json(answer)
    with pytest.raises(ServiceError) as raised:
        upload(pipeline_file, server.address, "detector", version="v2")
    assert said in str(raised.value)
    assert not server.state.versions


def test_a_redirect_takes_no_token_along(server: KfpServer, pipeline_file: Path) -> None:
    with KfpServer() as other:
        for path in ("/healthz", "/pipelines/upload"):
            location = f"{other.address}/apis/v2beta1{path}"
            server.state.answer_with[path] = (307, {"Location": location}, b"")
        with pytest.raises(ServiceError, match="redirects to"):
            upload(pipeline_file, server.address, "detector", token="secret")
        assert other.state.requests == []
    assert "Bearer secret" in server.state.tokens


def test_a_name_that_does_not_resolve_and_plain_http_end_in_a_line(
    server: KfpServer, pipeline_file: Path
) -> None:
    for host, said in (
        ("http://no-such-host.invalid", "nothing was sent"),
        (server.address.replace("http:", "https:"), "check http or https in --host"),
        (f"http://{'a' * 70}.org", ""),
    ):
        with pytest.raises(ServiceError) as raised:
            upload(pipeline_file, host, "detector")
        assert said in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("https://", "expected an address"),
        ("ftp://a.org", "expected an address"),
        ("http://[::1", "expected an address"),
        ("http://a.org:99999", "expected an address"),
        ("http://a.org:x", "expected an address"),
        ("http://a b", "expected an address"),
        ("http://a.org/\n", "expected an address"),
        ("", "expected an address"),
        ("https://me:pass@a.org", "no name and password in it"),
        ("https://a.org/#/pipelines", "leave out what begins with #"),
        ("https://a.org/?x=1", "leave out what begins with #"),
    ],
)
def test_an_address_that_is_none_is_refused(pipeline_file: Path, host: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        upload(pipeline_file, host, "detector")
    assert said in str(raised.value) and "pass@" not in str(raised.value)


@pytest.mark.parametrize(("name", "version"), [("", None), (" ", None), ("detector", "")])
def test_an_empty_name_is_refused(
    server: KfpServer, pipeline_file: Path, name: str, version: str | None
) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        upload(pipeline_file, server.address, name, version)
    assert not server.state.requests


@pytest.mark.parametrize(
    "content", [b"two words", b"a\nb", "tökén".encode(), b"\xff", b"x" * 70_000]
)
def test_a_file_that_holds_no_token_is_refused_unread_aloud(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="holds no token") as raised:
        read_token(path)
    assert content[:3].decode("latin-1") not in str(raised.value).replace(str(path), "")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_token(tmp_path)


def test_token_comes_from_file_then_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KF_PIPELINES_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "from-environment")
    assert read_token(None) == "from-environment"
    path = tmp_path / "token"
    path.write_text("from-file\n")
    assert read_token(path) == "from-file"
    path.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        read_token(path)


def test_command_prints_id_and_address_and_no_token(
    server: KfpServer, pipeline_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.state.token = "secret-token"
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "secret-token")
    arguments = ["upload", "--host", server.address, "--name", "detector", str(pipeline_file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    [pipeline_id] = server.state.pipelines
    assert result.stdout.splitlines() == [
        f"pipeline {pipeline_id}",
        f"{server.address}/#/pipelines/details/{pipeline_id}",
    ]
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert "error: " in again.output and "--version" in again.output
    assert "secret-token" not in result.output + again.output

"""Uploads through kfp's own client to a server that speaks kfp's REST messages."""

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
        (None, "No such file"),
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

"""Uploads that are there once, whatever happens on the way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ground.errors import ConfigError, ServiceError
from pipeline.kubeflow.api.pipelines import upload, version_of
from pipeline.kubeflow.api.service import Service
from pipeline.kubeflow.pipeline_file import read_pipeline_file
from tests.pipeline.kubeflow.api.conftest import PIPELINE, PLATFORM
from tests.pipeline.kubeflow.api.server import JSON, KfpServer, Trouble

UPLOADS = "pipelines/upload_version"
OTHER_ID = "0" * 8 + "-1111-2222-3333-" + "4" * 12


def test_upload_makes_the_pipeline_and_a_version_of_its_content(
    server: KfpServer, service: Service, pipeline_file: Path
) -> None:
    stored = upload(service, pipeline_file, "detector")

    [pipeline], [version] = server.state.stored["pipelines"], server.state.stored["versions"]
    assert pipeline["display_name"] == "detector"
    assert version["display_name"].endswith(read_pipeline_file(pipeline_file).digest)
    assert (stored.pipeline_id, stored.version_id) == (
        pipeline["pipeline_id"],
        version["pipeline_version_id"],
    )
    assert server.state.files == [pipeline_file.read_bytes()]
    assert stored.is_new and stored.spec == PIPELINE
    assert stored.message == {"pipeline_spec": PIPELINE, "platform_spec": PLATFORM}
    assert stored.address("https://a.org") == (
        f"https://a.org/#/pipelines/details/{stored.pipeline_id}/version/{stored.version_id}"
    )


@pytest.mark.parametrize("first_revision", ["", "12345678"])
def test_the_same_content_is_sent_once_whatever_the_revision(
    server: KfpServer,
    service: Service,
    pipeline_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    first_revision: str,
) -> None:
    name = "pipeline.kubeflow.pipeline_file._revision"
    monkeypatch.setattr(name, lambda _: first_revision)
    first = upload(service, pipeline_file, "detector")
    monkeypatch.setattr(name, lambda _: "abcdef12")
    again = upload(service, pipeline_file, "detector")
    assert (again.version_id, again.is_new) == (first.version_id, False)
    assert again.message == first.message
    assert server.state.count("POST", UPLOADS) == 1

    pipeline_file.write_text(pipeline_file.read_text() + "# changed\n")
    changed = upload(service, pipeline_file, "detector")
    assert changed.is_new and changed.name.startswith("abcdef12-")
    assert changed.pipeline_id == first.pipeline_id


def test_a_named_version_is_the_same_only_with_the_same_content(
    server: KfpServer, service: Service, pipeline_file: Path
) -> None:
    first = upload(service, pipeline_file, "detector", "v1")
    again = upload(service, pipeline_file, "detector", "v1")
    assert (again.version_id, again.is_new) == (first.version_id, False)
    pipeline_file.write_text(pipeline_file.read_text().replace("shapes", "blocks"))
    with pytest.raises(ConfigError, match="has a version 'v1' already, with other content"):
        upload(service, pipeline_file, "detector", "v1")
    assert server.state.count("POST", UPLOADS) == 1


@pytest.mark.parametrize("what", ["lose", "drop", 503])
@pytest.mark.parametrize("path", ["pipelines", UPLOADS])
def test_a_broken_connection_stores_nothing_twice(
    server: KfpServer, service: Service, pipeline_file: Path, path: str, what: str | int
) -> None:
    server.state.troubles = [Trouble(what, "POST", path)]
    upload(service, pipeline_file, "detector")
    assert len(server.state.stored["pipelines"]) == len(server.state.stored["versions"]) == 1
    assert server.state.count("POST", path) == (1 if what == "lose" else 2)


def test_somebody_else_s_equal_upload_at_the_same_time_is_taken(
    server: KfpServer, connect: Callable[..., Service], pipeline_file: Path
) -> None:
    other = upload(connect(), pipeline_file, "detector", "v1")
    # The list does not have it yet, the upload is refused with 409, then the list has it.
    path = rf"pipelines/{other.pipeline_id}/versions"
    server.state.troubles = [Trouble((200, JSON, b"{}"), "GET", path)]
    assert upload(connect(), pipeline_file, "detector", "v1").version_id == other.version_id
    assert server.state.count("POST", UPLOADS) == 2


def test_a_pipeline_of_another_namespace_is_not_ours(
    server: KfpServer, connect: Callable[..., Service], pipeline_file: Path
) -> None:
    shared = upload(connect(), pipeline_file, "detector")
    own = upload(connect(namespace="team"), pipeline_file, "detector")
    assert shared.pipeline_id != own.pipeline_id
    assert [one.get("namespace") for one in server.state.stored["pipelines"]] == [None, "team"]


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        (UPLOADS, b"{}", "no id of the version"),
        (UPLOADS, b'{"pipeline_version_id": ""}', "the id ''"),
        (UPLOADS, b'{"pipeline_version_id": {"a": 1}}', "the id"),
        ("pipelines", b'{"id": "x", "name": "detector"}', "no id of the pipeline"),
        ("pipelines", b'{"pipeline_id": "login required"}', "the id 'login required'"),
    ],
)
def test_an_answer_without_an_id_is_no_success(
    server: KfpServer, service: Service, pipeline_file: Path, path: str, answer: bytes, said: str
) -> None:
    server.state.troubles = [Trouble((200, JSON, answer), "POST", path)]
    with pytest.raises(ServiceError, match=said):
        upload(service, pipeline_file, "detector")


@pytest.mark.parametrize(
    ("name", "version"),
    [("", None), (" ", None), ("detector", ""), ("a\nb", None), ("a" * 129, None)],
)
def test_a_name_that_is_none_is_refused_before_anything_is_sent(
    server: KfpServer, service: Service, pipeline_file: Path, name: str, version: str | None
) -> None:
    with pytest.raises(ConfigError, match=r"--name|--version"):
        upload(service, pipeline_file, name, version)
    assert not server.state.requests


def test_newest_version_is_taken_unless_one_is_named(service: Service, pipeline_file: Path) -> None:
    with pytest.raises(ConfigError, match="no pipeline 'detector'"):
        version_of(service, "detector", None)
    upload(service, pipeline_file, "detector", "v1")
    upload(service, pipeline_file, "detector", "v2")
    assert version_of(service, "detector", None).name == "v2"
    assert version_of(service, "detector", "v1").name == "v1"
    with pytest.raises(ConfigError, match="has no version 'v3'"):
        version_of(service, "detector", "v3")

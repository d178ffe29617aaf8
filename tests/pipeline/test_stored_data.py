"""Data at addresses: looked at and digested before a run, and read by its first component."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec import AbstractFileSystem

from configs.schema import DataConfig
from ground.addresses import below
from ground.errors import ConfigError, DatasetError
from ground.source_digest import SOURCE_ROOT
from model.object_store import open_store, upload
from pipeline.data_folder import check_data_folder, check_no_secrets, pictures_digest
from pipeline.kubeflow.data_version import data_digest
from pipeline.shapes import generate_shapes
from tests.moto_server import MotoServer, moto_server

NAMES = {
    "train_annotations": "annotations/train.json",
    "train_pictures": "train",
    "eval_annotations": "annotations/val.json",
    "eval_pictures": "val",
}


@pytest.fixture(scope="module")
def server():
    with moto_server() as server:
        yield server


@pytest.fixture(params=["s3", "memory", "file"])
def address(
    request: pytest.FixtureRequest,
    server: MotoServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Address of a data set."""
    server.set_up(monkeypatch)
    folder = tmp_path / "set"
    for name in ("annotations", "train", "val/inner"):
        (folder / name).mkdir(parents=True)
    for split in ("train", "val"):
        (folder / f"annotations/{split}.json").write_text('{"images": []}\n')
    (folder / "train/1.jpg").write_bytes(b"one")
    (folder / "val/inner/2.jpg").write_bytes(b"two")
    if request.param == "file":
        return f"file://{folder}"
    place = f"{request.param}://bucket/{tmp_path.name}"
    upload(open_store(place), folder, "")
    return place


def data(address: str = "") -> DataConfig:
    """Returns the settings, with names relative to the data folder or with addresses."""
    return DataConfig(**{k: str(below(address, n)) if address else n for k, n in NAMES.items()})


def put(address: str, name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(content)
    open_store(address).put(tmp_path / "new", name)


def test_data_at_an_address_passes_by_either_way(address: str, tmp_path: Path) -> None:
    check_data_folder(data(), address)
    check_data_folder(data(address), tmp_path)
    assert pictures_digest(data(), address) == pictures_digest(data(address), tmp_path)
    assert data_digest(data(), f"{address}/") == pictures_digest(data(), address)


@pytest.mark.parametrize("name", ["train/1.jpg", "val/inner/2.jpg", "train/new.jpg"])
def test_digest_sees_every_change(address: str, tmp_path: Path, name: str) -> None:
    before = pictures_digest(data(), address)
    assert pictures_digest(data(), address) == before
    put(address, name, b"and", tmp_path)
    assert pictures_digest(data(), address) != before


def test_digest_sees_changed_annotations_and_no_others(address: str, tmp_path: Path) -> None:
    before = pictures_digest(data(), address)
    for name in ("annotations/other.json", "train/notes.txt"):
        put(address, name, b"{}", tmp_path)
    assert pictures_digest(data(), address) == before
    put(address, "annotations/val.json", b'{"images": [ ]}', tmp_path)
    assert pictures_digest(data(), address) != before


@pytest.mark.parametrize("setting", NAMES)
def test_what_is_missing_is_named_with_its_setting(
    address: str, tmp_path: Path, setting: str
) -> None:
    for where, given in ((address, {setting: "none"}), (tmp_path, {setting: f"{address}/none"})):
        settings = data("" if where == address else address).model_copy(update=given)
        with pytest.raises(DatasetError, match=rf"/none: .*--set data\.{setting}=") as error:
            check_data_folder(settings, where)
        assert ":/none" not in str(error.value)


def test_a_missing_file_beside_the_data_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "labels.json").write_text("{}")
    settings = data().model_copy(update={"train_annotations": str(tmp_path / "label.json")})
    with pytest.raises(DatasetError, match=rf"there: {tmp_path}/labels\.json"):
        check_data_folder(settings, tmp_path / "data")


class Listed(AbstractFileSystem):
    """A file system as that of sftp, ftp or http: what it says of files is in `files`."""

    protocol = "listed"
    cachable = False
    files: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.partition("://")[2].partition("/")[2] if "://" in path else path

    def find(self, path: str, detail: bool = False, **_: Any) -> dict[str, dict[str, Any]]:
        if path in self.files:
            return {path: {}}  # as fsspec's own does
        below = f"{path.rstrip('/')}/"
        return {name: said for name, said in self.files.items() if name.startswith(below)}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return self.files[path]


class Web(Listed):
    """One whose paths are whole addresses."""

    protocol = "web"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path


@pytest.mark.parametrize(
    ("front", "address"), [("", "listed://host"), ("web://host", "web://host")]
)
def test_names_of_a_listing_are_those_below_the_address(
    front: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (Listed, Web):
        fsspec.register_implementation(str(kind.protocol), kind, clobber=True)
        files = {f"{front}/{name}": {"size": 3, "etag": "x"} for name in ("a/1.jpg", "b.json")}
        monkeypatch.setattr(kind, "files", files)
    store = open_store(address)
    assert [file.name for file in store.files()] == ["a/1.jpg", "b.json"]
    assert [file.name for file in store.files("b.json")] == ["b.json"]


@pytest.mark.parametrize("key", ["mtime", "modify", "last_modified", "ETag"])
def test_digest_sees_changes_in_any_file_system(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("listed", Listed, clobber=True)
    names = ["/train/1.jpg", "/val/2.jpg", "/annotations/train.json", "/annotations/val.json"]
    digests = []
    for changed in (None, *names):
        files = {name: {"size": 3, key: int(name == changed) + 1} for name in names}
        monkeypatch.setattr(Listed, "files", files)
        digests.append(pictures_digest(data(), "listed://host"))
    assert len(set(digests)) == 5
    for lacking in names:
        files[lacking] = {"size": 3}
        with pytest.raises(DatasetError, match="no change would be seen: copy it"):
            pictures_digest(data(), "listed://host")
        files[lacking] = {"size": 3, key: 1}


@pytest.mark.parametrize(
    ("where", "shown", "way"),
    [
        ("sftp://me:hunter2@host/coco", r"sftp://me:\*\*\*@host", "FSSPEC_SFTP_PASSWORD"),
        ("s3://AKIA:hunter2@bucket/coco", r"s3://AKIA:\*\*\*@bucket", "AWS_SECRET_ACCESS_KEY"),
        ("https://host/coco?sig=hunter2", r"\?sig=\*\*\*", "fetch the files into a folder"),
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_shown(where: str, shown: str, way: str) -> None:
    for given, folder in (({}, where), ({"train_pictures": where}, Path("data"))):
        with pytest.raises(ConfigError, match=f"{shown}.*{way}") as error:
            check_no_secrets(data().model_copy(update=given), folder)
        assert "hunter2" not in str(error.value)
    check_no_secrets(data("sftp://me@host/coco"), "s3://bucket")


def run(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "run", "--config", "configs/tiny.yaml"]
    return subprocess.run(
        [*command, *arguments],
        cwd=SOURCE_ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.e2e
def test_a_run_reads_a_store_and_sees_what_changed_there(
    server: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.set_up(monkeypatch)
    shapes = generate_shapes(tmp_path / "shapes", train=4, val=2, size=64)
    upload(open_store("s3://bucket"), shapes, "coco")
    given = ["--root", str(tmp_path / "run"), "--to", "CocoExampleGen"]
    given += ["--data-dir", "s3://bucket/coco/", "--set", "data.eval_pictures=s3://bucket/eval"]
    missing = run(*given, environ=server.environment)
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: s3://bucket/eval: there is nothing")
    upload(open_store("s3://bucket"), shapes / "val2017", "eval")
    outcomes = []
    for _ in range(2):
        done = run(*given, environ=server.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        outcomes.append(done.stdout.split("CocoExampleGen")[-1].split()[2])
        [picture, *_] = sorted((shapes / "val2017").iterdir())
    assert outcomes == ["ran", "cached"]
    picture.write_bytes(picture.read_bytes() + b"\0")
    open_store("s3://bucket/eval").put(picture, picture.name)
    again = run(*given, environ=server.environment)
    assert again.stdout.split("CocoExampleGen")[-1].split()[2] == "ran"
    counts = json.loads(next((tmp_path / "run").rglob("counts.json")).read_text())
    assert counts["splits"]["train"]["pictures"]["written"] == 4


def test_a_run_refuses_a_secret_before_it_writes(tmp_path: Path) -> None:
    given = ["--root", str(tmp_path / "run"), "--data-dir", "memory://me:hunter2@host/coco"]
    done = run(*given, environ={})
    assert done.returncode == 2
    assert done.stderr.startswith("error: --data-dir memory://me:***@host/coco: holds a secret")
    assert "hunter2" not in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()

"""Object stores: S3 against a server of our own, a folder, and what fsspec knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ground.addresses import is_address
from ground.errors import ConfigError, ServiceError
from model.object_store import download, kubeflow_endpoint, open_store, upload
from model.training.storage import ObjectFolder, open_folder
from tests.gcs_server import GcsServer
from tests.s3_server import SECRET_KEY, S3Server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server().running() as server:
        yield server


@pytest.fixture(params=["s3", "minio", "folder", "memory", "gs"])
def address(
    request: pytest.FixtureRequest,
    server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    server.objects.clear()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    if request.param == "folder":
        yield str(tmp_path / "store")
    elif request.param == "gs":
        with cloud_storage(monkeypatch):
            yield f"gs://bucket/{tmp_path.name}"
    else:
        yield f"{request.param}://bucket/{tmp_path.name}"


@contextmanager
def cloud_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsServer]:
    """Serves Cloud Storage meanwhile, where gcsfs is there to ask for it."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks other services
    gcsfs = pytest.importorskip("gcsfs", reason="gs:// needs gcsfs: pip install 'tfx-rcnn[gcs]'")
    with GcsServer().running() as cloud:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.address)
        gcsfs.GCSFileSystem.clear_instance_cache()
        yield cloud
        gcsfs.GCSFileSystem.clear_instance_cache()


def test_a_large_file_goes_to_cloud_storage_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cloud_storage(monkeypatch):
        content = bytes(range(256)) * 240_000  # gcsfs sends 50 MiB at a time
        (tmp_path / "large").write_bytes(content)
        store = open_store("gs://bucket")
        store.put(tmp_path / "large", "large")
        store.get("large", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content


def test_a_refusal_of_cloud_storage_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cloud_storage(monkeypatch) as cloud:
        cloud.refuses = True
        (tmp_path / "x").write_text("1")
        with pytest.raises(ServiceError, match=r"^gs://bucket/a/x: [^\n]*$"):
            open_store("gs://bucket/a").put(tmp_path / "x", "x")
        with pytest.raises(ServiceError, match=r"^gs://bucket/a: [^\n]*$"):
            open_store("gs://bucket/a").files()


def test_checkpoints_lie_in_cloud_storage_as_on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloud_storage(monkeypatch) as cloud:
        folder = open_folder("gs://bucket/checkpoints/key")
        assert isinstance(folder, ObjectFolder)
        assert folder.names() == []
        for text in ("first", "second"):
            folder.write("step-1.json", lambda path, text=text: path.write_text(text))
        with folder.local_copy("step-1.json") as path:
            assert path.read_text() == "second"
        assert folder.names() == ["step-1.json"]
        assert list(cloud.objects) == ["bucket/checkpoints/key/step-1.json"]


def _tree(folder: Path) -> Path:
    for number in range(7):
        file = folder / "a" / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(number))
    (folder / "a" / "deep" / "er").mkdir(parents=True)
    (folder / "a" / "deep" / "er" / "x y+ä.bin").write_bytes(b"\0\1")
    (folder / "empty").mkdir()
    return folder


def test_what_is_stored_comes_back(address: str, tmp_path: Path) -> None:
    store = open_store(address)
    assert upload(store, _tree(tmp_path / "tree"), "up") == 8
    assert download(store, "up", tmp_path / "back") == 8
    assert (tmp_path / "back/a/6.txt").read_text() == "6"
    assert (tmp_path / "back/a/deep/er/x y+ä.bin").read_bytes() == b"\0\1"
    assert not (tmp_path / "back/empty").exists()  # a store has no folders
    assert [file.size for file in store.files("up/a/deep")] == [2]


def test_a_name_is_no_prefix_of_another(address: str, tmp_path: Path) -> None:
    store = open_store(address)
    (tmp_path / "x").write_text("1")
    for name in ("run/a", "run2/a", "run"[:2]):
        store.put(tmp_path / "x", name)
    assert [file.name for file in store.files("run")] == ["run/a"]
    assert {file.name for file in store.files()} == {"run/a", "run2/a", "ru"}


def test_a_single_file_is_downloaded_to_its_path(address: str, tmp_path: Path) -> None:
    store = open_store(address)
    (tmp_path / "x").write_text("1")
    assert upload(store, tmp_path / "x", "weights/w.npz") == 1
    assert download(store, "weights/w.npz", tmp_path / "here/w.npz") == 1
    assert (tmp_path / "here/w.npz").read_text() == "1"
    store.remove("weights/w.npz")
    store.remove("weights/w.npz")
    assert store.files() == []
    assert download(store, "weights/w.npz", tmp_path / "none") == 0


def test_tags_change_with_the_content(address: str, tmp_path: Path) -> None:
    store = open_store(address)
    tags = []
    for text in ("1", "2 and longer"):
        (tmp_path / "x").write_text(text)
        store.put(tmp_path / "x", "x")
        [file] = store.files("x")
        tags.append((file.size, file.tag))
    assert tags[0] != tags[1]


def test_a_large_file_goes_in_parts(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    content = bytes(range(256)) * 40_000
    (tmp_path / "large").write_bytes(content)
    store = open_store("s3://bucket")
    store.put(tmp_path / "large", "large")
    store.get("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_nothing_to_upload_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        upload(open_store(str(tmp_path / "store")), tmp_path / "none", "x")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://", "expected s3://bucket"),
        ("s3://AKIA:word@bucket/x", r"^s3://AKIA:\*\*\*@bucket/x: no keys belong into an address"),
        ("nosuch://bucket/x", "no file system for it here"),
    ],
)
def test_addresses_that_are_none(address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_store(address)


def test_a_refusal_is_one_line_without_the_secret(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ServiceError, match=r"s3://bucket/none: the store refused \(NoSuchKey"):
        open_store("s3://bucket").get("none", tmp_path / "x")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    with pytest.raises(ServiceError, match="AccessDenied Access Denied") as raised:
        open_store("s3://bucket/data").files("x")
    assert SECRET_KEY not in str(raised.value)


def test_a_store_without_credentials_says_what_to_set(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ServiceError, match="no credentials: set AWS_ACCESS_KEY_ID"):
        open_store("s3://bucket").files()


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has two profiles in the AWS config, and no region in the environment."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = cn-north-1\n[profile bare]\noutput = json\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({}, "https://s3.cn-north-1.amazonaws.com.cn"),
        ({"AWS_REGION": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com"),
        ({"AWS_PROFILE": "bare"}, "https://s3.amazonaws.com"),
    ],
)
def test_the_region_is_that_of_the_environment_or_the_profile(
    profiles: None, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], endpoint: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert open_store("s3://bucket")._client.meta.endpoint_url == endpoint


def test_a_profile_that_is_not_there_is_one_line(
    profiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match=r"^s3://: .*\(nobody\) could not be found$"):
        open_store("s3://bucket")


def test_kubeflows_minio_is_found_by_its_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    service = {"MINIO_SERVICE_SERVICE_HOST": "10.0.0.7", "MINIO_SERVICE_SERVICE_PORT": "9001"}
    store = open_store("minio://bucket", service)
    assert store._client.meta.endpoint_url == "http://10.0.0.7:9001"
    seaweedfs = {"SEAWEEDFS_SERVICE_HOST": "10.0.0.8", "SEAWEEDFS_SERVICE_PORT": "8111"}
    assert kubeflow_endpoint(seaweedfs) == "http://10.0.0.8:9000"


@pytest.mark.parametrize(
    ("there", "endpoint"),
    [
        ({"minio-service.kubeflow"}, "http://minio-service.kubeflow:9000"),
        ({"seaweedfs.kubeflow"}, "http://seaweedfs.kubeflow:9000"),
        (set(), "http://minio-service.kubeflow:9000"),
    ],
)
def test_kubeflows_store_has_another_name_from_2_16_on(there: set[str], endpoint: str) -> None:
    def resolve(host: str, port: int) -> None:
        if host not in there:
            raise OSError(f"{host}:{port}: not known")

    assert kubeflow_endpoint({}, resolve) == endpoint


def test_errors_of_another_file_system_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("403\nForbidden")

    store = open_store("memory://bucket/refused")
    (tmp_path / "x").write_text("1")
    monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
    with pytest.raises(ServiceError, match=r"^memory://bucket/refused/a/x: 403 Forbidden$"):
        store.put(tmp_path / "x", "a/x")
    with pytest.raises(ServiceError, match=r"^memory://bucket/refused/none: "):
        store.get("none", tmp_path / "y")


def test_checkpoints_lie_in_a_store_as_on_a_disk(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.objects.clear()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    folder = open_folder("s3://bucket/checkpoints/key")
    assert isinstance(folder, ObjectFolder)
    assert folder.names() == []
    for text in ("first", "second"):
        folder.write("step-1.json", lambda path, text=text: path.write_text(text))
    folder.write("step-2.json", lambda path: path.write_text("x"))
    open_folder("s3://bucket/checkpoints/key/below").write("y", lambda path: path.write_text("y"))
    folder.remove_partial_files()
    assert folder.names() == ["step-1.json", "step-2.json"]
    with folder.local_copy("step-1.json") as path:
        assert path.read_text() == "second"
    assert folder.address("step-1.json") == "s3://bucket/checkpoints/key/step-1.json"
    folder.remove("step-1.json")
    assert folder.names() == ["step-2.json"]


@pytest.mark.parametrize(
    ("text", "answer"), [("s3://b", True), ("/a/b", False), ("a:b", False), ("C:/x", False)]
)
def test_addresses_are_told_from_paths(text: str, answer: bool) -> None:
    assert is_address(text) is answer

"""Object stores by address: `s3://`, `minio://`, and what fsspec knows (`gs://`, `memory://`).

Reads and writes whole files. For S3 the endpoint and the credentials are those of the environment
(`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, ..., a role of the pod); nothing of them is ever printed.
`minio://` is the store of Kubeflow: the service that Kubernetes names in the pod's environment, or
`minio-service.kubeflow:9000`, from KFP 2.16 on `seaweedfs.kubeflow:9000`, as KFP's launcher has it
(backend/src/v2/objectstore/config.go, `DefaultEndpointInMultiUserMode`).
"""

import contextlib
import importlib.util
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ground.addresses import Place, is_address, shown_address
from ground.errors import ConfigError, ServiceError
from ground.retries import retried

S3_SCHEMES = ("s3", "minio")
_DISK_SCHEMES = ("file", "local")  # as fsspec has them
_KUBEFLOW_STORES = ("minio-service.kubeflow", "seaweedfs.kubeflow")  # the second from KFP 2.16 on
_AT_ONCE = 16  # files that travel at the same time: most of a small file's time is waiting


@dataclass(frozen=True)
class StoredFile:
    """A file of a store: its name below the store's address, bytes, and a word for its content."""

    name: str
    size: int
    tag: str


class ObjectStore(Protocol):
    """The files below one address."""

    def files(self, below: str = "") -> list[StoredFile]:
        """Returns the files whose names are `below` or start with `below/`, sorted by name."""

    def has(self, below: str) -> bool:
        """Tells whether there is a file of this name, or one whose name starts with `below/`."""

    def get(self, name: str, path: Path) -> None:
        """Writes a file's content to `path`, whose folder is made."""

    def read(self, name: str, most_bytes: int) -> bytes:
        """Returns a file's content; of a larger file `most_bytes` and one more.

        Raises:
            FileNotFoundError: there is none.
        """

    def put(self, path: Path, name: str) -> None:
        """Stores a local file under `name`."""

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""


def stores_whole_files(address: str) -> bool:
    """Tells whether a file at an address is there as a whole or not at all, and reachable here."""
    scheme = address.partition("://")[0]
    return scheme in S3_SCHEMES or (
        scheme == "gs" and importlib.util.find_spec("gcsfs") is not None
    )


def disk_path(place: Place) -> str | None:
    """Returns the path of what lies on a disk, also by an address; None of what a store has.

    On a disk there are links that lead out of a folder, and pipes that nobody writes to.

    >>> disk_path("file:///data/a%20b"), disk_path("s3://bucket/data")
    ('/data/a%20b', None)
    """
    if not is_address(place):
        return str(place)
    if str(place).partition("://")[0] not in _DISK_SCHEMES:
        return None
    from fsspec.implementations.local import LocalFileSystem  # most data needs none of it

    return str(LocalFileSystem._strip_protocol(str(place)))


def open_store(address: str, environ: Mapping[str, str] = os.environ) -> ObjectStore:
    """Returns the store of an address, or of a local folder.

    Raises:
        ConfigError: nothing here knows the address's scheme.
    """
    if not is_address(address):
        return FolderStore(Path(address))
    scheme = address.partition("://")[0]
    if scheme in S3_SCHEMES:
        return S3Store(address, environ)
    from model.fsspec_store import FsspecStore  # which needs this module

    return FsspecStore(address)


def download(store: ObjectStore, below: str, folder: Path) -> int:
    """Copies what lies at or below a name to a local path; returns how many files."""
    found = store.files(below)

    def get(file: StoredFile) -> None:
        relative = file.name.removeprefix(below).lstrip("/")
        store.get(file.name, folder / relative if relative else folder)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(get, found):
            pass
    return len(found)


def upload(store: ObjectStore, path: Path, name: str) -> int:
    """Stores a file, or all files of a folder, under a name; returns how many.

    Raises:
        FileNotFoundError: there is nothing at `path`.
    """
    if path.is_file():
        store.put(path, name)
        return 1
    if not path.is_dir():
        raise FileNotFoundError(path)
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]

    def put(file: Path) -> None:
        store.put(file, f"{name}/{file.relative_to(path).as_posix()}".lstrip("/"))

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(put, files):
            pass
    return len(files)


class FolderStore:
    """A local folder as a store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self, below: str = "") -> list[StoredFile]:
        """See ObjectStore."""
        top = self._folder / below
        paths = [top] if top.is_file() else sorted(top.rglob("*")) if top.is_dir() else []
        return [
            StoredFile(
                path.relative_to(self._folder).as_posix(),
                path.stat().st_size,
                str(path.stat().st_mtime_ns),
            )
            for path in paths
            if path.is_file()
        ]

    def has(self, below: str) -> bool:
        """See ObjectStore."""
        return (self._folder / below).exists()

    def get(self, name: str, path: Path) -> None:
        """See ObjectStore."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._folder / name, path)

    def read(self, name: str, most_bytes: int) -> bytes:
        """See ObjectStore."""
        with open(self._folder / name, "rb") as stream:
            return stream.read(most_bytes + 1)

    def put(self, path: Path, name: str) -> None:
        """See ObjectStore."""
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)

    def remove(self, name: str) -> None:
        """See ObjectStore."""
        (self._folder / name).unlink(missing_ok=True)


class S3Store:
    """A bucket of S3, or of what speaks its language, and a prefix in it."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        scheme, _, rest = address.partition("://")
        self._bucket, _, prefix = rest.partition("/")
        if not self._bucket:
            raise ConfigError(
                f"{shown_address(address)}: expected {scheme}://bucket or {scheme}://bucket/folder"
            )
        if "@" in self._bucket:
            raise ConfigError(
                f"{shown_address(address)}: no keys belong into an address of {scheme}://: set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._address = f"{scheme}://{self._bucket}"
        self._client = _s3_client(scheme, environ)

    def files(self, below: str = "") -> list[StoredFile]:
        """See ObjectStore."""
        below = below.strip("/")
        pages = self._client.get_paginator("list_objects_v2")
        found = []
        with self._errors(below):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + below):
                for item in page.get("Contents", []):
                    name = item["Key"].removeprefix(self._prefix)
                    is_below = not below or name == below or name.startswith(below + "/")
                    if is_below and not name.endswith("/"):
                        found.append(StoredFile(name, item["Size"], item["ETag"].strip('"')))
        return sorted(found, key=lambda file: file.name)

    def has(self, below: str) -> bool:
        """See ObjectStore."""
        below = below.strip("/")
        # `x` may come after `x-1`, which is neither it nor below it.
        for name in {below, f"{below}/" if below else ""}:
            with self._errors(below):
                answer = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix + name, MaxKeys=1
                )
            keys = [item["Key"] for item in answer.get("Contents", [])]
            if keys and (keys[0] == self._prefix + name or name.endswith("/") or not name):
                return True
        return False

    def get(self, name: str, path: Path) -> None:
        """See ObjectStore."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors(name):
            self._client.download_file(self._bucket, self._prefix + name, str(path))

    def read(self, name: str, most_bytes: int) -> bytes:
        """See ObjectStore."""
        key = self._prefix + name

        def read() -> bytes:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            content: bytes = answer["Body"].read(most_bytes + 1)
            return content

        with self._errors(name):
            try:
                return retried(read)  # boto3 itself does not where the answer's body breaks off
            except self._client.exceptions.NoSuchKey:
                raise FileNotFoundError(f"{self._address}/{key}") from None

    def put(self, path: Path, name: str) -> None:
        """See ObjectStore."""
        with self._errors(name):
            self._client.upload_file(str(path), self._bucket, self._prefix + name)

    def remove(self, name: str) -> None:
        """See ObjectStore."""
        with self._errors(name):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Turns boto3's errors into one line; they name no secret.

        Raises:
            ServiceError: the store refused, or did not answer.
        """
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            SSLError,
        )

        place = f"{self._address}/{self._prefix}{name}"
        try:
            yield
        except NoCredentialsError:
            raise ServiceError(
                f"{place}: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "pipeline.kubeflow.store_secret for a compiled pipeline"
            ) from None
        except ClientError as error:
            said = error.response.get("Error", {})
            text = f"{said.get('Code', '')} {said.get('Message', '')}".strip()
            raise ServiceError(f"{place}: the store refused ({text})") from None
        except SSLError as error:
            raise ServiceError(
                f"{place}: {' '.join(str(error).split())}: of a store with its own certificate "
                "AWS_CA_BUNDLE names the file (pipeline.kubeflow.env)"
            ) from None
        except (BotoCoreError, Boto3Error) as error:
            raise ServiceError(f"{place}: {' '.join(str(error).split())}") from None


def _s3_client(scheme: str, environ: Mapping[str, str]) -> Any:
    """Returns a boto3 client.

    Raises:
        ConfigError: boto3 is not installed, or cannot read the profile that AWS_PROFILE names.
    """
    try:
        from boto3.session import Session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise ConfigError(f"{scheme}:// needs boto3: pip install 'tfx-rcnn[s3]'") from None
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    if endpoint is None and scheme == "minio":
        endpoint = kubeflow_endpoint(environ)
    config = Config(
        retries={"max_attempts": 6, "mode": "standard"},
        # A store at an endpoint of its own seldom has a name for each bucket.
        s3={"addressing_style": "path"} if endpoint else {},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    try:
        session = Session()
        # Without the profile's own region, a bucket of AWS China is looked for elsewhere.
        region = region or session.region_name or "us-east-1"
        return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
    except BotoCoreError as error:
        raise ConfigError(f"{scheme}://: {' '.join(str(error).split())}") from None


def kubeflow_endpoint(
    environ: Mapping[str, str], resolve: Callable[[str, int], Any] = socket.getaddrinfo
) -> str:
    """Returns where Kubeflow's own store is.

    Args:
        environ: environment of the pod; Kubernetes names the services of its namespace there.
        resolve: looks a name up; raises OSError where there is none.
    """
    for variable, port in (
        ("MINIO_SERVICE_SERVICE", "MINIO_SERVICE_SERVICE_PORT"),
        ("SEAWEEDFS_SERVICE", "SEAWEEDFS_SERVICE_PORT_HTTP_S3_COMPAT"),
    ):
        host = environ.get(f"{variable}_HOST")
        if host:
            return f"http://{host}:{environ.get(port, '9000')}"
    for host in _KUBEFLOW_STORES:
        with contextlib.suppress(OSError):
            resolve(host, 9000)
            return f"http://{host}:9000"
    return f"http://{_KUBEFLOW_STORES[0]}:9000"

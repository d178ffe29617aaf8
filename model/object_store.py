"""Object stores by address: `s3://`, `minio://`, and what fsspec knows (`gs://`, `memory://`).

Reads and writes whole files. For S3 the endpoint and the credentials are those of the environment
(`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, ..., a role of the pod); nothing of them is ever printed.
`minio://` is the store of Kubeflow: the service that Kubernetes names in the pod's environment, or
`minio-service.kubeflow:9000`, from KFP 2.16 on `seaweedfs.kubeflow:9000`, as KFP's launcher has it
(backend/src/v2/objectstore/config.go, `DefaultEndpointInMultiUserMode`).
"""

import contextlib
import errno
import importlib.util
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ground.errors import ConfigError, ServiceError

S3_SCHEMES = ("s3", "minio")
_KUBEFLOW_STORES = ("minio-service.kubeflow", "seaweedfs.kubeflow")  # the second from KFP 2.16 on
_LONGEST_ANSWER = 500  # characters of what a store says
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

    def get(self, name: str, path: Path) -> None:
        """Writes a file's content to `path`, whose folder is made."""

    def put(self, path: Path, name: str) -> None:
        """Stores a local file under `name`."""

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""


def is_address(text: str) -> bool:
    """Tells an address from a path."""
    return "://" in text


def stores_whole_files(address: str) -> bool:
    """Tells whether a file at an address is there as a whole or not at all, and reachable here."""
    scheme = address.partition("://")[0]
    return scheme in S3_SCHEMES or (
        scheme == "gs" and importlib.util.find_spec("gcsfs") is not None
    )


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

    def get(self, name: str, path: Path) -> None:
        """See ObjectStore."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._folder / name, path)

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
            raise ConfigError(f"{address}: expected {scheme}://bucket or {scheme}://bucket/folder")
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

    def get(self, name: str, path: Path) -> None:
        """See ObjectStore."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors(name):
            self._client.download_file(self._bucket, self._prefix + name, str(path))

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
        ConfigError: boto3 is not installed.
    """
    try:
        from boto3.session import Session
        from botocore.config import Config
    except ImportError:
        raise ConfigError(f"{scheme}:// needs boto3: pip install 'tfx-rcnn[s3]'") from None
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    if endpoint is None and scheme == "minio":
        endpoint = kubeflow_endpoint(environ)
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    config = Config(
        retries={"max_attempts": 6, "mode": "standard"},
        # A store at an endpoint of its own seldom has a name for each bucket.
        s3={"addressing_style": "path"} if endpoint else {},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return Session().client("s3", endpoint_url=endpoint, region_name=region, config=config)


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


class FsspecStore:
    """What an installed fsspec file system reaches, such as gcsfs for `gs://`."""

    def __init__(self, address: str) -> None:
        import fsspec

        self._address = address.rstrip("/")
        is_local = address.startswith("file://")
        try:
            with self._errors(""):
                self._files, base = fsspec.core.url_to_fs(
                    address, **({"auto_mkdir": True} if is_local else {})
                )
        except (ImportError, ValueError) as error:
            said = " ".join(str(error).split())
            raise ConfigError(f"{address}: no file system for it here ({said})") from None
        self._base = base.rstrip("/")

    def files(self, below: str = "") -> list[StoredFile]:
        """See ObjectStore."""
        top = f"{self._base}/{below}".rstrip("/")
        self._files.invalidate_cache()  # Others write there too.
        with self._errors(below):
            try:
                listed = self._files.find(top, detail=True)
            except FileNotFoundError:
                return []
        found = []
        for path, details in listed.items():
            name = f"/{path.lstrip('/')}".removeprefix(f"/{self._base.lstrip('/')}/")
            tag = details.get("etag") or details.get("mtime") or details.get("created") or ""
            if not name.endswith("/"):
                found.append(StoredFile(name, int(details.get("size") or 0), str(tag)))
        return sorted(found, key=lambda file: file.name)

    def get(self, name: str, path: Path) -> None:
        """See ObjectStore."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors(name):
            self._files.get_file(f"{self._base}/{name}", str(path))

    def put(self, path: Path, name: str) -> None:
        """See ObjectStore."""
        with self._errors(name):
            self._files.put_file(str(path), f"{self._base}/{name}")

    def remove(self, name: str) -> None:
        """See ObjectStore."""
        target = f"{self._base}/{name}"
        with self._errors(name):
            if self._files.exists(target):
                self._files.rm_file(target)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Turns a file system's errors into one line.

        Raises:
            ServiceError: the store refused, or did not answer.
        """
        try:
            yield
        except (ImportError, ValueError):
            raise
        except Exception as error:  # Each file system has errors of its own.
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # the disk here is full
            said = " ".join(str(error).split()) or type(error).__name__
            place = f"{self._address}/{name}".rstrip("/")
            raise ServiceError(f"{place}: {said[:_LONGEST_ANSWER]}") from None

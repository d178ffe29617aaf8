"""Object stores that fsspec has a file system for, such as gcsfs for `gs://`."""

import contextlib
import errno
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ground.addresses import secrets_of, shown_address
from ground.errors import ConfigError, ServiceError
from ground.retries import retried
from model.object_store import StoredFile

_LONGEST_ANSWER = 500  # characters of what a store says
# What file systems call that which is another after a change, in lower case; the best first.
_TAGS = (
    "etag", "content-md5", "md5hash", "mtime", "modify", "modified", "last_modified",
    "modificationtime", "last_write_time", "updated", "created",
)  # fmt: skip


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
            raise ConfigError(
                f"{shown_address(address)}: no file system for it here ({self._said(error)})"
            ) from None
        self._base = base.rstrip("/")

    def files(self, below: str = "") -> list[StoredFile]:
        """See ObjectStore."""
        top = f"{self._base}/{below}".rstrip("/")
        self._files.invalidate_cache()  # Others write there too.
        with self._errors(below):
            try:
                listed = retried(lambda: self._files.find(top, detail=True))
            except FileNotFoundError:
                return []
        found = []
        base = f"/{self._base.strip('/')}/" if self._base else "/"  # of a host's own root
        with self._errors(below):
            for path, details in listed.items():
                name = f"/{path.lstrip('/')}".removeprefix(base)
                if not name.endswith("/"):
                    # fsspec's own find() says nothing of a file that it was asked for by name.
                    found.append(self._stored(name, details or self._files.info(path)))
        return sorted(found, key=lambda file: file.name)

    def _stored(self, name: str, details: Mapping[str, Any]) -> StoredFile:
        said = {key.lower(): value for key, value in details.items()}
        tag = next((said[key] for key in _TAGS if said.get(key)), "")
        return StoredFile(name, int(said.get("size") or 0), str(tag))

    def has(self, below: str) -> bool:
        """See ObjectStore."""
        self._files.invalidate_cache()
        with self._errors(below):
            return bool(retried(lambda: self._files.exists(f"{self._base}/{below}".rstrip("/"))))

    def get(self, name: str, path: Path) -> None:
        """See ObjectStore."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors(name):
            retried(lambda: self._files.get_file(f"{self._base}/{name}", str(path)))

    def read(self, name: str, most_bytes: int) -> bytes:
        """See ObjectStore."""
        place = f"{self._base}/{name}"

        def read() -> bytes:
            is_large = self._files.size(place) > most_bytes
            content: bytes = self._files.cat_file(place, end=most_bytes + 1 if is_large else None)
            return content

        with self._errors(name), contextlib.suppress(FileNotFoundError):
            return retried(read)
        raise FileNotFoundError(f"{shown_address(self._address)}/{name}")

    def put(self, path: Path, name: str) -> None:
        """See ObjectStore."""
        with self._errors(name):
            retried(lambda: self._files.put_file(str(path), f"{self._base}/{name}"))

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
            place = f"{shown_address(self._address)}/{name}".rstrip("/")
            raise ServiceError(f"{place}: {self._said(error)}") from None

    def _said(self, error: Exception) -> str:
        """Returns the words of an error in one line, without the address's secrets."""
        said = " ".join(str(error).split()) or type(error).__name__
        for secret in secrets_of(self._address):
            said = said.replace(secret, "***")
        return said[:_LONGEST_ANSWER]

"""Folders whose files are whole or not there, on a disk or in an object store.

On a disk a file gets its name when all of it is written, and an object store (`s3://`, `minio://`
by boto3; `gs://` where gcsfs is installed) does the same by itself. TensorFlow's file systems
(`tf.io.gfile`: `gs://` without gcsfs, and others) promise no atomic rename, so a file there counts
once its marker, `<name>.complete`, is written after it. What replaces a file is another object,
`<name>~1`, then `<name>~2` and so on, with a marker of its own; the last whole one counts, and the
one before goes then: at any moment the old file or the new one is whole. TensorFlow is imported
only where such a folder is used.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from ground.addresses import shown_address
from ground.errors import ConfigError
from ground.files import atomic_path
from model.object_store import open_store, stores_whole_files

_MARKER = ".complete"


class Folder(Protocol):
    """What both kinds of folder do."""

    def address(self, name: str) -> str:
        """Returns the path or URI of a file."""

    def names(self) -> list[str]:
        """Returns the names of the whole files; [] where there is no folder."""

    def write(self, name: str, save: Callable[[Path], None]) -> None:
        """Has `save` write a local file and keeps it as `name`, whole or not at all."""

    def local_copy(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Gives a local path with the file's content."""

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""

    def remove_partial_files(self) -> None:
        """Removes what a killed writer left behind."""


def is_remote(folder: str | os.PathLike[str]) -> bool:
    """Returns whether a folder has a scheme such as gs://."""
    return re.match(r"[a-z][a-z0-9+.-]*://", os.fspath(folder)) is not None


def joined(folder: str | os.PathLike[str], name: str) -> str:
    """Returns the path or URI of `name` in `folder`."""
    return f"{os.fspath(folder).rstrip('/')}/{name}"


def open_folder(folder: str | os.PathLike[str]) -> Folder:
    """Returns the folder at a path or URI; it is made when the first file is written."""
    if not is_remote(folder):
        return LocalFolder(Path(folder))
    uri = os.fspath(folder)
    return ObjectFolder(uri) if stores_whole_files(uri) else RemoteFolder(uri)


class LocalFolder:
    """A folder on a disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def address(self, name: str) -> str:
        """Returns the path of a file."""
        return str(self._path / name)

    def names(self) -> list[str]:
        """Returns the names of the whole files; [] where there is no folder."""
        if not self._path.is_dir():
            return []
        return [path.name for path in self._path.iterdir() if not path.name.startswith(".")]

    def write(self, name: str, save: Callable[[Path], None]) -> None:
        """Has `save` write a file that gets its name when it is on the disk."""
        with atomic_path(self._path / name) as partial:
            save(partial)

    @contextlib.contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Gives the file itself."""
        yield self._path / name

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""
        (self._path / name).unlink(missing_ok=True)

    def remove_partial_files(self) -> None:
        """Removes what a killed writer left behind."""
        if self._path.is_dir():
            for path in self._path.glob(".*.partial"):
                path.unlink(missing_ok=True)


class ObjectFolder:
    """A folder in an object store, which itself replaces a file as a whole or not at all.

    Raises:
        ConfigError: its library is not installed, or the address has no bucket.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._store = open_store(uri)

    def address(self, name: str) -> str:
        """Returns the URI of a file."""
        return joined(self._uri, name)

    def names(self) -> list[str]:
        """Returns the names of the files; [] where there is no folder."""
        return [file.name for file in self._store.files() if "/" not in file.name]

    def write(self, name: str, save: Callable[[Path], None]) -> None:
        """Has `save` write a local file, and stores it."""
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder) / name)
            self._store.put(Path(folder) / name, name)

    @contextlib.contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Gives a copy in a temporary folder."""
        with tempfile.TemporaryDirectory() as folder:
            self._store.get(name, Path(folder) / name)
            yield Path(folder) / name

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""
        self._store.remove(name)

    def remove_partial_files(self) -> None:
        """Removes nothing: a file whose upload was cut off was never there."""


class RemoteFolder:
    """A folder that TensorFlow reaches by its URI; no name in it contains `~`.

    Raises:
        ConfigError: TensorFlow knows no file system of that scheme.
    """

    def __init__(self, uri: str) -> None:
        import tensorflow as tf

        self._uri = uri
        self._gfile: Any = tf.io.gfile
        scheme = uri.partition("://")[0]
        if scheme not in self._gfile.get_registered_schemes():
            raise ConfigError(
                f"{shown_address(uri)}: this TensorFlow has no file system for {scheme}://; give a "
                "mounted folder, or install the one that brings it"
            )

    def address(self, name: str) -> str:
        """Returns the URI of a file: of its whole object, else of the first that there will be."""
        return joined(self._uri, _object(name, self._whole_versions().get(name, 0)))

    def names(self) -> list[str]:
        """Returns the names of the whole files; [] where there is no folder."""
        return sorted(self._whole_versions())

    def write(self, name: str, save: Callable[[Path], None]) -> None:
        """Has `save` write a local file, copies it, writes its marker, then removes the old one."""
        self._gfile.makedirs(self._uri)
        new = _object(name, self._whole_versions().get(name, -1) + 1)
        self._remove_object(new)
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / name
            save(local)
            self._gfile.copy(str(local), joined(self._uri, new), overwrite=True)
        with self._gfile.GFile(joined(self._uri, new + _MARKER), "w") as marker:
            marker.write("")
        for old in self._objects(name):
            if old != new:
                self._remove_object(old)

    @contextlib.contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Gives a copy in a temporary folder."""
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / name
            self._gfile.copy(self.address(name), str(local))
            yield local

    def remove(self, name: str) -> None:
        """Removes a file if it is there."""
        for one in self._objects(name):
            self._remove_object(one)

    def remove_partial_files(self) -> None:
        """Removes what is not whole, and what has been replaced."""
        kept = {_object(name, version) for name, version in self._whole_versions().items()}
        for one in {name.removesuffix(_MARKER) for name in self._all_names()} - kept:
            self._remove_object(one)

    def _whole_versions(self) -> dict[str, int]:
        """Returns by file name the last of its objects that have a marker."""
        there = self._all_names()
        versions: dict[str, int] = {}
        for one in there:
            if one + _MARKER in there:
                name, version = _name_and_version(one)
                versions[name] = max(version, versions.get(name, 0))
        return versions

    def _objects(self, name: str) -> list[str]:
        """Returns a file's objects, whole or not, the oldest first."""
        there = {one.removesuffix(_MARKER) for one in self._all_names()}
        return sorted(
            (one for one in there if _name_and_version(one)[0] == name), key=_name_and_version
        )

    def _remove_object(self, one: str) -> None:
        """Removes an object if it is there, its marker first."""
        for name in (one + _MARKER, one):
            if self._gfile.exists(joined(self._uri, name)):
                self._gfile.remove(joined(self._uri, name))

    def _all_names(self) -> set[str]:
        if not self._gfile.isdir(self._uri):
            return set()
        return {name for name in self._gfile.listdir(self._uri) if not name.endswith("/")}


def _object(name: str, version: int) -> str:
    """Returns what a file is stored as: its name the first time, then with a number."""
    return f"{name}~{version}" if version else name


def _name_and_version(one: str) -> tuple[str, int]:
    """Returns file name and number of an object.

    >>> _name_and_version("a.txt"), _name_and_version("a.txt~2")
    (('a.txt', 0), ('a.txt', 2))
    """
    name, _, version = one.partition("~")
    return name, int(version or 0)

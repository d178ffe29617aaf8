"""Folders whose files are whole or not there, on a disk or in an object store.

On a disk a file gets its name when all of it is written. `gs://` and TensorFlow's other file
systems (`tf.io.gfile`) promise no atomic rename, so a file there counts once its marker,
`<name>.complete`, is written after it. TensorFlow is imported only where such a folder is used.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from configs.errors import ConfigError
from configs.files import atomic_path

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
    return RemoteFolder(os.fspath(folder)) if is_remote(folder) else LocalFolder(Path(folder))


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
            with open(partial, "rb+") as stream:
                os.fsync(stream.fileno())

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


class RemoteFolder:
    """A folder that TensorFlow reaches by its URI.

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
                f"{uri}: this TensorFlow has no file system for {scheme}://; give a mounted "
                "folder, or install the one that brings it"
            )

    def address(self, name: str) -> str:
        """Returns the URI of a file."""
        return joined(self._uri, name)

    def names(self) -> list[str]:
        """Returns the names of the files that have their marker; [] where there is no folder."""
        there = self._all_names()
        return sorted(name for name in there if name + _MARKER in there)

    def write(self, name: str, save: Callable[[Path], None]) -> None:
        """Has `save` write a local file, copies it, then writes its marker."""
        self._gfile.makedirs(self._uri)
        self.remove(name)
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / name
            save(local)
            self._gfile.copy(str(local), self.address(name), overwrite=True)
        with self._gfile.GFile(self.address(name + _MARKER), "w") as marker:
            marker.write("")

    @contextlib.contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Gives a copy in a temporary folder."""
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / name
            self._gfile.copy(self.address(name), str(local))
            yield local

    def remove(self, name: str) -> None:
        """Removes a file if it is there, its marker first."""
        for one in (name + _MARKER, name):
            if self._gfile.exists(self.address(one)):
                self._gfile.remove(self.address(one))

    def remove_partial_files(self) -> None:
        """Removes files and markers that lack each other."""
        there = self._all_names()
        for name in there:
            other = name.removesuffix(_MARKER) if name.endswith(_MARKER) else name + _MARKER
            if other not in there:
                self._gfile.remove(self.address(name))

    def _all_names(self) -> set[str]:
        if not self._gfile.isdir(self._uri):
            return set()
        return {name for name in self._gfile.listdir(self._uri) if not name.endswith("/")}

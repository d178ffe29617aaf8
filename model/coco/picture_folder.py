"""The pictures of a COCO file: in a folder of a disk, or at an address of an object store.

A store answers late and many requests at once: the pictures that a shard will need next are asked
for ahead, so many and no more.
"""

import collections
import errno
import os
import posixpath
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from ground.addresses import Place, is_address, shown_address
from model.coco.names import PICTURE_ENDINGS, FoundPicture, locate_picture, other_forms, stem_of
from model.coco.policies import Judge
from model.encoded.files import MAX_FILE_BYTES, read_picture_file, shown
from model.encoded.flaw import PictureFlaw
from model.object_store import disk_path, open_store

# Of a disk, a network or the system: no fault of the file, and next time it may not be there.
_FAILURES = (
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)
_AHEAD = 16  # pictures
_AHEAD_BYTES = 64 << 20  # of those that came and wait


class PictureFolder(Protocol):
    """Where the pictures of one COCO file lie."""

    def expect(self, file_names: Iterable[str]) -> None:
        """Takes the names of the pictures that will be asked for next, in this order."""

    def content(self, file_name: str, judge: Judge) -> bytes:
        """Returns the bytes of a picture's file; how it was found is noted with `judge`.

        Raises:
            LeftOut: the policy leaves a picture out whose name differs so, or lies there.
            PictureFlaw: it is missing, or cannot be read.
            OSError: the disk failed, or
            ServiceError: the store failed: that is not the picture's fault.
        """

    def close(self) -> None:
        """Lets go of what is asked for."""


def open_pictures(place: Place, prefix: str) -> PictureFolder:
    """Returns the folder at a place.

    Args:
        place: path or address.
        prefix: taken off the front of file names, where they begin so.
    """
    path = disk_path(place)
    if path is None:
        return StoredFolder(str(place), prefix)
    scheme = f"{str(place).partition('://')[0]}://" if is_address(place) else ""
    return DiskFolder(path, prefix, scheme)


class DiskFolder:
    """A folder of a disk.

    Args:
        folder: its path.
        prefix: taken off the front of file names, where they begin so.
        scheme: what paths begin with in messages, such as `file://`.
    """

    def __init__(self, folder: str, prefix: str, scheme: str = "") -> None:
        self._folder = folder
        self._prefix = prefix
        self._scheme = scheme

    def expect(self, file_names: Iterable[str]) -> None:
        """See PictureFolder; the system itself reads ahead."""

    def content(self, file_name: str, judge: Judge) -> bytes:
        """See PictureFolder."""
        path = locate_picture(self._folder, file_name, self._prefix, judge, self._shown)
        try:
            return read_picture_file(path, show=self._shown)
        except PictureFlaw as flaw:
            if flaw.number in _FAILURES:
                raise OSError(flaw.number, os.strerror(flaw.number), path) from None
            raise

    def close(self) -> None:
        """See PictureFolder."""

    def _shown(self, path: str) -> str:
        return shown(self._scheme + path)


class StoredFolder:
    """What lies below an address."""

    def __init__(self, address: str, prefix: str) -> None:
        self._address = address
        self._prefix = prefix
        self._store = open_store(address)
        self._threads = ThreadPoolExecutor(_AHEAD, thread_name_prefix="pictures-ahead")
        self._expected: Iterator[str] = iter(())
        self._asked: collections.deque[tuple[str, Future[bytes | None]]] = collections.deque()
        self._names: dict[str, dict[str, list[str]]] = {}

    def expect(self, file_names: Iterable[str]) -> None:
        """See PictureFolder."""
        self._expected = iter(file_names)

    def content(self, file_name: str, judge: Judge) -> bytes:
        """See PictureFolder."""
        name = file_name.removeprefix(self._prefix)
        content = self._taken(name, judge)
        if content is None:
            found = self._alike(name)
            if found.code:
                judge.note(found.code, found.detail)
            content = self._read(found.name) if found.code else None
        if content is None:
            raise PictureFlaw("picture_missing", f"{self._shown(name)}: no such file")
        if len(content) > MAX_FILE_BYTES:
            detail = f"{self._shown(name)}: the file has more than {MAX_FILE_BYTES} bytes"
            raise PictureFlaw("picture_too_large", detail)
        return content

    def close(self) -> None:
        """See PictureFolder."""
        self._threads.shutdown(cancel_futures=True)

    def _taken(self, name: str, judge: Judge) -> bytes | None:
        """Returns a picture that was asked for, or asks now; None where there is none.

        Raises:
            PictureFlaw: no object can have such a name, or it leads out of the folder.
        """
        if self._key(name) is None:
            scheme, _, rest = f"{shown_address(self._address)}/{name}".partition("://")
            to = shown(f"{scheme}://{posixpath.normpath(rest)}")
            detail = f"{self._shown(name)} leads out of the folder to {to}"
            judge.note("path_outside_folder", detail)
            raise PictureFlaw("picture_missing", f"{detail}, where nothing is looked for")
        self._ask()
        if any(asked == name for asked, _ in self._asked):
            while True:
                asked, coming = self._asked.popleft()
                if asked == name:
                    return coming.result()
                coming.cancel()  # its record had a flaw
        return self._read(name)

    def _ask(self) -> None:
        """Asks for what is expected, as far as there is room."""
        waiting = sum(
            len(coming.result() or b"")
            for _, coming in self._asked
            if coming.done() and not coming.cancelled() and coming.exception() is None
        )
        while len(self._asked) < _AHEAD and waiting < _AHEAD_BYTES:
            file_name = next(self._expected, None)
            if file_name is None:
                return
            name = file_name.removeprefix(self._prefix)
            if self._key(name) is not None:
                self._asked.append((name, self._threads.submit(self._read, name)))

    def _read(self, name: str) -> bytes | None:
        """Returns an object's bytes; None where there is none."""
        key = self._key(name)
        if not key:
            return None
        try:
            return self._store.read(key, MAX_FILE_BYTES)
        except (FileNotFoundError, IsADirectoryError):
            return None

    def _key(self, name: str) -> str | None:
        """Returns a name as a store has it; "" where none can, None for one not in the folder."""
        try:
            name.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            return ""
        if "\0" in name:
            return ""
        key = posixpath.normpath(name)
        is_out = key in (".", "..") or key.startswith(("/", "../"))
        return None if is_out else key

    def _alike(self, name: str) -> FoundPicture:
        """Returns the file that is plainly meant by a name that no object has."""
        for other in other_forms(name):
            base = posixpath.basename(other)
            if base in self._of_stem(other):
                return FoundPicture(other, "picture_name_in_other_form", f"found as {other!r}")
        slashed = name.replace("\\", "/")
        alike = self._of_stem(slashed)
        if len(alike) == 1:
            found = posixpath.join(posixpath.dirname(slashed), alike[0])
            return FoundPicture(found, "picture_ending_differs", f"there is {alike[0]!r}")
        return FoundPicture(name)

    def _of_stem(self, name: str) -> list[str]:
        """Returns what lies in the folder of a name and differs from it in its ending alone."""
        key = self._key(name)
        if not key:
            return []
        folder, base = posixpath.split(key)
        return self._names_in(folder).get(stem_of(base), [])

    def _names_in(self, folder: str) -> dict[str, list[str]]:
        """Returns the names of the pictures in a folder by stem."""
        if folder not in self._names:
            names: dict[str, list[str]] = {}
            for file in self._store.files(folder):
                below = file.name.removeprefix(f"{folder}/" if folder else "")
                if "/" not in below and below.lower().endswith(PICTURE_ENDINGS):
                    names.setdefault(stem_of(below), []).append(below)
            self._names[folder] = names
        return self._names[folder]

    def _shown(self, name: str) -> str:
        return shown(f"{shown_address(self._address)}/{name}")

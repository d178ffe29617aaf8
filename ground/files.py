"""Files that appear whole or not at all, digests of files, and folders held by one process."""

import contextlib
import ctypes
import errno
import fcntl
import functools
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ground.errors import FolderInUseError
from ground.unfinished import undone_at_a_forced_end

_LOCKS_UNKNOWN = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # of some network file systems
_EXCHANGE_UNKNOWN = (errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
_FOLDER_SYNC_UNKNOWN = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
LOCK_FILE = ".tfx-rcnn.lock"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike[str], replaces: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `target` that is renamed to it when the block ends well.

    Works for a file and for a folder (the caller creates it); an existing target is replaced, by
    one rename. What was written is on the disk before that. After an error nothing is left behind
    and the old target stays; what a killed process leaves, `recover` puts right.

    Args:
        target: the file or folder.
        replaces: False for a folder that must not be there yet: one with content is an error then.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(target, "partial")
    try:
        with undone_at_a_forced_end(lambda: remove(partial)):
            yield partial
        sync_tree(partial)
        if replaces:
            replace(partial, target)
        else:
            os.rename(partial, target)
            sync_folder(target.parent)
    finally:
        remove(partial)


def replace(new: Path, target: Path) -> None:
    """Puts `new` in the place of `target`, by one rename where the file system knows how.

    An old folder may lie at `new` afterwards. Where a file system cannot exchange two folders it
    takes two renames, and `recover` brings the old one back if only the first was done.
    """
    if new.is_dir() and target.is_dir() and not exchange(new, target):
        old = _beside(target, "old")
        os.rename(target, old)
        os.rename(new, target)
        sync_folder(target.parent)
        remove(old)
    elif not (new.is_dir() and target.is_dir()):
        os.replace(new, target)
    sync_folder(target.parent)


def recover(target: str | os.PathLike[str]) -> None:
    """Puts right what killed writers of `target` left beside it; none must be at work."""
    target = Path(target)
    for path in sorted(target.parent.glob(f".{glob.escape(target.name)}.????????.*")):
        if path.suffix == ".old" and not os.path.lexists(target):
            os.rename(path, target)
        elif path.suffix in (".partial", ".old"):
            remove(path)


def remove(path: str | os.PathLike[str]) -> None:
    """Removes a file, a link or a whole folder, where there is one."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)


def _beside(target: Path, suffix: str) -> Path:
    return target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.{suffix}"


def exchange(first: Path, second: Path) -> bool:
    """Swaps two entries of a file system in one step; returns False where that is not known."""
    rename = _renameat2()
    if rename is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _EXCHANGE_UNKNOWN:
        return False
    raise OSError(code, os.strerror(code), str(second))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """Returns Linux's system call as the C library has it, None without."""
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def sync_tree(path: str | os.PathLike[str]) -> None:
    """Brings a file, or all files and folders below a folder, to the disk."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            sync_file(os.path.join(folder, name))
        sync_folder(folder)
    if os.path.isfile(path):
        sync_file(path)


def sync_file(path: str | os.PathLike[str]) -> None:
    """Brings a regular file's data to the disk; a link is left alone."""
    if os.path.islink(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Brings a folder's entries to the disk, where its file system can."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _FOLDER_SYNC_UNKNOWN:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held_folder(folder: str | os.PathLike[str], otherwise: str) -> Iterator[None]:
    """Holds a folder, which is created, for one process; the system lets it go when that ends.

    Nothing is held on a file system that knows no locks.

    Args:
        folder: has a file `.tfx-rcnn.lock` with the holder's process id meanwhile.
        otherwise: what to do where the folder is held, for the message.

    Raises:
        FolderInUseError: another process holds it.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, LOCK_FILE)
    with _locked_file(path) as stream:
        if stream is None:
            holder = "unknown"
            with contextlib.suppress(OSError):
                holder = Path(path).read_text(encoding="utf-8").strip() or holder
            raise FolderInUseError(
                f"{folder}: another run (process {holder}) is at work here: {otherwise}"
            )
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        try:
            with undone_at_a_forced_end(lambda: os.unlink(path)):
                yield
        finally:
            with contextlib.suppress(FileNotFoundError):  # without locks, of two holders
                os.unlink(path)


@contextlib.contextmanager
def _locked_file(path: str) -> Iterator[IO[str] | None]:
    """Yields the file when it is locked, None where another process has it locked."""
    while True:
        is_there = False
        with open(path, "a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            except OSError as error:
                if error.errno not in _LOCKS_UNKNOWN:
                    raise
            with contextlib.suppress(FileNotFoundError):
                is_there = os.path.samestat(os.stat(path), os.fstat(stream.fileno()))
            # Else its holder before us removed it after we had opened it.
            if is_there:
                yield stream
                return


def write_json(target: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN and infinity are refused.

    Raises:
        ValueError: a float is not finite (JSON has no word for it).
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Adds the file's name to an error of reading or writing it, which does not say of which file.

    Raises:
        OSError: the block raises it.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def file_digest(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file's bytes as 64 hex digits."""
    digest = hashlib.sha256()
    with naming(path), open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def json_digest(value: Any) -> str:
    """Returns the SHA-256 of a JSON value in its canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()

"""Files that appear whole or not at all, digests of files, and folders held by one process."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import FolderInUseError

_LOCKS_UNKNOWN = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # of some network file systems


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `target` that is renamed to it when the block ends well.

    Works for a file and for a folder (the caller creates it); an existing target is replaced.
    After an error nothing is left behind and the old target stays.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        yield partial
        if partial.is_dir() and target.is_dir():
            old = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.old"
            os.replace(target, old)
            os.replace(partial, target)
            shutil.rmtree(old)
        else:
            os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def remove_partials(target: str | os.PathLike[str]) -> None:
    """Removes what killed writers of `target` left beside it; none must be at work."""
    target = Path(target)
    for path in target.parent.glob(f".{glob.escape(target.name)}.????????.*"):
        if path.suffix not in (".partial", ".old"):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def held_folder(folder: str | os.PathLike[str], otherwise: str) -> Iterator[None]:
    """Holds a folder, which is created, for one process; the system lets it go when that ends.

    Nothing is held on a file system that knows no locks.

    Args:
        folder: gets a file `.lock` with the holder's process id.
        otherwise: what to do where the folder is held, for the message.

    Raises:
        FolderInUseError: another process holds it.
    """
    os.makedirs(folder, exist_ok=True)
    with open(Path(folder) / ".lock", "a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise FolderInUseError(
                f"{folder}: another run (process {holder}) is at work here: {otherwise}"
            ) from None
        except OSError as error:
            if error.errno not in _LOCKS_UNKNOWN:
                raise
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def write_json(target: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN and infinity are refused.

    Raises:
        ValueError: a float is not finite (JSON has no word for it).
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def file_digest(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file's bytes as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def json_digest(value: Any) -> str:
    """Returns the SHA-256 of a JSON value in its canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()

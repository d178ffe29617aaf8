"""Reads picture files: regular ones only, within bounds, and inside their folder."""

import errno
import os
import stat
from collections.abc import Callable

from model.encoded.flaw import PictureFlaw

# A record holds a picture, and a record must stay below protobuf's 2 GiB.
MAX_FILE_BYTES = 1 << 30
_LONGEST_SHOWN = 300
_MISSING = (errno.ENOENT, errno.ENOTDIR)


def shown(path: str | os.PathLike[str]) -> str:
    r"""Returns a path for a message of one line, without the middle of a very long one.

    >>> print(shown("a\nb.jpg"))
    'a\nb.jpg'
    """
    text = os.fspath(path)
    if len(text) > _LONGEST_SHOWN:
        text = f"{text[: _LONGEST_SHOWN // 2]}...{text[-_LONGEST_SHOWN // 2 :]}"
    return text if text.isprintable() else repr(text)


def path_inside(
    folder: str | os.PathLike[str], name: str, show: Callable[[str], str] = shown
) -> str:
    """Returns the real path of a picture that a COCO file names, its links followed.

    Args:
        folder: folder of the pictures; may be a link itself.
        name: relative to it.
        show: says a path in a message.

    Raises:
        PictureFlaw: the path leads out of the folder (`path_outside_folder`), or no file can have
            such a name (`picture_missing`).
    """
    path = os.path.join(folder, name)
    try:
        real, real_folder = os.path.realpath(path), os.path.realpath(folder)
    except ValueError:  # a NUL, or half of a surrogate pair
        raise PictureFlaw("picture_missing", f"{show(path)}: no file has such a name") from None
    if not real.startswith(os.path.join(real_folder, "")):
        detail = f"{show(path)} leads out of the folder to {show(real)}"
        raise PictureFlaw("path_outside_folder", detail)
    return real


def read_picture_file(
    path: str | os.PathLike[str],
    max_bytes: int = MAX_FILE_BYTES,
    show: Callable[[str], str] = shown,
) -> bytes:
    """Returns the bytes of a regular file.

    Nothing else is opened, so that a pipe or a device cannot block, and no more is read than the
    file had when it was opened.

    Args:
        path: path of the file.
        max_bytes: the largest size of the file.
        show: says a path in a message.

    Raises:
        PictureFlaw: it is missing, no regular file, may not be read, has more than `max_bytes`, or
            changes while it is read.
    """
    named = show(os.fspath(path))
    try:
        _check_regular(path, os.stat(path), show)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            _check_regular(path, status, show)
            if status.st_size > max_bytes:
                detail = f"{named}: the file has {status.st_size} bytes, over {max_bytes}"
                raise PictureFlaw("picture_too_large", detail)
            content = stream.read(status.st_size + 1)
    except OSError as error:
        code = "picture_missing" if error.errno in _MISSING else "picture_unreadable"
        reason = "no such file" if error.errno in _MISSING else error.strerror
        raise PictureFlaw(code, f"{named}: {reason}", error.errno or 0) from None
    except ValueError:  # a NUL, or half of a surrogate pair
        raise PictureFlaw("picture_missing", f"{named}: no file has such a name") from None
    if len(content) != status.st_size:
        raise PictureFlaw("picture_unreadable", f"{named}: changes while it is read")
    return content


def _check_regular(
    path: str | os.PathLike[str], status: os.stat_result, show: Callable[[str], str]
) -> None:
    """Raises a PictureFlaw for what is no regular file."""
    if not stat.S_ISREG(status.st_mode):
        raise PictureFlaw("picture_unreadable", f"{show(os.fspath(path))}: is no regular file")

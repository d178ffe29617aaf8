"""Keeps two conversions out of one output folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ground.errors import DatasetError


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds a lock on the output folder.

    Raises:
        DatasetError: another conversion writes there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DatasetError(f"{folder}: another conversion is writing here") from None
    finally:
        os.close(descriptor)

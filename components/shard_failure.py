"""Why a shard failed, as a JSON value: what is raised in a worker reaches the driver as text."""

import os
import re
from typing import Any

from ground.errors import DatasetError

_OS_ERROR = re.compile(r"Error: \[Errno (\d+)\] [^:'\[]*(?:: '([^']+)')?")


def failure(error: DatasetError | OSError) -> dict[str, Any]:
    """Returns what stands in place of a shard's result."""
    if isinstance(error, OSError):
        return {"os_error": [error.errno, error.strerror, error.filename]}
    return {"dataset_error": str(error)}


def raise_failure(result: dict[str, Any], cause: Exception) -> None:
    """Raises what `failure` made a result of; nothing where it is none.

    Raises:
        DatasetError: the data is damaged, or some of it was lost.
        OSError: a file could not be read or written.
    """
    if "os_error" in result:
        raise OSError(*result["os_error"]) from cause
    if "dataset_error" in result:
        raise DatasetError(result["dataset_error"]) from cause


def raise_told(error: Exception, place: str | os.PathLike[str]) -> None:
    """Raises the OSError that an exception of Beam's tells of; nothing where it tells of none.

    A full disk has no room for a shard's account of its failure either.

    Args:
        error: as it reached the driver: the worker's, wrapped, or its text.
        place: the output folder, named where the error names no file.

    Raises:
        OSError: what the worker raised.
    """
    told = _OS_ERROR.search(str(error))
    if told:
        number = int(told[1])
        raise OSError(number, os.strerror(number), told[2] or os.fspath(place)) from error

"""Why a shard failed, as a JSON value: what is raised in a worker reaches the driver as text."""

from typing import Any

from configs.errors import DatasetError


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

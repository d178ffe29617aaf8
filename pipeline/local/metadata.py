"""Opens MLMD's SQLite file of a run's root; what keeps it from being read is one line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ml_metadata import errors
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from ground.errors import RcnnError

_OTHER_SCHEMA = ("older than library", "greater than library")
_IN_USE = ("There are a subset of tables", "database is locked", "Concurrent writes aborted")


@contextlib.contextmanager
def opened_metadata(path: Path, writes: bool = False) -> Iterator[MetadataStore]:
    """Yields the store in a file.

    Args:
        path: the file; it must be there unless it is to be written.
        writes: whether it will be written to; else nothing is, not even a missing table.

    Raises:
        RcnnError: it is not there, no MLMD file, of another version, damaged, or held by another
            process for long.
    """
    if not writes and not path.is_file():
        raise no_metadata(path)
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = (
        mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        if writes
        else mlmd.SqliteMetadataSourceConfig.READONLY
    )
    try:
        store = MetadataStore(config)
    except RuntimeError as error:
        raise RcnnError(f"{path}: {_why_unreadable(str(error))}") from None
    try:
        yield store
    except errors.StatusError as error:
        raise RcnnError(f"{path}: {_why_unreadable(str(error))}") from None


def no_metadata(path: Path) -> RcnnError:
    """Returns what is said where there is no such file."""
    return RcnnError(
        f"{path}: no such file, so there was no local run here. Runs on Kubeflow are recorded in "
        "the cluster's MLMD (tfx-rcnn runs, and its pages); --folder and --name show what was "
        "pushed"
    )


def _why_unreadable(text: str) -> str:
    line = " ".join(text.split())
    if any(words in line for words in _OTHER_SCHEMA):
        versions = line.partition(". ")[0]
        return f"written by another release of ML Metadata ({versions}): use the lane that wrote it"
    if any(words in line for words in _IN_USE):
        return "is being written to, or is not whole: wait for the run in this folder, try again"
    return f"cannot be read as ML Metadata's file ({line.partition(' query:')[0][:200]})"

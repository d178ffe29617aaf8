"""What came of a shard: its result, or why there is none, as a file that other processes read."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from components.shard_job import ShardJob
from ground import errors
from ground.console import read_json
from ground.errors import DatasetError, RcnnError
from ground.files import write_json
from model.examples import Shard

AnyJob = TypeVar("AnyJob", bound=ShardJob)


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """What came of a shard.

    Attributes:
        line: line of the manifest.
        num_objects: in the shard's records.
        counts: the component's own, as a JSON value.
        counters: for Beam's metrics, by name; they are not kept with the rest.
    """

    line: Shard
    num_objects: int
    counts: dict[str, Any]
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)


def do_job(job: AnyJob, write_shard: Callable[[AnyJob], ShardResult]) -> ShardResult:
    """Does a job here; returns its result, which its file holds too, or why there is none."""
    try:
        done = write_shard(job)
    except (RcnnError, OSError) as error:
        write_failure(job, error)
        raise
    kept = {"line": done.line, "num_objects": done.num_objects, "counts": done.counts}
    write_json(job.result_path, kept)
    return done


def read_result(job: ShardJob) -> ShardResult:
    """Returns what came of a job that is done."""
    return ShardResult(**read_json(job.result_path, DatasetError))


def write_failure(job: ShardJob, error: RcnnError | OSError) -> None:
    """Writes what stands in place of a job's result."""
    failure: dict[str, Any]
    if isinstance(error, OSError):
        failure = {"os_error": [error.errno, error.strerror, error.filename]}
    else:
        failure = {"error": [type(error).__name__, str(error)]}
    write_json(job.result_path, failure)


def raise_failure(job: ShardJob, cause: Exception) -> None:
    """Raises what `write_failure` wrote of a job; nothing where there is a result, or none yet.

    Raises:
        RcnnError: what the job raised, or LostProcessError for a process that has ended.
        OSError: a file could not be read or written.
    """
    if not job.result_path.exists():
        return
    result = read_json(job.result_path, DatasetError)
    if "os_error" in result:
        raise OSError(*result["os_error"]) from cause
    if "error" in result:
        kind, text = result["error"]
        raise getattr(errors, kind, DatasetError)(text) from cause

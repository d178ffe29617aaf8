"""How many pictures of a shard are done: counted where the work is, read where it is followed.

Beam's own counters are there when a bundle has ended, and on some runners at the end alone: so a
job writes its count into a small file beside its result, which works wherever results do.
"""

import contextlib
import time
from collections.abc import Iterable

from components.shard_job import ShardJob
from ground.console import read_json
from ground.errors import DatasetError
from ground.interrupts import is_interrupted

_SECONDS = 1.0


class InterruptedShard(Exception):
    """The command is ending, and so is the work of its threads."""


class ShardCount:
    """Counts the pictures of one job.

    Args:
        job: the job.
    """

    def __init__(self, job: ShardJob) -> None:
        self._path = job.count_path
        self._done = 0
        self._written = time.monotonic()

    def advance(self) -> None:
        """Counts a picture, and says so now and then.

        Raises:
            InterruptedShard: the command was interrupted.
        """
        if is_interrupted():
            raise InterruptedShard
        self._done += 1
        now = time.monotonic()
        if now - self._written >= _SECONDS:
            self._written = now
            with contextlib.suppress(OSError):  # it is for the eyes alone
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.write_text(f"{self._done}\n", encoding="ascii")


def pictures_done(jobs: Iterable[ShardJob]) -> int:
    """Returns how many pictures of jobs are done, as far as those at work have said so."""
    return sum(map(_done_of, jobs))


def is_done(job: ShardJob) -> bool:
    """Returns whether a job has left a result that is no failure."""
    return job.result_path.exists() and "line" in read_json(job.result_path, DatasetError)


def _done_of(job: ShardJob) -> int:
    with contextlib.suppress(OSError, ValueError):
        return min(int(job.count_path.read_text(encoding="ascii")), job.pictures_to_do)
    return 0

"""What the tests of the shard pool have done in other processes."""

import os
import signal
import time
from pathlib import Path

from components.shard_job import ShardJob
from components.shard_results import ShardResult
from ground.errors import DatasetError


def jobs(scratch: Path, number: int) -> list[ShardJob]:
    """Returns jobs that leave their results below `scratch`."""
    return [
        ShardJob("train", n, number, f"file-{n}", "examples", str(scratch)) for n in range(number)
    ]


def say_process(job: ShardJob) -> ShardResult:
    """Takes a while, and says which process did it; prints, as libraries do."""
    print("not for whoever reads the answers")
    time.sleep(0.2)
    return ShardResult({"file": job.file, "records": 1}, 5, {}, {f"process {os.getpid()}": 1})


def fail_with_the_second(job: ShardJob) -> ShardResult:
    """Finds the second shard broken."""
    if job.shard == 1:
        raise DatasetError("shard 2 is broken")
    return say_process(job)


def fail_by_mistake(job: ShardJob) -> ShardResult:
    """Has a mistake in it."""
    raise KeyError(job.file)


def be_killed_with_the_first(job: ShardJob) -> ShardResult:
    """Is killed with the first shard; does others for ever."""
    if job.shard == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(3600)
    raise AssertionError


def leave_number_and_stay(job: ShardJob) -> ShardResult:
    """Says in a file which process it is, and does not end."""
    (Path(job.scratch_dir) / f"{job.shard}.pid").write_text(str(os.getpid()))
    time.sleep(3600)
    raise AssertionError

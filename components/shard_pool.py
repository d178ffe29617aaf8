"""Does jobs of the shard machine in several processes of this machine.

Threads would wait for each other: reading JSON, drawing masks and writing records is Python's work
as much as that of libraries. Beam's own processes (`multi_processing`) each load Beam, and get
their shards before it is known which take long. These load what a shard needs and no more, take
the next job when they have done one, and none outlives who started it.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, cast

from components.shard_job import ShardJob
from components.shard_results import AnyJob, ShardResult, write_failure
from ground.errors import LostProcessError
from tfx_rcnn import child_environment, command

Counters = Mapping[str, int]

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


class _PlaceOfError(Exception):
    """Where in another process an error was raised: its cause, for `--debug`."""


class _Process:
    """One process of `components.shard_worker`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            command("components.shard_worker"),
            env={**child_environment(os.environ), **_ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._asked = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    def do(self, job: AnyJob, write_shard: Callable[[AnyJob], ShardResult]) -> Counters:
        """Has a job done; returns its counters.

        Raises:
            LostProcessError: the process has ended.
            Exception: what the job raised.
        """
        try:
            pickle.dump((write_shard, job), self._asked)
            self._asked.flush()
            answer = pickle.load(self._answers)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            raise LostProcessError(_how_lost(job, self._process.wait())) from None
        if isinstance(answer, dict):
            return cast(Counters, answer)
        error, place = answer
        raise error from _PlaceOfError(f"in a process of its own:\n{place}")

    def end(self) -> None:
        """Ends the process, in the middle of a job too, and waits until it is gone."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        with contextlib.suppress(BrokenPipeError):  # of what was not yet written to it
            self._asked.close()


def do_jobs(
    jobs: Sequence[AnyJob], write_shard: Callable[[AnyJob], ShardResult], processes: int
) -> Iterator[Counters]:
    """Does jobs in several processes; yields the counters of each when it is done, in any order.

    Args:
        jobs: what is to be done.
        write_shard: does one of them; a function of a module.
        processes: number of processes.

    Raises:
        LostProcessError: a process was ended from outside; the others are ended, too.
        Exception: what the first job raised that failed; likewise.
    """
    waiting, answers = deque(jobs), queue.SimpleQueue[Any]()

    def take_jobs(process: _Process) -> None:
        while waiting:
            try:
                job = waiting.popleft()
            except IndexError:  # another one took the last
                return
            try:
                answers.put((job, process.do(job, write_shard)))
            except Exception as error:
                answers.put((job, error))
                return

    workers: list[_Process] = []
    threads: list[threading.Thread] = []
    try:
        for _ in range(min(processes, len(jobs))):
            workers.append(_Process())
            threads.append(threading.Thread(target=take_jobs, args=(workers[-1],), daemon=True))
            threads[-1].start()
        for _ in jobs:
            job, answer = answers.get()
            if isinstance(answer, LostProcessError):
                write_failure(job, answer)
            if isinstance(answer, Exception):
                raise answer
            yield answer
    finally:
        waiting.clear()
        for worker in workers:
            worker.end()
        for thread in threads:
            thread.join()


def _how_lost(job: ShardJob, status: int) -> str:
    """Returns the message on a process that ended in the middle of a job."""
    how = f"ended with status {status}"
    if status < 0:
        how = f"was ended by {signal.Signals(-status).name}"
    if status == -signal.SIGKILL:
        how += ", as where memory runs out"
    return (
        f"{job.place}: the process that wrote it {how}: run it again, if need be with fewer "
        "processes (pipeline.beam_args: [--shard_processes=1])"
    )

"""The shard machine: one job a shard, done by Beam wherever it runs; what came of each is merged.

A component lists its jobs, and says what it does to one shard. Every job leaves its result as a
file, since what Beam hands back to the driver is at best its text: the manifest's line, or why it
failed. No picture travels between workers, so that the bytes are the same on any runner.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic

import apache_beam as beam
from apache_beam.metrics import Metrics

from components.shard_count import is_done, pictures_done
from components.shard_job import ShardJob
from components.shard_options import leave_processes_to_us, shard_processes
from components.shard_pool import do_jobs
from components.shard_results import AnyJob, ShardResult, do_job, raise_failure, read_result
from ground.errors import DatasetError, RcnnError, ServiceError
from ground.files import atomic_path, remove
from ground.periodic import every
from ground.progress import Progress, without_values
from ground.unfinished import undone_at_a_forced_end
from ground.wording import plural
from model.examples import Shard, Split
from model.tfrecord import walk_tfrecord

_POLL_SECONDS = 0.5
_LONGEST_REASON = 400  # letters of what a runner says
_OS_ERROR = re.compile(r"Error: \[Errno (\d+)\] [^:'\[]*(?:: '([^']+)')?")

OnLine = Callable[[str], None]  # called with one line for people


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[tuple[Path, Path]]:
    """Yields a folder that takes the place of `target` when all went well, and a scratch folder.

    Both vanish after an error. A folder is renamed, never filled in its place: who reads it while
    we write finds the old one or the new one, whole. The scratch folder lies beside it and not in
    it, on the same file system: a file becomes part of the new folder by a rename too. What a
    killed run left beside `target` is removed first; nobody else may be at work there.
    """
    scratch = target.parent / f".{target.name}.scratch"
    for leftover in (scratch, *target.parent.glob(f".{target.name}.*.partial")):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with undone_at_a_forced_end(lambda: remove(scratch)), atomic_path(target) as partial:
            partial.mkdir()
            yield partial, scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_shards(
    jobs: Sequence[AnyJob],
    write_shard: Callable[[AnyJob], ShardResult],
    namespace: str,
    new_pipeline: Callable[[], beam.Pipeline],
    what: str,
    on_progress: OnLine,
) -> dict[str, list[tuple[AnyJob, ShardResult]]]:
    """Does every job with Beam; returns each with what came of it, by split, in their order.

    Args:
        jobs: one a shard.
        write_shard: does one of them, in any of Beam's processes; a function of a module.
        namespace: namespace of Beam's counters.
        new_pipeline: gives the Beam pipeline that does the work.
        what: is done to the pictures, such as "converting".
        on_progress: is called with a line now and then.

    Raises:
        DatasetError: the data is damaged, or some of it was lost on the way.
        LostProcessError: a process that wrote a shard was ended.
        OSError: a file could not be read or written.
        ServiceError: see `at_work`.
    """
    with at_work(jobs, what, new_pipeline, on_progress) as pipeline:
        pictures = sum(job.pictures_to_do for job in jobs)
        processes = shard_processes(pipeline, len(jobs), pictures)
        if processes > 1:
            leave_processes_to_us(pipeline)
        _ = (
            pipeline
            | "ListShards" >> beam.Create(list(jobs), reshuffle=False)
            | "SpreadOverWorkers" >> beam.Reshuffle()
            | "WriteShard" >> beam.ParDo(_WriteShard(write_shard, namespace, processes))
        )
    done: dict[str, list[tuple[AnyJob, ShardResult]]] = {}
    for job in jobs:
        result = read_result(job)
        check_written(job, result.line)
        done.setdefault(job.split, []).append((job, result))
    return done


@contextlib.contextmanager
def at_work(
    jobs: Sequence[ShardJob],
    what: str,
    new_pipeline: Callable[[], beam.Pipeline],
    on_progress: OnLine,
) -> Iterator[beam.Pipeline]:
    """Yields the pipeline that does the jobs; it runs when the block ends.

    Raises:
        DatasetError: the data is damaged, or some of it was lost on the way.
        LostProcessError: a process that wrote a shard was ended.
        OSError: a file could not be read or written.
        ServiceError: Beam's runner failed, or says that all went well and jobs were not done.
    """
    runner = "Beam"
    try:
        pipeline = new_pipeline()
        runner = type(pipeline.runner).__name__
        if jobs:
            _move_temporary_files(pipeline, jobs[0].scratch_dir)
        with followed(jobs, what, on_progress), pipeline:
            yield pipeline
    except Exception as error:
        # Through Beam an exception comes wrapped, or as text; a shard's own account does not.
        for job in jobs:
            raise_failure(job, error)
        if jobs:
            raise_told(error, Path(jobs[0].scratch_dir).parent)
        if isinstance(error, RcnnError) or (isinstance(error, OSError) and error.errno):
            raise
        raise ServiceError(f"{runner}: {_reason_of(error)}") from error
    not_done = [job for job in jobs if not job.result_path.exists()]
    if not_done:
        raise ServiceError(
            f"{not_done[0].place}: {runner} reports success, and nothing came of "
            f"{plural(len(not_done), 'shard')} of {len(jobs)} in {not_done[0].scratch_dir}: its "
            "workers must see that folder, under this name and as the same disk"
        )


def _move_temporary_files(pipeline: beam.Pipeline, scratch: str) -> None:
    """Has Beam's own folder in ours: what a killed process leaves there is removed by the next."""
    made = getattr(pipeline, "local_tempdir", None)
    if made is not None:
        shutil.rmtree(made, ignore_errors=True)
        pipeline.local_tempdir = os.path.join(scratch, "beam")
        os.makedirs(pipeline.local_tempdir, exist_ok=True)


def _reason_of(error: Exception) -> str:
    """Returns in a line what a runner says of its failure."""
    text = " ".join(str(error).split())
    if not text and "Timeout" in type(error).__name__:  # gRPC's has no words
        return "no job service answers: is it running at --job_endpoint?"
    name = type(error).__name__
    return f"the job failed ({text[:_LONGEST_REASON] or name})"


def check_written(job: ShardJob, line: Shard) -> None:
    """Checks that a shard lies here with as many records as its worker says.

    Raises:
        DatasetError: it does not.
    """
    number = sum(1 for _ in walk_tfrecord(job.path)) if job.path.exists() else None
    if number != line["records"]:
        found = "is not there" if number is None else f"holds {number:,}"
        raise DatasetError(
            f"{job.place}: {plural(line['records'], 'record')} written, and {job.file} {found} in "
            f"{job.path.parent}: the workers must write to this machine's disk or a shared one"
        )


class _WriteShard(beam.DoFn, Generic[AnyJob]):
    """Does jobs, each of which leaves its result as a file; counts for Beam."""

    def __init__(
        self, write_shard: Callable[[AnyJob], ShardResult], namespace: str, processes: int
    ) -> None:
        super().__init__()
        self._write_shard = write_shard
        self._namespace = namespace
        self._processes = processes
        self._waiting: list[AnyJob] = []

    def start_bundle(self) -> None:
        """Forgets what a bundle left that failed."""
        self._waiting = []

    def process(self, job: AnyJob) -> Iterable[str]:
        """Does a job, or keeps it for when all are known that several processes are to do."""
        if self._processes > 1:
            self._waiting.append(job)
        else:
            self._count(do_job(job, self._write_shard).counters)
        return ()

    def finish_bundle(self) -> None:
        """Does the jobs that were kept."""
        for counters in do_jobs(self._waiting, self._write_shard, self._processes):
            self._count(counters)

    def _count(self, counters: Mapping[str, int]) -> None:
        for name, number in counters.items():
            Metrics.counter(self._namespace, name).inc(number)


def merged(results: Sequence[ShardResult]) -> Split:
    """Returns the manifest's entry of a split, from what came of its shards in their order."""
    lines = [result.line for result in results]
    return {
        "records": sum(line["records"] for line in lines),
        "objects": sum(result.num_objects for result in results),
        "shards": lines,
    }


@contextlib.contextmanager
def followed(jobs: Sequence[ShardJob], what: str, on_progress: OnLine) -> Iterator[None]:
    """Says now and then how many pictures are done within the block, and at its end.

    It looks for the jobs' files: whichever process does a job, it leaves them.

    Args:
        jobs: what is to be done.
        what: is done, such as "converting".
        on_progress: gets the lines, from another thread (ground/progress.py).
    """
    waiting, done_pictures = list(jobs), 0
    total = sum(job.pictures_to_do for job in jobs)
    progress = Progress(what, total, without_values(on_progress))

    def report() -> None:
        nonlocal done_pictures
        for job in [job for job in waiting if is_done(job)]:
            waiting.remove(job)
            done_pictures += job.pictures_to_do
        progress.reach(done_pictures + pictures_done(waiting))

    with every(_POLL_SECONDS, report, "shard-progress"):  # ends where nobody reads the screen
        yield
    report()


def raise_told(error: Exception, place: str | os.PathLike[str]) -> None:
    """Raises the OSError that an exception of Beam's tells of; nothing where it tells of none.

    A full disk has no room for a shard's account of its failure either.

    Args:
        error: error as it reached the driver: the worker's, wrapped, or its text.
        place: the output folder, named where the error names no file.

    Raises:
        OSError: what the worker raised.
    """
    told = _OS_ERROR.search(str(error))
    if told:
        number = int(told[1])
        raise OSError(number, os.strerror(number), told[2] or os.fspath(place)) from error

"""The whole of bulk prediction: shards of pictures through RunInference, and one list of results.

A shard's outcomes are a file in a work folder, as what Beam hands back to the driver is at best
text. A shard whose file is there is not done again: a run that was killed goes on.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference

from components.bulk_predict.handler import Outcome, PictureModelHandler
from components.shard_job import ShardJob
from components.shards import at_work
from ground.console import read_json
from ground.errors import DatasetError, ModelError, ServiceError
from ground.files import json_digest, write_json
from ground.version import VERSION
from model.model_folder import files_digest, read_categories
from model.prediction.files import write_detections
from model.prediction.paths import FoundPicture
from model.prediction.run import stamp_of
from model.prediction.tiles import Tiling

_MODEL_ERROR = re.compile(r"ModelError: (.*?)(?: \[while running| *$)", re.MULTILINE)


@dataclass(frozen=True)
class BulkSettings:
    """How pictures are looked at.

    Attributes:
        batch_size: pictures or tiles a call of the model.
        pictures_a_shard: what is kept together, and lost by a kill.
        tiling: how large pictures are cut; None for not at all.
    """

    batch_size: int = 4
    pictures_a_shard: int = 256
    tiling: Tiling | None = None


@dataclass(frozen=True)
class BulkJob(ShardJob):
    """One shard of pictures.

    Attributes:
        first: number of its first picture, from 0.
        paths: the picture files.
    """

    first: int = 0
    paths: tuple[str, ...] = ()

    @property
    def pictures_to_do(self) -> int:
        """See `ShardJob`."""
        return len(self.paths)


def bulk_predict(
    model_folder: Path,
    pictures: Sequence[FoundPicture],
    out: Path,
    work: Path,
    settings: BulkSettings,
    new_pipeline: Callable[[], beam.Pipeline],
    on_progress: Callable[[str], None],
    on_failure: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes what a model finds in picture files, as `predict` does, without drawing.

    Args:
        model_folder: the exported model; every worker reads it at this path.
        pictures: picture files, likewise.
        out: empty folder; gets `detections.json` and `detections.csv`.
        work: folder that all workers can write to; the caller removes it when `out` is safe.
        settings: see there.
        new_pipeline: gives the Beam pipeline that does the work.
        on_progress: called with a line now and then.
        on_failure: called with a line for each picture that cannot be used.

    Raises:
        ModelError: the model cannot be loaded, or finds what is not a number.
        OSError: a file could not be written.
        ServiceError: see `at_work`.
    """
    jobs = _jobs(pictures, work / _key_of(model_folder, pictures, settings), settings)
    todo = [job for job in jobs if not job.result_path.exists()]
    if len(todo) < len(jobs):
        on_progress(f"going on: {len(jobs) - len(todo)} of {len(jobs)} shards were done before")
    handler = PictureModelHandler(str(model_folder), settings.batch_size, settings.tiling)
    try:
        with at_work(todo, "predicting", new_pipeline, on_progress) as pipeline:
            _ = _outcomes(pipeline, todo, handler) | "WriteShard" >> beam.ParDo(_write_shard)
    except ServiceError as error:
        if told := _MODEL_ERROR.search(str(error.__cause__)):
            raise ModelError(told[1]) from error
        raise
    return _put_together(model_folder, pictures, jobs, out, on_failure, settings)


def _outcomes(
    pipeline: beam.Pipeline, jobs: Sequence[BulkJob], handler: PictureModelHandler
) -> beam.PCollection:
    """Returns (shard, (its job, [(position, outcome)])) of all shards."""
    listed = pipeline | "ListShards" >> beam.Create(list(jobs), reshuffle=False)
    found = (
        listed
        | "SpreadOverWorkers" >> beam.Reshuffle()
        | "ListPictures" >> beam.FlatMap(_pictures_of)
        | "Detect" >> RunInference(KeyedModelHandler(handler))
        | "KeyByShard" >> beam.MapTuple(lambda key, outcome: (key[0], (key[1], outcome)))
    )
    keyed = listed | "KeyJobs" >> beam.Map(lambda job: (job.shard, job))
    return {"job": keyed, "outcomes": found} | "GroupShards" >> beam.CoGroupByKey()


def _pictures_of(job: BulkJob) -> Iterator[tuple[tuple[int, int], str]]:
    """Yields ((shard, position in it), path)."""
    for n, path in enumerate(job.paths):
        yield (job.shard, n), path


def _write_shard(group: tuple[int, dict[str, Iterable[Any]]]) -> Iterator[int]:
    """Writes a shard's outcomes, in the pictures' order; yields its number."""
    shard, parts = group
    (job,) = parts["job"]
    outcomes = [outcome for _, outcome in sorted(parts["outcomes"], key=lambda pair: pair[0])]
    write_json(job.result_path, {"line": {"records": len(outcomes)}, "outcomes": outcomes})
    yield shard


def _jobs(pictures: Sequence[FoundPicture], work: Path, settings: BulkSettings) -> list[BulkJob]:
    size = settings.pictures_a_shard
    paths = [str(found.path.absolute()) for found in pictures]
    starts = range(0, len(paths), size)
    return [
        BulkJob("pictures", n, len(starts), "", "", str(work), start, tuple(paths[start:][:size]))
        for n, start in enumerate(starts)
    ]


def _key_of(model_folder: Path, pictures: Sequence[FoundPicture], settings: BulkSettings) -> str:
    """Returns what the outcomes depend on, as a folder's name."""
    return json_digest(
        {
            "version": VERSION,
            "model": files_digest(model_folder),
            "pictures": [[str(found.path), stamp_of(found.path)] for found in pictures],
            "pictures_a_shard": settings.pictures_a_shard,
            "tiling": settings.tiling and asdict(settings.tiling),
        }
    )[:16]


def _put_together(
    model_folder: Path,
    pictures: Sequence[FoundPicture],
    jobs: Sequence[BulkJob],
    out: Path,
    on_failure: Callable[[str], None],
    settings: BulkSettings,
) -> dict[str, Any]:
    """Writes the files from the shards' outcomes, a shard at a time; returns the summary."""
    failures: list[str] = []
    read = 0

    def results() -> Iterator[dict[str, Any]]:
        nonlocal read
        for job in jobs:
            for n, outcome in enumerate(read_json(job.result_path, DatasetError)["outcomes"]):
                if "results" not in outcome:
                    failures.append(_failure(outcome))
                    on_failure(failures[-1])
                    continue
                read += 1
                position = job.first + n
                place = {"image_id": position + 1, "file_name": str(pictures[position].path)}
                for result in outcome["results"]:
                    yield {**result, **place}

    names = {category["id"]: category["name"] for category in read_categories(model_folder)}
    count = write_detections(out, results(), names)
    return {
        "model": str(model_folder),
        "pictures": {"read": read, "failed": len(failures)},
        "detections": count,
        "failures": failures,
        "tiling": settings.tiling and asdict(settings.tiling),
    }


def _failure(outcome: Outcome) -> str:
    """Returns why there are no results.

    Raises:
        ModelError: it is the model's fault.
    """
    if "model_error" in outcome:
        raise ModelError(outcome["model_error"])
    return str(outcome["failure"])

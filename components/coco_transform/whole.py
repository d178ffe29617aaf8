"""The whole of CocoTransform: an examples folder in, an examples folder and a report out."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from absl import logging

from components.coco_transform.accounts import check_index, check_split
from components.coco_transform.findings import Alike
from components.coco_transform.job import ShardJob
from components.coco_transform.likeness import (
    hashes_path,
    look_alikes,
    pictures_of,
    read_hashes,
    same_files,
)
from components.coco_transform.limits import check_losses, check_shared_pictures
from components.coco_transform.report import Gathered, report_content
from components.coco_transform.report_page import write_report
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.shard import write_shard
from components.coco_transform.source import (
    beside_records,
    check_source,
    read_origin,
    read_refused,
)
from components.coco_transform.statistics import SplitStatistics
from components.shard_results import ShardResult
from components.shards import OnLine, merged, new_folder, write_shards
from ground.addresses import place_of
from model.examples import TRAINING_SPLIT, Split, read_categories, read_manifest, write_manifest
from model.input.buckets import Bucket, training_buckets, write_buckets
from model.input.index import ShardIndex, index_path, joined, read_index

NAMESPACE = "coco_transform"  # of Beam's counters


def transform_examples(
    examples_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    report_dir: str | os.PathLike[str],
    settings: CocoTransformSettings,
    new_pipeline: Callable[[], beam.Pipeline],
    on_progress: OnLine = logging.info,
    previous: Mapping[str, Any] | None = None,
    anomalies: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes an examples folder for training and the data report.

    Args:
        examples_dir: a folder that CocoExampleGen wrote, or the address of one.
        out_dir: the new examples folder; appears whole or not at all, replaces an old one.
        report_dir: gets `report.html` and `report.json`.
        settings: its transform, input and anchor settings, and the limits of its data section.
        new_pipeline: returns the Beam pipeline that does the work.
        on_progress: called with a line now and then.
        previous: the last run's report, which this one's data is compared with.
        anomalies: anomalies that the settings let pass, for the report.

    Returns:
        The report as a JSON value, as in `report.json`.

    Raises:
        DatasetError: `examples_dir` is no examples folder or not what its manifest says, records
            were lost, more could not be used than the limits of `data` allow, other splits have
            pictures of the training split, or the data has drifted and the settings forbid it.
    """
    # Beam's workers may have another working folder.
    with (
        new_folder(Path(out_dir).absolute()) as (new_dir, scratch),
        beside_records(place_of(os.fspath(examples_dir)), scratch) as source,
    ):
        places = source, str(new_dir), str(scratch)
        gathered = _transform(*places, settings, new_pipeline, on_progress)
        gathered = gathered._replace(previous=previous, anomalies=anomalies)
        report = report_content(settings, gathered)
        write_report(report_dir, new_dir, report, gathered, read_refused(source[0]), settings)
    return report


def _transform(
    source: tuple[str, str],
    out_dir: str,
    scratch_dir: str,
    settings: CocoTransformSettings,
    new_pipeline: Callable[[], beam.Pipeline],
    on_progress: OnLine,
) -> Gathered:
    """Writes the examples folder; returns what the report is made of.

    Args:
        source: what `beside_records` yields.
        out_dir: gets the examples.
        scratch_dir: folder for what does not stay.
        settings: see `transform_examples`.
        new_pipeline: see `transform_examples`.
        on_progress: see `transform_examples`.
    """
    source_dir, _ = source
    check_source(Path(source_dir))
    sources, categories = read_manifest(source_dir)["splits"], read_categories(source_dir)
    jobs = _jobs(source, out_dir, scratch_dir, settings, sources, len(categories))
    done = write_shards(jobs, write_shard, NAMESPACE, new_pipeline, "transforming", on_progress)
    splits: dict[str, Split] = {}
    statistics: dict[str, SplitStatistics] = {}
    for name, of_source in sources.items():
        results = [result for _, result in done.get(name, [])]
        counted = SplitStatistics(settings, len(categories))
        for result in results:
            counted.merge(SplitStatistics.from_json(result.counts, settings, len(categories)))
        splits[name], statistics[name] = _split_of(results, counted), counted
        check_split(name, of_source, splits[name], counted)
        check_losses(name, counted, settings.data)
    indexes = {name: _split_index(out_dir, name, len(sources[name]["shards"])) for name in sources}
    for name, index in indexes.items():
        check_index(name, splits[name], index)
    alike = _alike(jobs, indexes, settings)
    buckets = _buckets(indexes, settings)
    write_buckets(out_dir, buckets)
    digest = write_manifest(out_dir, splits, categories)["digest"]
    logging.info("transform: buckets %s, digest %s", buckets, digest)
    return Gathered(
        categories,
        statistics,
        indexes,
        buckets,
        digest,
        alike,
        read_origin(source_dir),
        previous=None,
        anomalies=(),
    )


def _jobs(
    source: tuple[str, str],
    out_dir: str,
    scratch_dir: str,
    settings: CocoTransformSettings,
    splits: dict[str, Any],
    num_classes: int,
) -> list[ShardJob]:
    """Returns a job for each shard of the splits, as the source's manifest has them."""
    source_dir, source_address = source
    return [
        ShardJob(
            split=name,
            shard=number,
            shards=len(split["shards"]),
            file=shard["file"],
            examples_dir=out_dir,
            scratch_dir=scratch_dir,
            source_dir=source_dir,
            records=shard["records"],
            sha256=shard["sha256"],
            num_classes=num_classes,
            settings=settings,
            source_address=source_address,
        )
        for name, split in splits.items()
        for number, shard in enumerate(split["shards"])
    ]


def _alike(
    jobs: Sequence[ShardJob], indexes: Mapping[str, ShardIndex], settings: CocoTransformSettings
) -> Alike:
    """Returns which pictures are the same.

    Raises:
        DatasetError: too many of another split are those of the training split.
    """
    paths: dict[str, list[Path]] = {}
    for job in jobs:
        paths.setdefault(job.split, []).append(hashes_path(job))
    names = list(indexes)
    hashes = {name: read_hashes(paths.get(name, [])) for name in names}
    pictures = pictures_of({name: indexes[name].image_id for name in names}, hashes)
    shared = {}
    if TRAINING_SPLIT in names:
        for number, name in enumerate(names):
            if name != TRAINING_SPLIT:
                shared[name] = same_files(pictures, number, names.index(TRAINING_SPLIT))
                check_shared_pictures(name, pictures, shared[name], settings)
    return Alike(pictures, names, shared, look_alikes(pictures))


def _split_of(results: Sequence[ShardResult], statistics: SplitStatistics) -> Split:
    """Returns the manifest's entry of a split, with what training can learn from it."""
    split = merged(results)
    split["crowds"] = statistics.objects["crowd_kept"]
    split["masks"] = statistics.objects["mask_kept"]
    return split


def _split_index(out_dir: str | os.PathLike[str], name: str, shards: int) -> ShardIndex:
    return joined([read_index(index_path(out_dir, name, i, shards)) for i in range(shards)])


def _buckets(indexes: dict[str, ShardIndex], settings: CocoTransformSettings) -> list[Bucket]:
    """Returns the buckets of the split named train, or of all splits where there is none."""
    chosen = [indexes[TRAINING_SPLIT]] if TRAINING_SPLIT in indexes else list(indexes.values())
    return training_buckets(
        settings.input,
        np.concatenate([index.height for index in chosen]),
        np.concatenate([index.width for index in chosen]),
        settings.transform.max_buckets,
    )

"""The whole of CocoTransform: an examples folder in, an examples folder and a report out."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from absl import logging

from components.coco_transform.accounts import check_index, check_split
from components.coco_transform.limits import check_losses
from components.coco_transform.pipeline import TransformShards
from components.coco_transform.report import TRAIN_SPLIT, report_content, write_report
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.shard import PARTS_FOLDER, ShardTask
from components.coco_transform.source import check_source, read_origin
from components.coco_transform.statistics import ExamplePlace, SplitStatistics
from components.shard_failure import raise_failure, raise_told
from components.shard_progress import followed
from ground.console import read_json
from ground.errors import DatasetError
from ground.files import atomic_path
from model.examples import Split, read_categories, read_manifest, write_manifest
from model.input.buckets import Bucket, training_buckets, write_buckets
from model.input.index import ShardIndex, index_path, joined, read_index


def transform_examples(
    examples_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    report_dir: str | os.PathLike[str],
    settings: CocoTransformSettings,
    new_pipeline: Callable[[], beam.Pipeline],
    on_progress: Callable[[str], None] = logging.info,
) -> dict[str, Any]:
    """Writes an examples folder for training and the data report.

    Args:
        examples_dir: a folder that CocoExampleGen wrote.
        out_dir: the new examples folder; appears whole or not at all, replaces an old one.
        report_dir: gets `report.html` and `report.json`.
        settings: its transform, input and anchor settings, and the limits of its data section.
        new_pipeline: returns the Beam pipeline that does the work.
        on_progress: called with a line a shard.

    Returns:
        The report as a JSON value, as in `report.json`.

    Raises:
        DatasetError: `examples_dir` is no examples folder or not what its manifest says, records
            were lost, or more could not be used than the limits of `data` allow.
    """
    out_dir = Path(out_dir)
    for leftover in out_dir.parent.glob(f".{out_dir.name}.*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)  # of a run that was killed
    with atomic_path(out_dir) as partial_dir:
        partial_dir.mkdir()
        report, examples = _transform(
            str(examples_dir), str(partial_dir), settings, new_pipeline, on_progress
        )
        write_report(report_dir, partial_dir, report, examples)
    return report


def _transform(
    examples_dir: str,
    out_dir: str,
    settings: CocoTransformSettings,
    new_pipeline: Callable[[], beam.Pipeline],
    on_progress: Callable[[str], None],
) -> tuple[dict[str, Any], dict[str, list[ExamplePlace]]]:
    """Writes the examples folder; returns the report's numbers and pictures, by split."""
    check_source(examples_dir)
    manifest = read_manifest(examples_dir)
    categories = read_categories(examples_dir)
    tasks = {
        name: [
            ShardTask(
                examples_dir=examples_dir,
                out_dir=out_dir,
                split=name,
                shard=number,
                shards=len(split["shards"]),
                file=shard["file"],
                records=shard["records"],
                sha256=shard["sha256"],
                num_classes=len(categories),
            )
            for number, shard in enumerate(split["shards"])
        ]
        for name, split in manifest["splits"].items()
    }
    _run([task for split in tasks.values() for task in split], settings, new_pipeline, on_progress)
    splits: dict[str, Split] = {}
    statistics: dict[str, SplitStatistics] = {}
    for name, split_tasks in tasks.items():
        splits[name], statistics[name] = _merged(split_tasks, settings)
        check_split(name, manifest["splits"][name], splits[name], statistics[name])
        check_losses(name, statistics[name], settings.data)
    shutil.rmtree(Path(out_dir) / PARTS_FOLDER, ignore_errors=True)
    indexes = {name: _split_index(out_dir, name, len(tasks[name])) for name in tasks}
    for name, index in indexes.items():
        check_index(name, splits[name], index)
    buckets = _buckets(indexes, settings)
    write_buckets(out_dir, buckets)
    digest = write_manifest(out_dir, splits, categories)["digest"]
    logging.info("transform: buckets %s, digest %s", buckets, digest)
    origin = read_origin(examples_dir)
    report = report_content(settings, categories, statistics, indexes, buckets, digest, origin)
    return report, {name: counts.examples for name, counts in statistics.items()}


def _run(
    tasks: list[ShardTask],
    settings: CocoTransformSettings,
    new_pipeline: Callable[[], beam.Pipeline],
    on_progress: Callable[[str], None],
) -> None:
    """Runs the Beam graph.

    Raises:
        DatasetError: a shard is damaged.
        OSError: a shard could not be written.
    """
    try:
        with followed(tasks, _pictures_written, on_progress), new_pipeline() as pipeline:
            _ = pipeline | "TransformShards" >> TransformShards(tasks, settings)
    except Exception as error:
        # Through Beam an exception comes wrapped, or as text; a shard's own account does not.
        for task in tasks:
            if task.summary_path.exists():
                raise_failure(read_json(task.summary_path, DatasetError), error)
        if tasks:
            raise_told(error, tasks[0].summary_path.parent)
        raise


def _pictures_written(task: ShardTask) -> int | None:
    """Returns how many pictures a finished task wrote; None where it is not done, or failed."""
    if not task.summary_path.exists():
        return None
    line = read_json(task.summary_path, DatasetError).get("line")
    return None if line is None else int(line["records"])


def _merged(
    tasks: list[ShardTask], settings: CocoTransformSettings
) -> tuple[Split, SplitStatistics]:
    """Returns the manifest's entry and the counts of one split."""
    split: Split = {"records": 0, "objects": 0, "shards": []}
    statistics = SplitStatistics(settings, tasks[0].num_classes if tasks else 0)
    for task in tasks:
        summary = read_json(task.summary_path, DatasetError)
        split["records"] += summary["line"]["records"]
        split["objects"] += summary["objects"]
        split["shards"].append(summary["line"])
        statistics.merge(
            SplitStatistics.from_json(summary["statistics"], settings, task.num_classes)
        )
    split["crowds"] = statistics.objects["crowd_kept"]
    split["masks"] = statistics.objects["mask_kept"]
    return split, statistics


def _split_index(out_dir: str | os.PathLike[str], name: str, shards: int) -> ShardIndex:
    return joined([read_index(index_path(out_dir, name, i, shards)) for i in range(shards)])


def _buckets(indexes: dict[str, ShardIndex], settings: CocoTransformSettings) -> list[Bucket]:
    """Returns the buckets of the split named train, or of all splits where there is none."""
    chosen = [indexes[TRAIN_SPLIT]] if TRAIN_SPLIT in indexes else list(indexes.values())
    return training_buckets(
        settings.input,
        np.concatenate([index.height for index in chosen]),
        np.concatenate([index.width for index in chosen]),
        settings.transform.max_buckets,
    )

"""The whole of CocoTransform: an examples folder in, an examples folder and a report out."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from absl import logging

from components.coco_transform.pipeline import TransformShards
from components.coco_transform.record import DROP_REASONS
from components.coco_transform.report import report_content, write_report
from components.coco_transform.shard import ShardTask
from components.coco_transform.statistics import SplitStatistics
from configs.console import read_json
from configs.errors import DatasetError
from configs.schema import Config
from model.examples import Split, read_categories, read_manifest, write_manifest
from model.input.buckets import Bucket, choose_buckets, write_buckets
from model.input.index import ShardIndex, index_path, joined, read_index

TRAIN_SPLIT = "train"


def transform_examples(
    examples_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    report_dir: str | os.PathLike[str],
    config: Config,
    new_pipeline: Callable[[], beam.Pipeline],
) -> dict[str, Any]:
    """Writes an examples folder for training and the data report.

    Args:
        examples_dir: a folder that CocoExampleGen wrote.
        out_dir: the new examples folder; what an earlier, unfinished run left there is replaced.
        report_dir: gets `report.html` and `report.json`.
        config: its transform, input and anchor settings.
        new_pipeline: returns the Beam pipeline that does the work.

    Returns:
        The report as a JSON value, as in `report.json`.

    Raises:
        DatasetError: `examples_dir` is no examples folder or a shard of it is damaged, or no
            picture of a split could be used.
    """
    manifest = read_manifest(examples_dir)
    categories = read_categories(examples_dir)
    tasks = {
        name: [
            ShardTask(
                examples_dir=str(examples_dir),
                out_dir=str(out_dir),
                split=name,
                shard=number,
                shards=len(split["shards"]),
                file=shard["file"],
                num_classes=len(categories),
            )
            for number, shard in enumerate(split["shards"])
        ]
        for name, split in manifest["splits"].items()
    }
    with new_pipeline() as pipeline:
        all_tasks = [task for split in tasks.values() for task in split]
        _ = pipeline | "TransformShards" >> TransformShards(all_tasks, config)
    splits: dict[str, Split] = {}
    statistics: dict[str, SplitStatistics] = {}
    for name, split_tasks in tasks.items():
        splits[name], statistics[name] = _merged(split_tasks, config)
        _check_split(name, manifest["splits"][name]["records"], statistics[name])
    indexes = {name: _split_index(out_dir, name, len(tasks[name])) for name in tasks}
    buckets = _buckets(indexes, config)
    write_buckets(out_dir, buckets)
    shutil.rmtree(Path(out_dir) / "parts", ignore_errors=True)
    digest = write_manifest(out_dir, splits, categories)["digest"]
    logging.info("transform: buckets %s, digest %s", buckets, digest)
    report = report_content(config, categories, statistics, indexes, buckets, digest)
    write_report(report_dir, out_dir, report, {n: s.examples for n, s in statistics.items()})
    return report


def _merged(tasks: list[ShardTask], config: Config) -> tuple[Split, SplitStatistics]:
    """Returns the manifest's entry and the counts of one split."""
    split: Split = {"records": 0, "objects": 0, "shards": []}
    statistics = SplitStatistics(config, tasks[0].num_classes if tasks else 0)
    for task in tasks:
        summary = read_json(task.summary_path, DatasetError)
        split["records"] += summary["line"]["records"]
        split["objects"] += summary["objects"]
        split["shards"].append(summary["line"])
        statistics.merge(SplitStatistics.from_json(summary["statistics"], config, task.num_classes))
    return split, statistics


def _check_split(name: str, expected: int, statistics: SplitStatistics) -> None:
    counts = statistics.pictures
    written = counts["written"]
    dropped = sum(counts[reason] for reason in DROP_REASONS)
    if written + dropped != expected:
        raise DatasetError(
            f"split {name}: its shards hold {written + dropped} records, its manifest says "
            f"{expected}: write the examples again"
        )
    if expected and not written:
        raise DatasetError(f"split {name}: none of its {expected} pictures can be used ({counts})")


def _split_index(out_dir: str | os.PathLike[str], name: str, shards: int) -> ShardIndex:
    return joined([read_index(index_path(out_dir, name, i, shards)) for i in range(shards)])


def _buckets(indexes: dict[str, ShardIndex], config: Config) -> list[Bucket]:
    """Returns the buckets of the split named train, or of all splits where there is none."""
    chosen = [indexes[TRAIN_SPLIT]] if TRAIN_SPLIT in indexes else list(indexes.values())
    factor = config.input.scale_jitter[1]
    return choose_buckets(
        np.concatenate([index.height for index in chosen]),
        np.concatenate([index.width for index in chosen]),
        short_side_px=config.input.short_side_px * factor,
        long_side_px=config.input.long_side_px * factor,
        multiple_px=config.input.size_multiple_px,
        max_buckets=config.transform.max_buckets,
    )

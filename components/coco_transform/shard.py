"""One shard of CocoExampleGen to one shard of CocoTransform, with its index and its counts."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.coco_transform.accounts import check_fates, check_read, check_source_shard
from components.coco_transform.record import (
    DroppedPictureError,
    RecordForm,
    transform_record,
)
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.statistics import SplitStatistics
from components.handovers import Written, check_file
from ground.files import atomic_path, write_json
from model.examples import split_folder
from model.input.index import index_path, write_index
from model.tfrecord import RECORD_HEADER_BYTES, DigestingStream, read_tfrecord, write_tfrecord

PARTS_FOLDER = "parts"  # in the new folder, while it is being made


@dataclass(frozen=True)
class ShardTask:
    """One shard's work; all of it is text and numbers, so that it can travel.

    Attributes:
        examples_dir: CocoExampleGen's folder.
        out_dir: CocoTransform's folder.
        split: name of the split.
        shard: number of the shard, from 0.
        shards: of the split.
        file: the shard's file name, of the source and of the result.
        records: of the source, by its manifest.
        sha256: of the source's file, likewise.
        num_classes: K.
    """

    examples_dir: str
    out_dir: str
    split: str
    shard: int
    shards: int
    file: str
    records: int
    sha256: str
    num_classes: int

    @property
    def summary_path(self) -> Path:
        """Where the shard's manifest line and counts wait to be merged."""
        return Path(self.out_dir) / PARTS_FOLDER / f"{self.split}-{self.shard:05d}.json"


def transform_shard(task: ShardTask, settings: CocoTransformSettings) -> SplitStatistics:
    """Writes a shard, its index and its summary, and returns its counts.

    Each file appears whole under its final name; the summary comes last. The bytes depend on the
    source and the settings alone. Memory is one record and the index.

    Raises:
        DatasetError: the source is damaged or not what its manifest says, or records were lost.
    """
    source = split_folder(task.examples_dir, task.split) / task.file
    check_source_shard(task, source)
    statistics = SplitStatistics(settings, task.num_classes)
    # The temporary file must not lie in the split's folder: TFX reads everything there.
    partial_target = Path(task.out_dir) / PARTS_FOLDER / f"{task.split}-{task.file}"
    with atomic_path(partial_target) as partial, open(partial, "wb") as file:
        stream = DigestingStream(file)
        read_ids, dropped_ids, written = _write_records(task, source, stream, settings, statistics)
    check_read(task, read_ids, statistics)
    check_file(task, partial_target, [note for note, _ in written])
    rows = [row for _, row in written]
    check_fates(task, read_ids, dropped_ids, statistics, rows, (source, partial_target))
    target = split_folder(task.out_dir, task.split) / task.file
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial_target, target)
    write_index(index_path(task.out_dir, task.split, task.shard, task.shards), rows)
    write_json(task.summary_path, _summary(task, rows, stream.sha256(), statistics))
    return statistics


def _write_records(
    task: ShardTask,
    source: Path,
    stream: DigestingStream,
    settings: CocoTransformSettings,
    statistics: SplitStatistics,
) -> tuple[list[int], list[int], list[tuple[Written, dict[str, int]]]]:
    """Writes the records of a shard.

    Returns:
        The image ids that were read, those of them that were dropped, and of each record that was
        written its note and its line of the index.
    """
    form = RecordForm.of(settings.input, settings.transform)
    read_ids: list[int] = []
    dropped_ids: list[int] = []
    written = []
    for _, serialized in read_tfrecord(source):
        try:
            record = transform_record(serialized, form)
        except DroppedPictureError as dropped:
            read_ids.append(dropped.image_id)
            dropped_ids.append(dropped.image_id)
            statistics.add_dropped(dropped)
            continue
        read_ids.append(record.image_id)
        offset, length = stream.tell() + RECORD_HEADER_BYTES, len(record.payload)
        write_tfrecord(stream, record.payload)
        row = {
            "offset": offset,
            "length": length,
            "height": record.height,
            "width": record.width,
            "image_id": record.image_id,
            "num_objects": len(record.labels),
            "mask_side": record.mask_side,
        }
        written.append((Written.of(record.image_id, record.payload), row))
        statistics.add(record, task.shard, offset, length)
    return read_ids, dropped_ids, written


def _summary(
    task: ShardTask, rows: list[dict[str, int]], sha256: str, statistics: SplitStatistics
) -> dict[str, Any]:
    return {
        "line": {"file": task.file, "records": len(rows), "sha256": sha256},
        "objects": sum(row["num_objects"] for row in rows),
        "statistics": statistics.to_json(),
    }

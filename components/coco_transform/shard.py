"""One shard of CocoExampleGen to one shard of CocoTransform, with its index and its counts."""

from components.coco_transform.accounts import check_fates, check_read, check_source_shard
from components.coco_transform.job import ShardJob
from components.coco_transform.likeness import hashes_path, write_hashes
from components.coco_transform.record import DroppedPictureError, RecordForm, transform_record
from components.coco_transform.statistics import SplitStatistics
from components.shard_count import ShardCount
from components.shard_file import ShardFile, opened
from components.shard_results import ShardResult
from model.tfrecord import read_tfrecord


def write_shard(job: ShardJob) -> ShardResult:
    """Writes a shard and its index; the counts are a `SplitStatistics`.

    The bytes depend on the source and the settings alone. Memory is one record, and of each the
    index and its hashes.

    Raises:
        OSError: the disk is full, or a file cannot be read.
        DatasetError: the source is damaged or not what its manifest says, or records were lost.
        ServiceError: the store of the source fails.
    """
    statistics = SplitStatistics(job.settings, job.num_classes)
    with job.source_at_hand():
        check_source_shard(job)
        with opened(job) as file:
            read_ids, dropped_ids = _write_records(job, file, statistics)
    check_read(job, read_ids, statistics)
    file.check()
    check_fates(job, read_ids, dropped_ids, statistics, file.rows)
    counters = {f"pictures_{reason}": count for reason, count in statistics.pictures.items()}
    counters |= {f"objects_{reason}": count for reason, count in statistics.objects.items()}
    return ShardResult(file.publish(), file.num_objects, statistics.to_json(), counters)


def _write_records(
    job: ShardJob, file: ShardFile, statistics: SplitStatistics
) -> tuple[list[int], list[int]]:
    """Writes the records of a shard.

    Returns:
        The image ids that were read, and those of them that were dropped.
    """
    form = RecordForm.of(job.settings.input, job.settings.transform)
    read_ids: list[int] = []
    dropped_ids: list[int] = []
    hashes: list[tuple[str, tuple[int, int]]] = []
    count = ShardCount(job)
    for _, serialized in read_tfrecord(job.source_path):
        count.advance()
        try:
            record = transform_record(serialized, form)
        except DroppedPictureError as dropped:
            read_ids.append(dropped.image_id)
            dropped_ids.append(dropped.image_id)
            statistics.add_dropped(dropped)
            continue
        read_ids.append(record.image_id)
        offset = file.add(
            record.payload,
            image_id=record.image_id,
            height=record.height,
            width=record.width,
            num_objects=len(record.labels),
            mask_side=record.mask_side,
        )
        statistics.add(record, job.shard, offset, len(record.payload))
        hashes.append((record.sha256, record.look))
    write_hashes(hashes_path(job), hashes)
    return read_ids, dropped_ids

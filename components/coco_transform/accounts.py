"""Where a shard's pictures and objects went: each is in a record, or dropped for a reason."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from components.coco_transform.job import ShardJob
from components.coco_transform.record import DROP_REASONS
from components.coco_transform.statistics import SplitStatistics
from components.handovers import annotation_ids, difference, image_ids, lost_on_the_way
from ground.files import file_digest
from ground.wording import plural
from model.examples import Split
from model.input.index import ShardIndex, index_path, read_index
from model.tfrecord import read_tfrecord, walk_tfrecord

_DROPPED = tuple(
    f"{kind}_dropped_{why}" for kind in ("object", "crowd") for why in ("without_area", "outside")
)
_KEPT = ("object_kept", "crowd_kept")


def check_source_shard(job: ShardJob) -> None:
    """Checks that a shard of CocoExampleGen is the file that its manifest tells of.

    Raises:
        DatasetError: it is damaged, or another one; with image ids where the index knows them.
    """
    path = job.source_path
    number = sum(1 for _ in walk_tfrecord(path))
    if number == job.records and file_digest(path) == job.sha256:
        return
    collections.deque(read_tfrecord(path), maxlen=0)  # damage is said as such
    index = _source_index(job)
    found = image_ids(path)
    ids = "" if index is None else difference(index.image_id.tolist(), found, "image id")
    raise lost_on_the_way(
        job.place,
        f"the manifest of {job.source_dir} to {path.name}",
        f"{plural(job.records, 'record')} listed",
        f"the file holds {number:,}",
        ids or "other bytes",
    )


def check_read(job: ShardJob, read_ids: Sequence[int], statistics: SplitStatistics) -> None:
    """Checks that the records that were read are those of CocoExampleGen's index, if there is one.

    Args:
        job: job of the shard.
        read_ids: image ids in the file's order.
        statistics: the shard's.

    Raises:
        DatasetError: they are not, with image ids.
    """
    index = _source_index(job)
    if index is None:
        return
    stated, objects = index.image_id.tolist(), int(index.num_objects.sum())
    if list(read_ids) != stated or statistics.objects["read"] != objects:
        raise lost_on_the_way(
            job.place,
            f"the index of {job.source_dir} to the records",
            f"{plural(len(stated), 'record')} with {plural(objects, 'object')} listed",
            f"{len(read_ids):,} with {statistics.objects['read']:,} read",
            difference(stated, read_ids, "image id"),
        )


def check_fates(
    job: ShardJob,
    read_ids: Sequence[int],
    dropped_ids: Sequence[int],
    statistics: SplitStatistics,
    rows: Sequence[Mapping[str, int]],
) -> None:
    """Checks that each picture and object that was read was written or dropped.

    Args:
        job: job of the shard.
        read_ids: image ids in the source's order.
        dropped_ids: ids of those of them that are of no use.
        statistics: the shard's.
        rows: rows of its new index.

    Raises:
        DatasetError: one was lost or came twice, with ids.
    """
    pictures, objects = statistics.pictures, statistics.objects
    dropped = sum(pictures[reason] for reason in DROP_REASONS)
    read, written = len(read_ids), len(rows)
    if not job.records == read == pictures["read"] == written + dropped or (
        written != pictures["written"]
    ):
        fates = [*(row["image_id"] for row in rows), *dropped_ids]
        raise lost_on_the_way(
            job.place,
            "the records that were read to those written",
            f"{plural(job.records, 'picture')} listed, {read:,} read",
            f"{written:,} written and {dropped:,} dropped",
            difference(read_ids, fates, "image id"),
        )
    held = sum(row["num_objects"] for row in rows)
    lost = sum(objects[kind] for kind in _DROPPED) + objects["dropped_with_picture"]
    if not objects["read"] == sum(objects[kind] for kind in _KEPT) + lost == held + lost:
        raise lost_on_the_way(
            job.place,
            "the records that were read to those written",
            f"{plural(objects['read'], 'object')} read",
            f"{held:,} written and {lost:,} dropped",
            difference(
                annotation_ids(job.source_path), annotation_ids(job.partial_path), "annotation id"
            ),
        )


def check_split(name: str, source: Split, target: Split, statistics: SplitStatistics) -> None:
    """Checks that the shards of a split add up to its manifests, the old one and the new one.

    Raises:
        DatasetError: they do not.
    """
    files = [shard["file"] for shard in source["shards"]]
    twice = difference(set(files), files, "file")
    read, written = statistics.pictures["read"], statistics.pictures["written"]
    if twice or read != source["records"]:
        raise lost_on_the_way(
            f"split {name!r}",
            "the manifest of the source to its shards",
            f"{plural(source['records'], 'record')} listed",
            f"{read:,} read",
            twice,
        )
    if not written == target["records"] == sum(shard["records"] for shard in target["shards"]):
        raise lost_on_the_way(
            f"split {name!r}",
            "the shards to the manifest",
            f"{plural(written, 'record')} written",
            f"{target['records']:,} listed",
        )


def check_index(name: str, split: Split, index: ShardIndex) -> None:
    """Checks that the index of a split tells of each record of its manifest, and of each once.

    Raises:
        DatasetError: it does not, with image ids.
    """
    ids, times = np.unique(index.image_id, return_counts=True)
    doubled = ids[times > 1].tolist()
    objects = int(index.num_objects.sum())
    if doubled or (len(index), objects) != (split["records"], split["objects"]):
        raise lost_on_the_way(
            f"split {name!r}",
            "the manifest to the index",
            f"{plural(split['records'], 'record')} with {plural(split['objects'], 'object')} "
            "listed",
            f"{plural(len(index), 'record')} with {plural(objects, 'object')} found",
            difference([], doubled, "image id"),
        )


def _source_index(job: ShardJob) -> ShardIndex | None:
    """Returns CocoExampleGen's index of a shard; None in a folder that has no indexes."""
    path = index_path(job.source_dir, job.split, job.shard, job.shards)
    return read_index(path) if path.parent.is_dir() else None

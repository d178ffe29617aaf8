"""Where a shard's pictures and objects went: each is in a record or in the rejects, once.

What is compared is counted by whoever did it; the ids behind a difference come from the files.
"""

import io
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.coco_example_gen import spool
from components.coco_example_gen.job import ShardJob
from components.coco_example_gen.source import SplitSource
from components.handovers import difference, lost_on_the_way
from ground.wording import plural
from model import records
from model.coco.policies import REFUSE
from model.coco.splits import holds_of
from model.coco.survey import Survey
from model.coco.tally import Tally
from model.coco.values import integer_at
from model.tf_example import decode_example
from model.tfrecord import read_tfrecord

_WITHOUT_ID = "without an id"


def check_division(splits: Mapping[str, tuple[spool.Accounts, spool.Accounts]]) -> None:
    """Checks that each picture and object of a file is in one of its splits, and in no other.

    Args:
        splits: by name, what each has of the file, and what it left to the other.

    Raises:
        DatasetError: an entry is in both, or in none.
    """
    for (name, (own, _)), (other, (_, left)) in itertools.permutations(splits.items(), 2):
        if own != left:
            raise lost_on_the_way(
                f"split {name!r}",
                f"one file to its splits {name!r} and {other!r}",
                f"{_both(own.pictures.number, own.objects.number)} taken",
                f"{_both(left.pictures.number, left.objects.number)} left by the other",
            )


def check_listed(
    source: SplitSource,
    found: Survey,
    listed: spool.Accounts,
    spool_folder: str | os.PathLike[str],
    left_out_name: spool.LeftOutName = spool.nothing_left_out,
) -> None:
    """Checks that the pass that spooled a COCO file saw the entries of the one before it.

    Args:
        source: the split.
        found: by the pass before.
        listed: what the spooling pass saw.
        spool_folder: folder of the split.
        left_out_name: gives the class of an object where that is not kept.

    Raises:
        DatasetError: it did not: the file was changed meanwhile, or entries were lost; with the
            ids that yet another reading finds.
    """
    surveyed = found.pictures, found.objects.total()
    passed = listed.pictures.number, listed.objects.number
    if surveyed != passed:
        raise lost_on_the_way(
            f"split {source.name!r}",
            f"one reading of {source.annotations} to the next",
            f"{_both(*surveyed)} listed",
            f"{_both(*passed)} listed (was the file changed meanwhile?)",
            spool.missing_from_spools(
                source.annotations,
                spool_folder,
                source.shards,
                holds_of(source.annotations, source.portion),
                left_out_name,
            ),
        )


def check_spool_file(job: ShardJob, index: spool.SpoolIndex) -> None:
    """Checks that a shard finds in its spool file what was written into it.

    Raises:
        DatasetError: it does not, with ids.
    """
    if index.accounts == job.spooled:
        return
    given, got = job.spooled, index.accounts
    raise lost_on_the_way(
        job.place,
        "the spool file to the shard",
        f"{_both(given.pictures.number, given.objects.number)} spooled",
        f"{_both(got.pictures.number, got.objects.number)} found",
        spool.missing_from_spool(
            job.annotations_file,
            job.hashes,
            index,
            holds_of(job.annotations_file, job.portion),
            job.not_kept,
        ),
    )


def check_fates(job: ShardJob, tally: Tally) -> None:
    """Checks that each picture and object of a shard was read, and was written or rejected.

    Args:
        job: job of the shard, whose records are not in their place yet.
        tally: tally of its counts.

    Raises:
        DatasetError: one was lost or came twice, with ids.
    """
    spooled, counts = job.spooled, tally
    read = counts.pictures_read, counts.objects_read
    if read != (spooled.pictures.number, spooled.objects.number):
        raise lost_on_the_way(
            job.place,
            "the spool file to the shard",
            f"{_both(spooled.pictures.number, spooled.objects.number)} spooled",
            f"{_both(*read)} read",
            _fates(job, job.partial_path),
        )
    written = counts.pictures_written, counts.objects_written
    rejected = counts.pictures_rejected, counts.objects_rejected
    if read != tuple(map(sum, zip(written, rejected, strict=True))):
        raise lost_on_the_way(
            job.place,
            "the spool file to records and rejects",
            f"{_both(*read)} read",
            f"{_both(*written)} written and {_both(*rejected)} rejected",
            _fates(job, job.partial_path),
        )


def copy_rejects(job: ShardJob, tally: Tally, target: Any) -> None:
    """Appends a shard's rejects to the split's, and checks that its lines are those counted.

    Args:
        job: job of the shard.
        tally: tally of its counts.
        target: binary file of the split's rejects.

    Raises:
        DatasetError: a line is missing or too many, with ids.
    """
    counted = _copied(job.rejects, target)
    stated = Tally(
        refused_pictures=tally.refused_pictures,
        dropped_pictures=tally.dropped_pictures,
        dropped_objects=tally.dropped_objects,
        objects_with_pictures=tally.objects_with_pictures,
    )
    if counted != stated:
        raise lost_on_the_way(
            job.place,
            "the rejects to rejects.jsonl",
            f"{_both(stated.pictures_rejected, stated.objects_rejected)} rejected",
            f"its lines hold {_both(counted.pictures_rejected, counted.objects_rejected)}",
            _fates(job, job.path) or _reasons(stated, counted),
        )


def check_rejects(
    split: str,
    path: str | os.PathLike[str],
    tally: Tally,
    parts: Sequence[str | os.PathLike[str]],
) -> None:
    """Checks that a split's rejects, as they lie there, hold the lines that were counted.

    Args:
        split: its name.
        path: path of its rejects.
        tally: tally of its counts.
        parts: the files that the rejects were joined of.

    Raises:
        DatasetError: a line is missing or too many, with ids.
    """
    lines = sum(1 for _ in _lines(path))
    counted = tally.pictures_rejected + tally.dropped_objects.total()
    if lines != counted:
        raise lost_on_the_way(
            f"split {split!r}",
            f"the rejects to {Path(path).name}",
            f"{plural(counted, 'line')} written",
            f"the file holds {lines:,}",
            _lost_lines(path, parts) or _reasons(tally, _copied(path, io.BytesIO())),
        )


def _lost_lines(path: str | os.PathLike[str], parts: Sequence[str | os.PathLike[str]]) -> str:
    """Returns in words the ids of lines of `parts` that are not in a file, or too often."""

    def names(line: bytes) -> str:
        entry = json.loads(line.decode("utf-8", "surrogatepass"))
        if "image" in entry:
            return f"image {_named(integer_at(entry['image'], 'id'))}"
        return f"annotation {_named(integer_at(entry['annotation'], 'id'))}"

    given = [names(line) for part in parts for line in _lines(part)]
    return difference(given, map(names, _lines(path)), "id")


def _copied(path: str | os.PathLike[str], target: Any) -> Tally:
    """Appends a file of rejects to another one; returns the counts of its lines."""
    counts = Tally()
    with open(path, "rb") as stream:
        for line in stream:
            target.write(line)
            entry = json.loads(line.decode("utf-8", "surrogatepass"))
            if "image" not in entry:
                counts.dropped_objects[entry["reason"]] += 1
                continue
            refused = entry["policy"] == REFUSE
            lines = counts.refused_pictures if refused else counts.dropped_pictures
            lines[entry["reason"]] += 1
            if entry["annotations"]:
                counts.objects_with_pictures[entry["reason"]] += len(entry["annotations"])
    return counts


def _lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    with open(path, "rb") as stream:
        yield from stream


def _fates(job: ShardJob, path: str | os.PathLike[str]) -> str:
    """Returns in words whose fate is not told by a shard's records and rejects, or told twice.

    Args:
        job: job of the shard.
        path: path of its records.
    """
    index = spool.read_index(job.spool_folder, job.shard)
    images = [*index.images, *(image_id for image_id, _ in index.repeated_images)]
    with open(spool.spool_path(job.spool_folder, job.shard), "rb") as stream:
        objects = [
            integer_at(annotation, "id")
            for entries in index.annotations.values()
            for _, annotation in spool.iterate_entries(stream, entries)
        ]
    found_images, found_objects = _found(job, path)
    stated = set(objects)
    parts = [
        difference(images, found_images, "image id"),
        # A record holds a number where the JSON has no id.
        difference(
            map(_named, objects),
            (_named(id_ if id_ in stated else None) for id_ in found_objects),
            "annotation id",
        ),
    ]
    return "; ".join(part for part in parts if part)


def _found(
    job: ShardJob, path: str | os.PathLike[str]
) -> tuple[list[int | None], list[int | None]]:
    """Returns the image and annotation ids of a shard's records and rejects."""
    images: list[int | None] = []
    objects: list[int | None] = []
    for _, payload in read_tfrecord(path):
        record = decode_example(payload)
        images.append(int(record[records.SOURCE_ID][0]))
        objects += record[records.ANNOTATION_ID]
    for line in _lines(job.rejects):
        entry = json.loads(line.decode("utf-8", "surrogatepass"))
        if "image" in entry:
            images.append(integer_at(entry["image"], "id"))
            objects += [integer_at(one, "id") for one in entry["annotations"]]
        else:
            objects.append(integer_at(entry["annotation"], "id"))
    return images, objects


def _named(id_: int | None) -> int | str:
    return _WITHOUT_ID if id_ is None else id_


def _reasons(stated: Tally, counted: Tally) -> str:
    """Returns in words in which reasons two counts of lines differ."""

    def by_reason(tally: Tally) -> Iterable[str]:
        lines = tally.refused_pictures + tally.dropped_pictures + tally.dropped_objects
        return Counter(lines).elements()

    return difference(by_reason(stated), by_reason(counted), "reason")


def _both(pictures: int, objects: int) -> str:
    return f"{plural(pictures, 'picture')} with {plural(objects, 'object')}"


def check_manifest(split: str, lines: Iterable[Any], tally: Tally) -> None:
    """Checks that a split's part of the manifest adds up to what its shards wrote.

    Args:
        split: its name.
        lines: the manifest's, one a shard.
        tally: tally of the split.

    Raises:
        DatasetError: a shard is named twice, or records are missing or too many.
    """
    files = [line["file"] for line in lines]
    number = sum(line["records"] for line in lines)
    twice = difference(set(files), files, "file")
    if twice or number != tally.pictures_written:
        raise lost_on_the_way(
            f"split {split!r}",
            "the shards to the manifest",
            f"{plural(tally.pictures_written, 'record')} written",
            f"{number:,} listed",
            twice,
        )

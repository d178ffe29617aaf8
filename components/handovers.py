"""Compares what one part of a component gave on with what the next one got; names what is lost.

Counts are cheap and always compared. The ids behind a difference are looked up only when there is
one, from the files themselves.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from components.shard_job import ShardJob
from ground.errors import DatasetError
from ground.wording import plural
from model import records
from model.tf_example import decode_example
from model.tfrecord import masked_crc32c, read_tfrecord, walk_tfrecord

_BITS = (1 << 64) - 1
_MOST_IDS = 5  # in a message


@dataclass
class Account:
    """How many entries passed, and a sum over their keys that their order does not change.

    Attributes:
        number: number of entries.
        mark: digest of their keys: two accounts with equal marks passed the same ones.
    """

    number: int = 0
    mark: int = 0

    def add(self, key: int) -> None:
        """Counts the entry with a key."""
        self.number += 1
        # The finaliser of SplitMix64: lost and doubled keys cannot make up for each other.
        mixed = (key + 0x9E3779B97F4A7C15) & _BITS
        mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _BITS
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _BITS
        self.mark = (self.mark + (mixed ^ mixed >> 31)) & _BITS

    def __add__(self, other: "Account") -> "Account":
        """Returns the account of both."""
        return Account(self.number + other.number, (self.mark + other.mark) & _BITS)


class Written(NamedTuple):
    """What a writer knows of a record that it has written."""

    image_id: int
    length: int
    checksum: int

    @classmethod
    def of(cls, image_id: int, payload: bytes) -> "Written":
        """Returns the note on a record with this payload."""
        return cls(image_id, len(payload), masked_crc32c(payload))


def lost_on_the_way(where: str, way: str, given: str, got: str, ids: str = "") -> DatasetError:
    """Returns the error of a hand-over at which something was lost or doubled.

    Args:
        where: the split, or the shard.
        way: from what to what.
        given: what was given, in words.
        got: what arrived, in words.
        ids: what `difference` says of them.
    """
    named = f" ({ids})" if ids else ""
    return DatasetError(
        f"{where}: from {way}: {given}, {got}{named}: the disk or the program lost count, not "
        "your data: run again"
    )


def difference(given: Iterable[Hashable], got: Iterable[Hashable], noun: str) -> str:
    """Returns in words which ids are missing and which came too often.

    >>> difference([1, 2, 3], [1, 3, 3], "image id")
    'missing: image id 2; too often: image id 3'
    """
    before, after = Counter(given), Counter(got)
    parts = []
    for words, ids in (("missing", before - after), ("too often", after - before)):
        if ids:
            shown = ", ".join(str(id_) for id_ in list(ids)[:_MOST_IDS])
            more = f" and {len(ids) - _MOST_IDS:,} more" if len(ids) > _MOST_IDS else ""
            parts.append(f"{words}: {noun}{'' if len(ids) == 1 else 's'} {shown}{more}")
    return "; ".join(parts)


def check_file(
    job: ShardJob, path: str | os.PathLike[str], written: Sequence[Written]
) -> list[int]:
    """Checks that a file of records holds what was written into it, in order.

    Returns:
        The offset of each record's payload.

    Raises:
        DatasetError: it does not, with image ids.
    """
    found: list[tuple[int, int, int]] = []
    with contextlib.suppress(DatasetError):  # the comparison tells more
        found.extend(walk_tfrecord(path))
    if [(length, checksum) for _, length, checksum in found] != [
        (note.length, note.checksum) for note in written
    ]:
        ids = difference((n.image_id for n in written), image_ids(path), "image id")
        raise lost_on_the_way(
            job.place,
            f"the writer to {Path(path).name}",
            f"{plural(len(written), 'record')} written",
            f"the file holds {len(found):,}",
            ids or "other bytes, or another order",
        )
    return [offset for offset, _, _ in found]


def image_ids(path: str | os.PathLike[str]) -> list[int]:
    """Returns the image ids of a file's records, up to the first that is damaged."""
    ids = []
    with contextlib.suppress(DatasetError):  # what is behind the damage counts as missing
        for _, payload in read_tfrecord(path):
            ids.append(int(decode_example(payload)[records.SOURCE_ID][0]))
    return ids


def annotation_ids(path: str | os.PathLike[str]) -> list[int]:
    """Returns the annotation ids of a file's objects, up to the first record that is damaged."""
    ids: list[int] = []
    with contextlib.suppress(DatasetError):
        for _, payload in read_tfrecord(path):
            ids += decode_example(payload)[records.ANNOTATION_ID]
    return ids

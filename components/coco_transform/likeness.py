"""Pictures that are the same, byte for byte or to the eye, within splits and across them.

Hashes that differ in few bits have a part in common: pictures are sorted by each part of their hash
in turn, and only those with the same part are compared, a bounded number of them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.shard_job import ShardJob
from ground.files import atomic_path

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

# Of 128. Between different pictures of blood_cells or coco_tiny it is 26 or more; between one and
# itself as a JPEG of quality 30, half as large or brighter, seldom more than 7.
NEAR_BITS = 7
_PARTS = 8  # of 16 bits: hashes that differ in less than 8 bits have one in common
_MOST_NEIGHBOURS = 200
_MOST_COMPARISONS = 100_000_000
_MOST_PAIRS = 10_000
_POPCOUNT = np.asarray([bin(value).count("1") for value in range(1 << 16)], np.uint8)


class Pictures(NamedTuple):
    """What is known of the pictures of all splits: N of them, in the order of their records.

    Attributes:
        split: [N] number of the split.
        image_id: [N].
        content: [N, 2] the first 16 bytes of the SHA-256 of each file.
        look: [N, 2] `hash_of`; zeros where there is none.
    """

    split: Places
    image_id: Places
    content: Words
    look: Words


class Pair(NamedTuple):
    """Two pictures that look alike, as places in `Pictures`, and the bits between them."""

    bits: int
    one: int
    other: int


class Likeness(NamedTuple):
    """What is alike.

    Attributes:
        pairs: pictures that look alike, the most alike first; of very many not all, and rather
            those of different splits.
        has_twin: bool [N, S] whether a picture has one that looks like it in each split.
        is_complete: whether all that look alike were compared.
    """

    pairs: list[Pair]
    has_twin: npt.NDArray[np.bool_]
    is_complete: bool


def hashes_path(job: ShardJob) -> Path:
    """Returns where the hashes of a shard wait for those of the others."""
    return Path(job.scratch_dir) / "hashes" / f"{job.split}-{job.shard:05d}.npy"


def write_hashes(path: Path, rows: list[tuple[str, tuple[int, int]]]) -> None:
    """Writes the SHA-256 (hex) and the look of each record of a shard."""
    values = [[int(sha[:16], 16), int(sha[16:32], 16), *look] for sha, look in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial, open(partial, "wb") as stream:
        np.save(stream, np.asarray(values, np.uint64).reshape(-1, 4))


def read_hashes(paths: list[Path]) -> Words:
    """Returns [n, 4] hashes of the records of shards."""
    return np.concatenate([np.zeros((0, 4), np.uint64), *(np.load(path) for path in paths)])


def pictures_of(ids: Mapping[str, Places], hashes: Mapping[str, Words]) -> Pictures:
    """Returns the pictures of all splits, in the order of `ids`."""
    words = np.concatenate([np.zeros((0, 4), np.uint64), *(hashes[name] for name in ids)])
    numbers = [np.full(len(found), n) for n, found in enumerate(ids.values())]
    return Pictures(
        np.concatenate([np.zeros(0, np.int64), *numbers]),
        np.concatenate([np.zeros(0, np.int64), *ids.values()]),
        words[:, :2],
        words[:, 2:],
    )


def same_files(pictures: Pictures, split: int, other: int) -> list[tuple[int, int]]:
    """Returns (place in `split`, place in `other`) of each picture whose file `other` has, too."""
    known = {
        tuple(pictures.content[place].tolist()): place
        for place in np.flatnonzero(pictures.split == other).tolist()
    }
    found = []
    for place in np.flatnonzero(pictures.split == split).tolist():
        twin = known.get(tuple(pictures.content[place].tolist()))
        if twin is not None:
            found.append((place, twin))
    return found


def look_alikes(pictures: Pictures) -> Likeness:
    """Returns which pictures look alike.

    Memory and time are bounded: where very many pictures have a part of their hashes in common,
    as the frames of a camera that stands still, each is compared with its next two hundred.
    """
    number = len(pictures.image_id)
    splits = int(pictures.split.max(initial=-1)) + 1
    has_twin = np.zeros((number, splits), bool)
    seen = np.flatnonzero(pictures.look.any(axis=1))
    parts = np.ascontiguousarray(pictures.look[seen]).view(np.uint16).reshape(-1, _PARTS)
    pairs: set[Pair] = set()
    is_complete, compared = True, 0
    for part in range(_PARTS):
        # Those of one hash in an order that mixes the splits.
        order = np.lexsort((pictures.content[seen, 0], *parts.T, parts[:, part]))
        keys, rows = parts[order, part], np.arange(len(seen))
        for distance in range(1, _MOST_NEIGHBOURS + 1):
            rows = rows[rows + distance < len(seen)]
            rows = rows[keys[rows] == keys[rows + distance]]
            if not len(rows):
                break
            compared += len(rows)
            first, second = order[rows], order[rows + distance]
            bits = _POPCOUNT[parts[first] ^ parts[second]].sum(axis=1, dtype=np.int64)
            near = np.flatnonzero(bits <= NEAR_BITS)
            one, other = seen[first[near]], seen[second[near]]
            has_twin[one, pictures.split[other]] = True
            has_twin[other, pictures.split[one]] = True
            if len(pairs) < _MOST_PAIRS:
                is_within = pictures.split[one] == pictures.split[other]
                best = np.lexsort((bits[near], is_within))[:_MOST_PAIRS]
                found = zip(*(a[best].tolist() for a in (bits[near], one, other)), strict=True)
                pairs.update(Pair(b, min(i, j), max(i, j)) for b, i, j in found)
            if distance == _MOST_NEIGHBOURS or compared > _MOST_COMPARISONS:
                is_complete = False
                break
    return Likeness(sorted(pairs), has_twin, is_complete)

"""Which shard a picture goes to: by a hash of its id, so that all shards have as many.

The hashes of a split's pictures, in order, are cut into equal parts, one a shard. A hash alone, by
its remainder, would give some of 256 shards of COCO a seventh more pictures than others; with as
many each, shards of hundreds of pictures differ by a few per cent of their bytes.
"""

import bisect
import hashlib
import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_END = 1 << 64


class HashRange(NamedTuple):
    """The ids of one shard.

    Attributes:
        seed: seed of the hash.
        first: the least hash in it.
        end: the least hash above it; where that is `first`, there is none in it.
    """

    seed: int
    first: int
    end: int

    def holds(self, image_id: int) -> bool:
        """Returns whether a picture is in the shard."""
        return self.first <= _hash(image_id, self.seed) < self.end


class Spread(NamedTuple):
    """How pictures are spread over shards; those of an id that the file does not list, too.

    Attributes:
        seed: seed of the hash.
        firsts: the least hash of each shard, rising.
    """

    seed: int
    firsts: list[int]

    def shard_of(self, image_id: int) -> int:
        """Returns the shard of a picture: the same on every machine."""
        return bisect.bisect_right(self.firsts, _hash(image_id, self.seed)) - 1

    def ranges(self) -> list[HashRange]:
        """Returns the ids of each shard."""
        ends = [*self.firsts[1:], _END]
        return [HashRange(self.seed, *pair) for pair in zip(self.firsts, ends, strict=True)]


def even_spread(image_ids: Iterable[int], seed: int, shards: int) -> Spread:
    """Returns how pictures are spread so that no shard has two more than another.

    Args:
        image_ids: those of the split; an id that comes again counts once.
        seed: seed of the hash.
        shards: number of shards.
    """
    hashes = np.unique(np.fromiter((_hash(id_, seed) for id_ in image_ids), np.uint64))
    cuts = [len(hashes) * shard // shards for shard in range(1, shards)]
    firsts = [int(hashes[cut]) if cut < len(hashes) else _END for cut in cuts]
    return Spread(seed, list(itertools.chain([0], firsts)))


def _hash(image_id: int, seed: int) -> int:
    digest = hashlib.blake2b(b"%d/%d" % (seed, image_id), digest_size=8).digest()
    return int.from_bytes(digest, "big")

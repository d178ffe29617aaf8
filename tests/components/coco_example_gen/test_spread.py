"""Which shard a picture goes to: as many for each shard, and the same by whoever asks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.coco_example_gen.spread import even_spread

_INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(_INT64, max_size=40), st.integers(1, 9), st.integers(0, 3), _INT64)
def test_each_picture_is_in_one_shard_and_shards_are_even(ids, shards, seed, other):
    spread = even_spread(ids, seed, shards)
    counts = np.bincount([spread.shard_of(id_) for id_ in set(ids)], minlength=shards)
    assert counts.max() - counts.min() <= 1
    for id_ in [*ids, other]:
        holding = [n for n, hashes in enumerate(spread.ranges()) if hashes.holds(id_)]
        assert holding == [spread.shard_of(id_)]


def test_the_seed_changes_the_spread_and_the_order_does_not():
    ids = list(range(100))
    spreads = [even_spread(ids, 0, 8), even_spread(ids[::-1], 0, 8), even_spread(ids, 1, 8)]
    shards = [[spread.shard_of(id_) for id_ in ids] for spread in spreads]
    assert shards[0] == shards[1] != shards[2]
    assert min(np.bincount(shards[0][:50])) > 1  # neighbours lie apart


@pytest.mark.parametrize("shards", [8, 256])
def test_pictures_of_cocos_sizes_make_shards_of_as_many_bytes(shards):
    # File sizes of COCO are spread as a log-normal distribution's: mean 162 kB, half of that away.
    sizes = np.random.default_rng(0).lognormal(11.9, 0.47, 118_287)
    spread = even_spread(range(118_287), 0, shards)
    totals = np.bincount([spread.shard_of(id_) for id_ in range(118_287)], weights=sizes)
    assert abs(totals / totals.mean() - 1).max() < 0.1

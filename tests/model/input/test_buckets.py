import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import InputConfig, LargeScaleJitterConfig
from ground.errors import DatasetError
from model.input.buckets import (
    assign_buckets,
    choose_buckets,
    read_buckets,
    training_buckets,
    write_buckets,
)
from model.input.sizes import padded_sides, resized_sides

SIZES = st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900)), min_size=1, max_size=12)


def chosen(sizes, max_buckets, short=64, long=128):
    heights, widths = np.array(sizes).T
    buckets = choose_buckets(
        heights,
        widths,
        short_side_px=short,
        long_side_px=long,
        multiple_px=32,
        max_buckets=max_buckets,
    )
    rows, columns = resized_sides(heights, widths, short, long)
    return buckets, rows, columns


def padded_area(rows, columns, buckets):
    areas = np.array([height * width for height, width in buckets])
    return int(areas[assign_buckets(rows, columns, buckets)].sum())


@given(SIZES, st.integers(1, 4))
def test_every_picture_fits_a_bucket_of_multiples(sizes, max_buckets):
    buckets, rows, columns = chosen(sizes, max_buckets)
    assert 1 <= len(buckets) <= max_buckets
    assert (np.array(buckets) % 32 == 0).all()
    assert (assign_buckets(rows, columns, buckets) >= 0).all()


@given(SIZES, st.integers(1, 3))
def test_no_cut_by_aspect_pads_less(sizes, max_buckets):
    buckets, rows, columns = chosen(sizes, max_buckets)
    cells = sorted(
        set(zip(padded_sides(rows, 32), padded_sides(columns, 32), strict=True)),
        key=lambda cell: (cell[1] / cell[0], cell[0]),
    )
    best = padded_area(rows, columns, buckets)
    for cuts in itertools.combinations_with_replacement(range(len(cells) + 1), max_buckets - 1):
        edges = [0, *cuts, len(cells)]
        parts = [cells[a:b] for a, b in itertools.pairwise(edges) if b > a]
        other = [(max(h for h, _ in part), max(w for _, w in part)) for part in parts]
        # The chosen cost counts ranges; assigning to the smallest shape can only help it.
        range_cost = sum(
            h * w * sum((r, c) in part for r, c in zip(*padded(rows, columns), strict=True))
            for (h, w), part in zip(other, parts, strict=True)
        )
        assert best <= range_cost


def padded(rows, columns):
    return padded_sides(rows, 32), padded_sides(columns, 32)


def test_upright_and_lying_pictures_get_their_own():
    sizes = [(480, 640)] * 6 + [(640, 480)] * 3
    buckets, _, _ = chosen(sizes, 3, 800, 1333)
    # 480 x 640 -> 800 x 1066 -> 800 x 1088
    assert buckets == [(1088, 800), (800, 1088)]


def test_without_pictures_there_is_the_full_size():
    buckets = choose_buckets(
        [], [], short_side_px=800, long_side_px=1333, multiple_px=32, max_buckets=3
    )
    assert buckets == [(800, 1344)]


def test_smallest_bucket_wins_and_misfits_are_marked():
    buckets = [(64, 128), (128, 64), (64, 64)]
    assigned = assign_buckets([60, 60, 100, 100], [60, 100, 60, 100], buckets)
    assert assigned.tolist() == [2, 0, 1, -1]


def test_buckets_file_round_trips(tmp_path):
    write_buckets(tmp_path, [(64, 96), (96, 64)])
    assert read_buckets(tmp_path) == [(64, 96), (96, 64)]


@pytest.mark.parametrize("text", ["[[1, 2, 3]]", "[7]", "{"])
def test_damaged_buckets_file_is_named(tmp_path, text):
    (tmp_path / "buckets.json").write_text(text)
    with pytest.raises(DatasetError, match=r"buckets\.json"):
        read_buckets(tmp_path)


def test_training_buckets_hold_the_largest_size_that_is_drawn():
    choices = InputConfig(short_side_px=64, long_side_px=256, short_side_choices_px=(48, 64, 96))
    assert training_buckets(choices, [100], [150], 3) == [(96, 160)]  # 96 x 144, padded
    jitter = LargeScaleJitterConfig(side_px=128)
    square = InputConfig(large_scale_jitter=jitter)
    assert training_buckets(square, [100, 500], [150, 20], 3) == [(128, 128)]

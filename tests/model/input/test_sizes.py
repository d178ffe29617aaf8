import math

import numpy as np

from model.input.sizes import padded_sides, resized_sides


def test_sides_follow_the_short_side_rounded_down():
    # 800 / 480 = 1.666..., 640 x that = 1066.66
    heights, widths = resized_sides([480, 640], [640, 480], 800, 1333)
    assert heights.tolist() == [800, 1066]
    assert widths.tolist() == [1066, 800]


def test_rounding_may_lose_a_pixel_as_in_torchvision():
    assert math.floor(97 * (800 / 97)) == 799  # what torchvision computes
    heights, widths = resized_sides([97], [97], 800, 1333)
    assert (heights[0], widths[0]) == (799, 799)


def test_long_side_limits_and_no_side_vanishes():
    # 1333 / 2000 = 0.6665, 100 x that = 66.65
    assert [side.tolist() for side in resized_sides([100, 1], [2000, 5000], 800, 1333)] == [
        [66, 1],
        [1333, 1333],
    ]


def test_sides_may_differ_by_picture():
    heights, _ = resized_sides([100, 100], [100, 100], [50, 200], [1000, 1000])
    assert heights.tolist() == [50, 200]


def test_padded_sides_are_the_next_multiples():
    assert padded_sides(np.array([1, 32, 33, 1333]), 32).tolist() == [32, 32, 64, 1344]

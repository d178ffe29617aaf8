"""Anchors that are proposed for boxes: sizes in growing order, ratios where boxes are slim."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.anchor_proposal import BoxShapes, propose_anchors

SIDES = st.floats(0.5, 5000.0)


def test_sizes_span_the_boxes():
    # A twentieth is below 20 and above 216 px: 20 * 2**4 = 320, a half more than 216.
    sides = np.geomspace(20.0 / 1.14, 216.0 * 1.14, 400)
    anchors = propose_anchors(sides, sides)
    assert anchors.sizes_px == pytest.approx((20, 40, 80, 160, 320), abs=3)
    assert anchors.aspect_ratios == (0.5, 1.0, 2.0)


def test_small_boxes_get_small_anchors_and_large_ones_the_papers():
    assert propose_anchors([3.0], [3.0]).sizes_px == (8, 16, 32, 64, 128)
    assert propose_anchors([900.0] * 9, [900.0] * 9).sizes_px == (32, 64, 128, 256, 512)


def test_boxes_too_far_apart_for_five_levels_are_met_in_the_middle():
    # 7 px and 1.5 x 234 px: the middle of 7 and 351 / 16 is 12.4.
    sides = np.repeat([7.0, 234.0], 50)
    assert propose_anchors(sides, sides).sizes_px == pytest.approx((12, 25, 50, 99, 198), abs=1)


def test_slim_boxes_get_a_ratio_of_their_own():
    heights, widths = np.full(100, 20.0), np.full(100, 20.0)
    widths[:6] = 80.0
    assert propose_anchors(heights, widths).aspect_ratios == (0.25, 0.5, 1.0, 2.0)
    assert propose_anchors(widths, heights).aspect_ratios == (0.5, 1.0, 2.0, 4.0)
    widths[4:6] = 20.0
    assert propose_anchors(heights, widths).aspect_ratios == (0.5, 1.0, 2.0)


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=40))
def test_sizes_grow_and_leave_no_gaps_between_neighbours(boxes):
    heights, widths = np.transpose(boxes)
    sizes = propose_anchors(heights, widths).sizes_px
    assert list(sizes) == sorted(sizes)
    assert all(size >= 2 * stride for size, stride in zip(sizes, (4, 8, 16, 32, 64), strict=True))


def counted(heights, widths, parts=3):
    """Returns the shapes of boxes, counted in parts that went through JSON."""
    whole = BoxShapes()
    for part in range(parts):
        shapes = BoxShapes()
        shapes.add(heights[part::parts], widths[part::parts])
        whole.merge(BoxShapes.from_json(json.loads(json.dumps(shapes.to_json()))))
    return whole


@pytest.mark.parametrize("seed", range(20))
def test_counts_propose_what_the_boxes_do(seed):
    random = np.random.default_rng(seed)
    number = int(random.integers(1, 3000))
    sides = np.exp(random.normal(random.uniform(1, 6), random.uniform(0.05, 1.5), number))
    ratios = np.exp(random.normal(0, random.uniform(0.1, 1.2), number))
    heights, widths = sides * ratios, sides / ratios
    assert counted(heights, widths).propose() == propose_anchors(heights, widths)


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=40))
def test_counts_propose_what_few_boxes_do_but_for_rounding(boxes):
    heights, widths = np.transpose(boxes)
    proposed, wanted = counted(heights, widths).propose(), propose_anchors(heights, widths)
    assert proposed.sizes_px == pytest.approx(wanted.sizes_px, abs=1)
    assert proposed.aspect_ratios == wanted.aspect_ratios


def test_counts_are_bounded_however_odd_the_boxes():
    shapes = BoxShapes()
    assert shapes.propose() is None
    shapes.add([1e-30, 1e9, 1e-30], [1e-30, 1e9, 1e30])
    assert len(shapes.propose().sizes_px) == 5  # an AnchorConfig, which takes rising sizes alone
    sides = np.repeat(np.geomspace(32, 32.01, 1000), 50)
    shapes.add(sides, sides)
    assert len(shapes.sides) < 50

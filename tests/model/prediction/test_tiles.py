import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ground.errors import ConfigError
from model.prediction.detections import Detections
from model.prediction.tiles import Tiling, Window, merged_tiles


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    side=st.integers(30, 200),
    overlap=st.floats(0, 0.75),
)
def test_tiles_cover_the_picture_in_one_size_with_the_overlap(height, width, side, overlap):
    tiling = Tiling(side, overlap)
    windows = tiling.windows(height, width)
    assert len(set(windows)) == len(windows)
    assert {(w.ymax - w.ymin, w.xmax - w.xmin) for w in windows} == {
        (min(side, height), min(side, width))
    }
    for starts, length in (({w.ymin for w in windows}, height), ({w.xmin for w in windows}, width)):
        ordered = sorted(starts)
        assert ordered[0] == 0
        assert ordered[-1] + min(side, length) == length
        for first, second in itertools.pairwise(ordered):
            assert second - first <= max(1, round(side * (1 - overlap)))


def test_only_far_larger_pictures_are_cut():
    tiling = Tiling(100)
    assert not tiling.applies(150, 150)
    assert tiling.applies(10, 151)


@pytest.mark.parametrize(("side", "overlap"), [(0, 0.2), (10, 0.8), (10, -0.1)])
def test_senseless_tiles_are_refused(side, overlap):
    with pytest.raises(ConfigError, match="expected a side"):
        Tiling(side, overlap)


HEIGHT, WIDTH = 100, 180
WHOLE = Window(0, 0, HEIGHT, WIDTH)
LEFT, RIGHT = Window(0, 0, 100, 100), Window(0, 80, 100, 180)


def found(window, *rows, masks=False):
    """Detections of (ymin, xmin, ymax, xmax, score, category) in pixels of the picture."""
    rows = np.array(rows, np.float64).reshape(-1, 6)
    sides = np.array([window.ymax - window.ymin, window.xmax - window.xmin] * 2)
    boxes = (rows[:, :4] - [window.ymin, window.xmin] * 2) / sides
    return window, Detections(
        boxes.astype(np.float32),
        rows[:, 4].astype(np.float32),
        rows[:, 5].astype(np.int64),
        np.broadcast_to(rows[:, 4].astype(np.float32)[:, None, None], [len(rows), 28, 28])
        if masks
        else None,
    )


def merged(*parts):
    result = merged_tiles(parts, HEIGHT, WIDTH, 0.5)
    boxes = (result.boxes_norm * [HEIGHT, WIDTH, HEIGHT, WIDTH]).round(3).tolist()
    return list(
        zip(
            boxes,
            [round(score, 4) for score in result.scores.tolist()],
            result.category_ids,
            strict=True,
        )
    )


SMALL = (10, 84, 22, 96)
NEXT = (10, 84, 20, 96)


def test_an_object_in_the_overlap_is_found_once_by_its_best_score():
    assert merged(found(LEFT, (*NEXT, 0.6, 1)), found(RIGHT, (*SMALL, 0.8, 1))) == [
        ([10, 84, 22, 96], 0.8, 1)
    ]


def test_two_categories_at_one_place_both_stay():
    assert len(merged(found(LEFT, (*NEXT, 0.6, 1)), found(RIGHT, (*SMALL, 0.8, 2)))) == 2


def test_what_one_tile_found_twice_stays():
    """The model's own suppression has decided there."""
    assert len(merged(found(LEFT, (*NEXT, 0.6, 1), (*SMALL, 0.8, 1)), found(RIGHT))) == 2


def test_a_cut_detection_gives_way_to_the_whole_one_of_less_score():
    cut, whole = (10, 60, 30, 100), (10, 60, 30, 140)  # 40 px in the left tile, 80 in the picture
    result = merged(found(WHOLE, (*whole, 0.5, 1)), found(LEFT, (*cut, 0.9, 1)), found(RIGHT))
    assert result == [([10, 60, 30, 140], 0.5, 1)]


def test_a_cut_detection_stays_where_the_whole_one_is_hardly_believed():
    cut, whole = (10, 60, 30, 100), (10, 60, 30, 170)
    result = merged(found(WHOLE, (*whole, 0.06, 1)), found(LEFT, (*cut, 0.9, 1)), found(RIGHT))
    assert [row[1] for row in result] == [0.9, 0.06]


def test_an_object_at_the_pictures_own_edge_is_not_cut():
    inner, edge = (0, 0, 40, 40), (0, 0, 20, 20)  # IoU 0.25, wholly covered
    assert len(merged(found(WHOLE, (*inner, 0.9, 1)), found(LEFT, (*edge, 0.8, 1)))) == 2


def test_masks_stay_with_their_boxes():
    parts = [
        found(LEFT, (*NEXT, 0.6, 1), (50, 5, 70, 30, 0.7, 1), masks=True),
        found(RIGHT, (*SMALL, 0.8, 1), masks=True),
    ]
    result = merged_tiles(parts, HEIGHT, WIDTH, 0.5)
    np.testing.assert_array_equal(result.masks[:, 0, 0], result.scores)
    np.testing.assert_allclose(result.scores, [0.8, 0.7])


def test_nothing_found_is_nothing():
    result = merged_tiles([found(WHOLE), found(LEFT)], HEIGHT, WIDTH, 0.5)
    assert result.boxes_norm.shape == (0, 4)
    assert result.masks is None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 60), st.integers(0, 140), st.integers(3, 40), st.integers(3, 40),
            st.integers(1, 100), st.integers(1, 2), st.integers(0, 2),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_what_is_kept_was_found_and_merging_again_changes_nothing(rows):
    windows = [WHOLE, WHOLE, WHOLE]
    parts = [
        found(w, *[(y, x, y + h, x + v, s / 100, c) for y, x, h, v, s, c, p in rows if p == n])
        for n, w in enumerate(windows)
    ]
    result = merged_tiles(parts, HEIGHT, WIDTH, 0.5)
    assert (np.diff(result.scores) <= 0).all()
    assert set(result.scores.tolist()) <= {s for _, f in parts for s in f.scores.tolist()}
    again = merged_tiles([(WHOLE, result)], HEIGHT, WIDTH, 0.5)
    np.testing.assert_array_equal(again.scores, result.scores)


def pictured(window, *objects):
    """What an ideal detector finds in a window: of each object the part within, if any."""
    rows = []
    for n, (ymin, xmin, ymax, xmax) in enumerate(objects):
        inside = (
            max(ymin, window.ymin),
            max(xmin, window.xmin),
            min(ymax, window.ymax),
            min(xmax, window.xmax),
        )
        if inside[0] < inside[2] and inside[1] < inside[3]:
            rows.append((*inside, 0.9 - n / 100, 1))
    return found(window, *rows)


@given(
    ymin=st.integers(0, 360),
    xmin=st.integers(0, 360),
    height=st.integers(2, 300),
    width=st.integers(2, 300),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75]),
)
def test_one_object_is_found_once_wherever_tiles_cut_it(ymin, xmin, height, width, overlap):
    side = 400
    whole = Window(0, 0, side, side)
    one = (ymin, xmin, min(side, ymin + height), min(side, xmin + width))
    tiling = Tiling(100, overlap)
    parts = [pictured(w, one) for w in (whole, *tiling.windows(side, side))]
    result = merged_tiles(parts, side, side, 0.5)
    np.testing.assert_allclose(result.boxes_norm * side, [one], atol=1e-3)


@given(
    ymin=st.integers(0, 380),
    xmin=st.integers(0, 380),
    height=st.integers(2, 20),
    width=st.integers(2, 20),
)
def test_a_small_object_that_the_whole_picture_lost_is_found_once(ymin, xmin, height, width):
    """It fits into the overlap, so a tile holds it whole."""
    side, tiling = 400, Tiling(100, 0.25)
    one = (ymin, xmin, ymin + height, xmin + width)
    parts = [pictured(w, one) for w in tiling.windows(side, side)]
    result = merged_tiles([found(Window(0, 0, side, side)), *parts], side, side, 0.5)
    np.testing.assert_allclose(result.boxes_norm * side, [one], atol=1e-3)


@given(st.permutations(range(13)), st.integers(0, 1000))
def test_the_order_of_tiles_does_not_matter(order, seed):
    random = np.random.default_rng(seed)
    tiling = Tiling(100, 0.25)
    windows = [Window(0, 0, 200, 300), *tiling.windows(200, 300)]
    objects = [
        (y, x, y + h, x + w)
        for y, x, h, w in zip(
            random.integers(0, 180, 9),
            random.integers(0, 280, 9),
            random.integers(3, 20, 9),
            random.integers(3, 20, 9),
            strict=True,
        )
    ]
    parts, total = [], 0
    for window in windows:
        place, one = pictured(window, *objects)
        # No two scores are alike: which of two equal ones stays is nobody's matter.
        scores = 0.9 - np.arange(total, total + len(one.scores)) / 1000
        total += len(scores)
        parts.append(
            (place, Detections(one.boxes_norm, scores.astype(np.float32), one.category_ids, None))
        )
    first = merged_tiles(parts, 200, 300, 0.5)
    second = merged_tiles([parts[n] for n in order], 200, 300, 0.5)
    np.testing.assert_array_equal(first.boxes_norm, second.boxes_norm)
    np.testing.assert_array_equal(first.scores, second.scores)


@given(st.lists(st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(1, 50)] * 2), max_size=9))
def test_a_tile_that_covers_the_picture_finds_what_no_tiles_find(rows):
    window = Window(0, 0, 100, 100)
    alone = found(window, *[(y, x, y + h, x + w, 0.9 - n / 99, 1)
                            for n, (y, x, h, w) in enumerate(rows)])  # fmt: skip
    (covering,) = Tiling(100, 0.25).windows(100, 100)
    assert covering == window
    result = merged_tiles([alone], 100, 100, 0.5)
    np.testing.assert_allclose(result.boxes_norm, alone[1].boxes_norm, atol=1e-6)
    np.testing.assert_array_equal(result.scores, alone[1].scores)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 400))
def test_a_picture_within_one_and_a_half_tiles_is_not_cut(height, width, side):
    tiling = Tiling(side)
    if not tiling.applies(height, width):
        assert max(height, width) <= 1.5 * side
    else:
        assert len(tiling.windows(height, width)) > 1


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 2, 3]), st.floats(0, 0.75))
def test_tiles_of_a_few_pixels_cover_each_pixel(height, width, side, overlap):
    seen = np.zeros([height, width], int)
    for w in Tiling(side, overlap).windows(height, width):
        assert w.ymin >= 0 and w.xmin >= 0
        seen[w.ymin : w.ymax, w.xmin : w.xmax] += 1
    assert seen.min() >= 1


def test_more_confident_neighbours_of_another_object_do_not_swallow_a_cut_one():
    """Two objects side by side, one of them cut: the other covers less than half of it."""
    parts = [
        found(WHOLE, (0, 100, 100, 180, 0.9, 1)),
        found(LEFT, (0, 60, 100, 100, 0.5, 1)),
        found(RIGHT, (0, 100, 100, 180, 0.8, 1)),
    ]
    assert [row[1] for row in merged(*parts)] == [0.9, 0.5]

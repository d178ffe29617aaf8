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

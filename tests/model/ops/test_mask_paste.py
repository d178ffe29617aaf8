import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from model.ops.mask_paste import encode_window, paste_mask, paste_probabilities


def decoded(code):
    return coco_mask.decode(code).astype(bool)


def test_a_full_mask_fills_its_box():
    y0, x0, covered = paste_mask(np.ones([28, 28], np.float32), [10, 20, 40, 80], 100, 120)
    picture = np.zeros([100, 120], bool)
    picture[y0 : y0 + covered.shape[0], x0 : x0 + covered.shape[1]] = covered
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    # The mask fades to the border's 0 around its edge, so the cut at 0.5 lies on the box; the
    # window's whole-number corners move it by up to a pixel.
    assert abs(rows[0] - 10) <= 1 and abs(rows[-1] - 39) <= 1
    assert abs(columns[0] - 20) <= 1 and abs(columns[-1] - 79) <= 1


def test_only_the_window_is_drawn():
    y0, x0, covered = paste_mask(np.ones([28, 28], np.float32), [500, 600, 520, 630], 4000, 6000)
    assert covered.size < 40 * 40 and (y0, x0) == (499, 598)  # 20 x 30/28: 0.7 px on each side


@pytest.mark.parametrize(
    "box, window",
    [
        ([-10, -20, 10, 20], (0, 0, 11, 22)),  # over the top left corner
        ([90, 100, 130, 140], (88, 98, 12, 22)),  # over the bottom right corner of 100 x 120
        ([30, 30, 30, 30], (30, 30, 1, 1)),  # a point is one pixel
        ([200, 10, 220, 40], None),
        ([10, -60, 20, -40], None),
    ],
)
def test_the_window_is_cut_at_the_picture(box, window):
    y0, x0, covered = paste_mask(np.ones([28, 28], np.float32), box, 100, 120)
    if window is None:
        assert covered.size == 0
        assert not decoded(encode_window(covered, y0, x0, 100, 120)).any()
    else:
        assert (y0, x0, *covered.shape) == window


def test_a_mask_as_large_as_its_window_is_copied():
    mask = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    # 4 px grow to 6, from -1 to 5 about (12, 22); the window has one pixel more: 11 ... 17.
    y0, x0, drawn = paste_probabilities(mask, [12, 22, 15.4, 25.4], 100, 100)
    assert (y0, x0) == (11, 21) and drawn.shape == (6, 6)
    np.testing.assert_allclose(drawn[1:-1, 1:-1], mask, atol=1e-6)


@given(
    hnp.arrays(bool, st.tuples(st.integers(0, 6), st.integers(0, 6))),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_code_of_a_window_is_that_of_the_whole_picture(window, top, left, below, beside):
    height, width = window.shape[0] + top + below + 1, window.shape[1] + left + beside + 1
    picture = np.zeros([height, width], np.uint8)
    picture[top : top + window.shape[0], left : left + window.shape[1]] = window
    code = encode_window(window, top, left, height, width)
    assert code["size"] == [height, width]
    assert code["counts"] == coco_mask.encode(np.asfortranarray(picture))["counts"].decode()


@given(hnp.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_code_of_a_whole_picture_joins_its_columns(picture):
    code = encode_window(picture, 0, 0, *picture.shape)
    np.testing.assert_array_equal(decoded(code), picture)
    whole = coco_mask.encode(np.asfortranarray(picture.astype(np.uint8)))["counts"].decode()
    assert code["counts"] == whole

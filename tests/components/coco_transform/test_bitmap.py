import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from components.coco_transform.bitmap import object_bitmap, shrunk
from components.coco_transform.turn import TURNS, UPRIGHT
from tests.components.coco_transform.sources import rle_of


def bits_of(bitmap):
    return np.asarray(Image.open(io.BytesIO(bitmap.png))).astype(bool)


def ring(height=30, width=40):
    """Returns a mask with a hole, at rows 5 to 15 and columns 8 to 20."""
    bits = np.zeros((height, width), bool)
    bits[5:15, 8:20] = True
    bits[8:10, 10:15] = False
    return bits


def test_small_mask_is_exact_with_a_margin_of_one_pixel():
    bits = ring()
    bitmap = object_bitmap(rle_of(bits), "box", 112, UPRIGHT)
    assert bitmap.box.tolist() == [4, 7, 16, 21]
    assert (bits_of(bitmap) == bits[4:16, 7:21]).all()
    assert bitmap.side == 14


def test_margin_ends_at_the_picture():
    bits = np.ones((6, 9), bool)
    bitmap = object_bitmap(rle_of(bits), "box", 112, UPRIGHT)
    assert bitmap.box.tolist() == [0, 0, 6, 9]
    assert bits_of(bitmap).all()


def test_picture_frame_is_the_whole_mask():
    bitmap = object_bitmap(rle_of(ring()), "picture", 8, UPRIGHT)
    assert bitmap.box.tolist() == [0, 0, 30, 40]
    assert (bits_of(bitmap) == ring()).all()


def test_large_mask_is_shrunk_but_covers_the_same_pixels():
    bits = np.zeros((200, 300), bool)
    bits[20:180, 30:90] = True
    bitmap = object_bitmap(rle_of(bits), "box", 20, UPRIGHT)
    assert bitmap.box.tolist() == [19, 29, 181, 91]
    assert bits_of(bitmap).shape == (20, 20)


def test_mask_without_pixels_has_no_bitmap():
    assert object_bitmap(rle_of(np.zeros((5, 5), bool)), "box", 112, UPRIGHT) is None


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("frame", ["box", "picture"])
def test_mask_turns_with_the_picture(orientation, frame):
    turn = TURNS[orientation]
    bitmap = object_bitmap(rle_of(ring()), frame, 112, turn)
    top, left, bottom, right = bitmap.box.astype(int)
    drawn = np.zeros(turn.size(30, 40), bool)
    drawn[top:bottom, left:right] = bits_of(bitmap)
    assert (drawn == turn.pixels(ring())).all()


def test_tensorflow_reads_the_png():
    bits = ring()
    bitmap = object_bitmap(rle_of(bits), "picture", 112, UPRIGHT)
    assert (tf.io.decode_png(bitmap.png, channels=1)[..., 0].numpy() == 255 * bits).all()


def test_shrinking_by_hand():
    # 3 columns into 2: parts of 1.5 columns. Left: 1 of 1.5 set; right: 0.5 x 0 + 1 x 0 of 1.5.
    assert shrunk(np.array([[1, 0, 0]], bool), 2).tolist() == [[True, False]]
    # Halves are set: 2 x 2 with one half of each part.
    assert shrunk(np.array([[1, 0, 0, 1]], bool), 2).tolist() == [[True, True]]
    assert shrunk(np.array([[1, 0, 0, 0]], bool), 1).tolist() == [[False]]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_shrinking_is_the_area_average_cut_at_a_half(height, width, max_side, seed):
    bits = np.random.default_rng(seed).random((height, width)) < 0.6
    small = shrunk(bits, max_side)
    rows, columns = min(height, max_side), min(width, max_side)
    assert small.shape == (rows, columns)
    # Repeat every pixel so often that parts are whole pixels, then take means.
    fine = np.repeat(np.repeat(bits, rows, axis=0), columns, axis=1)
    means = fine.reshape(rows, height, columns, width).mean(axis=(1, 3))
    assert (small == (means >= 0.5 - 1e-12)).all()


@given(st.integers(1, 120), st.integers(1, 120), st.integers(8, 60))
def test_shrinking_keeps_the_area_of_a_rectangle(height, width, max_side):
    bits = np.zeros((150, 150), bool)
    bits[5 : 5 + height, 7 : 7 + width] = True
    bitmap = object_bitmap(rle_of(bits), "box", max_side, UPRIGHT)
    small = bits_of(bitmap)
    top, left, bottom, right = bitmap.box
    cell_height, cell_width = (bottom - top) / small.shape[0], (right - left) / small.shape[1]
    covered = small.sum() * cell_height * cell_width
    # Each edge may move by half a cell.
    limit = (height + cell_height) * (width + cell_width) - height * width
    assert abs(covered - height * width) <= limit + 1e-6

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model.batch import Masks
from model.input.visible import in_window, mask_boxes, seen_boxes

WINDOW = tf.constant([20.0, 30.0])


def masks_of(bitmap, box, valid=True):
    return Masks(
        tf.constant(np.asarray(bitmap, np.uint8)[None]),
        tf.constant([box], tf.float32),
        tf.constant([valid]),
    )


def seen(box, masks):
    found = seen_boxes(tf.constant([box], tf.float32), masks, in_window(masks, WINDOW), WINDOW)
    return found[0].numpy().tolist()


def test_the_box_of_a_mask_by_hand():
    bitmap = np.zeros((4, 4), bool)
    bitmap[1, 2] = bitmap[2, 3] = True
    # Cells are 2 x 5 pixels.
    found = mask_boxes(tf.constant(bitmap[None]), tf.constant([[10.0, 0.0, 18.0, 20.0]]))
    assert found.numpy().tolist() == [[12, 10, 16, 20]]
    none = mask_boxes(tf.zeros([1, 4, 4], tf.bool), tf.constant([[10.0, 0.0, 18.0, 20.0]]))
    assert none.numpy().tolist() == [[0, 0, 0, 0]]


@settings(max_examples=30)
@given(st.integers(0, 16), st.integers(0, 26), st.integers(0, 2**32 - 1))
def test_a_box_of_which_all_is_in_view_stays_to_the_bit(top, left, seed):
    bitmap = np.random.default_rng(seed).integers(0, 2, (4, 4))
    bitmap[0, 0] = 1
    box = [top + 0.25, left + 0.125, top + 3.7, left + 3.9]
    assert seen(box, masks_of(bitmap, [top, left, top + 4, left + 4])) == np.float32(box).tolist()


def test_a_box_holds_what_is_left_of_an_l_shape():
    # An L of 8 x 8 cells of 2 px: its foot, the lowest two rows, runs to the right; rows from 20 on
    # are cut off, and with them the foot.
    bitmap = np.zeros((8, 8))
    bitmap[:, :2] = bitmap[6:] = 1
    assert seen([8, 4, 20, 20], masks_of(bitmap, [8, 4, 24, 20])) == [8, 4, 20, 8]


def test_a_mask_out_of_view_leaves_no_area_and_without_mask_the_box_stays():
    bitmap = np.zeros((8, 8))
    bitmap[6:] = 1  # rows 20 to 24, below the window
    box = [8, 4, 20, 20]
    found = seen(box, masks_of(bitmap, [8, 4, 24, 20]))
    assert found[0] >= found[2] or found[1] >= found[3]
    assert seen(box, masks_of(np.zeros((8, 8)), [0, 0, 0, 0], valid=False)) == box

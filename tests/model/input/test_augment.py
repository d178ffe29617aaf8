import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from model.input.augment import flip_boxes, flip_columns


def test_flipped_box_by_hand():
    # Columns 2 to 5 of 10 become 5 to 8.
    assert flip_boxes(tf.constant([[1.0, 2.0, 3.0, 5.0]]), 10.0).numpy().tolist() == [[1, 5, 3, 8]]


@given(
    st.lists(st.tuples(*[st.integers(0, 64)] * 4), max_size=5),
    st.integers(64, 100),
)
def test_flipping_twice_is_identity(boxes, width):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    assert (flip_boxes(flip_boxes(boxes, float(width)), float(width)).numpy() == boxes).all()


def test_box_flips_with_the_pixels_it_covers():
    picture = np.zeros((6, 11, 3), np.uint8)
    picture[1:4, 2:5] = 255
    flipped = flip_columns(picture, 1).numpy()
    ymin, xmin, ymax, xmax = flip_boxes(tf.constant([1.0, 2.0, 4.0, 5.0]), 11.0).numpy().astype(int)
    assert (flipped[ymin:ymax, xmin:xmax] == 255).all()
    assert flipped.sum() == picture.sum()

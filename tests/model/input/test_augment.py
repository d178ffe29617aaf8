import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from model.input.augment import crop_boxes, flip_boxes, flip_columns


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


def numpy_crop(boxes, crop):
    """The same with a bitmap a box: what is left of it in the window, as a tight box."""
    top, left, height, width = crop
    rows = []
    for ymin, xmin, ymax, xmax in boxes:
        bitmap = np.zeros((100, 100), bool)
        bitmap[ymin:ymax, xmin:xmax] = True
        y, x = np.nonzero(bitmap[top : top + height, left : left + width])
        rows.append([y.min(), x.min(), y.max() + 1, x.max() + 1] if len(y) else None)
    return rows


SIDE = st.tuples(st.integers(0, 59), st.integers(1, 40))  # start, length


@given(st.lists(st.tuples(SIDE, SIDE), max_size=5), SIDE, SIDE)
def test_a_cropped_box_covers_what_is_left_of_its_pixels(sides, rows, columns):
    boxes = np.array([[y, x, y + h, x + w] for (y, h), (x, w) in sides], int).reshape(-1, 4)
    crop = [rows[0], columns[0], rows[1], columns[1]]
    cropped = crop_boxes(tf.constant(boxes, tf.float32), tf.constant(crop, tf.int32)).numpy()
    for box, expected in zip(cropped, numpy_crop(boxes, crop), strict=True):
        if expected is None:
            assert (box[2] - box[0]) * (box[3] - box[1]) == 0
        else:
            assert box.tolist() == expected


def test_boxes_are_cropped_alike_within_a_data_set():
    boxes = tf.constant([[1.0, 2.0, 30.0, 40.0], [0.0, 0.0, 3.0, 3.0]])
    crops = tf.constant([[0, 0, 50, 50], [5, 6, 10, 11], [20, 0, 5, 5]])
    inside = tf.data.Dataset.from_tensor_slices(crops).map(lambda crop: crop_boxes(boxes, crop))
    for crop, found in zip(crops, inside, strict=True):
        assert found.numpy().tolist() == crop_boxes(boxes, crop).numpy().tolist()

"""Pictures for TensorBoard: what is drawn, and that it reaches the event file."""

import numpy as np
import tensorflow as tf

from model.batch import Batch, Found, Masks
from model.drawing import class_colour
from model.training.pictures import TrainingPictures, side_by_side
from tests.model.small_detector import small_batch

NAMES = {1: "cat", 2: "dog"}


class TopLeftCorner:
    """Finds one object, of label 2, in the first quarter of every picture."""

    def detect(self, images, image_sizes):
        count = images.shape[0]
        box = tf.constant([[0.0, 0.0, 32.0, 32.0], [0.0, 0.0, 0.0, 0.0]])
        return Found(
            boxes=tf.tile(box[tf.newaxis], [count, 1, 1]),
            scores=tf.tile([[0.9, 0.0]], [count, 1]),
            classes=tf.tile([[2, 0]], [count, 1]),
            num=tf.ones([count], tf.int32),
            masks=tf.ones([count, 2, 28, 28]),
        )


def row(**changes):
    """One black picture of 64 x 48 with an object of label 1 in rows 8-40, columns 8-24."""
    truth = Batch(
        images=np.zeros([64, 64, 3], np.uint8),
        image_sizes=np.array([64, 48], np.float32),
        image_ids=np.int64(100),
        valid=np.bool_(True),
        gt_boxes=np.array([[8, 8, 40, 24], [0, 0, 0, 0]], np.float32),
        gt_classes=np.array([1, 0], np.int32),
        gt_valid=np.array([True, False]),
        gt_is_crowd=np.array([False, False]),
    )
    return truth._replace(**changes)


def found(score=0.9, **changes):
    outputs = Found(
        boxes=np.array([[32, 0, 64, 48]], np.float32),
        scores=np.array([score], np.float32),
        classes=np.array([2], np.int32),
        num=np.int32(1),
    )
    return outputs._replace(**changes)


def is_colour(pixels, label):
    return np.all(np.asarray(pixels) == class_colour(label), axis=-1)


def test_truth_is_left_and_detections_are_right():
    drawn = side_by_side(row(), found(), NAMES)
    # The content of 64 x 48, ten times as large, twice, with a gap of 8.
    assert drawn.shape == (640, 2 * 480 + 8, 3)
    left, right = drawn[:, :480], drawn[:, 488:]
    assert is_colour(left, 1).any() and not is_colour(left, 2).any()
    assert is_colour(right, 2).any() and not is_colour(right, 1).any()
    # The true box's left edge is at column 8 of rows 8 to 40.
    assert is_colour(left[300, 78:83], 1).any()
    assert np.all(drawn[:, 480:488] == 255)


def test_unsure_detections_are_not_drawn():
    right = side_by_side(row(), found(score=0.3), NAMES)[:, 488:]
    assert not right.any()


def test_masks_are_drawn_where_their_boxes_are():
    masks = Masks(
        bitmaps=np.ones([2, 16, 16], np.uint8),
        boxes=np.array([[8, 8, 40, 24], [0, 0, 0, 0]], np.float32),
        valid=np.array([True, False]),
    )
    drawn = side_by_side(row(gt_masks=masks), found(masks=np.ones([1, 28, 28], np.float32)), NAMES)
    left, right = drawn[:, :480], drawn[:, 488:]
    inside = np.round(0.45 * np.array(class_colour(1)))  # of the mask's opacity, on black
    np.testing.assert_allclose(left[300, 160], inside, atol=1)
    assert not left[500, 160].any()
    assert right[500, 240].any() and not right[200, 240].any()


def test_the_event_file_has_the_pictures_of_every_step(tmp_path):
    batch = small_batch(pictures=3, filler=[1])
    writer = tf.summary.create_file_writer(str(tmp_path))
    categories = [{"label": label, "name": name} for label, name in NAMES.items()]
    pictures = TrainingPictures(TopLeftCorner(), batch, categories, writer)
    for step in (10, 20):
        pictures.show(step)
    pictures.close()
    writer.close()
    shown = []
    [path] = tmp_path.glob("events.*")
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            width, height, png = value.tensor.string_val[:3]
            assert tf.io.decode_png(png).shape == (int(height), int(width), 3)
            shown.append((event.step, value.tag))
    # Pictures 100 and 102; 101 is a filler.
    assert shown == [(step, f"pictures/{name}") for step in (10, 20) for name in (100, 102)]


def test_a_picture_that_cannot_be_drawn_ends_no_training(tmp_path):
    batch = small_batch(pictures=1)._replace(gt_classes=tf.zeros([1, 0], tf.int32))
    pictures = TrainingPictures(
        TopLeftCorner(), batch, [], tf.summary.create_file_writer(str(tmp_path))
    )
    pictures.show(1)
    pictures.close()

import numpy as np
import tensorflow as tf

from configs.model_schema import RoiConfig
from model.layers.rois import sample_training_rois
from model.layers.rpn import Proposals
from tests.model.small_detector import ground_truth_batch


def proposals(boxes, valid=None):
    count = len(boxes)
    valid = [True] * count if valid is None else valid
    return Proposals(tf.constant([boxes], tf.float32), tf.zeros([1, count]), tf.constant([valid]))


def batch(boxes, classes, crowds):
    return ground_truth_batch(
        [boxes],
        gt_classes=tf.constant([classes]),
        gt_valid=tf.constant([[c > 0 for c in classes]]),
        gt_is_crowd=tf.constant([crowds]),
    )


def test_training_rois_are_labelled_and_crowds_ignored():
    rois = sample_training_rois(
        proposals(
            [[0, 0, 10, 10], [0, 0, 10, 4], [52, 52, 58, 58], [0, 0, 10, 9], [9, 9, 9, 9]],
            [True, True, True, True, False],
        ),
        batch([[0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 0, 0]], [2, 1, 0], [False, True, False]),
        0,
        tf.constant(0, tf.int64),
        RoiConfig(samples_per_picture=8, positive_fraction=0.5),
    )
    sampled = rois.is_sampled[0].numpy()
    positive = rois.is_positive[0].numpy()
    # Positive: two proposals and the added ground truth; negative: the one of IoU 0.4. The one in
    # the crowd, the crowd itself and padding are neither.
    assert positive.tolist() == [True] * 3 + [False] * 5
    assert sampled.tolist() == [True] * 4 + [False] * 4
    assert rois.gt_classes[0].numpy().tolist() == [2] * 3 + [0] * 5
    assert rois.max_positives == 4
    boxes = {tuple(box) for box in rois.boxes[0].numpy()[positive].tolist()}
    assert boxes == {(0, 0, 10, 10), (0, 0, 10, 9)}
    np.testing.assert_array_equal(rois.boxes[0, 3], [0, 0, 10, 4])


def test_hundreds_of_objects_are_all_drawn_where_there_is_room():
    rows, columns = np.divmod(np.arange(300), 20)
    corners = np.stack([rows, columns], axis=-1) * 30.0
    boxes = np.concatenate([corners, corners + 20], axis=-1)
    rois = sample_training_rois(
        proposals([[0, 0, 5, 5]]),
        batch(boxes.tolist(), [1 + i % 3 for i in range(300)], [False] * 300),
        0,
        tf.constant(0, tf.int64),
        RoiConfig(samples_per_picture=301, positive_fraction=1.0),
    )
    positive = rois.is_positive[0].numpy()
    assert sorted(rois.gt_index[0].numpy()[positive]) == list(range(300))
    classes = 1 + rois.gt_index[0].numpy()[positive] % 3
    np.testing.assert_array_equal(rois.gt_classes[0].numpy()[positive], classes)

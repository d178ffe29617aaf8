import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from model.ops.boxes import iou_matrix
from model.ops.matcher import IGNORE, NEGATIVE, POSITIVE, match_anchors, match_boxes
from tests import strategies

RPN = {"positive_iou": 0.7, "negative_iou": 0.3, "allow_low_quality": True}
ROI = {"positive_iou": 0.5, "negative_iou": 0.5, "allow_low_quality": False}
HAND_MADE = np.array(
    # anchors: exactly at 0.7, just below, exactly at 0.3, just below, a tie, nothing
    [[0.7, 0.69, 0.3, 0.29, 0.8, 0.0], [0.1, 0.2, 0.1, 0.1, 0.8, 0.0]],
    np.float32,
)


def match(anchors, gt_boxes, gt_valid, gt_is_crowd=None, crowd_overlap=0.5, **settings):
    gt_is_crowd = np.zeros_like(gt_valid) if gt_is_crowd is None else gt_is_crowd
    return match_anchors(
        tf.constant(anchors),
        tf.constant(gt_boxes),
        tf.constant(gt_valid),
        tf.constant(gt_is_crowd),
        crowd_overlap=crowd_overlap,
        **settings,
    )


def test_thresholds_count_as_positive_and_as_ignored():
    iou = HAND_MADE.T[None]
    matches = match_boxes(iou, tf.constant([[True, True]]), 0.7, 0.3, allow_low_quality=False)
    expected = [POSITIVE, IGNORE, IGNORE, NEGATIVE, POSITIVE, NEGATIVE]
    assert matches.label[0].numpy().tolist() == expected
    assert matches.gt_index[0].numpy().tolist() == [0] * 6  # also of the tie


def test_the_best_anchors_of_a_row_are_positive_for_their_own_best_row():
    # Row 1 has its best, 0.25, on anchors 0 and 1; anchor 1 overlaps row 0 more.
    iou = np.array([[[0.0, 0.25], [0.6, 0.25], [0.9, 0.1]]], np.float32)
    matches = match_boxes(iou, tf.constant([[True, True]]), 0.7, 0.3, allow_low_quality=True)
    assert matches.label[0].numpy().tolist() == [POSITIVE, POSITIVE, POSITIVE]
    assert matches.gt_index[0].numpy().tolist() == [1, 0, 0]


def test_a_row_without_overlap_makes_nothing_positive():
    matches = match(np.eye(4, dtype=np.float32), [[[50.0, 50, 60, 60]]], [[True]], **RPN)
    assert matches.label.numpy().tolist() == [[NEGATIVE] * 4]


@pytest.mark.parametrize("settings", [RPN, ROI], ids=["rpn", "roi"])
@given(st.data())
def test_taking_rows_in_turn_equals_the_whole_matrix(settings, data):
    anchors = data.draw(strategies.boxes(min_count=3))
    gt_boxes = data.draw(strategies.boxes(min_count=0, max_count=9))
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=9, max_size=9)))[: len(gt_boxes)]
    turned = match(anchors, gt_boxes[None], valid[None].astype(bool), **settings)
    if not len(gt_boxes):
        assert (turned.label.numpy() == NEGATIVE).all()
        return
    whole = match_boxes(iou_matrix(anchors, gt_boxes)[None], valid[None], **settings)
    np.testing.assert_array_equal(turned.label, whole.label)
    matched = turned.label.numpy() == POSITIVE
    np.testing.assert_array_equal(turned.gt_index.numpy()[matched], whole.gt_index.numpy()[matched])
    assert valid[turned.gt_index.numpy()[matched]].all()


@pytest.mark.parametrize("shared_anchors", [True, False])
def test_compiled_equals_eager(shared_anchors):
    rng = np.random.default_rng(1)
    # On a grid of whole pixels, so that overlaps are often equal.
    corners = rng.integers(0, 40, (3, 2, 400, 2)).astype(np.float32)
    anchors = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=-1)
    gt_boxes = anchors[:, rng.integers(0, 400, 11)] + np.float32([0, 1, 2, 1])
    valid = rng.random((3, 11)) < 0.7
    arguments = (
        anchors[0] if shared_anchors else anchors,
        gt_boxes,
        valid,
        rng.random((3, 11)) < 0.3,
    )
    arguments = [tf.constant(argument) for argument in arguments]

    def labels(*arguments):
        return match_anchors(*arguments, **RPN, crowd_overlap=0.5)

    eager = labels(*arguments)
    assert set(np.unique(eager.label)) == {POSITIVE, NEGATIVE, IGNORE}
    for matches in (
        tf.function(labels)(*arguments),
        tf.function(labels, jit_compile=True)(*arguments),
    ):
        np.testing.assert_array_equal(matches.label, eager.label)
        np.testing.assert_array_equal(matches.gt_index, eager.gt_index)


def test_no_array_has_a_number_for_each_pair_of_an_anchor_and_an_object():
    anchors, rows = 5000, 700
    concrete = tf.function(
        lambda *arguments: match_anchors(*arguments, **RPN, crowd_overlap=0.5)
    ).get_concrete_function(
        tf.TensorSpec([anchors, 4]),
        tf.TensorSpec([2, rows, 4]),
        tf.TensorSpec([2, rows], tf.bool),
        tf.TensorSpec([2, rows], tf.bool),
    )
    graphs = [concrete.graph, *(f.graph for f in concrete.graph._functions.values())]
    largest = max(
        tensor.shape.num_elements() or 0
        for graph in graphs
        for operation in graph.get_operations()
        for tensor in operation.outputs
        if tensor.shape.rank is not None
    )
    assert largest <= 2 * anchors * 4  # the boxes themselves; the pairs would be 7,000,000


def test_padding_and_unused_rows_change_nothing():
    rng = np.random.default_rng(2)
    anchors = np.sort(rng.uniform(0, 50, (30, 2, 2)).astype(np.float32), axis=1).reshape(30, 4)
    gt_boxes, valid = anchors[None, :3], np.ones([1, 3], bool)
    plain = match(anchors, gt_boxes, valid, **RPN)
    # Unused rows hold boxes that would match; they come before, between and after.
    padded_boxes = np.insert(gt_boxes, [0, 1, 3, 3], anchors[20:24], axis=1)
    padded_valid = np.insert(valid, [0, 1, 3, 3], False, axis=1)
    padded = match(anchors, padded_boxes, padded_valid, **RPN)
    np.testing.assert_array_equal(padded.label, plain.label)
    matched = plain.label.numpy() == POSITIVE
    rows = np.flatnonzero(padded_valid[0])[plain.gt_index.numpy()[matched]]
    np.testing.assert_array_equal(padded.gt_index.numpy()[matched], rows)


def test_the_first_of_equal_rows_is_matched():
    box = np.float32([[4, 4, 12, 12]])
    gt_boxes = np.stack([box + 1, box, box, box], axis=1)
    matches = match(box, gt_boxes, np.ones([1, 4], bool), **RPN)
    assert matches.label.numpy().tolist() == [[POSITIVE]]
    assert matches.gt_index.numpy().tolist() == [[1]]


def test_a_picture_without_objects_is_all_negative():
    boxes = np.zeros([2, 5, 4], np.float32)
    anchors = np.array([[0, 0, 8, 8], [0, 0, 0, 0]], np.float32)
    for settings in (RPN, ROI):
        matches = match(anchors, boxes, np.zeros([2, 5], bool), **settings)
        assert (matches.label.numpy() == NEGATIVE).all() and not matches.gt_index.numpy().any()


def test_points_match_nothing():
    points = np.full([1, 2, 4], 7, np.float32)
    assert (match(points, points, np.ones([1, 2], bool), **RPN).label.numpy() == NEGATIVE).all()


def test_what_lies_in_a_crowd_is_ignored_instead_of_negative():
    anchors = np.array(
        # half inside; more than half; outside; inside and on the object
        [[0, 0, 4, 20], [0, 0, 4, 19], [0, 50, 4, 60], [0, 0, 4, 8]],
        np.float32,
    )
    gt_boxes = np.array([[[0, 0, 9, 10], [0, 0, 4, 8]]], np.float32)
    settings = {"gt_valid": np.array([[True, True]]), "gt_is_crowd": np.array([[True, False]])}
    label = match(anchors, gt_boxes, **settings, **ROI).label[0].numpy().tolist()
    assert label == [NEGATIVE, IGNORE, NEGATIVE, POSITIVE]
    # A row that is not in use is no crowd either.
    settings["gt_valid"] = np.array([[False, True]])
    label = match(anchors, gt_boxes, **settings, **ROI).label[0].numpy().tolist()
    assert label == [NEGATIVE, NEGATIVE, NEGATIVE, POSITIVE]

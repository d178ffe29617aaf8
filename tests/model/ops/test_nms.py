import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from model.ops import nms
from model.ops.boxes import iou_matrix
from model.ops.nms import multiclass_nms, nms_keep
from tests import strategies
from tests.reference import detection as reference

MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "jit": lambda function: tf.function(function, jit_compile=True),
}


def crowded_boxes(rng, shape, spread):
    """Boxes of about 20 px with centres within `spread` px: long chains of suppression."""
    centers = rng.uniform(0, spread, (*shape, 2))
    sizes = rng.uniform(15, 25, (*shape, 2))
    return np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=-1).astype(np.float32)


def keep_of(boxes, threshold):
    return nms_keep(boxes[None], tf.ones([1, len(boxes)], tf.bool), threshold)[0].numpy()


@given(strategies.boxes(min_count=1, max_count=20), st.sampled_from([0.0, 0.3, 0.5, 0.7]))
def test_keeps_what_the_greedy_loop_keeps(boxes, threshold):
    kept = reference.greedy_nms(boxes.astype(float), -np.arange(len(boxes)), threshold)
    # A pair whose overlap is the threshold but for rounding may go either way.
    overlaps = iou_matrix(boxes, boxes).numpy()
    if (np.abs(overlaps - threshold) > 1e-6).all() or threshold == 0.0:
        assert np.flatnonzero(keep_of(boxes, threshold)).tolist() == kept


@given(strategies.boxes(min_count=1, max_count=20))
def test_is_idempotent_and_leaves_no_pair_over_the_threshold(boxes):
    kept = boxes[keep_of(boxes, 0.5)]
    assert len(kept) and keep_of(kept, 0.5).all()
    overlaps = iou_matrix(kept, kept).numpy()
    assert (overlaps[~np.eye(len(kept), dtype=bool)] <= 0.5).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tile", [7, 64, 500])
def test_tiles_do_not_show(monkeypatch, tile, mode):
    monkeypatch.setattr(nms, "_TILE", tile)
    rng = np.random.default_rng(0)
    boxes = crowded_boxes(rng, (3, 100), spread=60)
    valid = rng.random((3, 100)) < 0.8
    keep = MODES[mode](lambda boxes, valid: nms_keep(boxes, valid, 0.4))
    kept = keep(tf.constant(boxes), tf.constant(valid)).numpy()
    for row in range(3):
        usable = np.flatnonzero(valid[row])
        expected = usable[reference.greedy_nms(boxes[row, usable], -usable, 0.4)]
        assert np.flatnonzero(kept[row]).tolist() == expected.tolist()
    assert 20 < kept.sum() < 150


def test_a_number_of_boxes_known_only_when_run_gives_the_same():
    boxes = crowded_boxes(np.random.default_rng(1), (2, 300), spread=100)
    signature = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None], tf.bool)]
    keep = tf.function(lambda b, v: nms_keep(b, v, 0.5), input_signature=signature)
    for num in (0, 1, 256, 300):
        valid = tf.ones([2, num], tf.bool)
        expected = nms_keep(boxes[:, :num], valid, 0.5) if num else valid
        np.testing.assert_array_equal(keep(boxes[:, :num], valid), expected)


def test_a_long_chain_alternates():
    # Each box overlaps the next by 15 of 25 rows, 0.6, and the one after by 5 of 35, 0.14.
    tops = np.arange(40, dtype=np.float32) * 5
    boxes = np.stack([tops, 0 * tops, tops + 20, 0 * tops + 10], axis=-1)
    assert keep_of(boxes, 0.5).tolist() == [True, False] * 20


def test_equal_boxes_leave_the_first_and_points_do_not_suppress():
    boxes = np.array([[0, 0, 4, 4]] * 3 + [[9, 9, 9, 9]] * 2, np.float32)
    assert keep_of(boxes, 0.5).tolist() == [True, False, False, True, True]


def test_invalid_boxes_neither_stay_nor_suppress():
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 4, 4], [9, 9, 12, 12]]], np.float32)
    keep = nms_keep(boxes, tf.constant([[False, True, False]]), 0.5)
    assert keep.numpy().tolist() == [[False, True, False]]
    assert not nms_keep(boxes, tf.zeros([1, 3], tf.bool), 0.5).numpy().any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("class_agnostic", [False, True])
def test_classes_are_suppressed_apart(mode, class_agnostic):
    rng = np.random.default_rng(2)
    boxes = crowded_boxes(rng, (2, 30, 1 if class_agnostic else 4), spread=50)
    scores = rng.permutation(240).reshape(2, 30, 4).astype(np.float32) / 240
    detect = MODES[mode](lambda b, s: multiclass_nms(b, s, 0.1, 0.5, 25, 16.0))
    found = detect(tf.constant(boxes), tf.constant(scores))
    for row in range(2):
        expected = reference.multiclass_nms(boxes[row], scores[row], 0.1, 0.5, 25, 16.0)
        num = len(expected)
        assert 10 < num <= 25 and found.valid[row].numpy().tolist() == [True] * num + [False] * (
            25 - num
        )
        rows = zip(
            found.scores[row].numpy()[:num],
            found.classes[row].numpy()[:num],
            found.roi_index[row].numpy()[:num],
            strict=True,
        )
        assert list(rows) == expected
        column = found.classes[row].numpy()[:num] - 1
        rois = found.roi_index[row].numpy()[:num]
        chosen = boxes[row][rois, 0 if class_agnostic else column]
        np.testing.assert_array_equal(found.boxes[row][:num], chosen)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["greedy", "linear", "gaussian"])
def test_soft_suppression_is_that_of_the_loop_for_each_class(mode, method):
    rng = np.random.default_rng(4)
    boxes = crowded_boxes(rng, (2, 20, 3), spread=40).astype(np.float64)
    scores = rng.uniform(0.05, 1.0, (2, 20, 3)).astype(np.float32)
    detect = MODES[mode](
        lambda b, s: multiclass_nms(b, s, 0.1, 0.3, 40, 0.0, method=method, sigma=0.4)
    )
    found = detect(tf.constant(boxes), tf.constant(scores))
    for row in range(2):
        expected = [
            (score, k + 1, roi)
            for k in range(3)
            for score, roi in reference.soft_nms(
                boxes[row, :, k], scores[row, :, k], method, 0.3, 0.4, 0.1
            )
        ]
        expected = sorted(expected, reverse=True)[:40]
        num = len(expected)
        assert 10 < num == found.valid[row].numpy().sum()
        np.testing.assert_allclose(found.scores[row, :num], [e[0] for e in expected], rtol=1e-5)
        assert found.classes[row].numpy()[:num].tolist() == [e[1] for e in expected]
        assert found.roi_index[row].numpy()[:num].tolist() == [e[2] for e in expected]


def test_gaussian_suppression_is_that_of_tensorflow():
    rng = np.random.default_rng(5)
    boxes = crowded_boxes(rng, (40,), spread=50)
    scores = rng.uniform(0.05, 1.0, 40).astype(np.float32)
    index, their_scores, _ = tf.raw_ops.NonMaxSuppressionV5(
        boxes=boxes,
        scores=scores,
        max_output_size=40,
        iou_threshold=0.5,  # not used there with a sigma
        score_threshold=0.01,
        soft_nms_sigma=0.5,  # half of ours
    )
    found = multiclass_nms(
        boxes[None, :, None], scores[None, :, None], 0.01, 0.5, 40, 0.0, "gaussian", sigma=1.0
    )
    num = len(index)
    assert found.valid.numpy().sum() == num > 15
    np.testing.assert_array_equal(found.roi_index[0, :num], index)
    np.testing.assert_allclose(found.scores[0, :num], their_scores, rtol=1e-5)


def test_soft_suppression_by_hand():
    # The second box overlaps the first by 0.6, the third none; the fourth has sunk too low.
    boxes = tf.constant([[0.0, 0, 8, 10], [0, 0, 8, 6], [50, 50, 58, 58], [0, 0, 8, 10]])
    scores = tf.constant([0.9, 0.8, 0.5, 0.3])
    found = multiclass_nms(
        boxes[None, :, None], scores[None, :, None], 0.05, 0.5, 4, 0.0, method="linear"
    )
    np.testing.assert_allclose(found.scores, [[0.9, 0.5, 0.8 * 0.4, 0]], rtol=1e-5)
    assert found.roi_index.numpy().tolist() == [[0, 2, 1, 0]]
    assert found.valid.numpy().tolist() == [[True, True, True, False]]


def test_what_falls_is_gone_also_where_scores_of_zero_count():
    boxes = tf.constant([[0.0, 0, 8, 8], [0, 0, 8, 8], [50, 50, 58, 58]])
    scores = tf.constant([0.9, 0.8, 0.0])
    found = multiclass_nms(boxes[None, :, None], scores[None, :, None], -0.5, 0.5, 4, 0.0)
    assert found.roi_index.numpy()[found.valid.numpy()].tolist() == [0, 2]


def test_rows_left_over_are_zero():
    boxes = tf.constant([[[[0.0, 0, 8, 8]], [[20.0, 20, 28, 28]]], [[[0.0, 0, 8, 8]]] * 2])
    scores = tf.constant([[[0.9], [0.2]], [[0.05], [0.01]]])
    found = multiclass_nms(boxes, scores, 0.05, 0.5, 3, 0.0)
    assert found.valid.numpy().tolist() == [[True, True, False], [False] * 3]
    np.testing.assert_allclose(found.scores, [[0.9, 0.2, 0], [0, 0, 0]], rtol=1e-6)
    assert found.classes.numpy().tolist() == [[1, 1, 0], [0, 0, 0]]
    assert not found.boxes[1].numpy().any() and not found.roi_index[1].numpy().any()


def test_a_point_is_found_once():
    points = tf.fill([1, 2, 1, 4], 5.0)
    found = multiclass_nms(points, tf.constant([[[0.9], [0.8]]]), 0.05, 0.5, 4, 0.0)
    assert found.roi_index.numpy()[found.valid.numpy()].tolist() == [0, 1]


def test_a_number_of_rois_known_only_when_run_gives_the_same():
    rng = np.random.default_rng(3)
    boxes = crowded_boxes(rng, (2, 20, 3), spread=50)
    scores = rng.random((2, 20, 3)).astype(np.float32)
    signature = [tf.TensorSpec([None, None, 3, 4]), tf.TensorSpec([None, None, 3])]
    detect = tf.function(
        lambda b, s: multiclass_nms(b, s, 0.1, 0.5, 10, 0.0), input_signature=signature
    )
    for ours, expected in zip(
        detect(boxes, scores), multiclass_nms(boxes, scores, 0.1, 0.5, 10, 0.0), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)

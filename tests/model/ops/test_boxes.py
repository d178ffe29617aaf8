import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

from model.ops.boxes import (
    LOG_SCALE_LIMITS,
    box_areas,
    clip_boxes,
    decode_deltas,
    encode_deltas,
    intersection_over_area,
    iou_matrix,
    is_large_enough,
)
from tests import strategies
from tests.reference import detection as reference

ONES = (1.0, 1.0, 1.0, 1.0)
FAST_RCNN = (10.0, 10.0, 5.0, 5.0)


def test_areas_are_height_times_width():
    boxes = tf.constant([[1.0, 2, 4, 4], [5.0, 5, 5, 9], [4.0, 4, 2, 2]])
    # 3 x 2; a line; inside out
    np.testing.assert_array_equal(box_areas(boxes), [6.0, 0.0, 0.0])


def test_iou_by_hand():
    first = tf.constant([[0.0, 0, 2, 2]])
    second = tf.constant([[0.0, 0, 4, 4], [1.0, 1, 3, 3], [2.0, 0, 4, 2], [1.0, 1, 1, 1]])
    # 4 of 16; 1 of 4 + 4 - 1; they touch; a point
    np.testing.assert_allclose(iou_matrix(first, second)[0], [1 / 4, 1 / 7, 0, 0], rtol=1e-6)


@given(strategies.boxes(), strategies.boxes())
def test_iou_agrees_with_reference(first, second):
    expected = [[reference.iou(a, b) for b in second.astype(float)] for a in first.astype(float)]
    np.testing.assert_allclose(iou_matrix(first, second), expected, atol=1e-6)


@given(strategies.boxes(), strategies.boxes())
def test_iou_is_symmetric_and_a_share(first, second):
    iou = iou_matrix(first, second).numpy()
    np.testing.assert_array_equal(iou, iou_matrix(second, first).numpy().T)
    assert (iou >= 0).all() and (iou <= 1).all()


@given(strategies.boxes(points=False))
def test_iou_is_1_on_itself(boxes):
    np.testing.assert_array_equal(np.diag(iou_matrix(boxes, boxes)), 1.0)


@given(strategies.boxes(), strategies.boxes())
def test_iou_is_unchanged_by_shift_and_by_swap_of_axes(first, second):
    iou = iou_matrix(first, second)
    shift = np.array([3.5, -8.25, 3.5, -8.25], np.float32)  # exact in eighths of a pixel
    np.testing.assert_array_equal(iou, iou_matrix(first + shift, second + shift))
    swap = [1, 0, 3, 2]
    np.testing.assert_array_equal(iou, iou_matrix(first[:, swap], second[:, swap]))


def test_iou_has_the_same_bits_under_xla():
    # Labels depend on overlaps being equal to thresholds and to each other.
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 500, (2, 4, 300, 2)).astype(np.float32)
    first, second = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=-1)
    compiled = tf.function(iou_matrix, jit_compile=True)
    first, second = tf.constant(first), tf.constant(second)
    np.testing.assert_array_equal(iou_matrix(first, second), compiled(first, second))


def test_leading_dimensions_are_pictures():
    first = np.zeros([3, 5, 4], np.float32)
    second = np.zeros([3, 2, 4], np.float32)
    first[1, 4] = second[1, 1] = [0, 0, 2, 2]
    iou = iou_matrix(first, second).numpy()
    assert iou.shape == (3, 5, 2)
    assert np.argwhere(iou).tolist() == [[1, 4, 1]]


def test_share_of_a_box_in_a_region():
    boxes = tf.constant([[0.0, 0, 4, 4], [2.0, 2, 4, 4], [1.0, 1, 1, 1]])
    region = tf.constant([[0.0, 0, 3, 10]])
    # 3 of 4 rows; 1 of 2 rows; a point has no area to cover
    np.testing.assert_array_equal(intersection_over_area(boxes, region), [[0.75], [0.5], [0.0]])


@pytest.mark.parametrize("weights", [ONES, FAST_RCNN])
@given(strategies.boxes(min_count=4, max_count=4, points=False))
def test_decode_inverts_encode(weights, boxes):
    anchors, boxes = boxes[:2], boxes[2:]
    deltas = encode_deltas(boxes, anchors, weights)
    # Sides are 1 to 65 px, so no scale is cut. float32 keeps 24 bits of up to 65 px.
    np.testing.assert_allclose(decode_deltas(deltas, anchors, weights), boxes, atol=2e-4)


def test_deltas_by_hand():
    anchor, box = tf.constant([[0.0, 0, 10, 20]]), tf.constant([[5.0, 10, 25, 20]])
    # centres (5, 10) -> (15, 15): 10 of 10, 5 of 20; sizes (10, 20) -> (20, 10)
    expected = [1.0, 0.25, np.log(2), -np.log(2)]
    np.testing.assert_allclose(encode_deltas(box, anchor, ONES)[0], expected, rtol=1e-6)
    weighted = encode_deltas(box, anchor, (10.0, 20.0, 5.0, 2.0))[0]
    np.testing.assert_allclose(weighted, np.multiply(expected, [10, 20, 5, 2]), rtol=1e-6)


def test_decode_limits_scales():
    anchors = tf.constant([[0.0, 0, 16, 16]])
    grown = decode_deltas(tf.constant([[0.0, 0, 50, 50]]), anchors, ONES)
    np.testing.assert_allclose(grown, [[-492, -492, 508, 508]], rtol=1e-5)  # 1000 px, centre 8
    assert np.exp(LOG_SCALE_LIMITS[1]) == pytest.approx(1000 / 16)


def test_encode_of_padding_is_finite():
    point, anchor = tf.zeros([1, 4]), tf.constant([[0.0, 0, 8, 8]])
    for boxes, anchors in ((point, point), (point, anchor), (anchor, point), (point + 9, point)):
        assert np.isfinite(encode_deltas(boxes, anchors, FAST_RCNN)).all()


@given(strategies.boxes())
def test_clip_stays_inside_and_is_idempotent(boxes):
    size = np.array([[20.0, 50.0]], np.float32)
    clipped = clip_boxes(boxes[None] - 10, size).numpy()
    assert (clipped >= 0).all() and (clipped <= [20, 50, 20, 50]).all()
    np.testing.assert_array_equal(clip_boxes(clipped, size), clipped)


def test_each_picture_clips_to_its_own_size():
    boxes = tf.constant([[[-5.0, -5, 99, 99]], [[-5.0, 2, 99, 99]]])
    clipped = clip_boxes(boxes, tf.constant([[30, 40], [50, 20]]))
    np.testing.assert_array_equal(clipped, [[[0, 0, 30, 40]], [[0, 2, 50, 20]]])


def test_both_sides_must_be_large_enough():
    boxes = tf.constant([[0.0, 0, 4, 4], [0.0, 0, 3.9, 9], [0.0, 0, 9, 3.9]])
    np.testing.assert_array_equal(is_large_enough(boxes, 4.0), [True, False, False])

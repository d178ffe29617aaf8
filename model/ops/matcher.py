"""Which ground truth an anchor or a RoI belongs to.

Letters: N images, A anchors or RoIs, M ground-truth rows.
"""

from typing import NamedTuple

import tensorflow as tf

from model.ops.boxes import box_areas, intersection_areas, sides_of

POSITIVE = 1
NEGATIVE = 0
IGNORE = -1

# Ground-truth rows that one turn of the loop in `match_anchors` takes.
_ROWS_A_TURN = 2


class Matches(NamedTuple):
    """The ground truth of each anchor.

    Attributes:
        gt_index: [N, A] int32, the row of largest overlap (the first of equal ones); 0 where no
            row overlaps. Of use where `label` is POSITIVE.
        label: [N, A] int32, POSITIVE, NEGATIVE or IGNORE.
    """

    gt_index: tf.Tensor
    label: tf.Tensor


def match_boxes(
    iou: tf.Tensor,
    gt_valid: tf.Tensor,
    positive_iou: float,
    negative_iou: float,
    allow_low_quality: bool,
) -> Matches:
    """Returns the matches for a given matrix of overlaps.

    Args:
        iou: [N, A, M] float32.
        gt_valid: [N, M] bool, rows that may be matched: in use and no crowd.
        positive_iou: an anchor at or above is POSITIVE.
        negative_iou: an anchor below is NEGATIVE; between the two it is IGNORE.
        allow_low_quality: whether the best anchors of a row, all of equal overlap, are POSITIVE
            for the row that they overlap most, if they overlap at all.

    Returns:
        The matches; all NEGATIVE where a picture has no ground truth.

    Reference: 1506.01497, section 3.1.2. As torchvision's Matcher, but for the last condition on
        low quality: there a row that nothing overlaps makes every anchor positive.
    """
    iou = tf.where(gt_valid[:, None, :], iou, 0.0)
    best_iou = tf.reduce_max(iou, axis=2)
    is_best = tf.zeros_like(best_iou, tf.bool)
    if allow_low_quality:
        best_of_row = tf.reduce_max(iou, axis=1, keepdims=True)
        is_best = tf.reduce_any((iou == best_of_row) & (iou > 0.0), axis=2)
    gt_index = tf.argmax(iou, axis=2, output_type=tf.int32)
    return Matches(gt_index, _labels(best_iou, is_best, positive_iou, negative_iou))


def match_anchors(
    anchors: tf.Tensor,
    gt_boxes: tf.Tensor,
    gt_valid: tf.Tensor,
    gt_is_crowd: tf.Tensor,
    positive_iou: float,
    negative_iou: float,
    allow_low_quality: bool,
    crowd_overlap: float,
) -> Matches:
    """Returns the matches of boxes as `match_boxes` does, without the matrix of overlaps.

    The rows are taken two at a time up to the last one in use, so that memory peaks at some dozens
    of [N, A] arrays for any M (N = 2, A = 268,506, M = 300: 140 MB, under XLA 40 MB; the matrix and
    its parts would take gigabytes), and padding costs no time.

    Args:
        anchors: [A, 4] the same for all pictures, or [N, A, 4]; float32, yxyx.
        gt_boxes: [N, M, 4] float32, yxyx.
        gt_valid: [N, M] bool, rows in use.
        gt_is_crowd: [N, M] bool; a crowd is nobody's match.
        positive_iou: see `match_boxes`.
        negative_iou: see `match_boxes`.
        allow_low_quality: see `match_boxes`.
        crowd_overlap: an anchor that would be NEGATIVE, but lies in a crowd with more than this
            share of its area, is IGNORE.

    Returns:
        The matches; all NEGATIVE where a picture has no ground truth.
    """
    anchors = tf.cast(anchors if len(anchors.shape) == 3 else anchors[None], tf.float32)
    gt_boxes = tf.cast(gt_boxes, tf.float32)
    rows = tf.shape(gt_boxes)[1]
    padding = [[0, 0], [0, _ROWS_A_TURN - 1]]
    padded_boxes = tf.pad(gt_boxes, [*padding, [0, 0]])
    is_object = tf.pad(gt_valid & ~gt_is_crowd, padding)
    is_crowd = tf.pad(gt_valid & gt_is_crowd, padding)
    numbers = tf.range(1, rows + 1)
    used_rows = tf.reduce_max(tf.where(gt_valid, numbers, 0))
    anchor_sides, anchor_areas = sides_of(anchors), box_areas(anchors)
    # What is no object gets an area without limit, so that its overlap with anything is 0.
    areas = tf.where(is_object, box_areas(padded_boxes), float("inf"))

    def take_rows(
        start: tf.Tensor,
        best_iou: tf.Tensor,
        gt_index: tf.Tensor,
        is_best: tf.Tensor,
        in_crowds: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        for row in range(_ROWS_A_TURN):
            gt_box, area, crowd = (
                tf.gather(part, start + row, axis=1)[:, None]
                for part in (padded_boxes, areas, is_crowd)
            )
            common = intersection_areas(anchor_sides, sides_of(gt_box))
            iou = tf.math.divide_no_nan(common, anchor_areas + area - common)
            if allow_low_quality:
                best_of_row = tf.reduce_max(iou, axis=1, keepdims=True)
                is_best |= iou == tf.where(best_of_row > 0.0, best_of_row, -1.0)
            gt_index = tf.where(iou > best_iou, start + row, gt_index)
            best_iou = tf.maximum(best_iou, iou)
            in_crowds = tf.maximum(in_crowds, tf.where(crowd, common, 0.0))
        return start + _ROWS_A_TURN, best_iou, gt_index, is_best, in_crowds

    shape = [tf.shape(gt_boxes)[0], tf.shape(anchors)[1]]
    static_shape = [gt_boxes.shape[0], anchors.shape[1]]
    state = [tf.zeros(shape, kind) for kind in (tf.float32, tf.int32, tf.bool, tf.float32)]
    state = [tf.ensure_shape(part, static_shape) for part in state]
    _, best_iou, gt_index, is_best, in_crowds = tf.while_loop(
        lambda start, *_: start < used_rows, take_rows, [tf.constant(0), *state]
    )
    label = _labels(best_iou, is_best, positive_iou, negative_iou)
    is_ignored = (label == NEGATIVE) & (
        tf.math.divide_no_nan(in_crowds, anchor_areas) > crowd_overlap
    )
    return Matches(gt_index, tf.where(is_ignored, IGNORE, label))


def _labels(
    best_iou: tf.Tensor, is_best: tf.Tensor, positive_iou: float, negative_iou: float
) -> tf.Tensor:
    """Returns [N, A] int32 labels for largest overlaps; `is_best` makes POSITIVE anyway."""
    label = tf.where(best_iou < negative_iou, NEGATIVE, IGNORE)
    return tf.where((best_iou >= positive_iou) | is_best, POSITIVE, label)

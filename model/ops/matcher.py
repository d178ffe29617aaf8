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
    anchor_sides, anchor_areas = sides_of(anchors), box_areas(anchors)
    gt_rows = _rows_in_turns(tf.cast(gt_boxes, tf.float32), gt_valid, gt_is_crowd)
    used_rows = tf.reduce_max(tf.where(gt_valid, tf.range(1, tf.shape(gt_valid)[1] + 1), 0))

    def take_rows(start: tf.Tensor, overlaps: _Overlaps) -> tuple[tf.Tensor, _Overlaps]:
        """Compares all anchors with the rows of one turn, of which `start` is the first."""
        for row in range(_ROWS_A_TURN):
            gt_row = _Rows(*(tf.gather(part, start + row, axis=1)[:, None] for part in gt_rows))
            common = intersection_areas(anchor_sides, sides_of(gt_row.boxes))
            iou = tf.math.divide_no_nan(common, anchor_areas + gt_row.areas - common)
            in_crowd = tf.where(gt_row.is_crowd, common, 0.0)
            overlaps = _with_row(overlaps, start + row, iou, in_crowd, allow_low_quality)
        return start + _ROWS_A_TURN, overlaps

    _, overlaps = tf.while_loop(
        lambda start, _: start < used_rows,
        take_rows,
        [tf.constant(0), _no_overlaps(gt_boxes, anchors)],
    )
    label = _labels(overlaps.best_iou, overlaps.is_best, positive_iou, negative_iou)
    share_in_crowd = tf.math.divide_no_nan(overlaps.in_crowd, anchor_areas)
    is_ignored = (label == NEGATIVE) & (share_in_crowd > crowd_overlap)
    return Matches(overlaps.gt_index, tf.where(is_ignored, IGNORE, label))


class _Rows(NamedTuple):
    """Ground-truth rows as the loop of `match_anchors` reads them.

    Attributes:
        boxes: [N, M, 4] float32, yxyx.
        areas: [N, M] float32; without limit for what is no object, whose overlap is so always 0.
        is_crowd: [N, M] bool.
    """

    boxes: tf.Tensor
    areas: tf.Tensor
    is_crowd: tf.Tensor


def _rows_in_turns(gt_boxes: tf.Tensor, gt_valid: tf.Tensor, gt_is_crowd: tf.Tensor) -> _Rows:
    """Returns the rows [N, M, ...] and so many unused ones that the last turn has all it takes."""
    padding = [[0, 0], [0, _ROWS_A_TURN - 1]]
    boxes = tf.pad(gt_boxes, [*padding, [0, 0]])
    is_object = tf.pad(gt_valid & ~gt_is_crowd, padding)
    return _Rows(
        boxes=boxes,
        areas=tf.where(is_object, box_areas(boxes), float("inf")),
        is_crowd=tf.pad(gt_valid & gt_is_crowd, padding),
    )


class _Overlaps(NamedTuple):
    """What `match_anchors` knows of each anchor after some rows.

    Attributes:
        best_iou: [N, A] float32, the largest overlap with an object.
        gt_index: [N, A] int32, its row, the first of equal ones.
        is_best: [N, A] bool, whether no anchor overlaps some row more.
        in_crowd: [N, A] float32, square pixels in the crowd that it shares most with.
    """

    best_iou: tf.Tensor
    gt_index: tf.Tensor
    is_best: tf.Tensor
    in_crowd: tf.Tensor


def _no_overlaps(gt_boxes: tf.Tensor, anchors: tf.Tensor) -> _Overlaps:
    """Returns those of gt_boxes [N, M, 4] and anchors [N or 1, A, 4] before the first row."""
    shape = [tf.shape(gt_boxes)[0], tf.shape(anchors)[1]]
    static_shape = [gt_boxes.shape[0], anchors.shape[1]]
    kinds = (tf.float32, tf.int32, tf.bool, tf.float32)
    return _Overlaps(*(tf.ensure_shape(tf.zeros(shape, kind), static_shape) for kind in kinds))


def _with_row(
    before: _Overlaps,
    row: tf.Tensor,
    iou: tf.Tensor,
    in_crowd: tf.Tensor,
    allow_low_quality: bool,
) -> _Overlaps:
    """Returns the overlaps after one more row.

    Args:
        before: the overlaps after the rows before.
        row: int32 scalar, its number.
        iou: [N, A] float32, each anchor's overlap with it; 0 if it is no object.
        in_crowd: [N, A] float32, square pixels shared with it if it is a crowd, else 0.
        allow_low_quality: whether the row's best anchors are marked in `is_best`.
    """
    is_best = before.is_best
    if allow_low_quality:
        best_of_row = tf.reduce_max(iou, axis=1, keepdims=True)
        is_best |= iou == tf.where(best_of_row > 0.0, best_of_row, -1.0)
    return _Overlaps(
        best_iou=tf.maximum(before.best_iou, iou),
        gt_index=tf.where(iou > before.best_iou, row, before.gt_index),
        is_best=is_best,
        in_crowd=tf.maximum(before.in_crowd, in_crowd),
    )


def _labels(
    best_iou: tf.Tensor, is_best: tf.Tensor, positive_iou: float, negative_iou: float
) -> tf.Tensor:
    """Returns [N, A] int32 labels for overlaps [N, A]; `is_best` [N, A] makes POSITIVE anyway."""
    label = tf.where(best_iou < negative_iou, NEGATIVE, IGNORE)
    return tf.where((best_iou >= positive_iou) | is_best, POSITIVE, label)

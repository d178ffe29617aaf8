"""Non-maximum suppression: exact greedy and soft (1704.04503), with static shapes.

Letters: B independent lists, N images, R boxes or RoIs, K classes, D detections.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from configs.model_schema import NmsMethod
from model.ops.boxes import iou_matrix, is_large_enough, paired_iou

# Boxes that suppress at a time in `nms_keep`: one at a time would be as many turns of a loop as
# there are boxes, all at once an array of [B, R, R].
_TILE = 256


class Detections(NamedTuple):
    """What was found, best first; rows that are left over are 0 and not valid.

    Attributes:
        boxes: [N, D, 4] float32, yxyx.
        scores: [N, D] float32.
        classes: [N, D] int32, 1 ... K.
        valid: [N, D] bool.
        roi_index: [N, D] int32, the RoI that a detection comes from.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    classes: tf.Tensor
    valid: tf.Tensor
    roi_index: tf.Tensor


def nms_keep(boxes: tf.Tensor, valid: tf.Tensor, iou_threshold: float) -> tf.Tensor:
    """Returns which boxes greedy suppression keeps.

    A box falls if its overlap with a kept, valid box before it is above the threshold. The boxes
    are taken a tile at a time: the tile's own boxes are solved by iterating "kept are those that
    no kept box suppresses", whose only fixed point is the greedy answer, then suppress all later
    ones. Memory peaks at about ten [B, 256, R] arrays.

    Args:
        boxes: [B, R, 4] float32, yxyx, best first.
        valid: [B, R] bool; others are not kept and suppress nothing.
        iou_threshold: overlap above which a box falls.

    Returns:
        [B, R] bool.
    """
    num = boxes.shape[1] if boxes.shape[1] is not None else tf.shape(boxes)[1]
    tile = max(1, min(_TILE, num)) if isinstance(num, int) else _TILE
    surplus = -num % tile
    padded_boxes = tf.pad(tf.cast(boxes, tf.float32), [[0, 0], [0, surplus], [0, 0]])

    def take_tile(start: tf.Tensor, keep: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns where the next tile starts, and `keep` [B, R] after this one."""
        return start + tile, _suppress_by_tile(padded_boxes, keep, start, tile, iou_threshold)

    # By way of integers: TFLite pads no truth values.
    keep = tf.pad(tf.cast(valid, tf.int32), [[0, 0], [0, surplus]]) > 0
    keep = tf.while_loop(lambda start, _: start < num, take_tile, [tf.constant(0), keep])[1]
    return tf.ensure_shape(keep[:, :num], valid.shape)


def _suppress_by_tile(
    boxes: tf.Tensor, keep: tf.Tensor, start: tf.Tensor, tile: int, iou_threshold: float
) -> tf.Tensor:
    """Returns `keep` after the boxes from `start` on were solved and suppressed later ones.

    Args:
        boxes: [B, R, 4] float32, yxyx, best first; R is a multiple of `tile`.
        keep: [B, R] bool, final before `start`, and after it what no earlier tile suppresses.
        start: int32 scalar, the first box of the tile.
        tile: boxes of the tile.
        iou_threshold: overlap above which a box falls.
    """
    lists, num = tf.shape(keep)[0], tf.shape(keep)[1]
    tile_boxes = tf.slice(boxes, [0, start, 0], [lists, tile, 4])
    candidates = tf.slice(keep, [0, start], [lists, tile])
    overlaps = iou_matrix(tile_boxes, boxes) > iou_threshold  # [B, tile, R]
    within = tf.slice(overlaps, [0, 0, start], [lists, tile, tile])
    is_earlier = tf.range(tile)[:, None] < tf.range(tile)[None, :]
    kept = _fixed_point(within & is_earlier, candidates)
    suppressed = tf.reduce_any(overlaps & kept[:, :, None], axis=1)
    places = tf.range(num) - start
    kept_in_place = tf.gather(kept, tf.clip_by_value(places, 0, tile - 1), axis=1)
    after_tile = tf.where(places < tile, kept_in_place, keep & ~suppressed)
    return tf.where(places < 0, keep, after_tile)


def _fixed_point(suppresses: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Returns [B, T] bool, the candidates that no kept one suppresses.

    Args:
        suppresses: [B, T, T] bool, [b, i, j]: i suppresses j; only for i < j.
        candidates: [B, T] bool.

    After n turns the first n boxes are final, so at most T turns are needed; a few suffice.
    """

    def turn(keep: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the candidates that `keep` [B, T] leaves, and `keep` to compare them with."""
        return candidates & ~tf.reduce_any(suppresses & keep[:, :, None], axis=1), keep

    return tf.while_loop(
        lambda keep, before: tf.reduce_any(keep != before),
        turn,
        [candidates, tf.zeros_like(candidates)],
    )[0]


def multiclass_nms(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    min_box_size_px: float,
    method: NmsMethod = "greedy",
    sigma: float = 0.5,
) -> Detections:
    """Returns the best detections after suppression within each class.

    Each turn takes the best score left and lowers those of its class that overlap it (greedy: to
    nothing), so no more than D turns are made, and fewer where less is found.

    Args:
        boxes: [N, R, K, 4] float32, yxyx, or [N, R, 1, 4] for all classes; clipped.
        scores: [N, R, K] float32, class k in column k - 1 (no background).
        score_threshold: detections score above it, also after their scores were lowered.
        iou_threshold: overlap above which a box falls; see `suppression_factor`.
        max_detections: D.
        min_box_size_px: smaller boxes are dropped, and suppress nothing.
        method: see `suppression_factor`.
        sigma: see `suppression_factor`.

    Returns:
        The detections; equal scores go by class, then by RoI.
    """
    factor_of = suppression_factor(method, iou_threshold, sigma)
    boxes, left = _rows_of_classes(boxes, scores, score_threshold, min_box_size_px)

    def take_best(
        turn: tf.Tensor, left: tf.Tensor, best_of_class: tf.Tensor, found: Detections
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, Detections]:
        """Takes one detection an image out of `left` [N, K, R]; `best_of_class` is its maximum."""
        column = tf.argmax(best_of_class, axis=1, output_type=tf.int32)
        class_scores = tf.gather(left, column, batch_dims=1)  # [N, R]
        class_boxes = tf.gather(boxes, tf.minimum(column, tf.shape(boxes)[1] - 1), batch_dims=1)
        best = _best_of(class_scores, class_boxes, column + 1)
        factors = factor_of(paired_iou(best.boxes, class_boxes))
        class_scores = _scores_left(class_scores, factors, best.roi_index, score_threshold)
        row = tf.stack([tf.range(tf.shape(left)[0]), column], axis=1)
        best_left = tf.reduce_max(class_scores, axis=1)
        return (
            turn + 1,
            tf.tensor_scatter_nd_update(left, row, class_scores),
            tf.tensor_scatter_nd_update(best_of_class, row, best_left),
            _with_detection(found, turn, best),
        )

    return tf.while_loop(
        lambda turn, _, best, __: (turn < max_detections) & tf.reduce_any(best >= 0.0),
        take_best,
        [
            tf.constant(0),
            left,
            tf.reduce_max(left, axis=2),
            _no_detections(tf.shape(scores)[0], max_detections),
        ],
    )[3]


def _rows_of_classes(
    boxes: tf.Tensor, scores: tf.Tensor, score_threshold: float, min_box_size_px: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns boxes [N, K or 1, R, 4] and scores [N, K, R], -1 where a detection cannot count.

    A class is one row, so that a turn touches one row.
    """
    boxes = tf.cast(boxes, tf.float32)
    usable = (scores > score_threshold) & is_large_enough(boxes, min_box_size_px)
    left = tf.transpose(tf.where(usable, tf.cast(scores, tf.float32), -1.0), [0, 2, 1])
    return tf.transpose(boxes, [0, 2, 1, 3]), left


def _no_detections(num_images: tf.Tensor, num: int) -> Detections:
    """Returns [num_images, num] rows that are 0 and not valid."""
    rows = [num_images, num]
    return Detections(
        boxes=tf.zeros([*rows, 4]),
        scores=tf.zeros(rows),
        classes=tf.zeros(rows, tf.int32),
        valid=tf.zeros(rows, tf.bool),
        roi_index=tf.zeros(rows, tf.int32),
    )


def _best_of(class_scores: tf.Tensor, class_boxes: tf.Tensor, classes: tf.Tensor) -> Detections:
    """Returns the best RoI of one class an image as detections [N, 1]; not valid: none is left.

    Args:
        class_scores: [N, R] float32, -1 for a RoI that is not left.
        class_boxes: [N, R, 4] float32.
        classes: [N] int32.
    """
    roi = tf.argmax(class_scores, axis=1, output_type=tf.int32)[:, None]
    score = tf.gather(class_scores, roi, batch_dims=1)
    box = tf.gather(class_boxes, roi, batch_dims=1)
    return Detections(box, score, classes[:, None], valid=score >= 0.0, roi_index=roi)


def _scores_left(
    class_scores: tf.Tensor, factors: tf.Tensor, roi: tf.Tensor, score_threshold: float
) -> tf.Tensor:
    """Returns [N, R] `class_scores` times `factors`, -1 for `roi` [N, 1] and what has fallen."""
    scores = class_scores * factors
    is_other = tf.range(tf.shape(scores)[1])[None, :] != roi
    return tf.where(is_other & (factors > 0.0) & (scores > score_threshold), scores, -1.0)


def _with_detection(found: Detections, turn: tf.Tensor, best: Detections) -> Detections:
    """Returns `found` [N, D] with the valid of `best` [N, 1] in column `turn`."""
    is_place = (tf.range(tf.shape(found.valid)[1])[None, :] == turn) & best.valid  # [N, D]
    return Detections(
        boxes=tf.where(is_place[:, :, None], best.boxes, found.boxes),
        scores=tf.where(is_place, best.scores, found.scores),
        classes=tf.where(is_place, best.classes, found.classes),
        valid=is_place | found.valid,
        roi_index=tf.where(is_place, best.roi_index, found.roi_index),
    )


def suppression_factor(
    method: NmsMethod, iou_threshold: float, sigma: float
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function from overlaps with a better box to factors on scores, of any shape.

    Args:
        method: the paper's first, second and third rule.
        iou_threshold: where greedy and linear begin.
        sigma: width of the gaussian. TensorFlow's NonMaxSuppressionV5 calls half of it sigma.

    Reference: 1704.04503, section 3.
    """

    def greedy(overlaps: tf.Tensor) -> tf.Tensor:
        return tf.where(overlaps > iou_threshold, 0.0, 1.0)

    def linear(overlaps: tf.Tensor) -> tf.Tensor:
        return tf.where(overlaps > iou_threshold, 1.0 - overlaps, 1.0)

    def gaussian(overlaps: tf.Tensor) -> tf.Tensor:
        return tf.exp(-tf.square(overlaps) / sigma)

    return {"greedy": greedy, "linear": linear, "gaussian": gaussian}[method]

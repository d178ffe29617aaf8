"""Areas, overlaps, box deltas and clipping.

Boxes are float32 [ymin, xmin, ymax, xmax] in continuous pixels: a box from 2 to 5 is 3 long.
Letters: N images, R boxes or RoIs, A anchors, M ground-truth rows.
"""

from collections.abc import Sequence

import tensorflow as tf

from configs.model_schema import LOG_SCALE_LIMITS

# A shorter side counts as this in `encode_deltas`, so that padding rows stay finite.
_SHORTEST_SIDE_PX = 1e-6

Sides = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


def box_areas(boxes: tf.Tensor) -> tf.Tensor:
    """Returns the areas of boxes, 0 where a box is a point or turned inside out.

    Args:
        boxes: [..., 4] float32, yxyx.

    Returns:
        [...] float32, square pixels.

    >>> box_areas(tf.constant([[1.0, 2.0, 4.0, 4.0], [3.0, 3.0, 3.0, 9.0]])).numpy().tolist()
    [6.0, 0.0]
    """
    ymin, xmin, ymax, xmax = sides_of(boxes)
    return _exact_product(tf.maximum(ymax - ymin, 0.0), tf.maximum(xmax - xmin, 0.0))


def intersection_areas(first: Sides, second: Sides) -> tf.Tensor:
    """Returns the areas that boxes have in common, given by their sides.

    Args:
        first: (ymin, xmin, ymax, xmax), a float32 tensor each; `sides_of` takes boxes apart.
        second: the other boxes in that form, of shapes that broadcast with those of `first`.
    """
    ymin_1, xmin_1, ymax_1, xmax_1 = first
    ymin_2, xmin_2, ymax_2, xmax_2 = second
    height = tf.minimum(ymax_1, ymax_2) - tf.maximum(ymin_1, ymin_2)
    width = tf.minimum(xmax_1, xmax_2) - tf.maximum(xmin_1, xmin_2)
    return _exact_product(tf.maximum(height, 0.0), tf.maximum(width, 0.0))


def sides_of(boxes: tf.Tensor) -> Sides:
    """Returns (ymin, xmin, ymax, xmax), [...] float32 each, of boxes [..., 4]."""
    return tuple(tf.unstack(tf.cast(boxes, tf.float32), axis=-1))


def paired_iou(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns intersection over union of boxes whose shapes [..., 4] broadcast.

    It is 0 where both boxes are points. The result has the same bits eagerly and under XLA.
    """
    intersection = intersection_areas(sides_of(first), sides_of(second))
    return tf.math.divide_no_nan(intersection, box_areas(first) + box_areas(second) - intersection)


def iou_matrix(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns intersection over union of every first with every second box.

    Args:
        first: [..., A, 4] float32, yxyx.
        second: [..., M, 4] float32, yxyx.

    Returns:
        [..., A, M] float32 in 0 to 1; 0 for a point, also with itself.

    >>> # 2 x 2 in common of 4 + 16 - 4 square pixels
    >>> iou_matrix(tf.constant([[0.0, 0, 2, 2]]), tf.constant([[0.0, 0, 4, 4]])).numpy().item()
    0.25
    """
    return paired_iou(first[..., :, None, :], second[..., None, :, :])


def intersection_over_area(boxes: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
    """Returns the share of every box that lies in every region.

    Args:
        boxes: [..., A, 4] float32, yxyx.
        regions: [..., M, 4] float32, yxyx.

    Returns:
        [..., A, M] float32 in 0 to 1; 0 for a point.
    """
    intersection = intersection_areas(
        sides_of(boxes[..., :, None, :]), sides_of(regions[..., None, :, :])
    )
    return tf.math.divide_no_nan(intersection, box_areas(boxes)[..., None])


def encode_deltas(boxes: tf.Tensor, anchors: tf.Tensor, weights: Sequence[float]) -> tf.Tensor:
    """Returns the deltas that turn anchors into boxes.

    Args:
        boxes: [..., 4] float32, yxyx.
        anchors: [..., 4] float32, yxyx, a shape that broadcasts with `boxes`.
        weights: factors on (dy, dx, dh, dw).

    Returns:
        [..., 4] float32 (dy, dx, dh, dw), always finite: shorter sides count as 1e-6 px.

    Reference: 1506.01497, section 3.1.2; the weights are those of Fast R-CNN's code.
    """
    centers, sizes = _centers_and_sizes(boxes)
    anchor_centers, anchor_sizes = _centers_and_sizes(anchors)
    sizes = tf.maximum(sizes, _SHORTEST_SIDE_PX)
    anchor_sizes = tf.maximum(anchor_sizes, _SHORTEST_SIDE_PX)
    shifts = (centers - anchor_centers) / anchor_sizes
    scales = tf.math.log(sizes / anchor_sizes)
    return tf.concat([shifts, scales], axis=-1) * tf.constant(weights, tf.float32)


def decode_deltas(
    deltas: tf.Tensor,
    anchors: tf.Tensor,
    weights: Sequence[float],
    log_scale_limits: tuple[float | None, float] = LOG_SCALE_LIMITS,
) -> tf.Tensor:
    """Returns the boxes that deltas make of anchors: the inverse of `encode_deltas`.

    Args:
        deltas: [..., 4] (dy, dx, dh, dw).
        anchors: [..., 4] float32, yxyx, a shape that broadcasts with `deltas`.
        weights: factors on (dy, dx, dh, dw) that the deltas carry.
        log_scale_limits: lower (None: none) and upper limit on dh and dw, after the weights are
            taken off.

    Returns:
        [..., 4] float32, yxyx; never inside out.
    """
    centers, sizes = _centers_and_sizes(anchors)
    deltas = tf.cast(deltas, tf.float32) / tf.constant(weights, tf.float32)
    shifts, scales = tf.split(deltas, 2, axis=-1)
    centers = shifts * sizes + centers
    lowest, highest = log_scale_limits
    scales = tf.minimum(scales, highest)  # without a limit exp overflows early in training
    scales = scales if lowest is None else tf.maximum(scales, lowest)
    half_sizes = tf.exp(scales) * sizes * 0.5
    return tf.concat([centers - half_sizes, centers + half_sizes], axis=-1)


def clip_boxes(boxes: tf.Tensor, image_sizes: tf.Tensor) -> tf.Tensor:
    """Returns boxes cut at the border of their picture.

    Args:
        boxes: [N, R, 4] float32, yxyx.
        image_sizes: [N, 2] height and width of the content, pixels.

    Returns:
        [N, R, 4] float32; what lies outside becomes a box without area on the border.
    """
    limits = tf.cast(tf.concat([image_sizes, image_sizes], axis=-1), tf.float32)[:, None, :]
    return tf.minimum(tf.maximum(tf.cast(boxes, tf.float32), 0.0), limits)


def is_large_enough(boxes: tf.Tensor, min_size_px: float) -> tf.Tensor:
    """Returns [...] bool: both sides of the boxes [..., 4] are at least `min_size_px`."""
    boxes = tf.cast(boxes, tf.float32)
    return tf.reduce_all(boxes[..., 2:] - boxes[..., :2] >= min_size_px, axis=-1)


def _centers_and_sizes(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns centres [..., 2] (y, x) and sizes [..., 2] (height, width)."""
    boxes = tf.cast(boxes, tf.float32)
    sizes = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sizes, sizes


def _exact_product(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the rounded product of non-negative float32 numbers, both of one shape.

    XLA may fuse a product and the sum that follows into one operation with one rounding, and
    differently in two places. Matching compares overlaps for equality, and NMS with a threshold,
    so the product is rounded here: the limit changes no finite number and cannot be fused away.
    """
    return tf.minimum(first * second, tf.float32.max)

"""Targets of the mask head.

Letters: N images, M ground-truth rows, P RoIs, S stored bitmap size.
"""

import tensorflow as tf


def mask_targets(
    bitmaps: tf.Tensor,
    bitmap_boxes: tf.Tensor,
    rois: tf.Tensor,
    gt_index: tf.Tensor,
    size: int,
) -> tf.Tensor:
    """Returns the share of each RoI's bins that its object covers.

    This is RoIAlign of the object's mask with adaptive sampling and without the half-pixel
    shift, as torchvision computes its targets. A bitmap that covers the whole picture gives
    torchvision's numbers; one that covers the object's box gives the same samples, read from it.
    As samples lie on a grid, their mean is a product of two small matrices with the bitmap.

    Args:
        bitmaps: [N, M, S, S] uint8, 0 or 1.
        bitmap_boxes: [N, M, 4] float32, yxyx: what the bitmaps cover, input-frame pixels.
        rois: [N, P, 4] float32, yxyx, input-frame pixels.
        gt_index: [N, P] int32, the object of each RoI.
        size: bins an axis.

    Returns:
        [N, P, size, size] float32, 0 to 1. 0 where the bitmap's box is empty (padding rows).

    Reference: 1703.06870, section 3.1; torchvision's `project_masks_on_boxes`.
    """
    rois = tf.cast(rois, tf.float32)
    covered = tf.gather(tf.cast(bitmap_boxes, tf.float32), gt_index, batch_dims=1)
    bitmap = tf.cast(tf.gather(bitmaps, gt_index, batch_dims=1), tf.float32)
    rows = _axis_weights(rois[..., 0::2], covered[..., 0::2], size, bitmaps.shape[2])
    columns = _axis_weights(rois[..., 1::2], covered[..., 1::2], size, bitmaps.shape[3])
    return tf.einsum("npah,nphw,npbw->npab", rows, bitmap, columns)


def _axis_weights(spans: tf.Tensor, covered: tf.Tensor, size: int, length: int) -> tf.Tensor:
    """Returns the weights of bitmap rows (or columns) in each bin.

    Args:
        spans: [N, P, 2] start and end of the RoIs on this axis, input-frame pixels.
        covered: [N, P, 2] likewise of the bitmaps.
        size: bins.
        length: rows of the bitmap.

    Returns:
        [N, P, size, length] float32.
    """
    extents = tf.maximum(spans[..., 1] - spans[..., 0], 1.0)
    bin_sizes = extents / size
    num_samples = tf.math.ceil(bin_sizes)
    covered_extents = covered[..., 1] - covered[..., 0]
    cells_a_pixel = tf.math.divide_no_nan(float(length), covered_extents)
    starts = spans[..., :1] + tf.range(size, dtype=tf.float32) * bin_sizes[..., None]
    cells = tf.range(length, dtype=tf.float32)

    def add_sample(sample: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        number = tf.cast(sample, tf.float32)
        steps = (number + 0.5) * (bin_sizes / num_samples)
        # torchvision reads a mask at y where the pixel's centre is y + 0.5.
        offsets = starts + steps[..., None] + 0.5 - covered[..., :1]
        positions = offsets * cells_a_pixel[..., None] - 0.5
        inside = (positions >= -1.0) & (positions <= float(length))
        inside &= (number < num_samples)[..., None]
        positions = tf.clip_by_value(positions, 0.0, length - 1.0)
        shares = tf.maximum(1.0 - tf.abs(positions[..., None] - cells), 0.0)
        return sample + 1, weights + tf.where(inside[..., None], shares, 0.0)

    weights = tf.zeros(tf.concat([tf.shape(starts), [length]], axis=0))
    weights = tf.ensure_shape(weights, [*starts.shape, length])
    most_samples = tf.cast(tf.reduce_max(num_samples), tf.int32)
    _, weights = tf.while_loop(
        lambda sample, _: sample < most_samples, add_sample, [tf.constant(0), weights]
    )
    weights /= num_samples[..., None, None]
    return tf.where((covered_extents > 0.0)[..., None, None], weights, 0.0)

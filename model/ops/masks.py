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

    The n samples of a bin lie at first + i * step, in cells. With F(t) the sum of
    clip(t - sample, 0, 1) over them, a cell's weight is (F(cell + 1) - F(cell)) / n; and F follows
    from how many samples lie before t - 1 and before t, without a loop over samples. Reading a
    sample beyond the border at the border only means that F is 0 before the first cell and the
    number of samples after the last.

    Args:
        spans: [N, P, 2] start and end of the RoIs on this axis, input-frame pixels.
        covered: [N, P, 2] likewise of the bitmaps.
        size: bins.
        length: rows of the bitmap.

    Returns:
        [N, P, size, length] float32.
    """
    bin_sizes = (tf.maximum(spans[..., 1:] - spans[..., :1], 1.0) / size)[..., None]
    num_samples = tf.math.ceil(bin_sizes)  # [N, P, 1, 1]
    covered_extents = (covered[..., 1:] - covered[..., :1])[..., None]
    cells_a_pixel = tf.math.divide_no_nan(float(length), covered_extents)
    steps = bin_sizes / num_samples * cells_a_pixel
    bins = tf.range(size, dtype=tf.float32)[:, None] * bin_sizes
    offsets = (spans[..., :1] - covered[..., :1])[..., None] + bins + 0.5 * bin_sizes / num_samples
    # torchvision reads a mask at y where the pixel's centre is y + 0.5.
    firsts = (offsets + 0.5) * cells_a_pixel - 0.5  # [N, P, size, 1]

    def num_before(cell: tf.Tensor) -> tf.Tensor:
        """Returns [N, P, size, cells] float32, the samples of each bin that lie before a cell."""
        number = tf.math.ceil(tf.math.divide_no_nan(cell - firsts, steps))
        return tf.clip_by_value(number, 0.0, num_samples)

    outside_before = num_before(tf.constant(-1.0))
    outside_after = num_samples - num_before(tf.constant(float(length)))
    edges = num_before(tf.range(length, dtype=tf.float32))  # [N, P, size, length]
    before, until = edges[..., :-1], edges[..., 1:]
    mean_sample = firsts + 0.5 * (before + until - 1.0) * steps
    cells = tf.range(1, length, dtype=tf.float32)
    sums = before - outside_before + (until - before) * (cells - mean_sample)
    none = tf.zeros_like(firsts)
    total = num_samples - outside_before - outside_after
    sums = tf.concat([none, sums, none + total], axis=-1)
    weights = (sums[..., 1:] - sums[..., :-1]) / num_samples
    return tf.where(covered_extents > 0.0, weights, 0.0)

"""RoIAlign on a feature pyramid, each RoI on its own level.

Bilinear samples and their mean are sums over cells with weights that are products of one factor an
axis. So everything but the last step computes which cells a bin takes ("taps") with which weights;
the last step is one weighted sum of rows of a table of all cells, in two equal forms ("bodies").

Letters: N images, R RoIs, S bins an axis, C channels, T taps an axis and bin.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import tensorflow as tf

from model.ops.boxes import box_areas

Body = Literal["auto", "gather", "sparse"]
Gradient = Callable[[tf.Tensor], tf.Tensor]

_LEVELS = {"p2": 2, "p3": 3, "p4": 4, "p5": 5}
_CANONICAL_LEVEL = 4  # of a RoI with the size that ImageNet's pictures have
_CANONICAL_SIZE_PX = 224


def assign_levels(rois: tf.Tensor) -> tf.Tensor:
    """Returns the level of the pyramid that each RoI is pooled from.

    Args:
        rois: [N, R, 4] float32, yxyx, input-frame pixels.

    Returns:
        [N, R] int32, 2 ... 5; 2 for points.

    Reference: 1612.03144, equation 1; as torchvision, a RoI counts as larger by 1e-6 octaves.
    """
    sizes = tf.sqrt(box_areas(rois))
    levels = tf.fill(tf.shape(sizes), 2)
    for level in (3, 4, 5):
        smallest = _CANONICAL_SIZE_PX * 2.0 ** (level - _CANONICAL_LEVEL - 1e-6)
        levels += tf.cast(sizes >= smallest, tf.int32)
    return levels


def roi_align(
    features: Mapping[str, tf.Tensor],
    rois: tf.Tensor,
    resolution: int,
    sampling_ratio: int,
    aligned: bool,
    body: Body = "auto",
) -> tf.Tensor:
    """Returns the features of each RoI: means over bilinear samples in its bins.

    A sample up to one cell outside the map takes the value at the border, further out it is 0.
    No gradient flows to the RoIs.

    Args:
        features: "p2" ... "p5": [N, H, W, C], stride 2**level; other keys are not looked at.
        rois: [N, R, 4] float32, yxyx, input-frame pixels.
        resolution: S, bins an axis.
        sampling_ratio: samples an axis and bin; 0 is one a cell, rounded up, which has dynamic
            shapes and so does not compile under XLA.
        aligned: shift by half a cell, so that cell centres are at +0.5 (Detectron2); False is
            torchvision's default, where also no RoI is smaller than one cell.
        body: "gather" compiles under XLA; "sparse" has no XLA kernel. They are equal. "auto" is
            the faster one without XLA, "sparse" (benchmarks/roi_align.py), so name "gather"
            inside a function with jit_compile.

    Returns:
        [N, R, S, S, C] in the features' dtype; summed in float32.

    Reference: 1703.06870, section 3.
    """
    levels = assign_levels(rois)
    return roi_align_on_levels(features, rois, levels, resolution, sampling_ratio, aligned, body)


def roi_align_on_levels(
    features: Mapping[str, tf.Tensor],
    rois: tf.Tensor,
    levels: tf.Tensor,
    resolution: int,
    sampling_ratio: int,
    aligned: bool,
    body: Body = "auto",
) -> tf.Tensor:
    """Returns what `roi_align` does, each RoI on the level that `levels` [N, R] int32 gives."""
    maps = [features[name] for name in _LEVELS]
    index = levels - min(_LEVELS.values())
    heights = tf.stack([tf.shape(feature)[1] for feature in maps])
    widths = tf.stack([tf.shape(feature)[2] for feature in maps])
    first_cells = tf.cumsum(heights * widths, exclusive=True)
    cells_an_image = tf.reduce_sum(heights * widths)

    strides = tf.cast(tf.bitwise.left_shift(1, levels), tf.float32)[..., None]
    corners = tf.stop_gradient(tf.cast(rois, tf.float32)) / strides - (0.5 if aligned else 0.0)
    starts, sizes = corners[..., :2], corners[..., 2:] - corners[..., :2]
    if not aligned:
        sizes = tf.maximum(sizes, 1.0)
    taps = [
        _taps(starts[..., axis], sizes[..., axis], lengths, resolution, sampling_ratio)
        for axis, lengths in enumerate((tf.gather(heights, index), tf.gather(widths, index)))
    ]
    (rows, row_weights), (columns, column_weights) = taps

    image_starts = tf.range(tf.shape(levels)[0])[:, None] * cells_an_image
    first = (image_starts + tf.gather(first_cells, index))[..., None, None]
    rows = first + rows * tf.gather(widths, index)[..., None, None]
    # [N, R, S, 1, T, 1] and [N, R, 1, S, 1, T]
    cells = rows[:, :, :, None, :, None] + columns[:, :, None, :, None, :]
    weights = row_weights[:, :, :, None, :, None] * column_weights[:, :, None, :, None, :]
    taps_a_bin = tf.reduce_prod(tf.shape(cells)[-2:])
    pooled = (_sum_by_gather if body == "gather" else _sum_by_sparse_product)(
        _table_of(maps),
        tf.reshape(cells, [-1, taps_a_bin]),
        tf.reshape(weights, [-1, taps_a_bin]),
    )
    channels = maps[0].shape[-1]
    shape = tf.concat([tf.shape(levels), [resolution, resolution, channels]], axis=0)
    pooled = tf.cast(tf.reshape(pooled, shape), maps[0].dtype)
    return tf.ensure_shape(pooled, [*levels.shape, resolution, resolution, channels])


def _taps(
    starts: tf.Tensor, sizes: tf.Tensor, lengths: tf.Tensor, resolution: int, sampling_ratio: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the cells, on one axis, that the samples of each bin lie between, and weights.

    Args:
        starts: [N, R] float32, of the RoIs in cells; a cell's value is at its whole number.
        sizes: [N, R] float32, likewise.
        lengths: [N, R] int32, cells of the map.
        resolution: S.
        sampling_ratio: samples a bin; 0 is one a cell.

    Returns:
        (cells [N, R, S, T] int32, weights [N, R, S, T] float32), T = 2 samples; the weights of a
        bin sum up to 1, less what lies outside.
    """
    bin_sizes = (sizes / resolution)[..., None, None]
    counts = tf.math.ceil(bin_sizes) if sampling_ratio == 0 else float(sampling_ratio)
    most = tf.reduce_max(counts) if sampling_ratio == 0 else sampling_ratio
    samples = tf.range(tf.cast(most, tf.int32))
    samples = tf.cast(samples, tf.float32)
    bins = tf.range(resolution, dtype=tf.float32)[:, None]
    steps = tf.math.divide_no_nan((samples + 0.5) * bin_sizes, counts)
    positions = starts[..., None, None] + bins * bin_sizes + steps  # [N, R, S, samples]

    last = (lengths - 1)[..., None, None]
    last_position = tf.cast(last, tf.float32)
    counted = (positions >= -1.0) & (positions <= last_position + 1.0) & (samples < counts)
    share_of_bin = tf.math.divide_no_nan(tf.cast(counted, tf.float32), counts)
    positions = tf.clip_by_value(positions, 0.0, last_position)
    before = tf.cast(tf.floor(positions), tf.int32)
    after = tf.minimum(before + 1, last)
    share_after = positions - tf.cast(before, tf.float32)
    cells = tf.concat([before, after], axis=-1)
    weights = tf.concat([(1.0 - share_after) * share_of_bin, share_after * share_of_bin], axis=-1)
    return cells, weights


def _table_of(maps: list[tf.Tensor]) -> tf.Tensor:
    """Returns [cells, C]: all cells of the first image, level by level, then the next image."""
    num_images, channels = tf.shape(maps[0])[0], maps[0].shape[-1]
    tables = [tf.reshape(feature, [num_images, -1, channels]) for feature in maps]
    return tf.reshape(tf.concat(tables, axis=1), [-1, channels])


def _sum_by_gather(table: tf.Tensor, cells: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns [B, C] float32, for each of B bins the sum of its rows [B, T * T] of the table.

    XLA fuses all taps into one loop over [B, C]. (As one gather of [B, T * T, C] and a sum over
    its middle axis, the forward pass took 17 times as long on a CPU.)
    """

    # Of its own, so that gradients are added up in float32 where the table is of less precision.
    @tf.custom_gradient
    def weighted_sum(table: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            shares = tf.reshape(upstream[:, None, :] * weights[..., None], [-1, upstream.shape[-1]])
            sums = tf.math.unsorted_segment_sum(shares, tf.reshape(cells, [-1]), tf.shape(table)[0])
            return tf.cast(sums, table.dtype)

        if cells.shape[1] is None:
            rows = tf.cast(tf.gather(table, cells), tf.float32)
            return tf.reduce_sum(rows * weights[..., None], axis=1), gradient
        taps = zip(tf.unstack(cells, axis=1), tf.unstack(weights, axis=1), strict=True)
        rows = [tf.cast(tf.gather(table, cell), tf.float32) * w[:, None] for cell, w in taps]
        return tf.add_n(rows), gradient

    return weighted_sum(table)


def _sum_by_sparse_product(table: tf.Tensor, cells: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns the same as `_sum_by_gather`, as the product of a sparse matrix with the table."""
    num_bins = tf.shape(cells, out_type=tf.int64)[0]
    bins = tf.broadcast_to(tf.range(num_bins)[:, None], tf.shape(cells))
    places = tf.reshape(tf.stack([bins, tf.cast(cells, tf.int64)], axis=-1), [-1, 2])
    matrix = tf.SparseTensor(
        places,
        tf.reshape(weights, [-1]),
        tf.stack([num_bins, tf.shape(table, out_type=tf.int64)[0]]),
    )

    # TensorFlow's own gradient would also gather [B * T * T, C] for the weights.
    @tf.custom_gradient
    def product(table: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.sparse.sparse_dense_matmul(matrix, upstream, adjoint_a=True)

        return tf.sparse.sparse_dense_matmul(matrix, table), gradient

    return product(tf.cast(table, tf.float32))

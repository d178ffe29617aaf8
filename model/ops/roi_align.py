"""RoIAlign on a feature pyramid, each RoI on its own level.

Bilinear samples and their mean are sums over cells with weights that are products of one factor an
axis. So everything but the last step computes which cells a bin takes ("taps") with which weights;
the last step is one weighted sum of rows of a table of all cells, in two equal forms ("bodies").

Letters: N images, R RoIs, Q = N * R, S bins an axis, C channels, T taps an axis and bin.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from model.ops.boxes import box_areas

Body = Literal["auto", "gather", "sparse"]
Gradient = Callable[[tf.Tensor], tf.Tensor]

_LEVELS = {"p2": 2, "p3": 3, "p4": 4, "p5": 5}
_STRIDES = tuple(2.0**level for level in _LEVELS.values())
_CANONICAL_LEVEL = 4  # of a RoI with the size that ImageNet's pictures have
_CANONICAL_SIZE_PX = 224

# TensorFlow's GPU kernel of the sparse product refuses more places x channels (2.16 and 2.21:
# FastBoundsCheck in sparse_tensor_dense_matmul_op.cc).
_MOST_PRODUCTS = 2**31 - 2
_VECTOR = 32  # channels; below, its CPU kernel adds them up one by one


def assign_levels(rois: tf.Tensor, shift: float = 1e-6, size_shift: float = 0.0) -> tf.Tensor:
    """Returns the level of the pyramid that each RoI is pooled from.

    It is floor(4 + log2(sqrt(area) / 224 + size_shift) + shift), kept within 2 and 5: equation 1 of
    1612.03144, and what code bases add to it so that a RoI of just 224 px does not fall below.

    Args:
        rois: [N, R, 4] float32, yxyx, input-frame pixels.
        shift: octaves; torchvision's is 1e-6, others have none.
        size_shift: tensorpack's is 1e-6, Detectron2's 1e-8.

    Returns:
        [N, R] int32, 2 ... 5; 2 for points.
    """
    sizes = tf.sqrt(box_areas(rois))
    levels = tf.fill(tf.shape(sizes), 2)
    for level in (3, 4, 5):
        smallest = 2.0 ** (level - _CANONICAL_LEVEL - shift) - size_shift
        levels += tf.cast(sizes >= _CANONICAL_SIZE_PX * smallest, tf.int32)
    return levels


def roi_align(
    features: Mapping[str, tf.Tensor],
    rois: tf.Tensor,
    resolution: int,
    sampling_ratio: int,
    aligned: bool,
    body: Body = "auto",
    level_shifts: tuple[float, float] = (1e-6, 0.0),
) -> tf.Tensor:
    """Returns the features of each RoI: means over bilinear samples in its bins.

    A sample up to one cell outside the map takes the value at the border, further out it is 0.
    No gradient flows to the RoIs.

    Args:
        features: "p2" ... "p5": [N, H, W, C], stride 2**level; other keys are not looked at.
        rois: [N, R, 4] float32, yxyx, input-frame pixels.
        resolution: S, bins an axis.
        sampling_ratio: samples an axis and bin; 0 is one a cell, rounded up, and needs "sparse".
        aligned: shift by half a cell, so that cell centres are at +0.5 (Detectron2); False is
            torchvision's default, where also no RoI is smaller than one cell.
        body: "gather" compiles under XLA; "sparse" has no XLA kernel. They are equal. "auto" is
            the faster one without XLA, "sparse" (benchmarks/roi_align.py), so name "gather"
            inside a function with jit_compile.
        level_shifts: `shift` and `size_shift` of `assign_levels`.

    Returns:
        [N, R, S, S, C] in the features' dtype; summed in float32.

    Reference: 1703.06870, section 3.
    """
    levels = assign_levels(rois, *level_shifts)
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
    if sampling_ratio == 0 and body == "gather":
        raise ValueError('sampling_ratio 0 has dynamic shapes: body must be "sparse", got "gather"')
    maps = [features[name] for name in _LEVELS]
    index = tf.reshape(levels - min(_LEVELS.values()), [-1])  # Q = N * R RoIs
    heights = tf.stack([tf.shape(feature)[1] for feature in maps])
    widths = tf.stack([tf.shape(feature)[2] for feature in maps])

    # Proposals are taken as given (1506.01497, section 3.2): no gradient to the RPN through here.
    # Looked up, not shifted: TFLite has no LeftShift.
    strides = tf.gather(tf.constant(_STRIDES, tf.float32), index)[:, None]
    corners = tf.stop_gradient(tf.reshape(tf.cast(rois, tf.float32), [-1, 4])) / strides
    corners -= 0.5 if aligned else 0.0
    starts, sizes = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not aligned:
        sizes = tf.maximum(sizes, 1.0)
    rows, columns = (
        _taps(starts[:, axis], sizes[:, axis], lengths, resolution, sampling_ratio)
        for axis, lengths in enumerate((tf.gather(heights, index), tf.gather(widths, index)))
    )
    image = tf.range(tf.size(index)) // tf.shape(levels)[1]
    # All levels lie in one table, one below the other, so that RoIs of all levels are one product:
    # a RoI's level is an offset, and no mask or loop over levels is needed.
    first_cells = image * tf.reduce_sum(heights * widths)
    first_cells += tf.gather(tf.cumsum(heights * widths, exclusive=True), index)
    row_starts = first_cells[:, None, None] + rows.cells * tf.gather(widths, index)[:, None, None]
    rows = rows._replace(cells=row_starts)

    pool = _sum_by_gather if body == "gather" else _sum_by_sparse_product
    pooled = tf.cast(pool(_table_of(maps), rows, columns), maps[0].dtype)
    shape = [resolution, resolution, maps[0].shape[-1]]
    pooled = tf.reshape(pooled, tf.concat([tf.shape(levels), shape], axis=0))
    return tf.ensure_shape(pooled, [*levels.shape, *shape])


class _Taps(NamedTuple):
    """The cells of one axis that each bin takes, and with which weights.

    Attributes:
        cells: [Q, S, T] int32.
        weights: [Q, S, T] float32; those of a bin sum up to 1, less what lies outside the map.
    """

    cells: tf.Tensor
    weights: tf.Tensor


def _taps(
    starts: tf.Tensor, sizes: tf.Tensor, lengths: tf.Tensor, resolution: int, sampling_ratio: int
) -> _Taps:
    """Returns the cells on both sides of each sample, T = 2 samples (adaptive: 1 + samples).

    Args:
        starts: [Q] float32, of the RoIs in cells; a cell's value is at its whole number.
        sizes: [Q] float32, likewise.
        lengths: [Q] int32, cells of the map.
        resolution: S.
        sampling_ratio: samples a bin; 0 is one a cell.
    """
    bin_sizes = (sizes / resolution)[:, None, None]
    counts = _samples_a_bin(bin_sizes) if sampling_ratio == 0 else float(sampling_ratio)
    most = tf.reduce_max(counts) if sampling_ratio == 0 else sampling_ratio
    # Bilinear sampling and the mean of a bin are linear and separate by axis: what a bin takes of a
    # row and of a column is worked out apart, and the pooling is the product of both.
    samples = tf.cast(tf.range(tf.cast(most, tf.int32)), tf.float32)
    bins = tf.range(resolution, dtype=tf.float32)[:, None]
    steps = tf.math.divide_no_nan((samples + 0.5) * bin_sizes, counts)
    positions = starts[:, None, None] + bins * bin_sizes + steps  # [Q, S, samples]

    last = (lengths - 1)[:, None, None]
    last_position = tf.cast(last, tf.float32)
    counted = (positions >= -1.0) & (positions <= last_position + 1.0) & (samples < counts)
    share_of_bin = tf.math.divide_no_nan(tf.cast(counted, tf.float32), counts)
    positions = tf.clip_by_value(positions, 0.0, last_position)
    if sampling_ratio == 0:
        return _merged_taps(positions, share_of_bin, last)
    before = _cells_before(positions)
    after = tf.minimum(before + 1, last)
    share_after = positions - tf.cast(before, tf.float32)
    weights = [(1.0 - share_after) * share_of_bin, share_after * share_of_bin]
    return _Taps(tf.concat([before, after], axis=-1), tf.concat(weights, axis=-1))


def _merged_taps(positions: tf.Tensor, share_of_bin: tf.Tensor, last: tf.Tensor) -> _Taps:
    """Returns a tap a cell, with the weights of all samples beside it.

    Samples that are a cell apart or less share cells: up to four times fewer pairs of taps.

    Args:
        positions: [Q, S, samples], rising, at most 1 apart.
        share_of_bin: [Q, S, samples], weights of the samples.
        last: int32 [Q, 1, 1], the last cell.
    """
    first = _cells_before(positions[..., :1])
    cells = first + tf.range(tf.shape(positions)[2] + 1)  # [Q, S, T]
    distances = tf.abs(positions[:, :, None, :] - tf.cast(cells, tf.float32)[..., None])
    weights = tf.reduce_sum(tf.nn.relu(1.0 - distances) * share_of_bin[:, :, None, :], axis=3)
    return _Taps(tf.minimum(cells, last), weights)


def _samples_a_bin(bin_sizes: tf.Tensor) -> tf.Tensor:
    """Returns the samples of bins [Q, 1, 1], one a cell; 1 for a size that is not a number."""
    return tf.where(tf.math.is_nan(bin_sizes), 1.0, tf.math.ceil(bin_sizes))


def _cells_before(positions: tf.Tensor) -> tf.Tensor:
    """Returns int32 [Q, S, samples], the cell at or before each position, which is at least 0.

    A position that is not a number has cell 0 and, in the weights, spoils its own bin alone: so a
    training that diverges ends by its losses, which are told, and not by a wrong index.
    """
    return tf.maximum(tf.cast(tf.floor(positions), tf.int32), 0)


def _table_of(maps: list[tf.Tensor]) -> tf.Tensor:
    """Returns [cells, C]: all cells of the first image, level by level, then the next image."""
    num_images, channels = tf.shape(maps[0])[0], maps[0].shape[-1]
    tables = [tf.reshape(feature, [num_images, -1, channels]) for feature in maps]
    return tf.reshape(tf.concat(tables, axis=1), [-1, channels])


def _sum_by_gather(table: tf.Tensor, rows: _Taps, columns: _Taps) -> tf.Tensor:
    """Returns [Q * S * S, C] float32, for each bin the weighted sum of its rows of the table.

    Tap by tap forwards, all taps at once backwards: so XLA fuses each into one loop, over bins and
    over additions to the table. The other way round, each took several times as long on a CPU.
    """
    cells = rows.cells[:, :, None, :, None] + columns.cells[:, None, :, None, :]
    weights = rows.weights[:, :, None, :, None] * columns.weights[:, None, :, None, :]

    # Of its own, so that gradients are added up in float32 where the table is of less precision.
    @tf.custom_gradient
    def weighted_sum(table: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        """Returns the sums and the function from their gradient to that of the table [cells, C]."""

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            """Returns [cells, C]: each cell gets what the bins [Q * S * S, C] took from it."""
            channels = upstream.shape[-1]
            all_weights = tf.reshape(weights, [tf.shape(upstream)[0], -1, 1])
            shares = tf.reshape(upstream[:, None, :] * all_weights, [-1, channels])
            num_cells = tf.shape(table)[0]
            sums = tf.math.unsorted_segment_sum(shares, tf.reshape(cells, [-1]), num_cells)
            return tf.cast(sums, table.dtype)

        taps = np.ndindex(rows.cells.shape[2], columns.cells.shape[2])
        terms = [
            tf.cast(tf.gather(table, tf.reshape(cells[..., i, j], [-1])), tf.float32)
            * tf.reshape(weights[..., i, j], [-1, 1])
            for i, j in taps
        ]
        return tf.add_n(terms), gradient

    return weighted_sum(table)


def _sum_by_sparse_product(table: tf.Tensor, rows: _Taps, columns: _Taps) -> tf.Tensor:
    """Returns the same as `_sum_by_gather`, as the product of a sparse matrix with the table.

    The matrix has a row for each bin and a column for each cell of the table. A place in it is the
    sum of what the tap's row and its column contribute. As two int32 in one int64 (the bin in the
    low half, which a little-endian machine has first), all places come from one addition.
    """
    num_rois, num_bins = tf.shape(rows.cells)[0], rows.cells.shape[1]
    bins = tf.range(num_bins, dtype=tf.int64)[:, None]
    first_bins = tf.range(tf.cast(num_rois, tf.int64))[:, None, None] * num_bins**2
    row_places = tf.bitwise.left_shift(tf.cast(rows.cells, tf.int64), 32)
    row_places += first_bins + bins * num_bins
    column_places = tf.bitwise.left_shift(tf.cast(columns.cells, tf.int64), 32) + bins
    along_rows, along_columns = [num_rois, -1, 1], [num_rois, 1, -1]
    places = tf.reshape(row_places, along_rows) + tf.reshape(column_places, along_columns)
    weights = tf.reshape(rows.weights, along_rows) * tf.reshape(columns.weights, along_columns)
    table = tf.cast(table, tf.float32)
    matrix = {
        "a_indices": tf.bitcast(tf.reshape(places, [-1]), tf.int32),
        "a_values": tf.reshape(weights, [-1]),
        "a_shape": tf.cast(tf.stack([num_rois * num_bins**2, tf.shape(table)[0]]), tf.int64),
    }

    # TensorFlow's own gradient would also gather all taps, for that of the weights.
    @tf.custom_gradient
    def product(table: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        """Returns matrix x table, and the function from its gradient to that of the table."""

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return _sparse_product(matrix, upstream, transposed=True)

        return _sparse_product(matrix, table), gradient

    return product(table)


def _sparse_product(
    matrix: Mapping[str, tf.Tensor], dense: tf.Tensor, transposed: bool = False
) -> tf.Tensor:
    """Returns matrix x dense [..., C], or its transpose x dense, by so many channels at once as go.

    A channel's numbers do not hang on the others, so the parts give the same bits as the whole.

    Args:
        matrix: `a_indices`, `a_values` and `a_shape` of TensorFlow's op.
        dense: [cells, C] float32; transposed [bins, C].
        transposed: whether the matrix is.
    """

    def multiply(part: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.SparseTensorDenseMatMul(**matrix, b=part, adjoint_a=transposed)

    channels, places = dense.shape[-1], matrix["a_values"].shape[0]
    if places is not None:
        width = _channels_at_once(places, channels)
        parts = [multiply(dense[:, c : c + width]) for c in range(0, channels, width)]
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)

    # Adaptive sampling: how many places there are is known only when it runs.
    places_or_1 = tf.maximum(tf.size(matrix["a_values"], tf.int64), 1)
    at_once = tf.cast(tf.clip_by_value(_MOST_PRODUCTS // places_or_1, 1, channels), tf.int32)
    vectors = at_once // _VECTOR * _VECTOR
    width = tf.where((at_once < channels) & (vectors > 0), vectors, at_once)

    def in_parts() -> tf.Tensor:
        def add(first: tf.Tensor, done: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            part = multiply(dense[:, first : first + width])
            return first + width, tf.concat([done, part], axis=1)

        start = [width, multiply(dense[:, :width])]
        shapes = [tf.TensorShape([]), tf.TensorShape([None, None])]
        return tf.while_loop(lambda first, _: first < channels, add, start, shapes)[1]

    product = tf.cond(width >= channels, lambda: multiply(dense), in_parts)
    return tf.ensure_shape(product, [None, channels])


def _channels_at_once(places: int, channels: int) -> int:
    """Returns how many channels a product of so many places may have; whole vectors if any."""
    at_once = _MOST_PRODUCTS // max(places, 1)
    if at_once >= channels:
        return channels
    return at_once // _VECTOR * _VECTOR if at_once >= _VECTOR else max(at_once, 1)

"""RoIAlign on a feature pyramid, each RoI on its own level.

Letters: N images, R RoIs, S bins an axis, C channels, P sample points an axis.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import tensorflow as tf

from model.ops.boxes import box_areas

Body = Literal["auto", "gather", "crop_and_resize"]

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
        rois: [N, R, 4] float32, yxyx, input-frame pixels. A point gets the value where it is if
            `aligned`, else a bin is at least a cell.
        resolution: S, bins an axis.
        sampling_ratio: samples an axis and bin.
        aligned: shift by half a cell, so that cell centres are at +0.5 (Detectron2); False is
            torchvision's default, where also no RoI is smaller than one cell.
        body: "gather" compiles under XLA, "crop_and_resize" does not; they are equal. "auto" is
            the fastest without XLA, so name "gather" inside a function with jit_compile.

    Returns:
        [N, R, S, S, C] in the features' dtype.

    Reference: 1703.06870, section 3.
    """
    maps = [features[name] for name in _LEVELS]
    rois = tf.stop_gradient(tf.cast(rois, tf.float32))
    levels = assign_levels(rois)
    samples = _sample_grid(rois, levels, resolution, sampling_ratio, aligned)
    if body == "gather":
        pooled = _pool_by_gather(maps, levels, samples, sampling_ratio)
    else:
        pooled = _pool_by_crops(maps, levels, samples, sampling_ratio)
    return tf.cast(pooled, maps[0].dtype)


class _Samples(NamedTuple):
    """Where samples lie, in cells of the RoI's level; a cell's value is at its whole number."""

    ys: tf.Tensor  # [N, R, P]
    xs: tf.Tensor  # [N, R, P]


def _sample_grid(
    rois: tf.Tensor, levels: tf.Tensor, resolution: int, sampling_ratio: int, aligned: bool
) -> _Samples:
    """Returns the sample points of all bins of each RoI, P = resolution * sampling_ratio."""
    strides = tf.cast(tf.bitwise.left_shift(1, levels), tf.float32)[..., None]
    corners = rois / strides - (0.5 if aligned else 0.0)
    start, end = tf.split(corners, 2, axis=-1)
    sizes = end - start if aligned else tf.maximum(end - start, 1.0)
    points = resolution * sampling_ratio
    fractions = (tf.range(points, dtype=tf.float32) + 0.5) / points
    positions = start[..., None] + sizes[..., None] * fractions  # [N, R, 2, P]
    return _Samples(positions[:, :, 0], positions[:, :, 1])


def _pool_by_gather(
    maps: list[tf.Tensor], levels: tf.Tensor, samples: _Samples, sampling_ratio: int
) -> tf.Tensor:
    """Returns [N, R, S, S, C] float32, gathered from one table of all cells of all levels."""
    channels = maps[0].shape[-1]
    num_images = tf.shape(maps[0])[0]
    heights = [tf.shape(feature)[1] for feature in maps]
    widths = [tf.shape(feature)[2] for feature in maps]
    cells = [height * width for height, width in zip(heights, widths, strict=True)]
    first_cells = tf.cumsum(tf.stack(cells), exclusive=True)
    table = tf.concat([tf.reshape(m, [num_images, -1, channels]) for m in maps], axis=1)
    table = tf.reshape(tf.cast(table, tf.float32), [-1, channels])

    index = levels - min(_LEVELS.values())
    widths_of_roi = tf.gather(widths, index)[..., None]
    low_y, high_y, share_y, inside_y = _neighbours(samples.ys, tf.gather(heights, index))
    low_x, high_x, share_x, inside_x = _neighbours(samples.xs, tf.gather(widths, index))
    image_starts = tf.range(num_images)[:, None, None] * tf.add_n(cells)
    starts = image_starts + tf.gather(first_cells, index)[..., None]

    pooled = 0.0
    for row, weight_y in ((low_y, 1.0 - share_y), (high_y, share_y)):
        for column, weight_x in ((low_x, 1.0 - share_x), (high_x, share_x)):
            cell = (starts + row * widths_of_roi)[..., :, None] + column[..., None, :]
            weight = (weight_y * inside_y)[..., :, None] * (weight_x * inside_x)[..., None, :]
            pooled += tf.gather(table, cell) * weight[..., None]
    return _mean_of_bins(pooled, sampling_ratio)


def _neighbours(
    positions: tf.Tensor, lengths: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the cells on both sides of positions on an axis.

    Args:
        positions: [N, R, P] float32.
        lengths: [N, R] int32, cells of the axis.

    Returns:
        (cell before, cell after, share of the cell after, 1.0 inside and 0.0 outside), [N, R, P].
    """
    last = lengths[..., None] - 1
    last_position = tf.cast(last, tf.float32)
    inside = (positions >= -1.0) & (positions <= last_position + 1.0)
    positions = tf.clip_by_value(positions, 0.0, last_position)
    low = tf.cast(tf.floor(positions), tf.int32)
    share = positions - tf.cast(low, tf.float32)
    return low, tf.minimum(low + 1, last), share, tf.cast(inside, tf.float32)


def _pool_by_crops(
    maps: list[tf.Tensor], levels: tf.Tensor, samples: _Samples, sampling_ratio: int
) -> tf.Tensor:
    """Returns [N, R, S, S, C] float32, cropped level by level.

    `tf.image.crop_and_resize` gives 0 outside the map; a border of copies gives the samples up to
    a cell outside their value.
    """
    num_points = samples.ys.shape[-1]
    corners = tf.stack(
        [samples.ys[..., 0], samples.xs[..., 0], samples.ys[..., -1], samples.xs[..., -1]], axis=-1
    )
    rows, crops = [], []
    flat_levels = tf.reshape(levels, [-1])
    flat_corners = tf.reshape(corners, [-1, 4])
    rois_an_image = tf.shape(levels)[1]
    for level, feature in zip(_LEVELS.values(), maps, strict=True):
        bordered = tf.pad(
            tf.cast(feature, tf.float32), [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"
        )
        row = tf.cast(tf.where(flat_levels == level)[:, 0], tf.int32)
        last = tf.cast(tf.shape(bordered)[1:3] - 1, tf.float32)
        corners_norm = (tf.gather(flat_corners, row) + 1.0) / tf.concat([last, last], axis=0)
        crop = tf.image.crop_and_resize(
            bordered, corners_norm, row // rois_an_image, [num_points, num_points]
        )
        rows.append(row)
        crops.append(_mean_of_bins(crop, sampling_ratio))
    pooled = tf.dynamic_stitch(rows, crops)
    shape = tf.concat([tf.shape(levels), tf.shape(pooled)[1:]], axis=0)
    static_shape = [*levels.shape, *crops[0].shape[1:]]
    return tf.ensure_shape(tf.reshape(pooled, shape), static_shape)


def _mean_of_bins(sampled: tf.Tensor, sampling_ratio: int) -> tf.Tensor:
    """Returns [..., S, S, C], the means of blocks of [..., P, P, C]."""
    num_bins = sampled.shape[-2] // sampling_ratio
    leading, channels = tf.shape(sampled)[:-3], sampled.shape[-1]
    block = [num_bins, sampling_ratio, num_bins, sampling_ratio, channels]
    blocks = tf.reshape(sampled, tf.concat([leading, block], axis=0))
    return tf.reduce_mean(blocks, axis=[-4, -2])

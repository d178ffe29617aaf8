"""RoIAlign's two bodies, and the usual crop_and_resize, on one pyramid: milliseconds of CPU time.

`sparse` is what runs without XLA, `gather` what runs compiled. The peer is what most TensorFlow
detectors do: tf.image.crop_and_resize of the samples on each level, then the mean of 2 x 2; its
pyramid gets a border of copies, so that its numbers are the same, which is checked first. The
ways take turns and the best round of each counts. CPU time is of the whole process, so that other
load on the machine matters little.

Command:
    python -m benchmarks.roi_align [--height 64 --width 80 ...]

Results are in roi_align.md.
"""

import json
import time
from collections.abc import Callable, Mapping

import click
import numpy as np
import tensorflow as tf

from model.ops.roi_align import Body, assign_levels, roi_align

SAMPLING_RATIO = 2
LEVELS = (2, 3, 4, 5)


def pool_by_crops(features: Mapping[str, tf.Tensor], rois: tf.Tensor, resolution: int) -> tf.Tensor:
    """Returns aligned RoIAlign [N, R, S, S, C] by crop_and_resize, level by level."""
    points = resolution * SAMPLING_RATIO
    num_rois, channels = rois.shape[1], features["p2"].shape[-1]
    levels = tf.reshape(assign_levels(rois), [-1])
    rows, crops = [], []
    for level in LEVELS:
        bordered = tf.pad(features[f"p{level}"], [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
        row = tf.cast(tf.where(levels == level)[:, 0], tf.int32)
        corners = tf.gather(tf.reshape(rois, [-1, 4]), row) / 2**level - 0.5
        half_steps = (corners[:, 2:] - corners[:, :2]) / points / 2
        first, last = corners[:, :2] + half_steps, corners[:, 2:] - half_steps
        height_width = tf.cast(tf.shape(bordered)[1:3], tf.float32)
        boxes_norm = (tf.concat([first, last], 1) + 1.0) / (tf.tile(height_width, [2]) - 1.0)
        crop = tf.image.crop_and_resize(bordered, boxes_norm, row // num_rois, [points, points])
        rows.append(row)
        crops.append(tf.nn.avg_pool2d(crop, SAMPLING_RATIO, SAMPLING_RATIO, "VALID"))
    shape = [-1, num_rois, resolution, resolution, channels]
    return tf.reshape(tf.dynamic_stitch(rows, crops), shape)


def pool_by_body(body: Body) -> Callable[..., tf.Tensor]:
    """Returns our RoIAlign with a given body."""

    def pool(features: Mapping[str, tf.Tensor], rois: tf.Tensor, resolution: int) -> tf.Tensor:
        return roi_align(features, rois, resolution, SAMPLING_RATIO, aligned=True, body=body)

    return pool


WAYS = {
    "sparse": (pool_by_body("sparse"), False),
    "gather, XLA": (pool_by_body("gather"), True),
    "crop_and_resize": (pool_by_crops, False),
}


def random_case(
    pictures: int, height: int, width: int, num_rois: int, channels: int
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Returns a pyramid whose p2 is height x width, and boxes of 12 px to nine tenths of it."""
    rng = np.random.default_rng(0)
    features = {}
    for level in LEVELS:
        shape = (pictures, height >> (level - 2), width >> (level - 2), channels)
        features[f"p{level}"] = tf.constant(rng.normal(size=shape), tf.float32)
    sides_px = 4 * np.array([height, width])
    centers = rng.uniform(0, 1, (pictures, num_rois, 2)) * sides_px
    log_sizes = rng.uniform(np.log(12), np.log(0.9 * sides_px[0]), (pictures, num_rois, 1))
    log_ratios = rng.normal(0, 0.4, (pictures, num_rois, 1))
    half_sizes = np.exp(np.concatenate([log_sizes + log_ratios, log_sizes - log_ratios], -1)) / 2
    boxes = np.concatenate([centers - half_sizes, centers + half_sizes], axis=-1)
    return features, tf.constant(np.clip(boxes, 0, np.tile(sides_px, 2)), tf.float32)


def milliseconds(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Returns the least CPU time of some rounds for each call; its first call does not count."""
    least = dict.fromkeys(calls, float("inf"))
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if number:
                least[name] = min(least[name], round((time.process_time() - start) * 1e3, 1))
    return least


@click.command()
@click.option("--pictures", default=2)
@click.option("--height", default=64, help="Rows of p2; a multiple of 8.")
@click.option("--width", default=80, help="Columns of p2; a multiple of 8.")
@click.option("--rois", "num_rois", default=512, help="A picture.")
@click.option("--channels", default=256)
@click.option("--resolution", default=7)
@click.option("--rounds", default=5)
def main(
    pictures: int,
    height: int,
    width: int,
    num_rois: int,
    channels: int,
    resolution: int,
    rounds: int,
) -> None:
    """Measures forward alone, and forward with backward."""
    features, rois = random_case(pictures, height, width, num_rois, channels)
    shape = (pictures, num_rois, resolution, resolution, channels)
    upstream = tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)
    forward, both = {}, {}
    for name, (pool, compiled) in WAYS.items():

        @tf.function(jit_compile=compiled)
        def pooled_of(features, rois, pool=pool):
            return pool(features, rois, resolution)

        @tf.function(jit_compile=compiled)
        def pooled_and_gradient(features, rois, upstream, pool=pool):
            with tf.GradientTape() as tape:
                tape.watch(features)
                pooled = pool(features, rois, resolution)
            return pooled, tape.gradient(pooled, features, upstream)

        forward[name] = lambda function=pooled_of: function(features, rois)
        both[name] = lambda function=pooled_and_gradient: function(features, rois, upstream)

    values = [call() for call in forward.values()]
    spread = max(float(tf.reduce_max(tf.abs(value - values[0]))) for value in values)
    if spread > 1e-3:
        raise click.ClickException(f"the ways differ by {spread:.2g}; nothing was measured")
    result = {
        "shape": list(shape),
        "largest_difference": spread,
        "forward_ms": milliseconds(forward, rounds),
        "forward_and_backward_ms": milliseconds(both, rounds),
    }
    both_ms = result["forward_and_backward_ms"]
    result["ratio_to_sparse"] = {n: round(ms / both_ms["sparse"], 2) for n, ms in both_ms.items()}
    click.echo(json.dumps(result))


if __name__ == "__main__":
    main()

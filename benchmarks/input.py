"""Training input against a plain tf.data loop: pictures a second and core, waits of a GPU.

Both read the records that CocoTransform wrote, decode, resize, pad and batch. The plain loop is
what a tutorial would write: TFRecordDataset, decode, resize, padded_batch to one shape, and no
flip. Ours reads by offset in a planned order, checks checksums, flips, uses the bucket's shape
and is repeatable. CPU time is of the whole process, so that other load on the machine matters
little: pictures a second of CPU time are those of one core. The share of a step spent waiting is
that of a step which takes as long as a GPU would; this process sleeps instead.

Command:
    python -m components.coco_transform --examples O/examples --config C --out T
    python -m benchmarks.input --examples T/examples --config C
"""

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import tensorflow as tf

from configs.loader import load_config
from configs.schema import InputConfig
from model import records
from model.examples import shard_paths
from model.input.input_pipeline import TrainingInput
from model.input.sizes import padded_sides

WARM_UP_BATCHES = 10
V100_PICTURES_PER_SECOND = 9.4  # AWSDet: 12 epochs of COCO on 8 of them in 5 h 15 min


def plain_loop(
    examples: str, split: str, config: InputConfig, with_masks: bool, batch_size: int
) -> tf.data.Dataset:
    """Returns batches as a short tf.data program makes them, all of one shape."""
    floats = tf.io.VarLenFeature(tf.float32)
    box_keys = (records.BOX_YMIN, records.BOX_XMIN, records.BOX_YMAX, records.BOX_XMAX)
    spec: dict[str, Any] = {
        records.ENCODED: tf.io.FixedLenFeature([], tf.string),
        records.CLASS_LABEL: tf.io.VarLenFeature(tf.int64),
        **dict.fromkeys(box_keys, floats),
    }
    if with_masks:
        spec[records.MASK_BITMAP] = tf.io.VarLenFeature(tf.string)
    long = int(padded_sides(config.long_side_px, config.size_multiple_px))

    def parse(payload: tf.Tensor) -> dict[str, tf.Tensor]:
        record = tf.io.parse_single_example(payload, spec)
        picture = tf.io.decode_jpeg(record[records.ENCODED], channels=3)
        size = tf.cast(tf.shape(picture)[:2], tf.float32)
        scale = tf.minimum(
            config.short_side_px / tf.reduce_min(size), config.long_side_px / tf.reduce_max(size)
        )
        resized = tf.image.resize(picture, tf.cast(size * scale, tf.int32))
        boxes = tf.stack([tf.sparse.to_dense(record[key]) for key in box_keys], axis=-1)
        result = {
            "images": tf.cast(resized, tf.uint8),
            "boxes": boxes[: config.max_objects],
            "labels": tf.sparse.to_dense(record[records.CLASS_LABEL])[: config.max_objects],
        }
        if with_masks:
            bitmaps = tf.sparse.to_dense(record[records.MASK_BITMAP])[: config.max_objects]
            result["masks"] = tf.map_fn(
                lambda png: tf.image.resize(
                    tf.cond(
                        tf.strings.length(png) > 0,
                        lambda: tf.io.decode_png(png, channels=1),
                        lambda: tf.zeros([1, 1, 1], tf.uint8),
                    ),
                    [112, 112],
                    "nearest",
                ),
                bitmaps,
                fn_output_signature=tf.uint8,
            )
        return result

    most = config.max_objects
    shapes = {"images": [long, long, 3], "boxes": [most, 4], "labels": [most]}
    if with_masks:
        shapes["masks"] = [config.max_objects, 112, 112, 1]
    paths = [str(path) for path in shard_paths(examples, split)]
    return (
        tf.data.TFRecordDataset(paths)
        .repeat()
        .shuffle(256, seed=0)
        .map(parse, tf.data.AUTOTUNE)
        .padded_batch(batch_size, shapes, drop_remainder=True)
        .prefetch(2)
    )


def measure(batches: Callable[[], Iterator[Any]], count: int, batch_size: int) -> dict[str, float]:
    """Returns pictures a second of CPU time and of wall time."""
    iterator = batches()
    for _ in itertools.islice(iterator, WARM_UP_BATCHES):
        pass
    cpu, wall = time.process_time(), time.perf_counter()
    pictures = batch_size * sum(1 for _ in itertools.islice(iterator, count))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"per_core_second": pictures / cpu, "per_second": pictures / wall}


def waiting_share(batches: Callable[[], Iterator[Any]], count: int, step_seconds: float) -> float:
    """Returns the share of a step spent waiting for its batch, where the rest takes so long."""
    iterator = batches()
    for _ in itertools.islice(iterator, WARM_UP_BATCHES):
        pass
    waited = 0.0
    for _ in range(count):
        time.sleep(step_seconds)
        before = time.perf_counter()
        next(iterator)
        waited += time.perf_counter() - before
    return waited / (waited + count * step_seconds)


@click.command()
@click.option("--examples", required=True, type=click.Path(), help="CocoTransform's folder.")
@click.option("--config", "config_path", required=True, type=click.Path(), help="YAML config.")
@click.option("--set", "overrides", multiple=True, help="Changes one setting, as in tfx-rcnn.")
@click.option("--split", default="train", show_default=True)
@click.option("--batches", default=60, show_default=True, help="Measured, each time.")
@click.option("--repeats", default=3, show_default=True, help="Alternating; the median counts.")
@click.option(
    "--gpu-pictures-per-second",
    "gpu_speed",
    default=V100_PICTURES_PER_SECOND,
    show_default=True,
    help="Of one GPU that trains from this input.",
)
def main(
    examples: str,
    config_path: str,
    overrides: tuple[str, ...],
    split: str,
    batches: int,
    repeats: int,
    gpu_speed: float,
) -> None:
    """Prints one JSON object: both speeds, their ratio, and what a GPU would wait."""
    config = load_config(config_path, list(overrides))
    batch_size = config.train.pictures_per_worker
    with_masks = config.model.mask_head is not None
    ours = TrainingInput(examples, split, config.input, with_masks, 1, batch_size, seed=0)
    plain = plain_loop(examples, split, config.input, with_masks, batch_size)
    speeds: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    for _ in range(repeats):
        speeds["plain"].append(measure(lambda: iter(plain), batches, batch_size))
        speeds["ours"].append(measure(lambda: iter(ours.dataset(0)), batches, batch_size))
    result: dict[str, Any] = {"batch": batch_size, "with_masks": with_masks}
    for unit in ("per_core_second", "per_second"):
        for name, runs in speeds.items():
            values = sorted(run[unit] for run in runs)
            result[f"{name}_pictures_{unit}"] = [round(value, 1) for value in values]
        median = {
            name: sorted(r[unit] for r in runs)[len(runs) // 2] for name, runs in speeds.items()
        }
        result[f"ratio_{unit}"] = round(median["ours"] / median["plain"], 3)
    result["cores"] = len(os.sched_getaffinity(0))
    result["gpu_pictures_per_second"] = gpu_speed
    share = waiting_share(lambda: iter(ours.dataset(0)), batches, batch_size / gpu_speed)
    result["share_of_step_waiting"] = round(share, 4)
    click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

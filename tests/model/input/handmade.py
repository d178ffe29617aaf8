"""Writes a small folder like CocoTransform's by hand."""

import io
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from model import records
from model.examples import shard_file, split_folder, write_manifest
from model.input.buckets import training_buckets, write_buckets
from model.input.index import index_path, write_index
from model.tfrecord import write_tfrecord


def jpeg(pixels, quality=95):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def png(bitmap):
    stream = io.BytesIO()
    Image.fromarray((np.asarray(bitmap) * 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def example(pixels, boxes=(), labels=(), crowds=None, bitmaps=None, mask_boxes=None):
    """Returns a record: boxes and mask boxes in pixels, bitmaps as arrays or None."""
    height, width = pixels.shape[:2]
    sides = np.array([height, width, height, width], np.float64)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4) / sides
    bitmaps = [None] * len(boxes) if bitmaps is None else bitmaps
    mask_boxes = np.zeros((len(boxes), 4)) if mask_boxes is None else mask_boxes
    mask_boxes = np.asarray(mask_boxes, np.float64).reshape(-1, 4) / sides

    def floats(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def ints(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def texts(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    features = {
        records.ENCODED: texts([jpeg(pixels)]),
        records.CLASS_LABEL: ints(labels),
        records.IS_CROWD: ints([0] * len(boxes) if crowds is None else crowds),
        records.MASK_BITMAP: texts([b"" if b is None else png(b) for b in bitmaps]),
    }
    for prefix, rows in (("bbox", boxes), ("mask", mask_boxes)):
        for column, side in enumerate(("ymin", "xmin", "ymax", "xmax")):
            features[f"image/object/{prefix}/{side}"] = floats(rows[:, column])
    side = max([0, *(max(b.shape) for b in bitmaps if b is not None)])
    record = tf.train.Example(features=tf.train.Features(feature=features))
    return record.SerializeToString(), (height, width, len(boxes), side)


def write_folder(folder, examples, config, image_ids=None, shards=1, split="train"):
    """Writes `examples` (of `example`) spread over shards; returns the folder."""
    folder = Path(folder)
    split_folder(folder, split).mkdir(parents=True)
    image_ids = range(1, len(examples) + 1) if image_ids is None else image_ids
    numbered = list(zip(examples, image_ids, strict=True))
    lines = []
    for shard in range(shards):
        rows = []
        with open(split_folder(folder, split) / shard_file(shard, shards), "wb") as stream:
            for (payload, (height, width, objects, side)), image_id in numbered[shard::shards]:
                offset, length = write_tfrecord(stream, payload)
                rows.append(
                    {
                        "offset": offset,
                        "length": length,
                        "height": height,
                        "width": width,
                        "image_id": image_id,
                        "num_objects": objects,
                        "mask_side": side,
                    }
                )
        write_index(index_path(folder, split, shard, shards), rows)
        lines.append({"file": shard_file(shard, shards), "records": len(rows), "sha256": "0" * 64})
    sizes = [size for _, size in examples]
    heights, widths = [size[0] for size in sizes], [size[1] for size in sizes]
    buckets = training_buckets(config, heights, widths, max_buckets=3)
    write_buckets(folder, buckets)
    categories = [{"id": 7 * label, "name": f"c{label}", "label": label} for label in (1, 2, 3)]
    objects = sum(size[2] for size in sizes)
    write_manifest(
        folder,
        {split: {"records": len(examples), "objects": objects, "shards": lines}},
        categories,
    )
    return folder

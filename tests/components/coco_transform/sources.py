"""Writes records and folders like CocoExampleGen's, from the contract alone."""

import hashlib
import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from model import records
from model.examples import shard_file, split_folder, write_manifest
from model.input.index import index_path, write_index
from model.tf_example import decode_example, encode_example
from model.tfrecord import write_tfrecord

CATEGORIES = [{"id": 10 * label, "name": f"thing {label}", "label": label} for label in (1, 2, 3)]


def encoded_picture(pixels, format_="JPEG", **options):
    """Returns the bytes of a picture file."""
    stream = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(stream, format_, **options)
    return stream.getvalue()


def rle_of(bits):
    """Returns the JSON of a mask's compressed RLE, as a record holds it."""
    rle = coco_mask.encode(np.asfortranarray(bits.astype(np.uint8)))
    return json.dumps({"size": rle["size"], "counts": rle["counts"].decode()}).encode()


def source_record(
    encoded, height, width, xywh=(), labels=None, crowds=None, masks=None, image_id=1
):
    """Returns a serialized record of CocoExampleGen; masks are arrays [height, width] or None."""
    count = len(xywh)
    labels = [1] * count if labels is None else labels
    masks = [None] * count if masks is None else masks
    boxes = np.asarray(xywh, np.float64).reshape(-1, 4)
    left_top, right_bottom = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    numbers = [struct.pack("<5d", *box, box[2] * box[3]) for box in boxes]
    return encode_example(
        bytes_lists={
            records.ENCODED: [encoded],
            records.FORMAT: [b"png" if encoded.startswith(b"\x89PNG") else b"jpeg"],
            records.FILENAME: [b"%d.jpg" % image_id],
            records.SOURCE_ID: [b"%d" % image_id],
            records.SHA256: [hashlib.sha256(encoded).hexdigest().encode()],
            records.CLASS_TEXT: [b"thing"] * count,
            records.SEGMENTATION: [b"" if mask is None else rle_of(mask) for mask in masks],
            records.COCO_NUMBERS: [b"".join(numbers)],
        },
        float_lists={
            records.BOX_YMIN: left_top[:, 1] / height,
            records.BOX_XMIN: left_top[:, 0] / width,
            records.BOX_YMAX: right_bottom[:, 1] / height,
            records.BOX_XMAX: right_bottom[:, 0] / width,
        },
        int64_lists={
            records.HEIGHT: [height],
            records.WIDTH: [width],
            records.CLASS_LABEL: labels,
            records.CATEGORY_ID: [10 * label for label in labels],
            records.ANNOTATION_ID: [100 * image_id + row for row in range(count)],
            records.IS_CROWD: [0] * count if crowds is None else crowds,
        },
    )


def write_source_folder(folder, splits, categories=CATEGORIES):
    """Writes an examples folder; `splits` holds a list of shards, each a list of records."""
    folder = Path(folder)
    entries = {}
    for name, shards in splits.items():
        split_folder(folder, name).mkdir(parents=True)
        lines = []
        for number, payloads in enumerate(shards):
            path = split_folder(folder, name) / shard_file(number, len(shards))
            rows = []
            with open(path, "wb") as stream:
                for payload in payloads:
                    offset, length = write_tfrecord(stream, payload)
                    rows.append(_index_row(payload, offset, length))
            write_index(index_path(folder, name, number, len(shards)), rows)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append({"file": path.name, "records": len(payloads), "sha256": sha256})
        total = sum(len(shard) for shard in shards)
        entries[name] = {"records": total, "objects": 0, "shards": lines}
    write_manifest(folder, entries, categories)
    return folder


def _index_row(payload, offset, length):
    record = decode_example(payload)
    return {
        "offset": offset,
        "length": length,
        "height": record[records.HEIGHT][0],
        "width": record[records.WIDTH][0],
        "image_id": int(record[records.SOURCE_ID][0]),
        "num_objects": len(record[records.ANNOTATION_ID]),
        "mask_side": 0,
    }

"""What is to be found in a split of CocoTransform's examples, in the frame of its pictures."""

import io
import os
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from model import records
from model.coco.boxes import yxyx_to_xywh
from model.evaluation.ground_truth import GroundTruth
from model.examples import iterate_records, read_categories, shard_paths
from model.input.index import index_path, joined, read_index
from model.ops.mask_paste import encode_window
from model.tf_example import decode_example

_BOX = (records.BOX_YMIN, records.BOX_XMIN, records.BOX_YMAX, records.BOX_XMAX)
_MASK_BOX = (records.MASK_YMIN, records.MASK_XMIN, records.MASK_YMAX, records.MASK_XMAX)


def images_of_split(examples_dir: str | os.PathLike[str], split: str) -> list[dict[str, Any]]:
    """Returns COCO's images of a split, in the order of its records; sizes are the records'."""
    shards = len(shard_paths(examples_dir, split))
    index = joined([read_index(index_path(examples_dir, split, n, shards)) for n in range(shards)])
    return [
        {"id": int(image_id), "height": int(height), "width": int(width), "file_name": ""}
        for image_id, height, width in zip(index.image_id, index.height, index.width, strict=True)
    ]


def ground_truth_of_examples(examples_dir: str | os.PathLike[str], split: str) -> GroundTruth:
    """Returns the ground truth of one split of CocoTransform's examples folder.

    Boxes are the records' float32 ones, clipped to the picture; a mask is the record's bitmap,
    exact unless CocoTransform made it or its picture smaller. The area is the mask's where there
    is one, else the box's.

    Raises:
        DatasetError: the folder or the split is missing, or a shard is damaged.
    """
    categories = read_categories(examples_dir)
    ids = {category["label"]: category["id"] for category in categories}
    images = images_of_split(examples_dir, split)
    annotations: list[dict[str, Any]] = []
    for image, payload in zip(images, iterate_records(examples_dir, split), strict=True):
        annotations += _annotations(decode_example(payload), image, ids, len(annotations) + 1)
    names = [{"id": category["id"], "name": category["name"]} for category in categories]
    return GroundTruth(images, annotations, names)


def _annotations(
    record: dict[str, list[Any]], image: dict[str, Any], category_ids: dict[int, int], first_id: int
) -> list[dict[str, Any]]:
    height, width = image["height"], image["width"]
    sides = np.asarray([height, width, height, width], np.float64)
    boxes = np.stack([np.asarray(record[key], np.float64) for key in _BOX], axis=-1) * sides
    mask_boxes = np.stack([np.asarray(record[key], np.float64) for key in _MASK_BOX], axis=-1)
    annotations = []
    for n, box in enumerate(boxes.tolist()):
        _, _, box_width, box_height = bbox = yxyx_to_xywh(box)
        annotation = {
            "id": first_id + n,
            "image_id": image["id"],
            "category_id": category_ids[record[records.CLASS_LABEL][n]],
            "bbox": list(bbox),
            "area": box_width * box_height,
            "iscrowd": int(record[records.IS_CROWD][n]),
        }
        if record[records.MASK_BITMAP][n]:
            bitmap = np.asarray(Image.open(io.BytesIO(record[records.MASK_BITMAP][n]))) > 0
            y0, x0, window = drawn(bitmap, mask_boxes[n] * sides, height, width)
            annotation["segmentation"] = encode_window(window, y0, x0, height, width)
            annotation["area"] = int(window.sum())
        annotations.append(annotation)
    return annotations


def drawn(
    bitmap: npt.NDArray[np.bool_], box: npt.ArrayLike, height: int, width: int
) -> tuple[int, int, npt.NDArray[np.bool_]]:
    """Returns a bitmap at the picture's resolution: first row, first column, bool [h, w].

    Each pixel takes the bitmap's pixel that its centre lies in.

    Args:
        bitmap: [rows, columns], covers the box.
        box: [4] yxyx, pixels of the picture.
        height: height of the picture.
        width: width of the picture.
    """
    ymin, xmin, ymax, xmax = np.asarray(box, np.float64)
    y0, rows = _sampled(ymin, ymax, height, bitmap.shape[0])
    x0, columns = _sampled(xmin, xmax, width, bitmap.shape[1])
    return y0, x0, bitmap[rows][:, columns]


def _sampled(
    first: float, last: float, limit: int, length: int
) -> tuple[int, npt.NDArray[np.int64]]:
    start, end = max(0, round(first)), min(limit, round(last))
    positions = (np.arange(start, end) + 0.5 - first) * length / max(last - first, 1e-9)
    return start, np.clip(np.floor(positions), 0, length - 1).astype(np.int64)

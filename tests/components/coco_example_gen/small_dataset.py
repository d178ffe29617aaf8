"""Writes small COCO-format data sets for the tests beside it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}]


def jpeg(height: int = 20, width: int = 30, seed: int = 0, orientation: int = 1) -> bytes:
    """Returns a noisy JPEG with an EXIF orientation."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def png(height: int = 20, width: int = 30, mode: str = "RGB", **options: Any) -> bytes:
    """Returns a PNG of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "PNG", **options)
    return stream.getvalue()


def image(id_: Any, name: str = "", height: int = 20, width: int = 30) -> dict[str, Any]:
    """Returns an entry of `images`."""
    return {"id": id_, "file_name": name or f"{id_}.jpg", "height": height, "width": width}


def annotation(id_: Any, image_id: Any, **fields: Any) -> dict[str, Any]:
    """Returns an entry of `annotations`: a whole and correct one but for `fields`."""
    return {
        "id": id_,
        "image_id": image_id,
        "category_id": 3,
        "bbox": [2.25, 3.5, 10.1, 8.7],
        "area": 80.3,
        "iscrowd": 0,
        "segmentation": [[2, 3, 12, 3, 12, 12, 2, 12]],
        **fields,
    }


def write_dataset(
    folder: Path,
    images: list[Any],
    annotations: list[Any],
    categories: list[Any] | None = None,
    pictures: dict[str, bytes] | None = None,
) -> Path:
    """Writes `instances.json` and `pictures/`; a JPEG for each entry unless `pictures` is given."""
    (folder / "pictures").mkdir(parents=True)
    content = {
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES if categories is None else categories,
    }
    (folder / "instances.json").write_text(json.dumps(content))
    if pictures is None:
        pictures = {
            entry["file_name"]: jpeg(entry["height"], entry["width"], seed=number)
            for number, entry in enumerate(images)
        }
    for name, picture in pictures.items():
        (folder / "pictures" / name).write_bytes(picture)
    return folder

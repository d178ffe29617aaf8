"""Folders of drawn pictures in many forms, small, for the tests of `tfx-rcnn init`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def draw(
    root: Path,
    names: list[str],
    *,
    size: tuple[int, int] = (64, 48),
    classes: int = 1,
    first_id: int = 1,
    objects: int = 2,
    masks: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Writes pictures with bright boxes and returns their COCO value; size is (width, height)."""
    random = np.random.default_rng(seed)
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    coco["categories"] = [{"id": first_id + n, "name": f"class {n}"} for n in range(classes)]
    width, height = size
    for number, name in enumerate(names):
        pixels = random.integers(0, 80, (height, width, 3)).astype(np.uint8)
        image = {"id": number + 1, "file_name": name, "width": width, "height": height}
        coco["images"].append(image)
        for _ in range(objects):
            w, h = (int(random.integers(side // 6, side // 3)) for side in size)
            x, y = int(random.integers(0, width - w)), int(random.integers(0, height - h))
            id_ = len(coco["annotations"]) + 1
            class_ = id_ % classes
            pixels[y : y + h, x : x + w] = 140 + 100 * class_ // classes
            ring = [x, y, x + w, y, x + w, y + h, x + w / 2, y + h - 1, x, y + h]
            coco["annotations"].append(
                {
                    "id": id_,
                    "image_id": number + 1,
                    "category_id": first_id + class_,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [ring] if masks else [],
                }
            )
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return coco


def write(path: Path, value: Any) -> Path:
    """Writes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def numbered(number: int, front: str = "img") -> list[str]:
    """Returns so many file names."""
    return [f"{front}{place:04d}.jpg" for place in range(number)]

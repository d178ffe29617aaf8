import json

import numpy as np
import pytest
from PIL import Image

from components.coco_evaluator import evaluation
from components.coco_evaluator.serving_check import Served
from configs.schema import Config
from model import export
from tests.model.fake_detector import FakeDetector

CATEGORIES = [{"id": 18, "name": "dog", "label": 1}, {"id": 90, "name": "toothbrush", "label": 2}]
CONFIG = Config(
    name="fake",
    input={"short_side_px": 64, "long_side_px": 128, "size_multiple_px": 32},
    model={"mask_head": {}},
)


COSTS = {"size_mb": 1.5, "load_s": 2.0, "latency_p50_ms": 5.0, "latency_p99_ms": 9.0,
         "memory_mb": 700.0}  # fmt: skip


@pytest.fixture(autouse=True)
def served(monkeypatch):
    """Stands in for the process that serves a candidate, which takes seconds; see its own test."""
    monkeypatch.setattr(evaluation, "check_served", lambda *a, **k: Served(costs=COSTS))


@pytest.fixture
def make_model(tmp_path, monkeypatch):
    """Exports a model that finds a toothbrush on the whole picture, at the given score."""

    def make(name, score, categories=CATEGORIES):
        monkeypatch.setattr(export, "build_detector", lambda *a, **k: FakeDetector())
        folder = tmp_path / name
        export.export_saved_model(FakeDetector(weight=score), CONFIG, categories, folder)
        return folder

    return make


@pytest.fixture
def data(tmp_path):
    """A COCO folder: pictures 1 and 2 show a toothbrush all over, picture 3 nothing."""
    folder = tmp_path / "data"
    (folder / "pictures").mkdir(parents=True)
    images, annotations = [], []
    for number, (height, width) in enumerate([(50, 80), (60, 40), (50, 80)], 1):
        name = f"{number}.png"
        Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(folder / "pictures" / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        if number != 3:
            corners = [0, 0, width, 0, width, height, 0, height]
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 90,
                    "bbox": [0, 0, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [corners],
                }
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": c["id"], "name": c["name"]} for c in CATEGORIES],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return folder

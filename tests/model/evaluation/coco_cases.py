"""Cases in which evaluators of COCO's kind differ, if anywhere: random, and made for that."""

import numpy as np

from model.evaluation.engine import Task, task_of
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.results import check_detections

AREA_BORDERS = (32.0**2, 96.0**2)


def random_case(seed, pictures=12, classes=3, most=14):
    """A ground truth and detections with crowds, ties, area borders, duplicates and misses.

    Coordinates are whole numbers and scores have one decimal, so that IoU and scores often tie.
    """
    rng = np.random.default_rng(seed)
    images = [{"id": n, "width": 200, "height": 150, "file_name": f"{n}.png"}
              for n in range(1, pictures + 1)]  # fmt: skip
    categories = [{"id": 10 * k, "name": f"class {k}"} for k in range(1, classes + 1)]
    objects, detections = [], []
    for image in images:
        for _ in range(rng.integers(0, most)):
            width, height = rng.choice([8, 16, 32, 48, 96, 120], 2)
            x, y = rng.integers(0, 200 - width), rng.integers(0, max(150 - height, 1))
            box = [float(v) for v in (x, y, width, height)]
            category = int(rng.choice(categories)["id"])
            area = float(rng.choice([box[2] * box[3], *AREA_BORDERS]))
            objects.append(
                {"id": len(objects) + 1, "image_id": image["id"], "category_id": category,
                 "bbox": box, "area": area, "iscrowd": int(rng.random() < 0.15)}
            )  # fmt: skip
            for _ in range(rng.integers(0, 4)):
                moved = np.maximum(np.array(box) + rng.integers(-6, 7, 4), [0, 0, 1, 1])
                other = rng.random() < 0.1
                detections.append(
                    {"image_id": image["id"], "score": round(float(rng.random()), 1),
                     "category_id": int(rng.choice(categories)["id"]) if other else category,
                     "bbox": moved.astype(float).tolist()}
                )  # fmt: skip
    order = rng.permutation(len(detections))
    return GroundTruth(images, objects, categories), [detections[n] for n in order]


def with_masks(truth, detections):
    """The same with each box's rectangle, one corner cut off, as its mask."""

    def masked(entry):
        x, y, width, height = entry["bbox"]
        right, bottom = x + width, y + height
        shape = [x, y, right, y, right, bottom - height / 3, right - width / 3, bottom, x, bottom]
        return entry | {"segmentation": [shape]}

    masked_truth = GroundTruth(truth.images, list(map(masked, truth.annotations)), truth.categories)
    return masked_truth, list(map(masked, detections))


def task(truth, detections, kind="box", class_agnostic=False, max_detections=100, **chosen) -> Task:
    checked, _ = check_detections(truth, detections)
    return task_of(
        truth,
        checked,
        kind,
        chosen.get("image_ids", sorted(i["id"] for i in truth.images)),
        chosen.get("category_ids", sorted(c["id"] for c in truth.categories)),
        class_agnostic,
        max_detections,
    )

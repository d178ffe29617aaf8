from typing import Any

import numpy as np
import pytest

from model.evaluation.confusion import confusion
from model.evaluation.engine import by_hotcoco
from model.evaluation.ground_truth import GroundTruth
from tests.model.evaluation import coco_cases

CATEGORIES = [{"id": 10, "name": "cat"}, {"id": 20, "name": "dog"}]
IMAGES = [{"id": 1, "width": 200, "height": 200, "file_name": "1.png"}]
HERE, THERE = [10.0, 10.0, 40.0, 40.0], [100.0, 100.0, 40.0, 40.0]
CAT, DOG, NOTHING = 0, 1, 2


def counted(objects: list[tuple], detections: list[tuple], score: float = 0.5) -> dict:
    """The cells that are not 0."""
    annotations: list[dict[str, Any]] = [
        {"id": n, "image_id": 1, "category_id": 10 * (k + 1), "bbox": box, "area": 1600.0,
         "iscrowd": crowd}
        for n, (k, box, crowd) in enumerate(objects, 1)
    ]  # fmt: skip
    found = [
        {"image_id": 1, "category_id": 10 * (k + 1), "bbox": box, "score": score}
        for k, box, score in detections
    ]
    task = coco_cases.task(GroundTruth(IMAGES, annotations, CATEGORIES), found)
    counts = confusion(task, by_hotcoco(task).matches, score)
    return {(int(t), int(p)): int(counts[t, p]) for t, p in np.argwhere(counts)}


@pytest.mark.parametrize(
    ("detections", "cells"),
    [
        ([(CAT, HERE, 0.9)], {(CAT, CAT): 1}),
        ([(DOG, HERE, 0.9)], {(CAT, DOG): 1}),
        ([(DOG, HERE, 0.9), (CAT, HERE, 0.6)], {(CAT, CAT): 1, (NOTHING, DOG): 1}),
        ([(DOG, HERE, 0.9), (CAT, HERE, 0.4)], {(CAT, DOG): 1}),  # below the score: not there
        ([(DOG, HERE, 0.9), (DOG, HERE, 0.8)], {(CAT, DOG): 1, (NOTHING, DOG): 1}),
        ([(CAT, THERE, 0.9)], {(CAT, NOTHING): 1, (NOTHING, CAT): 1}),
        ([], {(CAT, NOTHING): 1}),
    ],
)
def test_an_object_counts_once(detections: list[tuple], cells: dict) -> None:
    assert counted([(CAT, HERE, 0)], detections) == cells


def test_crowds_and_what_lies_in_them_do_not_count() -> None:
    assert counted([(CAT, HERE, 1)], [(CAT, HERE, 0.9)]) == {}


@pytest.mark.parametrize("seed", range(2))
def test_rows_add_up_to_the_objects_and_columns_to_the_detections(seed: int) -> None:
    truth, found = coco_cases.random_case(seed)
    task = coco_cases.task(truth, found)
    matches = by_hotcoco(task).matches
    counts = confusion(task, matches, 0.3)
    objects = np.bincount(matches.gt_category[matches.gt_counts[0]], minlength=3)
    assert counts[:-1].sum(axis=1).tolist() == objects.tolist()
    judged = (matches.score >= 0.3) & ((matches.ignored[0] & 1) == 0)
    detections = np.bincount(matches.category[judged], minlength=3)
    assert counts[:, :-1].sum(axis=0).tolist() == detections.tolist()

from typing import Any

import pytest

from components.coco_evaluator.worst_pictures import JudgedPicture, worst_pictures
from model.evaluation.engine import by_hotcoco
from model.evaluation.ground_truth import GroundTruth
from tests.model.evaluation import coco_cases

CATEGORIES = [{"id": 1, "name": "cat"}]
# What is seen in a picture: objects found at these scores, missed ones, wrong detections' scores.
Seen = tuple[list[float], int, list[float]]


def box(n: int) -> list[float]:
    return [20.0 * n, 5.0, 15.0, 15.0]


def worst(seen: dict[int, Seen], count: int = 9, is_crowd: bool = False) -> list[JudgedPicture]:
    objects: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image_id, (pairs, missed, wrong) in seen.items():
        for n in range(len(pairs) + missed):
            objects.append(
                {"id": len(objects) + 1, "image_id": image_id, "category_id": 1, "area": 225.0,
                 "bbox": box(n), "iscrowd": int(is_crowd)}
            )  # fmt: skip
        scored = [(box(n), score) for n, score in enumerate(pairs)]
        scored += [([20.0 * n, 100.0, 15.0, 15.0], score) for n, score in enumerate(wrong)]
        found += [
            {"image_id": image_id, "category_id": 1, "bbox": b, "score": s} for b, s in scored
        ]
    images = [{"id": n, "width": 300, "height": 200, "file_name": f"{n}.png"} for n in seen]
    task = coco_cases.task(GroundTruth(images, objects, CATEGORIES), found)
    return worst_pictures(task, by_hotcoco(task).matches, 0.5, count)


SEEN: dict[int, Seen] = {
    1: ([0.9], 0, []),
    2: ([0.9, 0.1], 0, [0.8]),  # at 0.5: one missed, one wrong
    3: ([], 3, [0.2]),
    4: ([], 0, [0.3]),
}


def test_pictures_with_most_errors_come_first() -> None:
    first, second = worst(SEEN)
    assert [first.image_id, second.image_id] == [3, 2]
    assert (len(first.found), len(first.missed), len(first.wrong)) == (0, 3, 0)
    assert (len(second.found), len(second.missed), len(second.wrong)) == (1, 1, 1)
    assert [picture.image_id for picture in worst(SEEN, 1)] == [3]


def test_the_lists_are_the_objects_and_detections_themselves() -> None:
    (picture,) = worst({7: ([0.9, 0.4], 1, [0.8, 0.3])})
    assert [a["bbox"] for a in picture.found] == [box(0)]
    assert [d["score"] for d in picture.right] == [0.9]
    assert [a["bbox"] for a in picture.missed] == [box(1), box(2)]
    assert [d["score"] for d in picture.wrong] == [0.8]


def test_among_equals_the_larger_share_and_then_the_lower_id_comes_first() -> None:
    seen: dict[int, Seen] = {1: ([0.9], 1, []), 2: ([], 1, []), 3: ([], 1, [])}
    assert [picture.image_id for picture in worst(seen)] == [2, 3, 1]


def test_a_crowd_is_neither_missed_nor_are_detections_in_it_wrong() -> None:
    assert worst({1: ([0.9], 1, [])}, is_crowd=True) == []


@pytest.mark.parametrize("seen", [{}, {1: ([0.9], 0, [])}, {1: ([], 0, [])}])
def test_no_errors_are_no_pictures(seen: dict[int, Seen]) -> None:
    assert worst(seen) == []

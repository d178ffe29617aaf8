"""The six kinds of errors and their costs: tidecv's numbers, and cases by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.evaluation.coco_numbers import evaluate
from model.evaluation.engine import by_hotcoco, task_of
from model.evaluation.error_types import (
    ALL_MISSED,
    ALL_WRONG,
    BACKGROUND,
    BOTH,
    CLASSIFICATION,
    DUPLICATE,
    ERROR_KINDS,
    LOCALISATION,
    MISSED,
    error_costs,
    error_types,
)
from model.evaluation.ground_truth import GroundTruth, ground_truth_from_json
from model.evaluation.results import check_detections
from tests.model.evaluation import coco_cases
from tests.model.evaluation.make_tide_expected import CASES, with_different_scores

NAMES = dict(zip(("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), ERROR_KINDS, strict=True))
KINDS = {"bbox": "box", "segm": "mask"}


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_tidecv(name: str, shared_data: Path) -> None:
    expected = json.loads(Path(__file__).with_name("tide_expected.json").read_text())[name]
    truth_file, found_file, kind = CASES[name]
    truth = ground_truth_from_json(shared_data / truth_file)
    found = json.loads((shared_data / found_file).read_text())
    checked, _ = check_detections(truth, with_different_scores(found))
    task = task_of(
        truth,
        checked,
        KINDS[kind],
        sorted(image["id"] for image in truth.images),
        sorted(category["id"] for category in truth.categories),
        False,
        10**6,
    )
    matches = by_hotcoco(task).matches
    costs = error_costs(matches, error_types(task, matches))

    ids = [int(number) for number in expected["ap"]]
    places = np.searchsorted(matches.category_ids, ids)
    np.testing.assert_allclose(costs.ap[places], list(expected["ap"].values()), atol=1e-11)
    for short, words in NAMES.items():
        assert costs.counts[words].sum() == expected["counts"][short], words
        theirs = [np.nan if ap is None else ap for ap in expected["mended"][short].values()]
        np.testing.assert_allclose(costs.mended[words][places], theirs, atol=1e-11, err_msg=words)


def thing(box: list[float], category: int, score: float | None = None) -> dict:
    entry = {"image_id": 1, "category_id": category, "bbox": box}
    if score is not None:
        return entry | {"score": score}
    return entry | {"area": box[2] * box[3], "iscrowd": 0}


CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
BOX = [10.0, 10.0, 40.0, 40.0]


def judged(objects: list[dict], detections: list[dict]):
    """The kind of each detection in the order given, "" of a right one; and the costs."""
    numbered = [a | {"id": n} for n, a in enumerate(objects, 1)]
    images = [{"id": 1, "width": 200, "height": 200, "file_name": "1.png"}]
    task = coco_cases.task(GroundTruth(images, numbered, CATEGORIES), detections)
    matches = by_hotcoco(task).matches
    types = error_types(task, matches)
    words = [""] * len(detections)
    for row, source in enumerate(matches.source.tolist()):
        words[source] = "" if types.kind[row] < 0 else ERROR_KINDS[types.kind[row]]
    return words, error_costs(matches, types)


@pytest.mark.parametrize(
    ("box", "category", "kind"),
    [
        (BOX, 1, ""),
        (BOX, 2, CLASSIFICATION),
        ([10.0, 10.0, 40.0, 16.0], 1, LOCALISATION),  # IoU 16 / 40
        ([10.0, 10.0, 40.0, 16.0], 2, BOTH),
        ([10.0, 10.0, 40.0, 4.0], 2, BACKGROUND),  # IoU 4 / 40 = 0.1
        ([100.0, 100.0, 40.0, 40.0], 1, BACKGROUND),
    ],
)
def test_a_detection_is_of_the_kind_that_its_place_and_class_say(
    box: list[float], category: int, kind: str
) -> None:
    words, costs = judged([thing(BOX, 1)], [thing(box, category, 0.9)])
    assert words == [kind]
    is_mended = kind in ("", CLASSIFICATION, LOCALISATION)
    assert costs.counts[MISSED].tolist() == [0 if is_mended else 1, 0]
    if kind and is_mended:
        assert costs.cost(kind) == 1.0 and costs.ap[0] == 0.0
    assert np.isnan(costs.ap[1])  # There is no dog.


def test_of_two_on_one_object_the_less_sure_is_a_duplicate_that_costs() -> None:
    objects = [thing(BOX, 1), thing([100.0, 100.0, 40.0, 40.0], 1)]
    found = [thing(BOX, 1, 0.9), thing(BOX, 1, 0.8), thing(objects[1]["bbox"], 1, 0.7)]
    words, costs = judged(objects, found)
    assert words == ["", DUPLICATE, ""]
    # Precision 1 up to recall 0.50 (51 of 101 points), then 2/3; without the duplicate 1.
    assert costs.ap[0] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert costs.cost(DUPLICATE) == pytest.approx(1 - costs.ap[0])
    assert costs.cost(ALL_WRONG) == costs.cost(DUPLICATE) and costs.cost(ALL_MISSED) == 0


def test_only_the_surest_near_one_mends_an_object() -> None:
    near = [10.0, 10.0, 40.0, 16.0]
    words, costs = judged([thing(BOX, 1)], [thing(near, 1, 0.9), thing(near, 1, 0.8)])
    assert words == [LOCALISATION, LOCALISATION]
    assert costs.mended[LOCALISATION][0] == 1.0  # One finds it, the other is gone.


@pytest.mark.parametrize("seed", range(3))
def test_the_ap_is_cocos_and_no_mending_lowers_it(seed: int) -> None:
    truth, found = coco_cases.random_case(seed)
    task = coco_cases.task(truth, found)
    matches = by_hotcoco(task).matches
    types = error_types(task, matches)
    costs = error_costs(matches, types)
    coco = evaluate(truth, found).number("box/AP50")
    assert np.nanmean(costs.ap) == pytest.approx(coco, abs=2e-3)  # Ties in recall round elsewhere.
    assert all(costs.cost(kind) >= 0 for kind in (*ERROR_KINDS, ALL_WRONG, ALL_MISSED))
    is_wrong = ((matches.right[0] & 1) == 0) & ((matches.ignored[0] & 1) == 0)
    assert (types.kind[is_wrong] >= 0).all() and not (types.is_missed & types.is_found).any()


def test_without_objects_all_is_background() -> None:
    words, costs = judged([], [thing(BOX, 1, 0.9), thing(BOX, 2, 0.9)])
    assert words == [BACKGROUND, BACKGROUND] and np.isnan(costs.ap).all()
    assert costs.counts[BACKGROUND].tolist() == [1, 1] and costs.cost(BACKGROUND) == 0.0


def test_nothing_at_all_has_no_errors() -> None:
    words, costs = judged([], [])
    assert words == [] and np.isnan(costs.ap).all()
    assert costs.cost(BACKGROUND) == 0.0

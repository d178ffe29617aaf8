"""hotcoco and our matching against pycocotools: every array, bit by bit; and the way back to it."""

from dataclasses import fields, replace

import numpy as np
import pytest

from configs.metric_names import METRIC_NAMES
from model.evaluation import engine
from model.evaluation.coco_numbers import measure
from model.evaluation.engine import by_hotcoco, by_pycocotools, evaluate_task
from model.evaluation.ground_truth import GroundTruth, ground_truth_from_json
from model.evaluation.matching import Matches
from model.evaluation.results import read_detections
from tests.model.evaluation.coco_cases import random_case, task, with_masks

SHARED = {
    "val2014_100": (
        "evaluator/instances_val2014_100.json",
        "evaluator/instances_val2014_fake{}100_results.json",
    ),
    "awkward": (
        "coco_tiny/annotations/instances_val2017.json",
        "evaluator/awkward_{}_results.json",
    ),
}
NARROWED = [
    {},
    {"class_agnostic": True},
    {"max_detections": 10},
    {"max_detections": 500},
    {"category_ids": [1]},
]


def assert_same(ours, judge):
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(judge, name), err_msg=name)
    for field in fields(Matches):
        mine, theirs = getattr(ours.matches, field.name), getattr(judge.matches, field.name)
        np.testing.assert_array_equal(mine, theirs, err_msg=field.name)


@pytest.mark.parametrize("narrowed", NARROWED, ids=str)
@pytest.mark.parametrize(("kind", "coco_kind"), [("box", "bbox"), ("mask", "segm")])
@pytest.mark.parametrize("name", SHARED)
def test_every_array_equals_pycocotools(shared_data, name, kind, coco_kind, narrowed):
    truth_path, detections_path = SHARED[name]
    truth = ground_truth_from_json(shared_data / truth_path)
    detections = read_detections(shared_data / detections_path.format(coco_kind))
    one = task(truth, detections, kind, **narrowed)

    assert_same(by_hotcoco(one), by_pycocotools(one))


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize("seed", range(12))
def test_every_array_equals_pycocotools_in_random_cases(seed, kind):
    truth, detections = with_masks(*random_case(seed))
    narrowed = NARROWED[seed % 4]
    one = task(truth, detections, kind, **narrowed)

    assert_same(by_hotcoco(one), by_pycocotools(one))


def empty(truth, detections):
    return GroundTruth([], [], truth.categories), []


def without_objects(truth, detections):
    return GroundTruth(truth.images, [], truth.categories), detections


def without_detections(truth, detections):
    return truth, []


def only_crowds(truth, detections):
    crowds = [a | {"iscrowd": 1} for a in truth.annotations]
    return GroundTruth(truth.images, crowds, truth.categories), detections


def all_scores_equal(truth, detections):
    return truth, [d | {"score": 0.5} for d in detections]


def boxes_without_area(truth, detections):
    return truth, [d | {"bbox": [*d["bbox"][:3], 0.0]} for d in detections]


@pytest.mark.parametrize(
    "change",
    [
        empty,
        without_objects,
        without_detections,
        only_crowds,
        all_scores_equal,
        boxes_without_area,
    ],
)
def test_every_array_equals_pycocotools_in_awkward_cases(change):
    truth, detections = change(*random_case(3))
    one = task(truth, detections)

    assert_same(by_hotcoco(one), by_pycocotools(one))


def test_the_numbers_are_those_that_pycocotools_prints(capsys):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, detections = random_case(5)
    one = task(truth, detections)

    def coco(annotations):
        index = COCO()
        copies = [dict(a) for a in annotations]
        index.dataset = {
            "images": one.images, "annotations": copies, "categories": one.categories
        }  # fmt: skip
        index.createIndex()
        return index

    run = COCOeval(coco(one.objects), coco(one.detections), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()

    metrics = measure(truth, detections).metrics
    assert metrics.numbers("box") == dict(zip(METRIC_NAMES, run.stats.tolist(), strict=True))
    assert metrics.by_kind["box"].evaluator.startswith("hotcoco ")
    assert metrics.notes == []


def test_a_setting_uses_pycocotools_alone():
    truth, detections = random_case(1)

    metrics = measure(truth, detections, evaluator="pycocotools").metrics

    assert metrics.by_kind["box"].evaluator.startswith("pycocotools ")
    assert metrics.numbers("box") == measure(truth, detections).metrics.numbers("box")


def off_by_a_bit(outcome):
    precision = outcome.precision.copy()
    precision.flat[np.argmax(precision > 0)] += 1e-16
    largest = int(np.argmax(precision))
    precision.flat[largest] = np.nextafter(precision.flat[largest], 2)
    return replace(outcome, precision=precision)


def with_another_match(outcome):
    right = outcome.matches.right.copy()
    right.flat[0] ^= 1
    return replace(outcome, matches=replace(outcome.matches, right=right))


@pytest.mark.parametrize(
    ("change", "words"),
    [(off_by_a_bit, "in precision"), (with_another_match, "in right")],
)
def test_one_bit_that_differs_leaves_all_to_pycocotools(monkeypatch, change, words):
    one = task(*random_case(2))
    fast = engine.by_hotcoco
    monkeypatch.setattr(engine, "by_hotcoco", lambda t: change(fast(t)))

    outcome = evaluate_task(one)

    assert outcome.by.startswith("pycocotools")
    assert words in outcome.note
    assert "pycocotools alone counts" in outcome.note
    assert_same(outcome, by_pycocotools(one))


def test_an_error_of_hotcoco_leaves_all_to_pycocotools(monkeypatch):
    class PanicException(BaseException):
        pass

    def panic(task):
        raise PanicException("index out of bounds")

    monkeypatch.setattr(engine, "by_hotcoco", panic)

    metrics = measure(*random_case(2)).metrics

    (note,) = metrics.notes
    assert "cannot evaluate this (PanicException: index out of bounds)" in note


def test_a_part_of_the_pictures_is_checked_the_same_in_each_run(monkeypatch):
    one = task(*random_case(4, pictures=60))
    judged = []
    judge = engine.by_pycocotools
    monkeypatch.setattr(engine, "by_pycocotools", lambda t, *a: judged.append(t) or judge(t, *a))

    outcomes = [evaluate_task(one), evaluate_task(one)]

    assert [len(t.image_ids) for t in judged] == [32, 32]
    assert judged[0].image_ids == judged[1].image_ids
    assert all(outcome.by.startswith("hotcoco") for outcome in outcomes)

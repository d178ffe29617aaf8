"""Ground truths and detections with little in them: every analysis has an end, for both kinds."""

import itertools
import json

import numpy as np
import pytest

from components.coco_evaluator.analysis import analyse, analysis_content
from components.coco_evaluator.label_errors import labelling_content
from configs.metric_names import METRIC_NAMES
from ground.errors import DatasetError
from model.evaluation.coco_numbers import evaluate
from model.evaluation.confusion import confusion
from model.evaluation.engine import by_hotcoco
from model.evaluation.error_types import ALL_MISSED, ALL_WRONG, ERROR_KINDS, MISSED
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.matching import IOU_THRESHOLDS
from model.evaluation.operating import calibration, score_curve
from model.evaluation.resampling import Resampler
from tests.model.evaluation import coco_cases

IMAGES = [{"id": n, "width": 200, "height": 200, "file_name": f"{n}.png"} for n in (1, 2)]
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
BOX, THERE = [10.0, 10.0, 40.0, 40.0], [100.0, 100.0, 40.0, 40.0]
CAT, DOG, NOTHING = 0, 1, 2


def thing(image_id=1, category_id=1, bbox=BOX, iscrowd=0):
    area = bbox[2] * bbox[3]
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "area": area,
            "iscrowd": iscrowd}  # fmt: skip


def seen(score, image_id=1, category_id=1, bbox=BOX):
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": score}


CASES = {
    "nothing at all": ([], []),
    "no detections": ([thing()], []),
    "no objects": ([], [seen(0.5)]),
    "crowds alone": ([thing(iscrowd=1)], [seen(0.9), seen(0.2, category_id=2)]),
    "crowds alone, nothing found": ([thing(iscrowd=1)], []),
    "other pictures": ([thing(image_id=1)], [seen(0.9, image_id=2)]),
    "other class, same place": ([thing()], [seen(0.9, category_id=2)]),
    "other class, other place": ([thing()], [seen(0.9, category_id=2, bbox=THERE)]),
    "one score": ([thing(1), thing(2)], [seen(0.5), seen(0.5), seen(0.5, 2), seen(0.5, 2, 2)]),
    "scores of zero": ([thing()], [seen(0.0), seen(0.0, category_id=2)]),
    "scores that are no shares": ([thing()], [seen(-1.0), seen(5.0, category_id=2)]),
    "whole numbers as scores": ([thing()], [seen(1), seen(0, category_id=2)]),
}
EVERY_CASE = pytest.mark.parametrize("name", CASES)
KINDS = pytest.mark.parametrize("kind", ["box", "mask"])


def task_of_case(name, kind="box", class_agnostic=False, categories=CATEGORIES):
    objects, found = CASES[name]
    truth = GroundTruth(IMAGES, [a | {"id": n} for n, a in enumerate(objects, 1)], categories)
    if kind == "mask":
        truth, found = coco_cases.with_masks(truth, found)
    return truth, coco_cases.task(truth, found, kind, class_agnostic)


def analysed(name, class_agnostic=False, kinds=("box", "mask"), categories=CATEGORIES):
    tasks = {kind: task_of_case(name, kind, class_agnostic, categories)[1] for kind in kinds}
    matches = {kind: by_hotcoco(task).matches for kind, task in tasks.items()}
    return analyse(tasks, matches, {c["id"]: c["name"] for c in categories}), tasks, matches


@EVERY_CASE
@pytest.mark.parametrize("class_agnostic", [False, True])
def test_every_case_is_analysed_and_its_content_is_json(name, class_agnostic):
    analysis, _, _ = analysed(name, class_agnostic)
    content = json.loads(json.dumps(analysis_content(analysis), allow_nan=False))
    assert content["confusion"] is None or len(content["confusion"]) == 3
    assert set(content["errors"]) == (set() if class_agnostic else {"box", "mask"})
    for point in [content["best_f1"], *(of["best_f1"] for of in content["scores"].values())]:
        assert 0 <= point["precision"] <= 1 and 0 <= point["recall"] <= 1
    for costs in content["errors"].values():
        assert all(0 <= costs[kind]["cost"] <= 1 for kind in (*ERROR_KINDS, ALL_WRONG, ALL_MISSED))


@EVERY_CASE
def test_boxes_and_masks_of_the_same_shapes_are_judged_alike(name):
    analysis, _, matches = analysed(name)
    for kind in ERROR_KINDS:
        box, mask = (analysis.costs[of].counts[kind].tolist() for of in ("box", "mask"))
        assert box == mask, kind
    assert (matches["box"].right[0] & 1).tolist() == (matches["mask"].right[0] & 1).tolist()
    assert matches["box"].finds.tolist() == matches["mask"].finds.tolist()


@EVERY_CASE
@KINDS
def test_confusion_has_each_object_once_and_each_detection_that_counts(name, kind):
    _, task = task_of_case(name, kind)
    matches = by_hotcoco(task).matches
    counts = confusion(task, matches, -np.inf)
    objects = np.bincount(matches.gt_category[matches.gt_counts[0]], minlength=2)
    assert counts[:NOTHING].sum(axis=1).tolist() == objects.tolist()
    judged = matches.category[(matches.ignored[0] & 1) == 0]
    assert counts[:, :NOTHING].sum(axis=0).tolist() == np.bincount(judged, minlength=2).tolist()
    assert counts[NOTHING, NOTHING] == 0


@EVERY_CASE
def test_numbers_go_to_json_and_say_the_same_there(name):
    objects, found = CASES[name]
    truth = GroundTruth(IMAGES, [a | {"id": n} for n, a in enumerate(objects, 1)], CATEGORIES)
    metrics = evaluate(truth, found)
    content = json.loads(json.dumps(metrics.to_dict(), allow_nan=False))
    assert content["box"] == metrics.numbers("box")
    assert content["mask"] is None and metrics.numbers("mask") == {}
    assert metrics.number("mask/AP") is None and metrics.number("box/AP", 99) is None
    assert content["counts"]["objects"] == sum(not a["iscrowd"] for a in objects)
    assert content["counts"]["crowds"] == sum(a["iscrowd"] for a in objects)
    assert content["counts"]["detections"] == len(found)
    for number, known in metrics.classes("box").items():
        of_class = content["per_category"]["box"][str(number)]
        assert {key: of_class[key] for key in known.numbers} == known.numbers
        assert of_class["objects"] == known.objects == metrics.classes("box")[number].objects
    undefined = not any(not a["iscrowd"] for a in objects)
    assert (metrics.number("box/AP") == -1) == undefined


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("no objects", {(NOTHING, CAT): 1}),
        ("no detections", {(CAT, NOTHING): 1}),
        ("crowds alone", {}),
        ("other class, same place", {(CAT, DOG): 1}),
        ("other class, other place", {(CAT, NOTHING): 1, (NOTHING, DOG): 1}),
        # Of each picture's two cats one is right; the dog finds the place taken.
        ("one score", {(CAT, CAT): 2, (NOTHING, CAT): 1, (NOTHING, DOG): 1}),
    ],
)
@KINDS
def test_confusion_of_little_is_that_by_hand(name, cells, kind):
    _, task = task_of_case(name, kind)
    counts = confusion(task, by_hotcoco(task).matches, 0.5)
    assert {tuple(at): int(counts[tuple(at)]) for at in np.argwhere(counts).tolist()} == cells


@KINDS
def test_object_near_a_detection_of_a_crowd_alone_is_missed(kind):
    objects = [thing(iscrowd=1), thing(bbox=THERE)]
    truth = GroundTruth(IMAGES, [a | {"id": n} for n, a in enumerate(objects, 1)], CATEGORIES)
    found = [seen(0.9)]
    if kind == "mask":
        truth, found = coco_cases.with_masks(truth, found)
    task = coco_cases.task(truth, found, kind)
    matches = by_hotcoco(task).matches
    analysis = analyse({"box": task}, {"box": matches}, {1: "cat", 2: "dog"})
    assert analysis.costs["box"].counts[MISSED].tolist() == [1, 0]
    assert analysis.confusion is not None
    assert analysis.confusion.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_score_that_is_no_number_is_named_before_anything_is_judged(score):
    truth = GroundTruth(IMAGES, [thing() | {"id": 1}], CATEGORIES)
    with pytest.raises(DatasetError, match=r"detection 1: score is -?(nan|inf), expected a finite"):
        coco_cases.task(truth, [seen(0.5), seen(score)])


def test_classes_with_one_name_keep_numbers_of_their_own():
    same = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "fox"}]
    analysis, _, _ = analysed("one score", kinds=("box",), categories=same)
    content = analysis_content(analysis)
    assert content["class_names"] == ["cat (id 1)", "cat (id 2)", "fox"]
    assert content["scores"]["cat (id 1)"]["objects"] == 2
    assert content["scores"]["cat (id 2)"]["objects"] == 0


def test_suspected_labels_of_crowds_and_of_nothing_are_none():
    for name in ("nothing at all", "crowds alone", "no objects", "no detections"):
        analysis, tasks, _ = analysed(name, kinds=("box",))
        assert analysis.suspects == [] and analysis.num_suspects == 0, name
        truth, _ = task_of_case(name)
        content = labelling_content(truth, analysis.suspects, "test")
        assert content["images"] == content["annotations"] == [] and tasks["box"].kind == "box"


def test_object_that_is_labelled_twice_is_suspected_once_whatever_is_found():
    objects = [thing(), thing(), thing(category_id=2), thing(iscrowd=1)]
    truth = GroundTruth(IMAGES, [a | {"id": n} for n, a in enumerate(objects, 1)], CATEGORIES)
    task = coco_cases.task(truth, [])
    analysis = analyse({"box": task}, {"box": by_hotcoco(task).matches}, {1: "cat", 2: "dog"})
    (suspect,) = analysis.suspects
    assert suspect.suspicion == "labelled twice?" and suspect.annotation is not None
    assert suspect.annotation["id"] == 2
    content = json.loads(json.dumps(labelling_content(truth, analysis.suspects, "test")))
    assert [a["id"] for a in content["annotations"]] == [1, 2, 3, 4, 5]
    names = {c["id"]: c["name"] for c in content["categories"]}
    assert names[content["annotations"][-1]["category_id"]] == "labelled twice? cat"


@pytest.mark.parametrize("seed", range(4))
@KINDS
def test_order_of_detections_with_different_scores_changes_nothing(seed, kind):
    truth, found = coco_cases.random_case(seed, pictures=6)
    if kind == "mask":
        truth, found = coco_cases.with_masks(truth, found)
    rng = np.random.default_rng(seed)
    for detection, score in zip(found, rng.permutation(len(found)) / len(found), strict=True):
        detection["score"] = float(score)
    contents = []
    for order in (range(len(found)), rng.permutation(len(found)).tolist()):
        task = coco_cases.task(truth, [found[n] for n in order], kind)
        names = {c["id"]: c["name"] for c in truth.categories}
        analysis = analyse({"box": task}, {"box": by_hotcoco(task).matches}, names)
        contents.append(analysis_content(analysis))
    assert contents[0] == contents[1]


@pytest.mark.parametrize("seed", range(4))
def test_score_curve_falls_in_score_and_rises_in_recall(seed):
    truth, found = coco_cases.random_case(seed)
    matches = by_hotcoco(coco_cases.task(truth, found)).matches
    for category in (None, *range(len(matches.category_ids))):
        curve = score_curve(matches, category)
        assert (np.diff(curve.scores) < 0).all() and (np.diff(curve.recall) >= 0).all()
        best = curve.best()
        with np.errstate(invalid="ignore"):
            f1 = 2 * curve.precision * curve.recall / (curve.precision + curve.recall)
        assert best.f1 == pytest.approx(np.nanmax(f1))
        for wanted, (point_of, value) in itertools.product(
            (0.1, 0.5, 0.9),
            ((curve.for_precision, "precision"), (curve.for_recall, "recall")),
        ):
            point = point_of(wanted)
            reached = getattr(curve, value)[curve.recall > 0] >= wanted
            assert (point is not None) == bool(reached.any())
            assert point is None or getattr(point, value) >= wanted


@pytest.mark.parametrize("seed", range(4))
def test_calibration_counts_each_judged_detection_once(seed):
    truth, found = coco_cases.random_case(seed)
    matches = by_hotcoco(coco_cases.task(truth, found)).matches
    whole = calibration(matches)
    parts = [calibration(matches, k) for k in range(len(matches.category_ids))]
    assert sum(part.count for part in parts).tolist() == whole.count.tolist()
    assert whole.count.sum() == ((matches.ignored[0] & 1) == 0).sum()
    there = whole.count > 0
    assert (0 <= whole.precision[there]).all() and (whole.precision[there] <= 1).all()
    low, high = np.arange(10) / 10, np.arange(1, 11) / 10
    assert (whole.score[there] >= low[there] - 1e-9).all()
    assert (whole.score[there] <= high[there] + 1e-9).all()
    assert 0 <= whole.error <= 1


@KINDS
def test_detection_that_is_the_object_is_right_at_every_threshold(kind):
    objects = [thing(1), thing(2, bbox=THERE)]
    truth = GroundTruth(IMAGES, [a | {"id": n} for n, a in enumerate(objects, 1)], CATEGORIES)
    found = [seen(0.5, a["image_id"], bbox=a["bbox"]) for a in objects]
    if kind == "mask":
        truth, found = coco_cases.with_masks(truth, found)
    matches = by_hotcoco(coco_cases.task(truth, found, kind)).matches
    assert matches.right[0].tolist() == [(1 << len(IOU_THRESHOLDS)) - 1] * 2


@EVERY_CASE
@KINDS
def test_resample_that_draws_each_picture_once_has_the_numbers_themselves(name, kind):
    objects, found = CASES[name]
    truth = GroundTruth(IMAGES, [a | {"id": n} for n, a in enumerate(objects, 1)], CATEGORIES)
    if kind == "mask":
        truth, found = coco_cases.with_masks(truth, found)
    metrics = evaluate(truth, found, list(dict.fromkeys(["box", kind])))
    matches = by_hotcoco(coco_cases.task(truth, found, kind)).matches
    numbers = Resampler(matches, [1, 2]).numbers(np.ones((len(IMAGES), 1), np.float32))
    for place, category_id in enumerate((1, 2)):
        for at, metric in enumerate(METRIC_NAMES):
            expected = metrics.number(f"{kind}/{metric}", category_id)
            got = float(numbers[at, place, 0])
            undefined = expected is None or expected == -1
            assert np.isnan(got) if undefined else got == pytest.approx(expected, abs=1e-6), metric

import pytest

from components.coco_evaluator.findings import (
    Narrowing,
    baseline_findings,
    crowded_findings,
    failed_pictures_findings,
    narrowing_findings,
)
from model.evaluation.coco_numbers import GroundTruth


def truth(*counts, crowds=0):
    """Pictures 1, 2, ... with so many (cats, dogs) each; the first has crowds besides."""
    annotations = [
        {"image_id": image_id, "category_id": category_id, "iscrowd": 0}
        for image_id, numbers in enumerate(counts, 1)
        for category_id, number in zip((3, 7), numbers, strict=True)
        for _ in range(number)
    ]
    annotations += [{"image_id": 1, "category_id": 3, "iscrowd": 1}] * crowds
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(1, len(counts) + 1)]
    return GroundTruth(images, annotations, [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}])


@pytest.mark.parametrize(
    ("counts", "narrowing", "model_limit", "kinds"),
    [
        ([(20, 20)], Narrowing(), 40, []),
        ([(20, 20)], Narrowing(), None, []),
        ([(20, 20)], Narrowing(), 39, ["more_objects_than_detected"]),
        ([(21, 0)], Narrowing(), 100, ["more_objects_than_counted"]),
        ([(21, 0)], Narrowing(), 20, ["more_objects_than_counted", "more_objects_than_detected"]),
        ([(11, 11)], Narrowing(class_agnostic=True), 100, ["more_objects_than_counted"]),
        ([(21, 5)], Narrowing(category_ids=frozenset({7})), 20, []),
        ([(21, 0), (5, 5)], Narrowing(image_ids=frozenset({2})), 20, []),
    ],
)
def test_more_objects_than_can_be_counted_or_found_are_said(counts, narrowing, model_limit, kinds):
    findings = crowded_findings(truth(*counts, crowds=50), narrowing, 20, model_limit)

    assert [finding.kind for finding in findings] == kinds
    assert not any(finding.closes_gate for finding in findings)


def test_the_worst_picture_and_the_settings_are_named():
    counted, detected = crowded_findings(truth((30, 0), (0, 250), (5, 5)), Narrowing(), 20, 40)

    assert counted.note.startswith("2 pictures hold more objects of a class than the 20 detections")
    assert "up to 250 of 'dog', in picture 2 (2.jpg)" in counted.note
    assert "evaluate.max_detections: 250" in counted.note
    assert detected.note.startswith("1 picture holds more objects than the 40 detections")
    assert "model.detections.max_detections" in detected.note


@pytest.mark.parametrize(
    ("narrowing", "words"),
    [
        (Narrowing(image_ids=frozenset({4})), "1 pictures"),
        (Narrowing(image_ids=frozenset()), "0 pictures"),
        (Narrowing(category_ids=frozenset({7, 3})), "categories 3, 7"),
        (Narrowing(class_agnostic=True), "categories ignored"),
    ],
)
def test_every_narrowing_closes_the_gate(narrowing, words):
    [finding] = narrowing_findings(narrowing)

    assert finding.closes_gate
    assert f"narrowed ({words})" in finding.note


def test_the_whole_data_are_no_narrowing():
    assert narrowing_findings(Narrowing()) == []
    assert Narrowing().to_dict() is None


def test_failed_pictures_close_the_gate_and_some_are_named():
    assert failed_pictures_findings([], "the model") == []
    [finding] = failed_pictures_findings([f"{n}.jpg: broken" for n in range(5)], "the model")

    assert finding.closes_gate
    assert finding.note.startswith(
        "5 pictures could not be measured with the model, so their objects"
    )
    assert finding.note.endswith("2.jpg: broken (and 2 more)")


@pytest.mark.parametrize("is_ignored", [True, False])
def test_an_unusable_baseline_closes_the_gate_unless_it_is_ignored(is_ignored):
    [finding] = baseline_findings(["serving/cells/2: is no folder"], is_ignored)

    assert finding.closes_gate is not is_ignored
    assert "serving/cells/2: is no folder" in finding.note
    assert "evaluate.on_unusable_baseline" in finding.note

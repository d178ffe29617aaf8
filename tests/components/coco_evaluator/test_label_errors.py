"""Labels that are wrong on purpose are suspected, and the file for a labelling tool has them."""

import contextlib
import copy
import io
import json
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from components.coco_evaluator.label_errors import (
    NOT_LABELLED,
    NOT_THERE,
    OTHER_CLASS,
    OTHER_PLACE,
    TWICE,
    labelling_content,
    suspects,
)
from model.evaluation.engine import by_hotcoco
from model.evaluation.error_types import error_types
from model.evaluation.ground_truth import GroundTruth, ground_truth_from_json
from tests.model.evaluation import coco_cases

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}]
CAT, DOG = 1, 7
PICTURES = 40


def right_labels() -> list[dict[str, Any]]:
    """A cat and a dog in each picture, of medium size, apart."""
    return [
        {"id": 2 * n + k, "image_id": n, "category_id": category, "iscrowd": 0, "area": 2500.0,
         "bbox": [20.0 + 100 * k, 30.0, 50.0, 50.0]}
        for n in range(1, PICTURES + 1) for k, category in enumerate((CAT, DOG))
    ]  # fmt: skip


def detections() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {key: a[key] for key in ("image_id", "category_id", "bbox")}
        | {"score": round(float(rng.uniform(0.6, 0.99)), 3)}
        for a in right_labels()
    ]


def suspected(labels: list[dict[str, Any]], found: list[dict[str, Any]] | None = None):
    images = [{"id": n, "width": 300, "height": 200, "file_name": f"{n}.png"}
              for n in range(1, PICTURES + 1)]  # fmt: skip
    truth = GroundTruth(images, labels, CATEGORIES)
    task = coco_cases.task(truth, detections() if found is None else found)
    matches = by_hotcoco(task).matches
    return suspects(task, matches, error_types(task, matches)), truth


def wrong_labels(kind: str) -> tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]:
    """Labels of which the first is wrong, that label as it should be, and what is found."""
    labels, found = right_labels(), detections()
    found[0]["score"] = 0.995  # sure, in each case
    meant = copy.deepcopy(labels[0])
    if kind == NOT_LABELLED:
        del labels[0]
    elif kind == OTHER_CLASS:
        labels[0]["category_id"] = DOG
    elif kind == OTHER_PLACE:
        labels[0]["bbox"] = [20.0, 30.0, 50.0, 20.0]  # IoU 0.4
    elif kind == TWICE:
        labels.append(labels[0] | {"id": 999})
    else:
        del found[0]
    return labels, meant, found


@pytest.mark.parametrize("kind", [NOT_LABELLED, OTHER_CLASS, OTHER_PLACE, TWICE, NOT_THERE])
def test_a_wrong_label_is_the_only_suspect(kind: str) -> None:
    labels, meant, found = wrong_labels(kind)
    (suspect,), _ = suspected(labels, found)
    assert suspect.suspicion == kind and suspect.image_id == meant["image_id"]
    assert suspect.category_id == CAT and list(suspect.bbox) == meant["bbox"]
    assert (suspect.annotation is None) == (kind == NOT_LABELLED)
    assert 0.9 < suspect.sureness <= 1


def test_an_object_there_many_times_is_suspected_once_a_copy() -> None:
    labels, meant, found = wrong_labels(TWICE)
    # A copy that differs a little, from which the next one does: its best is the one before.
    labels.append(meant | {"id": 1000, "bbox": [20.0, 30.0, 50.0, 48.0]})
    labels.append(meant | {"id": 1001, "bbox": [20.0, 30.0, 50.0, 47.5]})
    labels.append(meant | {"id": 1002, "category_id": DOG})  # of another class: no copy
    twice = [one for one in suspected(labels, found)[0] if one.suspicion == TWICE]
    assert [one.annotation["id"] for one in twice if one.annotation] == [999, 1001, 1000]
    assert [one.sureness for one in twice] == pytest.approx([1, 47.5 / 48, 48 / 50])


def test_right_labels_are_not_suspected() -> None:
    assert suspected(right_labels())[0] == []


def test_what_a_model_is_not_sure_of_says_nothing() -> None:
    labels, _, found = wrong_labels(NOT_LABELLED)
    found[0]["score"] = 0.61
    assert suspected(labels, found)[0] == []


def test_crowds_are_no_labels_that_could_be_twice_or_missing() -> None:
    labels, _, found = wrong_labels(TWICE)
    labels[-1]["iscrowd"] = labels[0]["iscrowd"] = 1
    assert suspected(labels, found)[0] == []


def test_the_file_is_one_that_coco_tools_and_we_read(tmp_path) -> None:
    labels, meant, found = wrong_labels(NOT_LABELLED)
    labels[2]["category_id"] = CAT  # the dog of picture 2
    found[3]["score"] = 0.99
    suspicions, truth = suspected(labels, found)
    path = tmp_path / "label_errors.json"
    path.write_text(json.dumps(labelling_content(truth, suspicions, "instances.json")))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    names = {c["id"]: c["name"] for c in coco.dataset["categories"]}
    by_name = {names[a["category_id"]]: a for a in coco.dataset["annotations"]}
    assert set(names.values()) == {"cat", "dog", "not labelled? cat", "other class? dog"}
    assert by_name["not labelled? cat"]["bbox"] == meant["bbox"]
    pictures = {image["id"] for image in coco.dataset["images"]}
    assert pictures == {meant["image_id"], labels[2]["image_id"]}
    kept = [a for a in labels if a["image_id"] in pictures]
    assert len(coco.dataset["annotations"]) == len(kept) + 2
    again = ground_truth_from_json(path)
    assert len(again.annotations) == len(kept) + 2 and not again.tally.reasons


def test_nothing_suspected_is_an_empty_file() -> None:
    content = labelling_content(suspected(right_labels())[1], [], "x")
    assert content["images"] == content["annotations"] == []

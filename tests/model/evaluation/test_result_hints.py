"""Detections that do not fit the ground truth: what they look like is said, names are taken."""

import json

import pytest

from ground.errors import DatasetError
from model.evaluation import results
from model.evaluation.ground_truth import GroundTruth, ground_truth_from_json
from model.evaluation.result_hints import notes_on_detections
from model.evaluation.results import check_detections
from tests.components.coco_example_gen.small_dataset import annotation, image

BOX = [20.0, 30.0, 40.0, 50.0]


def truth(ids=(11, 12, 13, 14), categories=(1, 2, 3), names=None, **more):
    """Two objects of the first two categories in each picture of 100 x 100 pixels."""
    names = names or [f"{id_}.jpg" for id_ in ids]
    return GroundTruth(
        [image(id_, name, 100, 100) for id_, name in zip(ids, names, strict=True)],
        [
            {
                "id": n,
                "image_id": id_,
                "category_id": category,
                "bbox": BOX,
                "area": 1,
                "iscrowd": 0,
            }
            for n, (id_, category) in enumerate((i, c) for i in ids for c in categories[:2])
        ],
        [{"id": c, "name": f"class {c}"} for c in categories],
        **more,
    )


def found(image_id, category_id=1, bbox=BOX):
    return {"image_id": image_id, "category_id": category_id, "bbox": list(bbox), "score": 0.5}


@pytest.mark.parametrize(
    ("ground_truth", "detections", "hint"),
    [
        (
            truth(),
            [found(n) for n in range(4)],
            "0 of 4 image ids of the detections are known; they look like positions in `images`, "
            "counted from 0",
        ),
        (
            truth((1, 2, 3)),
            [found(n) for n in (2, 1, 0)],
            "counted from 0, `images` from 1",
        ),
        (
            truth(names=["a/0007.jpg", "8.jpg", "9.jpg", "10.jpg"]),
            [found(n) for n in (7, 8, 9)],
            "they are the numbers of the file names",
        ),
        (
            truth(ids_of_other_splits=lambda: {"train": {70, 71, 72}}),
            [found(70), found(72)],
            "0 of 2 image ids of the detections are known; they are those of split 'train'",
        ),
        (
            truth(),
            [found(11), found(12), found(99)],
            "2 of 3 image ids of the detections are known",
        ),
        (
            truth(),
            [found(11, 2), found(11, 0)],
            "1 of 2 category ids of the detections are known; they are counted from 0, "
            "`categories` from 1: add 1",
        ),
        (truth(categories=(0, 1, 2)), [found(11, n) for n in (1, 2, 3)], "subtract 1"),
        (
            truth(categories=(1, 13, 90)),
            [found(11, n) for n in (2, 1, 0)],
            "they look like positions in `categories`, counted from 0",
        ),
    ],
)
def test_what_unknown_ids_look_like_is_said(ground_truth, detections, hint):
    with pytest.raises(DatasetError) as error:
        check_detections(ground_truth, detections, "r.json")
    assert str(error.value).startswith("r.json: detection ")
    assert hint in str(error.value)


def test_names_are_taken_where_they_are_of_one_alone():
    ground_truth = truth(names=["a/x.jpg", "b/x.jpg", "c y.png", "IMG_4.jpg"])
    stated = ["a/x.jpg", "b/x", "c y.png", "IMG_4", "11", 12.0]
    checked, reasons = check_detections(ground_truth, [found(n, "class 2") for n in stated])
    assert [d["image_id"] for d in checked] == [11, 12, 13, 14, 11, 12]
    assert {d["category_id"] for d in checked} == {2}
    assert reasons == {"names_for_ids": 6, "ids_in_other_form": 2}
    for odd in ("x.jpg", "x", "IMG_5", ""):
        with pytest.raises(DatasetError, match="detection 0: image id"):
            check_detections(ground_truth, [found(odd)])


def test_detections_of_pictures_that_are_left_out_are_left_out(tmp_path):
    path = tmp_path / "instances.json"
    images = [image(n) for n in range(200)] + [image(200, height=0)]
    content = {"images": images, "categories": [{"id": 3, "name": "cat"}]}
    path.write_text(json.dumps(content | {"annotations": [annotation(1, 1), annotation(2, 200)]}))
    checked, reasons = check_detections(
        ground_truth_from_json(path), [found(1, 3), found(200, 3), found(2, 3)]
    )
    assert [d["image_id"] for d in checked] == [1, 2]
    assert reasons == {"picture_left_out": 1}


def test_what_is_odd_about_detections_is_said():
    whole = [found(id_, c) for id_ in (11, 12, 13, 14) for c in (1, 2)]
    assert notes_on_detections(truth(), whole) == []
    assert notes_on_detections(truth(), []) == []
    assert notes_on_detections(truth(), whole[:2]) == [
        "none in 3 of 4 pictures with objects: are they of another split?"
    ]
    shifted = [found(id_, c) for id_ in (11, 12, 13, 14) for c in (2, 3)]
    assert notes_on_detections(truth(), shifted) == [
        "of category 'class 3' (id 3) without objects, none of 'class 1' (id 1) with some: are the "
        "ids shifted by one (subtract 1)?"
    ]
    corners = [found(id_, 1, [60, 70, 90, 95]) for id_ in (11, 12, 13, 14)]
    assert notes_on_detections(truth(), corners) == [
        "the boxes leave the picture as [x, y, width, height] and fit as xyxy: write them as COCO "
        "does"
    ]


@pytest.mark.parametrize(
    "change",
    [
        {}, {"bbox": [0.0, 0.0, 0.0, 0.0]}, {"bbox": [1, 2.0, 3.0, 4.0]}, {"score": 1},
        {"score": 1.5}, {"score": "0.5"}, {"image_id": 1.0}, {"category_id": "one"},
        {"bbox": [1e308, 1e308, 1.0, 1.0]}, {"bbox": ["1", 2.0, 3.0, 4.0]}, {"segmentation": []},
    ],
)  # fmt: skip
def test_the_usual_form_is_taken_as_any_other_is(change: dict) -> None:
    truth = GroundTruth(
        [{"id": 1, "width": 10, "height": 10, "file_name": "1.png"}],
        [],
        [{"id": 1, "name": "one"}],
    )
    detection = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1.0, 2.0, 3.0, 4.0]}
    checker = results._Checker(truth)
    plain = checker.plain([detection, detection | change], 7)
    assert (plain is not None) == (change in ({}, {"bbox": [0.0, 0.0, 0.0, 0.0]}))
    if plain is not None:
        one_by_one = [checker.checked(detection, 8), checker.checked(detection | change, 9)]
        assert list(plain) == one_by_one and not checker.reasons


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [float("nan"), 0.0, 1.0, 1.0]}, {"bbox": [0.0, float("inf"), 1.0, 1.0]},
        {"bbox": [0.0, 0.0, -1.0, 1.0]}, {"score": float("nan")}, {"image_id": 2},
        {"category_id": 2}, {"bbox": [0.0, 0.0, 1.0]},
    ],
)  # fmt: skip
def test_what_is_wrong_is_never_taken_for_usual(change: dict) -> None:
    truth = GroundTruth(
        [{"id": 1, "width": 10, "height": 10, "file_name": "1.png"}],
        [],
        [{"id": 1, "name": "one"}],
    )
    detection = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1.0, 2.0, 3.0, 4.0]}
    assert results._Checker(truth).plain([detection, detection | change], 0) is None
    with pytest.raises(DatasetError):
        results.check_detections(truth, [detection | change])

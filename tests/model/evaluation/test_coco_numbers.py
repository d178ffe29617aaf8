import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from configs.metric_names import METRIC_NAMES
from ground.errors import DatasetError
from model.evaluation.coco_numbers import evaluate, measure, results_of_picture
from model.evaluation.ground_truth import GroundTruth, ground_truth_from_json
from model.evaluation.metrics import Counts
from model.evaluation.results import read_detections

# The names in the shared expected.json, in the order of METRIC_NAMES.
EXPECTED_NAMES = (
    "AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge",
    "AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge",
)  # fmt: skip
SETS = {
    "val2014_100": (
        "evaluator/instances_val2014_100.json",
        "evaluator/instances_val2014_fake{}100_results.json",
    ),
    "awkward": (
        "coco_tiny/annotations/instances_val2017.json",
        "evaluator/awkward_{}_results.json",
    ),
}
CASES = ("all", "first_half_of_sorted_image_ids", "category_1_only", "ignoring_categories")


def ground_truth(*boxes, **changes):
    """One 100 x 100 picture (id 7) with objects of category 3 at the given COCO boxes."""
    annotations = [
        {"id": n, "image_id": 7, "category_id": 3, "bbox": box, "area": box[2] * box[3]}
        | {"iscrowd": 0}
        | changes
        for n, box in enumerate(boxes, 1)
    ]
    return GroundTruth(
        [{"id": 7, "width": 100, "height": 100, "file_name": "seven.jpg"}],
        annotations,
        [{"id": 3, "name": "three"}, {"id": 5, "name": "five"}],
    )


def detection(box, score=0.9, **changes):
    return {"image_id": 7, "category_id": 3, "bbox": box, "score": score} | changes


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("kind", "coco_kind"), [("box", "bbox"), ("mask", "segm")])
@pytest.mark.parametrize("name", SETS)
def test_numbers_equal_those_of_pycocotools(shared_data, name, kind, coco_kind, case):
    truth_path, detections_path = SETS[name]
    truth = ground_truth_from_json(shared_data / truth_path)
    detections = read_detections(shared_data / detections_path.format(coco_kind))
    ids = sorted(image["id"] for image in truth.images)
    narrowed = {
        "all": {},
        "first_half_of_sorted_image_ids": {"image_ids": ids[: len(ids) // 2]},
        "category_1_only": {"category_ids": [1]},
        "ignoring_categories": {"class_agnostic": True},
    }[case]
    expected = json.loads((shared_data / "evaluator/expected.json").read_text())
    expected = expected[name][coco_kind][case]

    metrics = evaluate(truth, detections, [kind], **narrowed)

    stats = dict(zip(METRIC_NAMES, map(expected["stats"].get, EXPECTED_NAMES), strict=True))
    assert metrics.numbers(kind) == pytest.approx(stats, abs=1e-9)
    assert metrics.by_kind[kind].by_iou == pytest.approx(expected["AP_by_iou"], abs=1e-9)
    by_category = {str(c): one.numbers["AP"] for c, one in metrics.classes(kind).items()}
    assert by_category == pytest.approx(expected.get("AP_by_category_id", {}), abs=1e-9)


def test_perfect_detections_score_one_and_absent_sizes_are_undefined():
    metrics = evaluate(ground_truth([10, 10, 20, 20]), [detection([10, 10, 20, 20])])

    assert metrics.number("box/AP") == pytest.approx(1.0)
    assert metrics.number("box/APs") == pytest.approx(1.0)  # 20 x 20 is below 32 x 32
    assert metrics.number("box/APm") == -1
    assert metrics.number("box/AP", 5) == -1
    assert list(metrics.by_kind) == ["box"]
    assert metrics.counts == Counts(pictures=1, objects=1, crowds=0, detections=1)


def test_a_picture_without_detections_counts():
    truth = ground_truth([10, 10, 20, 20])
    truth.images.append({"id": 8, "width": 100, "height": 100, "file_name": "eight.jpg"})
    truth.annotations.append({**truth.annotations[0], "id": 2, "image_id": 8})

    metrics = evaluate(truth, [detection([10, 10, 20, 20])])

    assert metrics.number("box/AR100") == pytest.approx(0.5)


def test_no_detections_at_all_score_zero():
    metrics = evaluate(ground_truth([10, 10, 20, 20]), [])

    assert metrics.number("box/AP") == 0
    assert metrics.number("box/APl") == -1


def test_no_pictures_are_undefined():
    metrics = evaluate(GroundTruth([], [], [{"id": 1, "name": "one"}]), [])

    assert set(metrics.numbers("box").values()) == {-1.0}
    assert metrics.counts.pictures == 0


def test_a_crowd_is_no_object() -> None:
    measured = measure(ground_truth([0, 0, 90, 90], iscrowd=1), [detection([5, 5, 20, 20])])

    assert (measured.metrics.counts.crowds, measured.metrics.counts.objects) == (1, 0)
    assert measured.matches["box"].ignored[0].all()


def test_an_object_without_mask_is_ignored_by_the_mask_numbers():
    truth = ground_truth([10, 10, 20, 20], [60, 60, 20, 20])
    truth.annotations[0]["segmentation"] = [[10, 10, 30, 10, 30, 30, 10, 30]]
    square = [[60, 60, 80, 60, 80, 80, 60, 80]]

    found = [
        detection([10, 10, 20, 20], segmentation=truth.annotations[0]["segmentation"]),
        detection([60, 60, 20, 20], 0.95, segmentation=square),
    ]
    metrics = evaluate(truth, found, ["box", "mask"])

    assert metrics.number("mask/AP") == pytest.approx(1.0)


def test_a_huge_box_without_mask_is_drawn_within_the_picture():
    # Its outline as it stands took pycocotools' C code minutes, or down.
    truth = ground_truth([10, 10, 1e9, 1e9], [60, 60, 20, 20])
    square = [[60, 60, 80, 60, 80, 80, 60, 80]]
    truth.annotations[1]["segmentation"] = square

    metrics = evaluate(truth, [detection([60, 60, 20, 20], segmentation=square)], ["box", "mask"])

    assert metrics.number("mask/AP") == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 99}, r"detection 0: image id 99 is not .* 1 ids lie in 7\.\.7"),
        ({"category_id": 91}, r"detection 0: category id 91 is not .* 2 ids lie in 3\.\.5"),
        ({"score": float("nan")}, "score is nan"),
        ({"bbox": [1, 2, 3]}, r"bbox is \[1, 2, 3\]"),
        ({"segmentation": {"size": [50, 100], "counts": "0"}}, r"\[100, 100\].* size \[50, 100\]"),
    ],
)
def test_a_detection_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(DatasetError, match=message):
        evaluate(ground_truth([1, 1, 9, 9]), [detection([1, 1, 9, 9], **changes)])


def test_narrowing_to_an_unknown_id_is_refused():
    with pytest.raises(DatasetError, match=r"image id 12 .*7\.\.7"):
        evaluate(ground_truth([1, 1, 9, 9]), [], image_ids=[7, 12])


def test_reading_numbers_annotations_from_one(tmp_path):
    # COCOeval takes a match with annotation id 0 for none, so AP would be 0 here.
    path = tmp_path / "instances.json"
    content = {
        "images": [{"id": 7, "width": 100, "height": 100, "file_name": "seven.jpg"}],
        "annotations": [{"id": 0, "image_id": 7, "category_id": 3, "bbox": [1, 1, 9, 9]}],
        "categories": [{"id": 3, "name": "three"}],
    }
    path.write_text(json.dumps(content))

    truth = ground_truth_from_json(path)

    assert evaluate(truth, [detection([1, 1, 9, 9])]).number("box/AP") == pytest.approx(1.0)
    assert truth.annotations[0]["area"] == 81


def test_results_are_pixels_of_the_picture_and_coco_ids():
    image = {"id": 7, "height": 200, "width": 100}
    boxes_norm = np.float32([[0.1, 0.2, 0.5, 0.7]])
    masks = np.zeros((1, 28, 28), np.float32)
    masks[:, :14] = 1  # the upper half of the box

    (result,) = results_of_picture(image, boxes_norm, np.float32([0.9]), np.int64([90]), masks)

    assert result["bbox"] == pytest.approx([20, 20, 50, 80], abs=1e-3)
    assert (result["image_id"], result["category_id"], result["score"]) == (7, 90, 0.9)
    pixels = coco_mask.decode(result["segmentation"])
    assert pixels.shape == (200, 100)
    # Half of 50 x 80; drawing rounds by up to a pixel along each side.
    assert pixels.sum() == pytest.approx(50 * 40, abs=130)
    assert pixels[25:55, 25:65].all()
    assert not pixels[65:].any()
    assert json.dumps(result)


def test_a_picture_in_which_nothing_is_found_has_no_results():
    image = {"id": 7, "height": 200, "width": 100}
    empty = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)

    assert results_of_picture(image, *empty, np.zeros((0, 28, 28), np.float32)) == []

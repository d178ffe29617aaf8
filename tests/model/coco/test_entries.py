"""The checks of pictures and objects in a COCO file."""

import json
import math

import pytest
from pycocotools import mask as coco_mask

from model.coco.entries import parse_object, parse_picture
from model.coco.policies import REASONS, Judge, LeftOut, resolve_policies
from tests.components.coco_example_gen.small_dataset import annotation, image

LABELS = {
    3: {"id": 3, "name": "cat", "label": 1},
    8: {"id": 8, "name": "dog", "label": 2},
}
HEIGHT, WIDTH = 20, 30


def parse(changes, policies=None, place=0, is_repeated_id=False):
    """Returns the parsed annotation (None where left out) and the codes of its flaws."""
    judge = Judge(resolve_policies(policies or {}))
    entry = annotation(1, 1) | changes
    entry = {key: value for key, value in entry.items() if value is not ...}
    try:
        found = parse_object(entry, place, is_repeated_id, HEIGHT, WIDTH, LABELS, judge)
    except LeftOut:
        found = None
    return found, [flaw.code for flaw in judge.flaws]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "7"}, "`id`"),
        ({"file_name": 7}, "`file_name`"),
        ({"file_name": ""}, "`file_name`"),
        ({"file_name": "a\0b"}, "`file_name`"),
        ({"file_name": "\ud800"}, "surrogates"),
        ({"height": 0}, "`height` and `width`"),
        ({"width": "30"}, "`height` and `width`"),
        ({"width": None}, "`height` and `width`"),
        ({"height": 2.5}, "`height` and `width`"),
        ({"height": True}, "`height` and `width`"),
    ],
)
def test_picture_record_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        parse_picture(image(1) | changes)


def test_sound_object_has_exact_numbers_and_clipped_shares():
    found, flaws = parse({})
    assert flaws == []
    assert (found.label, found.name, found.category_id) == (1, "cat", 3)
    assert found.bbox == (2.25, 3.5, 10.1, 8.7)
    assert found.area == 80.3
    # y: 3.5 / 20, x: 2.25 / 30, y + h: 12.2 / 20, x + w: 12.35 / 30
    assert found.box_norm == (3.5 / 20, 2.25 / 30, 12.2 / 20, 12.35 / 30)
    assert json.loads(found.segmentation)["size"] == [20, 30]


# A whole annotation with these changes has this flaw. ... takes the key out.
FLAWS = [
    ({"id": ...}, "bad_annotation_id"),
    ({"id": "a"}, "bad_annotation_id"),
    ({"category_id": 4}, "unknown_category"),
    ({"category_id": ...}, "unknown_category"),
    ({"category_id": "3"}, "unknown_category"),
    ({"bbox": ...}, "bad_bbox"),
    ({"bbox": [1, 2, 3]}, "bad_bbox"),
    ({"bbox": [1, 2, 3, "4"]}, "bad_bbox"),
    ({"bbox": [1, 2, 3, None]}, "bad_bbox"),
    ({"bbox": [1, 2, 3, True]}, "bad_bbox"),
    ({"bbox": [1, 2, math.inf, 4]}, "bad_bbox"),
    ({"bbox": [math.nan, 2, 3, 4]}, "bad_bbox"),
    ({"bbox": {"x": 1}}, "bad_bbox"),
    ({"bbox": [1, 2, 0, 4]}, "box_without_area"),
    ({"bbox": [1, 2, 3, -4]}, "box_without_area"),
    ({"bbox": [30, 2, 3, 4]}, "box_outside"),
    ({"bbox": [1, -4, 3, 4]}, "box_outside"),
    ({"bbox": [1, 25, 3, 4]}, "box_outside"),
    ({"bbox": [-1, 2, 3, 4]}, "box_crosses_border"),
    ({"bbox": [28, 2, 3, 4]}, "box_crosses_border"),
    ({"area": ...}, "bad_area"),
    ({"area": -1}, "bad_area"),
    ({"area": "big"}, "bad_area"),
    ({"area": math.nan}, "bad_area"),
    ({"iscrowd": 2}, "bad_iscrowd"),
    ({"iscrowd": None}, "bad_iscrowd"),
    ({"segmentation": [[1, 2, 3, 4]]}, "bad_segmentation"),
    ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "bad_segmentation"),
    ({"segmentation": [[1, 2, 3, 4, 5, "6"]]}, "bad_segmentation"),
    ({"segmentation": [1, 2, 3, 4, 5, 6]}, "bad_segmentation"),
    ({"segmentation": [[]]}, "bad_segmentation"),
    ({"segmentation": "polygon"}, "bad_segmentation"),
    ({"segmentation": [[0, 0, 1e9, 0, 0, 1e9]]}, "bad_segmentation"),
    ({"segmentation": [[0, 0, math.nan, 0, 0, 9]]}, "bad_segmentation"),
    ({"segmentation": {}}, "bad_segmentation"),
    ({"segmentation": {"size": [30, 20], "counts": [600]}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": [599]}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": [601, -1]}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": "zz~"}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": "P"}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": "0"}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": [600]}}, "mask_without_pixels"),
    ({"segmentation": [[5, 5, 5, 5, 5, 5]]}, "mask_without_pixels"),
]


@pytest.mark.parametrize(("changes", "code"), FLAWS)
def test_each_flaw_is_found_and_its_default_policy_applied(changes, code):
    found, flaws = parse(changes)
    assert flaws == [code]
    assert (found is None) == (REASONS[code].default in ("drop", "refuse"))


@pytest.mark.parametrize(
    ("changes", "code"), [f for f in FLAWS if "accept" in REASONS[f[1]].allowed]
)
def test_accepted_flaw_keeps_the_object_and_is_counted(changes, code):
    found, flaws = parse(changes, {code: "accept"})
    assert found is not None
    assert code in flaws
    assert all(0 <= share <= 1 for share in found.box_norm)


def test_repeated_id_is_noted_and_missing_id_is_minus_its_place():
    assert parse({}, is_repeated_id=True)[1] == ["duplicate_annotation_id"]
    assert parse({}, {"duplicate_annotation_id": "drop"}, is_repeated_id=True)[0] is None
    assert parse({"id": ...}, place=6)[0].annotation_id == -7


def test_box_over_the_border_is_clipped_and_kept_as_it_was():
    found, _ = parse({"bbox": [-3, 4, 40, 30]})
    assert found.bbox == (-3, 4, 40, 30)
    assert found.box_norm == (0.2, 0, 1, 1)


def test_rounding_over_the_border_is_no_flaw():
    found, flaws = parse({"bbox": [20.005, 10.0, 10.0, 10.0]})
    assert flaws == []
    assert found.box_norm[3] == 1.0


def test_missing_iscrowd_means_no_crowd():
    assert parse({"iscrowd": ...}) == parse({"iscrowd": 0})
    assert parse({"iscrowd": True})[0].is_crowd


def test_mended_area_is_that_of_the_box():
    assert parse({"area": ...})[0].area == 10.1 * 8.7


def test_no_mask_and_empty_mask_stay_apart():
    for value in ([], None, ...):
        assert parse({"segmentation": value})[0].segmentation == b""
    empty = parse({"segmentation": {"size": [20, 30], "counts": [600]}})[0].segmentation
    assert coco_mask.area(json.loads(empty)) == 0
    mended = parse(
        {"segmentation": {"size": [20, 30], "counts": [600]}}, {"mask_without_pixels": "mend"}
    )
    assert mended[0].segmentation == b""


def test_policy_refuse_is_told_by_the_last_flaw():
    judge = Judge(resolve_policies({"box_outside": "refuse"}))
    with pytest.raises(LeftOut):
        parse_object(annotation(1, 1, bbox=[50, 50, 3, 3]), 0, False, HEIGHT, WIDTH, LABELS, judge)
    assert judge.flaws[-1].policy == "refuse"

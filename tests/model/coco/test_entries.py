"""The checks of pictures and objects in a COCO file."""

import json
import math

import pytest
from pycocotools import mask as coco_mask

from model.coco.entries import AS_COCO, Forms, parse_object, parse_picture
from model.coco.json_text import RepeatedKeys
from model.coco.policies import REASONS, Judge, LeftOut, resolve_policies
from tests.components.coco_example_gen.small_dataset import annotation, image

LABELS = {
    3: {"id": 3, "name": "cat", "label": 1},
    8: {"id": 8, "name": "dog", "label": 2},
}
HEIGHT, WIDTH = 20, 30


def parse(changes, policies=None, place=0, is_repeated_id=False, forms=AS_COCO):
    """Returns the parsed annotation (None where left out) and the codes of its flaws."""
    judge = Judge(resolve_policies(policies or {}))
    entry = annotation(1, 1) | changes
    entry = {key: value for key, value in entry.items() if value is not ...}
    try:
        found = parse_object(entry, place, is_repeated_id, HEIGHT, WIDTH, LABELS, judge, forms)
    except LeftOut:
        found = None
    return found, [flaw.code for flaw in judge.flaws]


def parsed_picture(changes, **options):
    """Returns the parsed entry (None where left out), the codes and the details of its flaws."""
    judge = Judge(resolve_policies({}))
    try:
        found = parse_picture(image(1) | changes, judge, **options)
    except LeftOut:
        found = None
    return found, [flaw.code for flaw in judge.flaws], [flaw.detail for flaw in judge.flaws]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "seven"}, "`id`"),
        ({"id": None}, "`id`"),
        ({"file_name": 7}, "`file_name`"),
        ({"file_name": None, "coco_url": "http://x/1.jpg"}, "rename its `coco_url`"),
        ({"file_name": ""}, "`file_name`"),
        ({"file_name": "  "}, "`file_name`"),
        ({"file_name": "a\0b"}, "`file_name`"),
        ({"file_name": "\ud800"}, "`file_name`"),
        ({"height": 0}, "`height` and `width`"),
        ({"width": "wide"}, "`height` and `width`"),
        ({"width": None}, "`height` and `width`"),
        ({"height": 2.5}, "`height` and `width`"),
        ({"height": True}, "`height` and `width`"),
        ({"height": math.inf}, "`height` and `width`"),
        ({"height": 10**400}, "`height` and `width`"),
    ],
)
def test_picture_record_is_checked(changes, message):
    found, codes, (detail,) = parsed_picture(changes)
    assert found is None
    assert codes == ["bad_picture_record"]
    assert message in detail


def test_entry_that_is_no_object_or_has_a_key_twice_is_refused():
    for entry in (7, None, [1], "x", RepeatedKeys(image(1))):
        judge = Judge(resolve_policies({}))
        with pytest.raises(LeftOut):
            parse_picture(entry, judge)
        assert judge.flaws[0].code == "bad_picture_record"


@pytest.mark.parametrize("changes", [{"id": "1"}, {"height": "20"}, {"width": 30.0}, {"id": "01"}])
def test_numbers_of_a_picture_in_another_form_are_taken_and_counted(changes):
    found, codes, _ = parsed_picture(changes)
    assert found == parsed_picture({})[0]
    assert codes == ["picture_numbers_in_other_form"]


def test_picture_that_is_stated_too_large_is_refused():
    assert parsed_picture({}, max_picture_pixels=600)[1] == []
    assert parsed_picture({}, max_picture_pixels=599)[1] == ["picture_too_large"]


# Objects -------------------------------------------------------------------------------------


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
    ({"category_id": "cat"}, "unknown_category"),
    ({"category_id": "8x"}, "unknown_category"),
    ({"category_id": True}, "unknown_category"),
    ({"bbox": ..., "segmentation": ...}, "bad_bbox"),
    ({"bbox": [], "segmentation": []}, "bad_bbox"),
    ({"bbox": [0, 0, 1e300, 1e300]}, "bad_bbox"),
    ({"bbox": [10**400, 0, 1, 1]}, "bad_bbox"),
    ({"bbox": [[1, 2], [3, 4]]}, "bad_bbox"),
    ({"bbox": "1,2,3,4"}, "numbers_in_other_form"),
    ({"bbox": "one, two"}, "bad_bbox"),
    ({"bbox": {"x": 1, "y": 2, "xmax": 3, "ymax": 4}}, "bad_bbox"),
    ({"bbox": [1, 2, 3]}, "bad_bbox"),
    ({"bbox": [1, 2, 3, "four"]}, "bad_bbox"),
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
    ({"area": -1}, "bad_area"),
    ({"area": "big"}, "bad_area"),
    ({"area": math.nan}, "bad_area"),
    ({"iscrowd": 2}, "bad_iscrowd"),
    ({"iscrowd": -1}, "bad_iscrowd"),
    ({"iscrowd": "yes"}, "bad_iscrowd"),
    ({"iscrowd": [0]}, "bad_iscrowd"),
    ({"segmentation": [[1, 2, 3, 4]]}, "bad_segmentation"),
    ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "bad_segmentation"),
    ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, "bad_segmentation"),
    ({"segmentation": [1, 2, 3, 4]}, "bad_segmentation"),
    ({"segmentation": [[None]]}, "bad_segmentation"),
    ({"segmentation": "polygon"}, "bad_segmentation"),
    ({"segmentation": [[0, 0, 1e9, 0, 0, 1e9]]}, "bad_segmentation"),
    ({"segmentation": [[0, 0, math.nan, 0, 0, 9]]}, "bad_segmentation"),
    ({"segmentation": [{}]}, "bad_segmentation"),
    ({"segmentation": {"size": [30, 20], "counts": [600]}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": [599]}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": [601, -1]}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": "zz~"}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": "P"}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": "0"}}, "bad_segmentation"),
    ({"segmentation": {"size": [20, 30], "counts": [600]}}, "mask_without_pixels"),
    ({"segmentation": [[5, 5, 5, 5, 5, 5]]}, "mask_without_pixels"),
]


# An annotation with these changes means the same as without them, and is counted so.
SAME = [
    ({"id": "1"}, "ids_in_other_form"),
    ({"image_id": "1"}, "ids_in_other_form"),
    ({"image_id": 1.0}, "ids_in_other_form"),
    ({"category_id": "3"}, "ids_in_other_form"),
    ({"category_id": 3.0}, "ids_in_other_form"),
    ({"id": 1.0, "category_id": " 3 "}, "ids_in_other_form"),
    ({"bbox": ["2.25", "3.5", "10.1", "8.7"]}, "numbers_in_other_form"),
    ({"area": "80.3"}, "numbers_in_other_form"),
    ({"segmentation": [["2", 3, 12, 3, 12, 12, 2, "12.0"]]}, "numbers_in_other_form"),
    ({"bbox": {"x": 2.25, "y": 3.5, "width": 10.1, "height": 8.7}}, "box_in_other_form"),
    ({"bbox": {"h": 8.7, "w": 10.1, "y": 3.5, "x": 2.25}}, "box_in_other_form"),
    ({"bbox": [[2.25, 3.5, 10.1, 8.7]]}, "box_in_other_form"),
    ({"iscrowd": False}, "flag_in_other_form"),
    ({"iscrowd": "0"}, "flag_in_other_form"),
    ({"iscrowd": 0.0}, "flag_in_other_form"),
    ({"iscrowd": None}, "null_for_missing"),
    ({"segmentation": [2, 3, 12, 3, 12, 12, 2, 12]}, "mask_in_other_form"),
    ({"segmentation": [[2, 3], [12, 3], [12, 12], [2, 12]]}, "mask_in_other_form"),
    ({"segmentation": [[2, 3, 12, 3, 12, 12, 2, 12], [1, 2, 3, 4]]}, "bad_ring"),
    ({"segmentation": [[2, 3, 12, 3, 12, 12, 2, 12], []]}, "bad_ring"),
]


@pytest.mark.parametrize(("changes", "code"), SAME)
def test_what_is_plainly_meant_is_taken_and_counted(changes, code):
    found, flaws = parse(changes)
    assert found == parse({})[0]
    assert flaws == [code]


def test_crowds_in_other_forms_are_crowds():
    for flag in (True, "1", 1.0):
        assert parse({"iscrowd": flag})[0].is_crowd
        assert parse({"iscrowd": flag})[1] == ["flag_in_other_form"]


def test_crowds_are_objects_where_their_owner_says_so():
    assert parse({"iscrowd": 1})[0].is_crowd
    as_objects = parse({"iscrowd": 1}, forms=Forms(crowds="objects"))
    assert as_objects == parse({"iscrowd": 0})


@pytest.mark.parametrize("missing", [..., None, []])
def test_box_is_that_of_the_mask_where_there_is_none(missing):
    found, flaws = parse({"bbox": missing, "area": 3.5})
    assert flaws == ["box_missing"]
    assert found.bbox == (2, 3, 10, 9)
    assert found.box_norm == (3 / 20, 2 / 30, 12 / 20, 12 / 30)
    assert found.segmentation == parse({})[0].segmentation
    of_runs = parse({"bbox": missing, "segmentation": json.loads(found.segmentation)})
    assert of_runs[0].bbox == (2, 3, 10, 9)


def test_missing_and_null_areas_are_counted_apart():
    assert parse({"area": ...})[1] == ["area_missing"]
    assert parse({"area": None})[1] == ["null_for_missing"]
    assert parse({"area": None})[0].area == 10.1 * 8.7


@pytest.mark.parametrize(
    ("box_format", "bbox"),
    [
        ("xyxy", [3, 4, 12, 8]),
        ("cxcywh", [7.5, 6, 9, 4]),
        ("xywh_shares", [0.1, 0.2, 0.3, 0.2]),
        ("xyxy_shares", [0.1, 0.2, 0.4, 0.4]),
        ("cxcywh_shares", [0.25, 0.3, 0.3, 0.2]),
    ],
)
def test_boxes_in_the_format_that_the_config_names(box_format, bbox):
    found, flaws = parse({"bbox": bbox, "area": 0.03}, forms=Forms(box_format=box_format))
    assert flaws == []
    assert found.bbox == pytest.approx((3, 4, 9, 4))
    assert found.area == pytest.approx(18 if "shares" in box_format else 0.03)


def test_a_box_that_names_its_corners_needs_no_setting():
    assert parse({"bbox": {"xmin": 3, "ymin": 4, "xmax": 12, "ymax": 8}})[0].bbox == (3, 4, 9, 4)


def test_annotation_with_a_key_twice_is_dropped():
    judge = Judge(resolve_policies({}))
    with pytest.raises(LeftOut):
        parse_object(RepeatedKeys(annotation(1, 1)), 0, False, HEIGHT, WIDTH, LABELS, judge)
    assert [flaw.code for flaw in judge.flaws] == ["bad_annotation"]


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


def test_mended_area_is_that_of_the_box():
    assert parse({"area": ...})[0].area == 10.1 * 8.7


def test_no_mask_and_empty_mask_stay_apart():
    for value in ([], None, ...):
        assert parse({"segmentation": value})[0].segmentation == b""
    for value in ([], [[]], [[], []], {}, ...):  # as exports write that have boxes alone
        assert parse({"segmentation": value}) == (parse({"segmentation": ...})[0], [])
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

"""What fits instead: names of pictures, formats of boxes, odd categories."""

import json

import pytest

from configs.schema import DataConfig
from model.coco.hints import why_missing
from model.coco.notes import notes_on
from model.coco.survey import survey
from tests.components.coco_example_gen.small_dataset import annotation, image


def surveyed(tmp_path, annotations, categories=None):
    path = tmp_path / "instances.json"
    content = {
        "images": [image(n, height=120, width=160) for n in range(1, 5)],
        "annotations": annotations,
        "categories": categories or [{"id": 3, "name": "cat"}],
    }
    path.write_text(json.dumps(content))
    return survey(path)


def polygon(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


@pytest.mark.parametrize(
    ("name", "on_disk", "hint"),
    [
        ("upload/7/1.jpg", "1.jpg", "set data.picture_prefix=upload/7/"),
        ("C:\\\\data\\\\1.jpg", "1.jpg", "set data.picture_prefix=C:\\\\data\\\\"),
        ("/photos/new/1.jpg", "1.jpg", "set data.picture_prefix=/photos/new/"),
        ("1.png", "1.jpg", "set data.policies.picture_ending_differs=mend"),
        ("1.jpg", "1.JPG", "set data.policies.picture_ending_differs=mend"),
        ("1.jpg", "images/1.jpg", "lie in its folder 'images'"),
        ("1.jpg", "images/1.jpg", "(in the config: what it says now, with /images behind it)"),
        ("1.jpg", "other.jpg", "the file names 1.jpg, the folder holds other.jpg"),
        ("1.jpg", None, "holds no pictures"),
    ],
)
def test_what_fits_a_missing_name_is_said_with_the_setting(tmp_path, name, on_disk, hint):
    if on_disk:
        (tmp_path / on_disk).parent.mkdir(exist_ok=True)
        (tmp_path / on_disk).write_bytes(b"")
    assert hint in why_missing([name], str(tmp_path))


def test_pictures_of_another_split_are_said(tmp_path):
    for folder, name in (("train", "1.jpg"), ("val", "2.jpg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"")
    folder, other = str(tmp_path / "train"), {"eval": str(tmp_path / "val")}
    assert why_missing(["2.jpg"], folder, "", other) == (
        f"1 of 1 looked for are in the pictures of split 'eval' ({tmp_path / 'val'}): are the "
        "folders or the annotations of the splits swapped?"
    )
    assert why_missing(["1.jpg"], folder, "", other) == ""
    assert "1 of 2 looked for are in" in why_missing(["1.jpg", "a/2.jpg"], folder, "a/", other)


BOXES = [(10, 20, 60, 40), (30, 30, 90, 50), (50, 10, 80, 100), (5, 60, 100, 30)]
FORMS = {
    "xywh": lambda x, y, w, h: [x, y, w, h],
    "xyxy": lambda x, y, w, h: [x, y, x + w, y + h],
    "cxcywh": lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
    "xywh_shares": lambda x, y, w, h: [x / 160, y / 120, w / 160, h / 120],
    "cxcywh_shares": lambda x, y, w, h: [(x + w / 2) / 160, (y + h / 2) / 120, w / 160, h / 120],
}


@pytest.mark.parametrize("form", FORMS)
def test_boxes_in_another_format_than_stated_are_said(tmp_path, form):
    annotations = [
        annotation(n, n, bbox=FORMS[form](*box), segmentation=polygon(*box))
        for n, box in enumerate(BOXES, 1)
    ]
    found = surveyed(tmp_path, annotations)
    assert notes_on(found, DataConfig(box_format=form)) == []
    if form != "xywh":
        (note,) = notes_on(found, DataConfig())
        assert f"set data.box_format={form}" in note


def test_corners_without_masks_are_told_by_leaving_the_picture(tmp_path):
    boxes = [(90, 60, 60, 50), (80, 70, 75, 40), (100, 65, 50, 50), (85, 61, 70, 55)]
    annotations = [
        annotation(n, n, bbox=FORMS["xyxy"](*box), segmentation=[])
        for n, box in enumerate(boxes, 1)
    ]
    (note,) = notes_on(surveyed(tmp_path, annotations), DataConfig())
    assert "set data.box_format=xyxy" in note


def test_odd_categories_and_crowds_are_said(tmp_path):
    categories = [
        {"id": 0, "name": "root"},
        {"id": 3, "name": "cat"},
        {"id": 4, "name": "cat"},
    ]
    annotations = [annotation(n, n, iscrowd=1, category_id=3 + n % 2) for n in range(1, 4)]
    found = surveyed(tmp_path, annotations, categories)
    assert notes_on(found, DataConfig()) == [
        "no objects of 'root' (id 0)",
        "2 categories are named 'cat' (ids 3, 4)",
        "every object is a crowd (iscrowd 1): unless they are, set data.crowds=objects",
    ]
    assert len(notes_on(found, DataConfig(crowds="objects"))) == 2


def test_classes_of_one_split_alone_are_said_by_name(tmp_path):
    categories = [{"id": 0, "name": "root"}, {"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
    both = [annotation(n, n, category_id=3 + n % 2) for n in range(1, 4)]
    train = surveyed(tmp_path, both, categories)
    val = surveyed(tmp_path, [annotation(1, 1)], categories[:2])
    assert notes_on(train, DataConfig(), "train", {"eval": val}) == ["no objects of 'root' (id 0)"]
    assert notes_on(val, DataConfig(), "eval", {"train": train}) == [
        "no objects of 'root' (id 0)",
        "no objects of 'dog' (id 4), which split 'train' has: learnt, not measured",
    ]
    assert notes_on(val, DataConfig(), "train", {"eval": train})[1] == (
        "no objects of 'dog' (id 4), which split 'eval' has: measured, not learnt"
    )


def test_category_ids_that_are_no_ids_are_said(tmp_path):
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    from_zero = [annotation(n, 1, category_id=n % 2) for n in range(1, 4)]
    assert notes_on(surveyed(tmp_path, from_zero, categories), DataConfig())[0] == (
        "of the objects' category ids 1 of 2 are known; they are counted from 0, "
        "`categories` from 1: add 1"
    )
    named = [annotation(n, 1, category_id="cat") for n in range(1, 4)]
    assert (
        "no `category_id` is a whole number"
        in (notes_on(surveyed(tmp_path, named, categories), DataConfig())[0])
    )

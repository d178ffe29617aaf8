"""Where `tfx-rcnn init` looks for COCO files and their pictures."""

import itertools
import json

import pytest
from PIL import Image

from pipeline.init.coco_files import coco_files, place_pictures
from tests.pipeline.init.folders import draw, numbered, write


def write_masks(folder, names):
    """Writes a mask beside each name, which may have another ending."""
    folder.mkdir(parents=True)
    for name in names:
        Image.new("L", (64, 48), 255).save(folder / name)


@pytest.mark.parametrize(
    ("ending", "of_masks", "absent"),
    [
        (".jpg", ".png", 0),
        (".jpg", ".png", 2),
        (".JPG", ".png", 0),
        (".jpeg", ".png", 0),
        (".jpg", ".jpg", 0),
    ],
)
def test_masks_are_not_taken_for_the_pictures_that_they_are_of(tmp_path, ending, of_masks, absent):
    coco = draw(tmp_path / "images", numbered(8))
    for number, path in enumerate(sorted((tmp_path / "images").iterdir())):
        if number < absent:
            path.unlink()
        else:
            path.rename(path.with_suffix(ending))
    write_masks(tmp_path / "gt", [name.replace(".jpg", of_masks) for name in numbered(8)])
    write(tmp_path / "labels.json", coco)
    place = place_pictures(tmp_path, "labels.json")
    assert (place.pictures, place.found) == ("images", 8 - absent)


def test_endings_in_capitals_are_found_before_few_small_copies(tmp_path):
    coco = draw(tmp_path / "images", numbered(8))
    for path in sorted((tmp_path / "images").iterdir())[2:]:
        path.rename(path.with_suffix(".JPG"))
    draw(tmp_path / "thumbs", numbered(4))
    write(tmp_path / "labels.json", coco)
    place = place_pictures(tmp_path, "labels.json")
    assert (place.pictures, place.found) == ("images", 8)


@pytest.mark.parametrize("folder", ["labeled", "segment_01"])
def test_pictures_beside_their_file_are_no_masks_whatever_their_folder_is_called(tmp_path, folder):
    coco = draw(tmp_path / folder, numbered(8))
    draw(tmp_path / "raw", numbered(8))
    write(tmp_path / folder / "result.json", coco)
    assert place_pictures(tmp_path, f"{folder}/result.json").pictures == folder


def test_masks_below_a_prefix_are_not_taken_for_pictures(tmp_path):
    coco = draw(tmp_path / "images", numbered(8))
    write_masks(tmp_path / "gt", [name.replace(".jpg", ".png") for name in numbered(8)])
    for image in coco["images"]:
        image["file_name"] = f"upload/{image['file_name']}"
    write(tmp_path / "labels.json", coco)
    place = place_pictures(tmp_path, "labels.json")
    assert (place.pictures, place.prefix) == ("images", "upload/")


def test_pictures_of_another_ending_alone_are_found(tmp_path):
    coco = draw(tmp_path / "images", numbered(8))
    for image in coco["images"]:
        image["file_name"] = image["file_name"].replace(".jpg", ".png")
    write(tmp_path / "labels.json", coco)
    place = place_pictures(tmp_path, "labels.json")
    assert (place.pictures, place.found, place.alike) == ("images", 8, (0, 0))


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["images", "annotations", "categories"]))
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_coco_file_is_one_whatever_its_order_and_length(tmp_path, order, indent):
    coco = draw(tmp_path, numbered(1), classes=600)
    coco["images"] *= 400
    coco["annotations"] *= 200
    assert min(len(json.dumps(each)) for each in coco.values()) > 1 << 14
    text = json.dumps({key: coco[key] for key in order}, indent=indent)
    (tmp_path / "l.json").write_text(text)
    assert coco_files(tmp_path) == ["l.json"]


@pytest.mark.parametrize(
    "value",
    [
        {"categories": {"label": {"labels": []}}, "items": [{"id": "a"}]},
        {"items": ["x" * 40_000], "annotations": []},
        {"shapes": [{"label": "categories"}], "imageData": "x" * 40_000},
    ],
)
def test_a_file_of_another_tool_is_none(tmp_path, value):
    write(tmp_path / "l.json", value)
    assert coco_files(tmp_path) == []

"""Where `tfx-rcnn init` looks for COCO files and their pictures."""

import pytest
from PIL import Image

from pipeline.init.coco_files import place_pictures
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

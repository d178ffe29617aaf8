"""The drawn data set: exact masks of what is visible, reproducible, complete or absent."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from ground.errors import OutputError
from pipeline import shapes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes") / "shapes"
    shapes.generate_shapes(folder, train=50, val=3, seed=1, size=96)
    return folder


def _annotations(folder, split="train2017"):
    return json.loads((folder / "annotations" / f"instances_{split}.json").read_text())


def _digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _bitmap(annotation, image):
    size = image["height"], image["width"]
    encoded = coco_mask.frPyObjects(annotation["segmentation"], *size)
    return coco_mask.decode(coco_mask.merge(encoded) if isinstance(encoded, list) else encoded)


def test_everything_awkward_about_coco_is_in_it(drawn):
    annotations = _annotations(drawn)
    objects = annotations["annotations"]
    with_objects = {a["image_id"] for a in objects}
    empty = [i for i in annotations["images"] if i["id"] not in with_objects]
    assert len(empty) == 2  # pictures 25 and 50
    assert {a["category_id"] for a in objects} == {1, 2, 4, 7}
    crowds = [a for a in objects if a["iscrowd"]]
    assert crowds
    assert all(set(a["segmentation"]) == {"size", "counts"} for a in crowds)
    assert any(len(a["segmentation"]) > 1 for a in objects if isinstance(a["segmentation"], list))
    assert any(i["height"] > i["width"] for i in annotations["images"])
    assert any(i["height"] < i["width"] for i in annotations["images"])


def test_boxes_and_areas_are_those_of_the_masks(drawn):
    annotations = _annotations(drawn)
    images = {i["id"]: i for i in annotations["images"]}
    for annotation in annotations["annotations"]:
        bitmap = _bitmap(annotation, images[annotation["image_id"]])
        rows, columns = np.nonzero(bitmap)
        x, y = columns.min(), rows.min()
        box = [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
        assert annotation["bbox"] == box
        assert annotation["area"] == bitmap.sum()


def test_no_pixel_belongs_to_two_objects(drawn):
    annotations = _annotations(drawn)
    for image in annotations["images"]:
        cover = np.zeros((image["height"], image["width"]), int)
        for annotation in annotations["annotations"]:
            if annotation["image_id"] == image["id"]:
                cover += _bitmap(annotation, image)
        assert cover.max() <= 1


def test_pictures_have_the_size_that_the_file_says(drawn):
    for image in _annotations(drawn)["images"]:
        with Image.open(drawn / "train2017" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
            assert max(picture.size) <= 96


def test_same_arguments_give_the_same_bytes(drawn, tmp_path):
    shapes.generate_shapes(tmp_path / "again", train=50, val=3, seed=1, size=96)
    assert _digests(tmp_path / "again") == _digests(drawn)


def test_splits_and_seeds_differ(tmp_path):
    shapes.generate_shapes(tmp_path / "a", train=1, val=1, seed=0, size=64)
    shapes.generate_shapes(tmp_path / "b", train=1, val=1, seed=1, size=64)
    pictures = [p.read_bytes() for p in tmp_path.rglob("*.jpg")]
    assert len(pictures) == 4
    assert len(set(pictures)) == 4


def test_complete_folder_is_left_alone_and_other_parameters_replace_it(tmp_path):
    folder = shapes.generate_shapes(tmp_path / "shapes", train=2, val=1, size=64)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    shapes.generate_shapes(folder, train=2, val=1, size=64)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    shapes.generate_shapes(folder, train=3, val=1, size=64)
    assert len(list((folder / "train2017").iterdir())) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["shapes"]


def test_folder_of_someone_else_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"holds photo\.jpg, which is not of ours"):
        shapes.generate_shapes(tmp_path, train=1, val=1)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


def test_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "_annotation", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        shapes.generate_shapes(tmp_path / "shapes", train=2, val=1, size=64)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6))
def test_polygons_draw_the_mask_or_decline(rows):
    mask = np.array(rows)
    if not mask.any():
        return
    polygons = shapes.polygons_of(mask)
    if polygons is not None:
        encoded = coco_mask.merge(coco_mask.frPyObjects(polygons, *mask.shape))
        assert np.array_equal(coco_mask.decode(encoded), mask)
    rle = coco_mask.frPyObjects(shapes.uncompressed_rle(mask), *mask.shape)
    assert np.array_equal(coco_mask.decode(rle), mask)


def test_polygons_decline_a_hole_and_split_at_a_corner():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert shapes.polygons_of(ring) is None
    parts = shapes.polygons_of(np.eye(2, dtype=bool))
    assert sorted(parts) == [[0, 0, 1, 0, 1, 1, 0, 1], [1, 1, 2, 1, 2, 2, 1, 2]]

"""Limits on what may be lost: inclusive, each of its own kind, and said with an example."""

import pytest

from ground.errors import DatasetError
from tests.components.coco_example_gen.conversions import broken, rejects_of, run
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset


def test_too_many_refused_pictures_end_the_run_with_counts_and_an_example(tmp_path):
    with pytest.raises(DatasetError) as error:
        run(broken(tmp_path / "set"), tmp_path / "out")
    message = str(error.value)
    assert "7 of 14 pictures are refused" in message
    assert "bad_picture_record 2" in message
    assert "picture_missing 1" in message
    assert "image id 5 (5.jpg)" in message or "image id 'x'" in message
    assert "data.max_rejected_fraction 0.01" in message
    assert "the file names 1.jpg, the folder holds " in message
    assert "\n" not in message
    assert list((tmp_path / "out").iterdir()) == []


def test_limit_is_inclusive_and_dropped_pictures_have_one_of_their_own(tmp_path):
    images = [image(n) for n in range(10)]
    folder = write_dataset(tmp_path / "set", images, [annotation(1, 1)])
    (folder / "pictures" / "4.jpg").unlink()
    assert run(folder, tmp_path / "a", max_rejected_fraction=0.1)["pictures"]["rejected"] == 1
    with pytest.raises(DatasetError, match="1 of 10"):
        run(folder, tmp_path / "b", max_rejected_fraction=0.09)
    policies = {"picture_missing": "drop"}
    summary = run(folder, tmp_path / "c", max_rejected_fraction=0, policies=policies)
    assert summary["pictures"]["rejected"] == 1
    assert rejects_of(tmp_path / "c")[0]["policy"] == "drop"
    with pytest.raises(
        DatasetError, match=r"1 of 10 pictures is dropped.* for picture_missing"
    ) as e:
        run(folder, tmp_path / "d", max_dropped_fraction=0.09, policies=policies)
    assert "or raise data.max_dropped_fraction" in str(e.value)


def flawed(folder, count, **fields):
    """Writes 4 pictures with 5 objects each, `count` of which have other `fields`."""
    annotations = [annotation(n, n % 4) for n in range(20)]
    for entry in annotations[:count]:
        entry.update(fields)
    return write_dataset(folder, [image(n) for n in range(4)], annotations)


@pytest.mark.parametrize(
    ("fields", "count", "words"),
    [
        (
            {"category_id": 99},
            3,
            [
                "3 of 20 objects are dropped",
                "for unknown_category",
                "data.max_lost_objects_fraction 0.1",
                "annotation id ",
                ": category_id 99",
                "or raise data.max_lost_objects_fraction",
            ],
        ),
        (
            {"bbox": [50, 50, 3, 3]},
            20,
            ["none of 20 objects is left (box_outside 20)", "bbox [50.0, 50.0, 3.0, 3.0]"],
        ),
        (
            {"bbox": [50, 50, 3, 3]},
            3,
            ["for box_outside", "set data.policies.box_outside=accept, or raise"],
        ),
        (
            {"segmentation": {"size": [1, 1], "counts": [1]}},
            3,
            [
                "3 of 20 masks are lost for bad_segmentation",
                "data.max_lost_masks_fraction 0.1",
                "annotation id ",
            ],
        ),
    ],
)
def test_objects_and_masks_lost_for_one_reason_stop_the_run(tmp_path, fields, count, words):
    with pytest.raises(DatasetError) as error:
        run(flawed(tmp_path / "set", count, **fields), tmp_path / "out")
    message = str(error.value)
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message
    assert "instances.json" in message
    assert list((tmp_path / "out").iterdir()) == []


def test_losses_up_to_the_limit_are_counted(tmp_path):
    summary = run(flawed(tmp_path / "a", 2, category_id=99), tmp_path / "out")
    assert summary["objects"] == {"read": 20, "written": 18, "rejected": 2}
    assert summary["rejected"]["objects"] == {"unknown_category": 2}
    folder = flawed(tmp_path / "b", 2, segmentation=[[1, 2]])
    assert run(folder, tmp_path / "out")["masks"]["read"] == 20
    folder = flawed(tmp_path / "c", 20, segmentation={"size": [1, 1], "counts": [1]})
    summary = run(folder, tmp_path / "out", max_lost_masks_fraction=1)
    assert summary["lost"]["masks"] == {"bad_segmentation": 20}
    assert summary["masks"] == {"read": 20, "written": 0}


@pytest.mark.parametrize(
    "fields",
    [
        {"area": None},
        {"id": None},
        {"bbox": [-4, -4, 12, 12]},
        {"segmentation": [[2, 3, 12, 3, 12, 12, 2, 12], [1, 2, 3, 4]]},
    ],
)
def test_what_loses_nothing_has_no_limit(tmp_path, fields):
    limits = {"max_lost_objects_fraction": 0, "max_lost_masks_fraction": 0}
    summary = run(flawed(tmp_path / "set", 20, **fields), tmp_path / "out", **limits)
    assert summary["objects"] == {"read": 20, "written": 20, "rejected": 0}


def test_segmentations_that_hold_nothing_are_no_masks_to_lose(tmp_path):
    summary = run(flawed(tmp_path / "set", 20, segmentation=[[]]), tmp_path / "out")
    assert summary["masks"] == {"read": 0, "written": 0}
    assert summary["reasons"] == {}


def test_objects_lost_with_their_pictures_do_not_count_twice(tmp_path):
    folder = flawed(tmp_path / "set", 0)
    (folder / "pictures" / "1.jpg").unlink()
    summary = run(folder, tmp_path / "out", max_rejected_fraction=0.25, max_lost_objects_fraction=0)
    assert summary["objects"] == {"read": 20, "written": 15, "rejected": 5}
    assert summary["rejected"]["objects_with_pictures"] == {"picture_missing": 5}


@pytest.mark.parametrize(
    ("annotations", "note"),
    [
        ([], "no objects: training cannot use it"),
        (
            [annotation(1, 1, iscrowd=1, segmentation={"size": [20, 30], "counts": [0, 9, 591]})],
            "nothing but 1 crowd region: training cannot use it",
        ),
    ],
)
def test_split_without_objects_to_learn_is_noted(tmp_path, annotations, note):
    folder = write_dataset(tmp_path / "set", [image(1)], annotations)
    assert run(folder, tmp_path / "out")["notes"][0] == note


def test_nothing_left_is_an_error(tmp_path):
    folder = write_dataset(tmp_path / "a", [image(1)], [annotation(1, 1, category_id=77)])
    with pytest.raises(DatasetError, match=r"none of 1 object is left \(unknown_category 1\)"):
        run(folder, tmp_path / "out")
    folder = write_dataset(tmp_path / "b", [image(1)], [annotation(1, 1)], pictures={})
    with pytest.raises(DatasetError, match=r"none of 1 picture is left \(picture_missing 1\)"):
        run(folder, tmp_path / "out", policies={"picture_missing": "drop"})

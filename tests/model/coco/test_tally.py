"""Counts of shards add up, survive JSON, and count a repair that loses something once."""

import json
from collections import Counter

from model.coco.policies import Flaw
from model.coco.tally import Tally, object_name, picture_name


def tally(scale, examples):
    return Tally(
        pictures_read=5 * scale,
        pictures_written=3 * scale,
        refused_pictures=Counter({"picture_missing": scale}),
        dropped_pictures=Counter({"picture_damaged": scale}),
        objects_read=8 * scale,
        objects_written=6 * scale,
        dropped_objects=Counter({"bad_bbox": scale}),
        objects_with_pictures=Counter({"picture_missing": scale}),
        reasons=Counter({"bad_bbox": scale}),
        examples=examples,
    )


def test_tallies_add_up_and_the_first_example_stays():
    total = Tally()
    total.add(tally(1, {"picture_missing": "first"}))
    total.add(tally(10, {"picture_missing": "second", "picture_damaged": "third"}))
    assert total == tally(11, {"picture_missing": "first", "picture_damaged": "third"})
    assert total.summary() == {
        "pictures": {"read": 55, "written": 33, "rejected": 22},
        "objects": {"read": 88, "written": 66, "rejected": 22},
        "reasons": {"bad_bbox": 11},
        "crowds": 0,
        "masks": {"read": 0, "written": 0},
        "rejected": {
            "pictures": {"picture_damaged": 11, "picture_missing": 11},
            "objects": {"bad_bbox": 11},
            "objects_with_pictures": {"picture_missing": 11},
        },
        "mended": {},
        "lost": {"pictures": {}, "objects": {}, "masks": {}},
    }


def test_tally_survives_json():
    stored = json.dumps(tally(2, {"picture_missing": "x"}).to_json())
    assert Tally.from_json(json.loads(stored)) == tally(2, {"picture_missing": "x"})


def test_repairs_that_lose_something_count_once_an_object():
    counts = Tally()
    mask = Flaw("bad_segmentation", "mend", "cut off")
    flaws = [mask, mask, Flaw("box_crosses_border", "mend", "bbox"), Flaw("bad_area", "mend", "x")]
    counts.note_flaws(flaws)
    counts.note_losses(flaws, "image id 1, annotation id 2")
    counts.note_losses([Flaw("mask_without_pixels", "accept", "draws no pixel")], "another")
    assert counts.lost_masks == {"bad_segmentation": 1}
    assert counts.lost_objects == counts.lost_pictures == {}
    assert counts.mended == {"bad_segmentation": 2, "box_crosses_border": 1, "bad_area": 1}
    assert counts.examples == {"bad_segmentation": "image id 1, annotation id 2: cut off"}


def test_masks_that_are_read_are_those_that_hold_anything():
    counts = Tally()
    for empty in (None, "", [], {}, [[]], [[], []]):
        counts.read_object({"segmentation": empty})
    for entry in ({}, "nothing"):
        counts.read_object(entry)
    assert (counts.objects_read, counts.masks_read) == (8, 0)
    for held in ([[1]], [{}], {"counts": []}, "x"):
        counts.read_object({"segmentation": held})
    assert counts.masks_read == 4


def test_a_name_is_short_whatever_an_entry_holds():
    assert picture_name({"id": 1, "file_name": "a b.jpg"}) == "image id 1 (a b.jpg)"
    for odd in ("x" * 100_000, 10**4000, ["x" * 9000] * 9, {"a\n": "b\n" * 999}, "a\nb", None):
        for name in (
            picture_name({"id": odd, "file_name": odd}),
            object_name({"image_id": odd, "id": odd}),
        ):
            assert len(name) < 600
            assert name.isprintable()

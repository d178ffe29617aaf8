"""Counts of shards add up, survive JSON, and rejects are lines of JSON."""

import io
import json
from collections import Counter

from components.coco_example_gen.rejects import RejectsFile, Tally
from model.coco.policies import Flaw


def tally(scale, examples):
    return Tally(
        pictures_read=5 * scale,
        pictures_written=3 * scale,
        pictures_refused=scale,
        objects_read=8 * scale,
        objects_written=7 * scale,
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
        "objects": {"read": 88, "written": 77, "rejected": 11},
        "reasons": {"bad_bbox": 11},
    }


def test_tally_survives_json():
    stored = json.dumps(tally(2, {"picture_missing": "x"}).to_json())
    assert Tally.from_json(json.loads(stored)) == tally(2, {"picture_missing": "x"})


def test_only_refused_pictures_count_against_the_limit():
    stream, counts = io.StringIO(), Tally()
    rejects = RejectsFile(stream, counts)
    rejects.picture(Flaw("picture_missing", "drop", "gone"), "image id 1", {"id": 1})
    rejects.picture(Flaw("picture_missing", "refuse", "gone"), "image id 2", {"id": 2}, [{"é": 1}])
    rejects.annotation(Flaw("bad_bbox", "drop", "bbox None"), {"id": 3})
    assert counts.pictures_refused == 1
    assert counts.examples == {"picture_missing": "image id 2: gone"}
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {
            "reason": "picture_missing",
            "policy": "drop",
            "detail": "gone",
            "image": {"id": 1},
            "annotations": [],
        },
        {
            "reason": "picture_missing",
            "policy": "refuse",
            "detail": "gone",
            "image": {"id": 2},
            "annotations": [{"é": 1}],
        },
        {"reason": "bad_bbox", "policy": "drop", "detail": "bbox None", "annotation": {"id": 3}},
    ]

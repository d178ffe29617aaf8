"""Rejects are lines of JSON, and are counted."""

import io
import json

from components.coco_example_gen.rejects import RejectsFile
from model.coco.policies import Flaw
from model.coco.tally import Tally


def test_only_refused_pictures_count_against_the_limit():
    stream, counts = io.StringIO(), Tally()
    rejects = RejectsFile(stream, counts)
    rejects.picture(Flaw("picture_missing", "drop", "gone"), "image id 1", {"id": 1})
    rejects.picture(Flaw("picture_missing", "refuse", "gone"), "image id 2", {"id": 2}, [{"é": 1}])
    rejects.annotation(Flaw("bad_bbox", "drop", "bbox None"), {"id": 3, "image_id": 7})
    assert counts.pictures_refused == 1
    assert counts.pictures_rejected == 2
    assert counts.objects_rejected == 2  # one of them with its picture
    assert counts.examples == {
        "picture_missing": "image id 1: gone",
        "bad_bbox": "image id 7, annotation id 3: bbox None",
    }
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
        {
            "reason": "bad_bbox",
            "policy": "drop",
            "detail": "bbox None",
            "annotation": {"id": 3, "image_id": 7},
        },
    ]

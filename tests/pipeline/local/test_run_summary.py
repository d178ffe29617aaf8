"""What the screen says at the end of a run."""

from typing import Any

import pytest

from configs.metric_names import METRIC_NAMES
from pipeline.local.run_summary import summary_lines


@pytest.fixture
def summary() -> dict[str, Any]:
    box = {name: 0.5 for name in METRIC_NAMES} | {"APl": -1.0}
    return {
        "metrics": {"box": box, "mask": None},
        "blessed": True,
        "reason": "1 condition holds",
        "pushed_model": "/runs/a/serving/a/1",
        "report": "/runs/a/report.html",
        "data_report": "/runs/a/data.html",
        "records": {"train": {"read": 9, "written": 9, "rejected": 0}},
        "objects": {"train": {"read": 20, "written": 20, "rejected": 0}},
        "reasons": {"train": {}},
        "notes": [],
        "anomalies": {"train": {}},
        "seconds": {"ModelPusher": 0.1},
    }


def test_numbers_verdict_and_places_are_shown(summary: dict[str, Any]) -> None:
    assert summary_lines(summary) == [
        "",
        "            AP    AP50    AP75     APs     APm     APl   AR100",
        "box      0.500   0.500   0.500   0.500   0.500       -   0.500",
        "",
        "blessed: 1 condition holds",
        "pushed  /runs/a/serving/a/1",
        "report  /runs/a/report.html",
        "data    /runs/a/data.html",
        "next    tfx-rcnn look /runs/a",
        "        tfx-rcnn predict --model /runs/a/serving/a/1 PICTURE... --out DIR",
    ]


def test_parts_of_one_file_are_shown(summary: dict[str, Any]) -> None:
    part = {"asked": 0.9, "pictures": 9, "of": 12, "seed": 0, "group": "cam(.)", "groups": 2}
    summary["parts"] = {"train": part | {"of_groups": 3, "ungrouped": 0}}
    said = "train: 9 of 12 pictures in 2 of 3 groups 'cam(.)' (data.split asks for 0.9)"
    assert said in summary_lines(summary)


def test_rejected_pictures_and_anomalies_come_first(summary: dict[str, Any]) -> None:
    summary["records"]["train"] = {"read": 9, "written": 7, "rejected": 2}
    summary["objects"]["train"] = {"read": 1200, "written": 1199, "rejected": 1}
    summary["reasons"] = {"train": {"bad_bbox": 1, "picture_missing": 2}}
    summary["notes"] = ["train: class cat has no objects"]
    summary["anomalies"] = {"train": {"image/width": "Too small."}}
    assert summary_lines(summary)[1:6] == [
        "anomaly in train: image/width: Too small.",
        "train: 2 of 9 pictures rejected",
        "train: 1 of 1,200 objects rejected",
        "train: found picture_missing 2, bad_bbox 1",
        "note: train: class cat has no objects",
    ]


def test_many_reasons_and_notes_do_not_flood_the_screen(summary: dict[str, Any]) -> None:
    summary["reasons"] = {"train": {f"reason_{n}": 1 for n in range(40)}}
    summary["notes"] = [f"train: note {n}" for n in range(40)]
    lines = summary_lines(summary)
    assert lines[1].endswith("reason_5 1, and 34 more reasons")
    assert lines[9] == "note: train: note 7"
    assert lines[10] == "note: 32 more notes in summary.json"


def test_refused_model_shows_reason_and_nothing_pushed(summary: dict[str, Any]) -> None:
    summary.update(blessed=False, reason="box/AP 0.1 is below the minimum", pushed_model=None)
    lines = summary_lines(summary)
    assert "not blessed: box/AP 0.1 is below the minimum" in lines
    assert "pushed  nothing" in lines
    assert lines[-1] == "next    tfx-rcnn look /runs/a"


def test_pushed_folder_that_is_gone_says_what_to_do(summary: dict[str, Any]) -> None:
    summary["pushed_model"] = None
    [line] = [line for line in summary_lines(summary) if line.startswith("pushed")]
    assert "--from ModelPusher --no-cache" in line


def test_part_of_the_graph_shows_what_it_reached(summary: dict[str, Any]) -> None:
    summary.update(metrics={"box": None, "mask": None}, blessed=False, reason=None, report=None)
    assert summary_lines(summary) == ["", "data    /runs/a/data.html"]

"""What CocoTransform can work on."""

import pytest
from click.testing import CliRunner

from components.coco_transform.__main__ import main
from components.coco_transform.source import check_source, previous_report, read_report
from ground.errors import DatasetError
from ground.files import write_json
from model.examples import write_manifest

CATEGORY = {"id": 7, "name": "cell", "label": 1}


def test_examples_of_coco_example_gen_are_taken(tmp_path):
    write_manifest(tmp_path, {}, [CATEGORY])
    check_source(tmp_path)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="not an examples folder"):
        check_source(tmp_path)


def test_its_own_examples_are_refused_in_one_line(tmp_path):
    write_manifest(tmp_path / "own", {}, [CATEGORY])
    write_json(tmp_path / "own" / "buckets.json", [[64, 64]])
    config = tmp_path / "c.yaml"
    config.write_text("name: x\n")
    arguments = ["--examples", tmp_path / "own", "--config", config, "--out", tmp_path / "out"]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 1
    assert "give the ones of CocoExampleGen" in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


SPLIT = {
    "classes": [{"name": "cat", "objects": 5}],
    "histograms": {"box_side": [1, 2], "objects_per_picture": [3]},
}


def without(key):
    return {name: value for name, value in SPLIT.items() if name != key}


NO_REPORTS = {
    "example-gen's summary": {"splits": {"train": {"pictures": {"read": 5}, "notes": []}}},
    "no classes": {"splits": {"train": without("classes")}},
    "no histograms": {"splits": {"train": without("histograms")}},
    "classes as names": {"splits": {"train": SPLIT | {"classes": ["cat"]}}},
    "counts as text": {"splits": {"train": SPLIT | {"classes": [{"name": "a", "objects": "5"}]}}},
    "a histogram less": {"splits": {"train": SPLIT | {"histograms": {"box_side": [1]}}}},
    "a number for bins": {
        "splits": {"train": SPLIT | {"histograms": SPLIT["histograms"] | {"box_side": 5}}}
    },
    "negative bins": {
        "splits": {"train": SPLIT | {"histograms": SPLIT["histograms"] | {"box_side": [-1]}}}
    },
    "a list of splits": {"splits": ["train"]},
    "a list": [],
    "null": None,
}


@pytest.mark.parametrize("name", NO_REPORTS)
def test_file_that_is_no_report_is_refused_before_anything_is_written(tmp_path, name):
    write_manifest(tmp_path / "examples", {}, [CATEGORY])
    (tmp_path / "c.yaml").write_text("name: x\n")
    write_json(tmp_path / "previous.json", NO_REPORTS[name])
    arguments = ["--examples", "examples", "--config", "c.yaml", "--out", "out"]
    arguments = [str(tmp_path / a) if not a.startswith("-") else a for a in arguments]
    given = ["--previous", str(tmp_path / "previous.json")]
    result = CliRunner().invoke(main, [*arguments, *given])
    assert result.exit_code == 1, result.output
    assert result.output.startswith(f"error: {tmp_path}/previous.json: ")
    assert "report.json" in result.output and result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_report_whose_splits_can_be_compared_is_taken(tmp_path):
    content = {"splits": {"train": SPLIT, "eval": SPLIT}, "edges": {}}
    write_json(tmp_path / "report.json", content)
    assert read_report(tmp_path / "report.json") == content


def test_earlier_run_whose_report_is_damaged_does_not_end_this_one(tmp_path):
    sound = {"splits": {"train": SPLIT}, "edges": {}}
    for number, content in ((3, sound), (4, NO_REPORTS["no classes"])):
        write_json(tmp_path / str(number) / "report.json", content)
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "report.json").write_text('{"splits": {"tra')
    assert previous_report(tmp_path / "9") == sound
    assert previous_report(tmp_path / "3") is None
    (tmp_path / "3" / "report.json").unlink()
    assert previous_report(tmp_path / "9") is None

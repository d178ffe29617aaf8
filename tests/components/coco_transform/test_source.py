"""What CocoTransform can work on."""

import pytest
from click.testing import CliRunner

from components.coco_transform.__main__ import main
from components.coco_transform.source import check_source
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

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.coco_evaluator.kept_detections import read_kept, write_detections, write_kept

FOUND = [{"image_id": 1, "bbox": [0.5, 1.0, 2.0, 3.25], "score": 0.75}, {"image_id": 2}]


@pytest.mark.parametrize("found", [[], FOUND, [{"a": 1}, {"b": [2.5]}]])
def test_what_is_written_is_read_back(tmp_path, found):
    write_detections(tmp_path / "detections.json", found)
    assert json.loads((tmp_path / "detections.json").read_text()) == found

    write_kept(tmp_path / "kept.json", found)
    assert read_kept(tmp_path / "kept.json") == found
    assert json.loads((tmp_path / "kept.json").read_text())["detections"] == found


def test_what_is_not_there_is_not_kept(tmp_path):
    assert read_kept(tmp_path / "absent.json") is None


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "kept.json"
    write_kept(path, FOUND)
    return path


@given(st.data())
def test_every_changed_byte_is_seen(kept, data):
    content = kept.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[position]))
    damaged = kept.with_name("damaged.json")

    damaged.write_bytes(content[:position] + bytes([byte]) + content[position + 1 :])
    assert read_kept(damaged) is None

    damaged.write_bytes(content[:position])
    assert read_kept(damaged) is None


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "{}", "null", '{"sha256": "'])
def test_other_files_are_not_believed(tmp_path, caplog, text):
    path = tmp_path / "kept.json"
    path.write_text(text)

    with caplog.at_level(logging.WARNING):
        assert read_kept(path) is None


def test_a_folder_in_its_place_is_not_believed(tmp_path):
    (tmp_path / "kept.json").mkdir()

    assert read_kept(tmp_path / "kept.json") is None

import json

import pytest

from components.coco_evaluator import detections
from components.coco_evaluator.detections import model_detections
from components.coco_evaluator.kept_detections import write_detections
from components.coco_evaluator.sources import AnnotationsSource
from configs.source_digest import source_files


class DigestedSource(AnnotationsSource):
    digest = "0123abcd-eval"


@pytest.fixture
def source(data):
    return DigestedSource(data / "instances.json", data / "pictures")


@pytest.fixture
def loads(monkeypatch):
    """Counts how often a model is loaded."""
    loaded = []
    real = detections.LoadedModel
    monkeypatch.setattr(
        detections, "LoadedModel", lambda folder: loaded.append(folder) or real(folder)
    )
    return loaded


def test_detections_are_kept_by_model_and_examples(tmp_path, make_model, source, loads):
    model, other = make_model("model", 0.75), make_model("other", 0.5)

    first = model_detections(model, source, 2, tmp_path / "kept")
    again = model_detections(model, source, 2, tmp_path / "kept")
    assert again == first
    assert loads == [model]

    assert model_detections(other, source, 2, tmp_path / "kept") != first
    source.digest = "4567-eval"
    model_detections(model, source, 2, tmp_path / "kept")
    assert loads == [model, other, model]


def test_changed_code_runs_the_model_again(tmp_path, make_model, source, loads, monkeypatch):
    model = make_model("model", 0.75)
    model_detections(model, source, 2, tmp_path / "kept")
    monkeypatch.setattr(detections, "source_digest", lambda module: "0" * 64)
    model_detections(model, source, 2, tmp_path / "kept")
    assert loads == [model, model]


def test_the_code_is_all_that_makes_detections_and_not_the_gate():
    files = {path.name for path in source_files(detections.__name__)}
    assert {"detections.py", "frames.py", "predict.py", "mask_paste.py"} <= files
    assert not {"gate.py", "evaluation.py"} & files


def test_a_part_of_the_pictures_is_not_kept_as_the_whole(tmp_path, make_model, source, loads):
    model = make_model("model", 0.75)

    part = model_detections(model, source, 2, tmp_path / "kept", image_ids={2})
    whole = model_detections(model, source, 2, tmp_path / "kept")

    assert {d["image_id"] for d in part} == {2}
    assert {d["image_id"] for d in whole} == {1, 2, 3}


def test_the_batch_size_changes_nothing(make_model, source):
    model = make_model("model", 0.75)

    assert model_detections(model, source, 1) == model_detections(model, source, 3)


def test_progress_is_told_at_the_end(make_model, source):
    lines = []
    model_detections(make_model("model", 0.75), source, 1, on_progress=lines.append)

    assert lines[-1].startswith("evaluating: 3/3 pictures")


@pytest.mark.parametrize("found", [[], [{"image_id": 1, "score": 0.5}], [{"a": 1}, {"b": [2.5]}]])
def test_what_is_written_is_read_back(tmp_path, found):
    write_detections(tmp_path / "detections.json", found)
    assert json.loads((tmp_path / "detections.json").read_text()) == found

import shutil

import pytest

from components.coco_evaluator import detections
from components.coco_evaluator.detections import model_detections
from components.coco_evaluator.sources import AnnotationsSource
from ground.errors import DatasetError, ModelError
from ground.source_digest import source_files


class DigestedSource(AnnotationsSource):
    digest = "0123abcd-eval"


@pytest.fixture
def source(data):
    return DigestedSource(data / "instances.json", data / "pictures")


@pytest.fixture
def loads(monkeypatch):
    """Counts how often a model is loaded."""
    loaded = []
    real = detections.Replicas
    monkeypatch.setattr(
        detections, "Replicas", lambda folder: loaded.append(folder) or real(folder)
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


def test_several_devices_measure_every_picture_once(make_model, source, monkeypatch):
    model = make_model("model", 0.75)
    one = model_detections(model, source, 2)
    real, seen = detections.Replicas, []

    def three(folder):
        replicas = real(folder, ["/CPU:0"] * 3)
        for loaded in replicas._models:
            detect = loaded.detect_bytes
            loaded.detect_bytes = lambda encoded, d=detect: seen.extend(encoded) or d(encoded)
        return replicas

    monkeypatch.setattr(detections, "Replicas", three)

    assert model_detections(model, source, 1) == one
    files = [(source._pictures / f"{n}.png").read_bytes() for n in (1, 2, 3)]
    assert sorted(seen) == sorted(files)


def test_progress_is_told_at_the_end(make_model, source):
    lines = []
    model_detections(make_model("model", 0.75), source, 1, on_progress=lines.append)

    assert lines[-1].startswith("evaluating: 3/3 pictures")


@pytest.mark.parametrize("change", ["edited", "cut short", "other weights"])
def test_kept_detections_that_are_not_of_this_model_are_made_anew(
    tmp_path, make_model, source, loads, change
):
    model = make_model("model", 0.75)
    first = model_detections(model, source, 2, tmp_path / "kept")
    [kept] = (tmp_path / "kept").rglob("*-eval-*.json")

    if change == "edited":
        kept.write_text(kept.read_text().replace("0.75", "0.95"))
    elif change == "cut short":
        kept.write_text(kept.read_text()[:-20])
    else:  # under the same model id
        shutil.copytree(
            make_model("other", 0.5) / "variables", model / "variables", dirs_exist_ok=True
        )
    again = model_detections(model, source, 2, tmp_path / "kept")

    assert loads == [model, model]
    assert (again == first) is (change != "other weights")
    assert model_detections(model, source, 2, tmp_path / "kept") == again
    assert len(loads) == 2


def test_files_that_change_while_they_are_measured_are_refused(
    tmp_path, make_model, source, monkeypatch
):
    model = make_model("model", 0.75)
    real = detections.Replicas

    def load_and_change(folder):
        loaded = real(folder)
        (folder / "assets.extra/more").write_text("meanwhile")
        return loaded

    monkeypatch.setattr(detections, "Replicas", load_and_change)
    with pytest.raises(ModelError, match="changed while it was measured"):
        model_detections(model, source, 2, tmp_path / "kept")
    assert not list((tmp_path / "kept").rglob("*-eval-*.json"))


def test_a_model_that_finds_no_numbers_is_refused(make_model, source, monkeypatch):
    # Of several calls at work at once any may be the first to end.
    monkeypatch.setattr("model.prediction.replicas.calls_at_once", lambda _: 1)
    with pytest.raises(ModelError, match=r"not numbers in picture 1 \(1\.png\)"):
        model_detections(make_model("model", float("nan")), source, 1)


def test_a_picture_that_cannot_be_read_is_told_and_nothing_is_kept(
    tmp_path, make_model, data, source
):
    (data / "pictures/2.png").write_bytes(b"")
    model, failed = make_model("model", 0.75), []

    found = model_detections(model, source, 2, tmp_path / "kept", on_failure=failed.append)

    assert {d["image_id"] for d in found} == {1, 3}
    assert len(failed) == 1
    assert "2.png" in failed[0]
    assert not list((tmp_path / "kept").rglob("*-eval-*.json"))
    with pytest.raises(DatasetError, match=r"2\.png"):
        model_detections(model, source, 2)

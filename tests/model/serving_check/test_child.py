"""An exported model against the detector that was trained, and against what was done to it."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest

from configs.loader import load_config
from ground.source_digest import SOURCE_ROOT
from model import export
from model.detector import build_detector
from model.serving_check.child import Check, Job, peak_memory_bytes, read_found
from model.serving_check.kinds import drawn_pictures
from model.training_settings import TrainingSettings
from tests.model.fake_detector import FakeDetector

CATEGORIES = [{"id": 18, "name": "dog", "label": 1}, {"id": 90, "name": "toothbrush", "label": 2}]
SETTINGS = TrainingSettings.of(load_config(SOURCE_ROOT / "configs/tiny.yaml", []))
NAMES = ("a drawn JPEG", "a drawn grey 16-bit PNG", "a drawn tiny PNG")
SENT = [p for p in drawn_pictures(1_000_000) if p.name.partition(" of ")[0] in NAMES]


def check(model, folder):
    folder.mkdir()
    for number, picture in enumerate(SENT):
        (folder / str(number)).write_bytes(picture.encoded)
    job = Job(str(model), [picture.name for picture in SENT], len(SENT))
    (folder / "job.json").write_text(json.dumps(asdict(job)))
    done = Check(folder)
    done.run()
    return done.answer


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small detector of ours, exported."""
    detector = build_detector(SETTINGS.model, len(CATEGORIES), seed=3)
    folder = tmp_path_factory.mktemp("exported") / "model"
    export.export_saved_model(detector, SETTINGS, CATEGORIES, folder)
    return folder


@pytest.mark.slow
def test_a_sound_model_agrees_and_says_what_it_costs(exported, tmp_path):
    answer = check(exported, tmp_path / "job")

    assert answer.problems == []
    assert answer.calls == 50
    assert 0 < answer.latency_p50_ms <= answer.latency_p99_ms
    assert answer.load_s > 0 and answer.memory_mb > 100
    assert answer.worst_score < 1e-3
    assert len(read_found(tmp_path / "job/0.npz").scores) > 0
    steps = [json.loads(line) for line in (tmp_path / "job/steps.jsonl").read_text().splitlines()]
    assert steps[0] == "it is loaded"
    assert f"it is shown {SENT[1].name}" in steps


@pytest.mark.slow
def test_a_model_whose_files_were_changed_is_not_what_was_trained(exported, tmp_path, monkeypatch):
    copy = tmp_path / "model"
    shutil.copytree(exported, copy)
    other = build_detector(SETTINGS.model, len(CATEGORIES), seed=4)
    export.export_saved_model(other, SETTINGS, CATEGORIES, tmp_path / "other")
    shutil.rmtree(copy / "variables")
    shutil.copytree(tmp_path / "other/variables", copy / "variables")

    [problem] = check(copy, tmp_path / "job").problems
    assert "is not what was trained: its weights are not those that training exported" in problem

    # The same weights, read otherwise in Python than in the graph that was exported.
    from model.serving_check import training_graph

    darker = training_graph.resize_picture
    monkeypatch.setattr(training_graph, "resize_picture", lambda *a: darker(*a) // 4)
    [problem] = check(exported, tmp_path / "again").problems
    assert problem.startswith("finds other things in training and where it is served in a drawn ")
    assert "of the detections, by score, have no counterpart" in problem


def test_a_model_of_another_make_is_not_what_was_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "build_detector", lambda *a, **k: FakeDetector())
    export.export_saved_model(FakeDetector(), SETTINGS, CATEGORIES, tmp_path / "model")

    answer = check(tmp_path / "model", tmp_path / "job")

    [problem] = answer.problems
    assert "is not what was trained: its 1 weights do not fit the " in problem
    assert answer.memory_mb is not None  # what it costs was measured before
    found = read_found(tmp_path / "job/0.npz")
    np.testing.assert_allclose(found.boxes_norm[0], [0, 0, 1, 1], atol=1e-6)


def test_a_model_that_cannot_be_loaded_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "build_detector", lambda *a, **k: FakeDetector())
    export.export_saved_model(FakeDetector(), SETTINGS, CATEGORIES, tmp_path / "model")
    (tmp_path / "model/saved_model.pb").write_bytes(b"no graph")

    answer = check(tmp_path / "model", tmp_path / "job")

    assert answer.load_s is None
    assert answer.problems[0].startswith("fails in a process of its own, when it is loaded: cannot")


def test_peak_memory_is_that_of_the_process_alone(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  9 kB\nVmHWM:\t    2048 kB\n")

    assert peak_memory_bytes(status) == 2 << 20

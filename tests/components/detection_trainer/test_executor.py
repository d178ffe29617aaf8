"""The executor on real artifacts."""

import json
import warnings

import pytest

from components.detection_trainer.settings import DetectionTrainerSettings
from ground.speech import Manner, speaking
from pipeline.screen import own_lines_shown
from tests.model.training.small_run import small_config, write_examples

pytestmark = pytest.mark.e2e


def test_a_rerun_goes_on_where_it_was_and_changed_code_starts_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    examples = write_examples(tmp_path / "examples")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what TFX imports
        from tfx.types import standard_artifacts

        from components.artifacts import TrainingRun
        from components.detection_trainer.executor import Executor

    def do(name: str, source_digest: str) -> dict:
        def artifact(kind, folder):
            made = kind()
            made.uri = str(folder)
            return [made]

        outputs = {
            "model": artifact(standard_artifacts.Model, tmp_path / name / "model"),
            "run": artifact(TrainingRun, tmp_path / name / "run"),
        }
        properties = {
            "settings": DetectionTrainerSettings.of(small_config("1x2")).to_json(),
            "source_digest": source_digest,
            "checkpoints_dir": str(tmp_path / "stable"),
        }
        inputs = {"examples": artifact(standard_artifacts.Examples, examples)}
        Executor().Do(inputs, outputs, properties)
        return json.loads((tmp_path / name / "run" / "summary.json").read_text())

    with speaking(Manner.JSON), own_lines_shown():
        first = do("first", "a")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert next(one["step"] for one in told if one["event"] == "progress") >= 1
    assert [one["pictures_per_worker"] for one in told if one["event"] == "start"] == [2]
    again = do("again", "a")
    assert again["model_id"] == first["model_id"]
    assert again["seconds"] == first["seconds"]  # nothing was left to train
    for name in ("first", "again"):
        assert (tmp_path / name / "model" / "Format-Serving" / "saved_model.pb").is_file()
        written = {path.name for path in (tmp_path / name / "run").iterdir()}
        assert written == {
            ".tfx-rcnn.json",
            "logs",
            "tensorboard",
            "throughput.json",
            "summary.json",
        }
    changed = do("changed", "b")
    assert changed["checkpoints_dir"] != first["checkpoints_dir"]
    assert changed["model_id"] == first["model_id"]

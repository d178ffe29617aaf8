"""What a failed component said is found in the wrapping of Beam and TFX."""

import errno
import json
from pathlib import Path

import pytest

from configs.schema import Config
from ground.errors import DatasetError, TrainingError
from model.launch.errors import TrainingStopped
from pipeline.local import runner
from pipeline.local.runner import component_error, run_pipeline

LOG = Path("runs/a/logs/pipeline.log")

# As the in-memory runner of Beam 2.60 raised it for a DatasetError in a DoFn (shortened).
BEAM = RuntimeError(
    "Traceback (most recent call last):\n"
    '  File "apache_beam/runners/common.py", line 1501, in process\n'
    '  File "components/coco_example_gen/shard.py", line 60, in encode\n'
    "ground.errors.DatasetError: 7.jpg: is broken; mend it\n\n"
    "During handling of the above exception, another exception occurred:\n\n"
    "Traceback (most recent call last):\n"
    '  File "apache_beam/transforms/core.py", line 2084, in <lambda>\n'
    "ground.errors.DatasetError: 7.jpg: is broken; mend it [while running 'train/Encode']\n"
)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DatasetError("a.json: no\ncategory"), "Gen: a.json: no category (log: {log})"),
        (TrainingError("worker 1 died"), "Gen: worker 1 died (log: {log})"),
        (BEAM, "Gen: 7.jpg: is broken; mend it (log: {log})"),
        (
            RuntimeError("Traceback ...\nValueError: too few [while running 'x']\n"),
            "Gen: ValueError: too few (log: {log})",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/serving"),
            "Gen: /serving: Permission denied: give another folder, or yourself the right to use "
            "this one (log: {log})",
        ),
        (
            KeyError("x"),
            "Gen: KeyError: 'x' (run again with --debug for the traceback) (log: {log})",
        ),
    ],
)
def test_component_error_is_one_line(error: Exception, line: str) -> None:
    assert str(component_error("Gen", error, LOG)) == line.format(log=LOG)


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/runs/b/x"), "/runs/b/x"),
        (RuntimeError("...\nOSError: [Errno 28] No space left on device: '/tmp/y'"), "/tmp/y"),
        (OSError(errno.ENOSPC, "No space left on device"), "runs/a"),
        (RuntimeError("INTERNAL: database or disk is full"), "runs/a"),
    ],
)
def test_full_disk_is_recognised_and_its_place_named(error: Exception, place: str) -> None:
    said = str(component_error("Gen", error, LOG))
    assert said.startswith(f"Gen: no space left on the disk of {place}: free some space")


def test_a_stopped_training_is_no_failed_pipeline(tmp_path, monkeypatch, capsys) -> None:
    def stop(*_: object) -> None:
        raise TrainingStopped(30)

    monkeypatch.setattr(runner, "_graph", lambda *_: None)
    monkeypatch.setattr(runner, "_run_graph", stop)
    summary = run_pipeline(Config(name="a"), tmp_path / "data", tmp_path / "root")
    assert summary == {"resumable": True, "step": 30}
    assert json.loads((tmp_path / "root/summary.json").read_text()) == summary
    assert capsys.readouterr().out == "stopped after 30 steps: resumable, run the same again\n"

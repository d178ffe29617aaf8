import json

import pytest
from click.testing import CliRunner

from components.model_pusher.__main__ import main


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    (folder / "assets.extra/model_id.json").write_text(json.dumps({"model_id": "aa"}))
    return folder


@pytest.fixture
def run(tmp_path, model):
    def run_with(**decision):
        path = tmp_path / "decision.json"
        path.write_text(json.dumps(decision))
        arguments = ["--model", model, "--decision", path, "--folder", tmp_path, "--name", "cells"]
        return CliRunner().invoke(main, list(map(str, arguments)))

    return run_with


def test_a_blessed_model_is_pushed_once(tmp_path, run):
    first = run(blessed=True, reason="1 condition holds", model_id="aa")
    again = run(blessed=True, reason="1 condition holds", model_id="aa")

    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.output == f"pushed to {tmp_path}/cells/1\n"
    assert again.output.startswith("not copied again")
    summary = json.loads((tmp_path / "cells/summary.json").read_text())
    assert summary["pushed_model"] == str(tmp_path / "cells/1")


def test_what_is_not_blessed_is_refused(tmp_path, run):
    result = run(blessed=False, reason="box/AP is missing", model_id="aa")

    assert result.exit_code == 3
    assert result.output == "not pushed: not blessed (box/AP is missing)\n"
    assert not (tmp_path / "cells").exists()


def test_a_decision_about_another_model_is_refused(tmp_path, run):
    result = run(blessed=True, reason="", model_id="bb")

    assert result.exit_code == 1
    assert "is not about" in result.stderr
    assert not (tmp_path / "cells").exists()

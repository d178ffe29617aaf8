"""The fixed names `python -m model.X` stay doors to the commands."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMANDS = ["curves", "estimate", "import_weights", "predict", "serve", "train", "tune"]
# Reached by `tfx-rcnn` alone, and what commands share.
WITHOUT_DOOR = ["export", "tile_options", "__init__"]


def test_every_command_has_a_door():
    files = {path.stem for path in (ROOT / "model" / "commands").glob("*.py")}
    assert files == {*COMMANDS, *WITHOUT_DOOR}


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", COMMANDS)
def test_door_opens_to_its_command(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["model", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"model.{name}", run_name="__main__")
    assert ended.value.code == 0
    assert f"Usage: python -m model.{name} " in capsys.readouterr().out


@pytest.mark.parametrize("name", [*COMMANDS, "__init__"])
def test_command_is_click_and_little_else(name):
    tree = ast.parse((ROOT / "model" / "commands" / f"{name}.py").read_text())
    assert not [node for node in tree.body if isinstance(node, ast.ClassDef)]

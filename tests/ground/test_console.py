"""Errors become one line and the right exit status."""

import errno
import importlib
import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import click
import pytest
from click.testing import CliRunner

from ground.console import OneLineGroup, explain, finish, one_line_errors, read_json
from ground.errors import ConfigError, DatasetError


def command_raising(error: BaseException) -> click.Command:
    @click.command()
    @one_line_errors
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError("a.yaml: no"), 2, "error: a.yaml: no\n"),
        (DatasetError("x.json: cut\n off"), 1, "error: x.json: cut off\n"),
        (
            OSError(errno.ENOSPC, "No space", "/out/a"),
            1,
            "no space left on the disk of /out/a",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/out"),
            1,
            "/out: Permission denied: give another folder",
        ),
        (OSError(errno.EROFS, "Read-only", "/out"), 1, "give a folder that can be written to"),
        (FileExistsError(errno.EEXIST, "File exists", "/out"), 1, "a file is where a folder"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, "Broken pipe: what reads the output has"),
        (KeyError("odd"), 1, "KeyError: 'odd' (run again with --debug"),
        (PackageNotFoundError("simplejpeg"), 1, "the package simplejpeg is missing: the inst"),
        (ModuleNotFoundError("no", name="a.b"), 1, "the package a.b is missing: the installation"),
        (ModuleNotFoundError("no", name="tfx.v1"), 1, "run TFX_RCNN_PACKAGES=all make setup"),
        (ImportError("libGL.so.1: cannot open"), 1, "libGL.so.1: cannot open: the installation"),
    ],
)
def test_known_errors_are_one_line(error, status, said):
    result = CliRunner().invoke(command_raising(error), [])
    assert result.exit_code == status
    assert said in result.output
    assert result.output.count("\n") == 1


MANY_LINES = """
import click
from ground.console import OneLineCommand, one_line_errors, show_lines

@click.command(cls=OneLineCommand)
@one_line_errors
def main():
    show_lines(["line"] * 100_000)

main(prog_name="many")
"""


@pytest.mark.parametrize("arguments", ["", "--help"])
@pytest.mark.parametrize("output", ["/dev/full", "| head -1"])
def test_output_that_takes_no_more_ends_without_a_traceback(repo, arguments, output):
    many = [sys.executable, "-c", MANY_LINES, *arguments.split()]
    place = f">{output}" if output.startswith("/") else output
    command = f'"$@" {place}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command, "bash", *many], cwd=repo, capture_output=True, text=True
    )
    if output == "/dev/full":
        assert done.returncode == 1
        assert re.fullmatch("error: .*[Nn]o space left on .*\n", done.stderr)
    else:
        assert done.stdout in ("line\n", "Usage: many [OPTIONS]\n")
        assert done.returncode == (0 if arguments else 1)  # help fits into the pipe
        assert done.stderr == ""


def test_debug_shows_the_traceback():
    result = CliRunner().invoke(command_raising(DatasetError("x")), ["--debug"])
    assert isinstance(result.exception, DatasetError)


@click.group(cls=OneLineGroup)
def group() -> None:
    pass


@group.command()
@click.option("--count", required=True, type=int)
@one_line_errors
def take(count: int) -> None:
    if count > 2:
        raise click.BadParameter("at most 2", param_hint="--count")


@group.command()
@click.option("--colour", required=True, help="Of the lines, by name. Case does not matter.")
@one_line_errors
def paint(colour: str) -> None:
    pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("take", "Missing option '--count' (group take --help shows"),
        ("paint", "Missing option '--colour': Of the lines, by name (group paint --help shows"),
        ("take --count x", "'x' is not a valid integer (group take --help shows"),
        ("take --count 3", "Invalid value for --count: at most 2 (group take --help shows"),
        ("tkae", "No such command 'tkae'"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, said):
    result = CliRunner().invoke(group, arguments.split())
    assert result.exit_code == 2
    assert result.output.startswith("error: ") and said in result.output
    assert result.output.count("\n") == 1


def test_finish_prints_and_writes_the_same_summary(tmp_path, capsys):
    finish({"records": 3}, tmp_path, ["3 records"])
    assert json.loads((tmp_path / "summary.json").read_text()) == {"records": 3}
    assert capsys.readouterr().out == "3 records\n"


def test_read_json_names_the_file(tmp_path):
    (tmp_path / "cut.json").write_text('{"a": [')
    for name in ("cut.json", "none.json"):
        with pytest.raises(DatasetError, match=name):
            read_json(tmp_path / name, DatasetError)
    assert "no such file" in explain(DatasetError("a: no such file"))


@pytest.mark.parametrize(
    "name", ["curves", "estimate", "import_weights", "predict", "train", "tune"]
)
def test_commands_of_the_library_answer_in_one_line_and_show_an_example(name):
    command = importlib.import_module(f"model.commands.{name}").main
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 2
    assert result.output.startswith("error: ") and result.output.count("\n") == 1
    shown = " ".join(CliRunner().invoke(command, ["--help"], prog_name="x").output.split())
    assert "Example: x " in shown


@pytest.mark.parametrize("arguments", [["--out", "O\udcff"], ["\udcff"], ["--out=\udce9"]])
@pytest.mark.parametrize("name", ["predict", "train"])
def test_a_name_that_is_not_utf8_is_refused_at_once(name, arguments):
    command = importlib.import_module(f"model.commands.{name}").main
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert "is not text in UTF-8: give another name" in result.output
    assert result.output.startswith("error: ") and result.output.count("\n") == 1


def test_a_command_ends_without_a_search_among_all_modules():
    program = """
import atexit, gc
atexit.register(lambda: print("kept" if gc.get_freeze_count() else "searched"))  # the last one
import click
from ground.console import OneLineCommand
click.command("x", cls=OneLineCommand)(lambda: print("done")).main([])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["done", "kept"], done.stderr

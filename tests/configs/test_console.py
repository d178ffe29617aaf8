"""Errors become one line and the right exit status."""

import errno
import json

import click
import pytest
from click.testing import CliRunner

from configs.console import explain, finish, one_line_errors, read_json
from configs.errors import ConfigError, DatasetError


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
            "/out: Permission denied",
        ),
        (KeyError("odd"), 1, "KeyError: 'odd' (run again with --debug"),
    ],
)
def test_known_errors_are_one_line(error, status, said):
    result = CliRunner().invoke(command_raising(error), [])
    assert result.exit_code == status
    assert said in result.output
    assert result.output.count("\n") == 1


def test_debug_shows_the_traceback():
    result = CliRunner().invoke(command_raising(DatasetError("x")), ["--debug"])
    assert isinstance(result.exception, DatasetError)


def test_usage_errors_stay_clicks_own():
    assert CliRunner().invoke(command_raising(click.UsageError("x")), []).exit_code == 2


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

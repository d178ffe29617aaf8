"""What a command says: plain, quiet, or one JSON object a line."""

import json
import re

import click
import pytest
from click.testing import CliRunner, Result

from ground.command_options import set_option
from ground.console import (
    OneLineCommand,
    finish,
    one_line_errors,
    print_document,
    print_table,
    show_lines,
)
from ground.errors import ConfigError
from ground.speech import Manner, manner, say, say_error, say_warning, speaking, speech_options

KINDS = {"none": None, "known": ConfigError("a.yaml: no"), "unknown": KeyError("odd")}


@click.command(cls=OneLineCommand)
@click.option("--error", type=click.Choice(list(KINDS)), default="none")
@click.option("--wrong", is_flag=True)
@click.option("--out")
@set_option
@speech_options
@one_line_errors
def command(error: str, wrong: bool, out: str | None, overrides: tuple[str, ...]) -> None:
    """Says one of each."""
    if wrong:
        raise click.UsageError("give either")
    say("step 1/2", fields={"step": 1, "loss": float("nan"), "event": "x"})
    say_warning("odd")
    if (problem := KINDS[error]) is not None:
        raise problem
    say_error("picture 3: unreadable", image_id=3)
    print_table(["run", "state"], [["a", "done"]])
    show_lines(["", "written"])
    if out:
        finish({"model": "m", "AP": 0.5}, out, ["done"])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, prog_name="say")


def objects(result: Result) -> list[dict]:
    said = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    assert result.stderr == ""
    for one in said:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one.pop("time"))
    return said


def test_plain_is_as_it_was() -> None:
    done = run()
    assert done.stdout == "step 1/2\nrun  state\na     done\n\nwritten\n"
    assert done.stderr == "warning: odd\nerror: picture 3: unreadable\n"


def test_quiet_says_results_and_troubles() -> None:
    done = run("--quiet")
    assert done.stdout == "run  state\na     done\n\nwritten\n"
    assert done.stderr == "warning: odd\nerror: picture 3: unreadable\n"
    assert manner() is Manner.PLAIN  # again


def test_json_logs_is_an_object_a_line(tmp_path) -> None:
    result = {"level": "info", "event": "result"}
    assert objects(run("--json-logs", "--out", str(tmp_path))) == [
        {"level": "info", "event": "progress", "text": "step 1/2", "step": 1, "loss": None},
        {"level": "warning", "event": "warning", "text": "odd"},
        {"level": "error", "event": "error", "text": "picture 3: unreadable", "image_id": 3},
        {
            "level": "info",
            "event": "result",
            "text": "a  done",
            "row": {"run": "a", "state": "done"},
        },
        {**result, "text": "written"},
        {"level": "info", "event": "summary", "text": "", "summary": {"model": "m", "AP": 0.5}},
        {**result, "text": "done"},
    ]


def test_a_document_is_a_result_in_every_manner() -> None:
    @click.command()
    @speech_options
    def document() -> None:
        say("looking")
        print_document({"AP": 0.5})

    def printed(*arguments: str) -> str:
        return CliRunner().invoke(document, arguments).stdout

    assert printed() == f"looking\n{printed('--quiet')}"
    assert json.loads(printed("--quiet")) == {"AP": 0.5}
    said = [json.loads(line) for line in printed("--json-logs").splitlines()]
    assert [(one["event"], one.get("document")) for one in said] == [
        ("progress", None),
        ("result", {"AP": 0.5}),
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--error", "known"], 2, "a.yaml: no"),
        (["--error", "unknown"], 1, "KeyError: 'odd' (run again with --debug for the traceback)"),
        (["--wrong"], 2, "give either (say --help shows what it takes)"),
        (["--error"], 2, "Option '--error' requires an argument (say --help shows what it takes)"),
        (["--zzzzz"], 2, "No such option '--zzzzz' (say --help shows what it takes)"),
        (["--quiet"], 2, "give --quiet or --json-logs, not both (say --help shows what it takes)"),
    ],
)
def test_errors_of_json_logs_are_objects_with_the_status(arguments, status, said) -> None:
    done = run("--json-logs", *arguments)
    assert done.exit_code == status
    *_, last = objects(done)
    assert (last["level"], last["event"]) == ("error", "error")
    assert (last["text"], last["exit_status"]) == (said, status)
    plain = run(*[a for a in arguments if a != "--quiet"])
    if arguments != ["--quiet"]:
        assert plain.exit_code == status
        assert plain.stderr.splitlines()[-1] == f"error: {said}"


@pytest.mark.parametrize("chosen", list(Manner))
def test_secrets_in_what_is_said_are_hidden(chosen, capsys) -> None:
    with speaking(chosen):
        print_table(["place"], [["ftp://me:hunter2@host/x"]])
        print_document({"place": "ftp://me:hunter2@host/x"})
        say_error("no answer of ftp://me:hunter2@host/x and s3://b/x?token=hunter2")
    said = "".join(capsys.readouterr())
    assert "no answer of ftp://me:***@host/x and s3://b/x?token=***" in said
    assert "hunter2" not in said and said.count("ftp://me:***@host/x") >= 3

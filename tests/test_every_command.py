"""Every command: its help, its examples and its names; and what a shell completes."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ground.command_examples import PROGRAM, examples_of
from pipeline.__main__ import main as tfx_rcnn
from pipeline.command_list import COMMANDS
from tests.test_layering import REPO, TFX_AND_BEAM

ENTRIES = [entry for entries in COMMANDS.values() for entry in entries]
NAMES = [entry.name for entry in ENTRIES]
HEAVY = sorted(TFX_AND_BEAM | {"keras", "tensorflow", "pandas", "boto3"})
# What they need is not here: a run's results, pictures and weights, a cluster, minutes.
READ_ONLY = {*NAMES} - {"shapes"}


def command_of(name: str) -> click.Command:
    command = tfx_rcnn.get_command(click.Context(tfx_rcnn), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", NAMES)
def test_help_is_whole(name: str) -> None:
    done = CliRunner().invoke(tfx_rcnn, [name, "-h"], prog_name="tfx-rcnn")
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: tfx-rcnn {name} ")
    assert "-h, --help" in done.output and "--debug" in done.output
    assert f"  tfx-rcnn {name} " in done.output + " " or f"  tfx-rcnn {name}\n" in done.output
    options = [p for p in command_of(name).params if isinstance(p, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_can_be_quiet_or_told_as_json(name: str) -> None:
    done = CliRunner().invoke(tfx_rcnn, [name, "--quiet", "--json-logs", "--absent"])
    assert (done.exit_code, done.stderr) == (2, "")
    assert json.loads(done.stdout)["text"].startswith("No such option '--absent'")
    options = {o for p in command_of(name).params for o in p.opts}
    assert {"--quiet", "--json-logs"} <= options


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_taken(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "coco").mkdir(parents=True)  # example-gen looks for it at once
    command = command_of(name)
    examples = examples_of(command)
    assert examples
    for example in examples:
        program, given, *arguments = shlex.split(example)
        assert (program, given) == (PROGRAM, name)
        command.make_context(name, arguments)
        if name not in READ_ONLY:
            done = CliRunner().invoke(tfx_rcnn, [name, *arguments])
            assert done.exit_code == 0, done.output


def test_an_example_with_a_wrong_option_would_fail() -> None:
    with pytest.raises(click.UsageError, match="No such option"):
        command_of("train").make_context("train", ["--example", "E"])


def test_files_named_in_examples_are_there() -> None:
    words = {word for n in NAMES for e in examples_of(command_of(n)) for word in shlex.split(e)}
    configs = {word for word in words if word.startswith("configs/")}
    assert configs
    assert [path for path in configs if not (REPO / path).exists()] == []


def test_no_heavy_library_comes_with_a_command() -> None:
    places = sorted({entry.place.partition(":")[0] for entry in ENTRIES})
    code = (
        f"import sys, importlib\nfor place in {places}: importlib.import_module(place)\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", [])


def test_the_list_imports_no_command() -> None:
    code = (
        "import sys\nfrom pipeline.__main__ import main\n"
        "main(['-h'], prog_name='tfx-rcnn', standalone_mode=False)\n"
        "print(*[name for name in ('numpy', 'pydantic', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False
    )
    *listed, imported = done.stdout.splitlines()
    assert imported.split() == []
    lines = [line for line in listed if line.startswith("  ")]
    for entry in ENTRIES:
        assert f"  {entry.name.ljust(15)}  {entry.line}" in lines
    assert max(map(len, listed)) <= 80


def test_old_names_of_options_are_taken_and_not_shown() -> None:
    olds = {
        ("compile", "out"): "--output",
        ("doctor", "host"): "--kubeflow",
        ("estimate", "num_classes"): "--classes",
        ("estimate", "num_pictures"): "--pictures",
        ("train-sagemaker", "data"): "--data",
        ("train-sagemaker", "has_examples"): "--examples",
        ("train-sagemaker", "output"): "--output",
    }
    for (name, parameter), old in olds.items():
        command = command_of(name)
        value = [] if parameter == "has_examples" else ["12"]
        context = command.make_context(name, [old, *value], resilient_parsing=True)
        assert context.params[parameter], (name, old)
        assert old not in command.get_help(context).replace("--data-", "").split()


# Options of one name that are two things; all others mean one thing, in the same words and type.
TWO_THINGS = {
    "--annotations",
    "--from",
    "--to",
    "--version",
    "--name",
    "--split",
    "--out",
    "--root",
    "--examples",
}


def test_an_option_is_the_same_wherever_it_is() -> None:
    seen: dict[str, tuple[str, bool, bool]] = {}
    for name in NAMES:
        for option in command_of(name).params:
            if not isinstance(option, click.Option):
                continue
            kind = (option.name or "", bool(option.is_flag), option.multiple)
            long = option.opts[-1]
            if long not in TWO_THINGS:
                assert seen.setdefault(long, kind)[1:] == kind[1:], f"{name} {long}"
    assert seen["--config"][0] == "config_file"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_doors_open_to_the_command(entry) -> None:
    for door in entry.doors:
        path = REPO / door.replace(".", "/")
        source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        assert 'if __name__ == "__main__":' in source


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("trian", "error: no command 'trian': did you mean 'train'? ("),
        ("import_weights", "error: no command 'import_weights': did you mean 'import-weights'? ("),
        ("Evaluate", "error: no command 'Evaluate': did you mean 'evaluate'? ("),
        ("xyzzy", "error: no command 'xyzzy' ("),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(typed: str, said: str) -> None:
    done = CliRunner().invoke(tfx_rcnn, [typed, "--out", "x"], prog_name="tfx-rcnn")
    assert done.exit_code == 2
    assert done.output.startswith(said) and done.output.count("\n") == 1


def completed(line: str, folder: Path) -> list[str]:
    """Returns what bash is told to offer for the last word of a line."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_TFX_RCNN_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, str(REPO / "tfx_rcnn.py")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return [offer.partition(",")[2] for offer in done.stdout.split()]


def test_a_shell_completes_among_a_users_modules(tmp_path: Path) -> None:
    for name in ("configs", "model", "pipeline", "click", "json"):
        (tmp_path / f"{name}.py").write_text("import os\nos._exit(77)\n")
    assert completed("tfx-rcnn tr", tmp_path) == [
        "transform",
        "train",
        "train-hosts",
        "train-sagemaker",
    ]
    assert completed("/else/where/tfx-rcnn train --ch", tmp_path) == ["--checkpoints"]
    assert completed("tfx-rcnn compile --target v", tmp_path) == ["vertex"]


def test_the_completion_script_is_of_our_name(tmp_path: Path) -> None:
    environment = {**os.environ, "_TFX_RCNN_COMPLETE": "zsh_source"}
    done = subprocess.run(
        [sys.executable, str(REPO / "tfx_rcnn.py")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "#compdef tfx-rcnn" in done.stdout and "_TFX_RCNN_COMPLETE=zsh_complete" in done.stdout

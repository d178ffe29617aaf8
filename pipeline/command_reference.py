"""Writes docs/commands.md, the reference of every command, from the commands themselves.

Example:
    python -m pipeline.command_reference > docs/commands.md
"""

import inspect
import re
from collections.abc import Iterator

import click

from ground.command_examples import as_called, examples_of, in_lines
from ground.command_group import Listed
from ground.console import end_without_output
from pipeline.__main__ import main as tfx_rcnn
from pipeline.command_list import COMMANDS

# What a shell takes in the checkout after `make setup`.
TYPED = ".venv/bin/tfx-rcnn"
_WIDTH = 100
_HEAD = f"""# Commands

Written from the commands by `make docs`; change those, not this page.

`make setup` installs `{TYPED}`: one program with all commands, which `-h` lists. It works
so from any shell, by its path from any folder, and as plain `tfx-rcnn` where `.venv/bin` is in PATH
(`source .venv/bin/activate`). Every command has `-h` with an example, `--quiet` and `--json-logs`
([below](#what-they-say)), and `--debug` for the traceback of an error. Exit status: 0 done, 1
failed, 2 wrong usage or config, 3 done but refused. A name that there is not is answered with the
nearest one.

`python -m` with the other names below does the same, in this checkout: it looks in the working
folder first, so that a `model.py`, `configs/` or `json.py` of yours there would be taken for ours
or Python's. `tfx-rcnn`, and every process that either spelling starts, takes ours, then Python's,
then what is installed, and PYTHONPATH (handed on as `TFX_RCNN_PYTHONPATH`) last. `tfx-rcnn -m
MODULE` starts any other module so.

## Completion
Commands, options and their values are completed by the shell after one line in its start file, with
`.venv/bin` in PATH:

| shell | line | file |
|---|---|---|
| bash (4.4 and later) | `eval "$(_TFX_RCNN_COMPLETE=bash_source tfx-rcnn)"` | `~/.bashrc` |
| zsh | `eval "$(_TFX_RCNN_COMPLETE=zsh_source tfx-rcnn)"` | `~/.zshrc` |
| fish | `_TFX_RCNN_COMPLETE=fish_source tfx-rcnn \\| source` | `~/.config/fish/config.fish` |

## What they say
Commands that take long tell how they go on: a terminal has a bar in its last line, elsewhere a line
comes every 30 seconds (of a training every 10), each with the time that is left. The result,
warnings and errors come in any case.
`--quiet` leaves the first out. With `--json-logs` standard output is one JSON object a line, errors
(of wrong options, too) included; what a library writes by itself stays on standard error. Each
object has `time` (UTC), `level` (`info`, `warning`, `error`), `event` and `text`, the line that
people are shown. The rest goes by the event (those of a training: `model/training/events.py`):

| event | further fields |
|---|---|
| `progress`, `start`, `validation` | of a training: `step`, `loss`, `metrics` and so on |
| `node` | of `run`: `node`, `seconds`, `outcome` (ran, cached, resolved, stopped, failed) |
| `task`, `retry`, `run` | of what runs compiled files: `name` or `task`, `state`, `seconds` |
| `result` | `row` of a table, by column; `document` with `--json`; else the text alone |
| `summary` | `summary`: what is in `summary.json` |
| `error` | `exit_status` where it ends the command, and `kind` |
| `stopped` | `exit_status`: Ctrl-C or SIGTERM ended the command |
| other `progress` | of a work with known pieces: `done`, `total`, pieces a second, `seconds_left` |
| `log`, `trial`, `warning` | the text alone; `host` of what a training's hosts say |

**Ctrl-C and SIGTERM** end any command within 5 seconds, with all processes that it started, status
130 or 143, and one line that says how to go on; nothing half-written is left. Exceptions: a
training that SIGTERM stops after its start has up to 120 seconds for its checkpoint, and status 0
([training.md](training.md)); `serve` gives requests 4 seconds to end, and `look` and it then end
with 0; `train-hosts` lets its hosts end.

"""


def reference() -> str:
    """Returns the Markdown of the whole reference."""
    return _HEAD + "".join(_contents()) + "".join(_details())


def _contents() -> Iterator[str]:
    for heading, entries in COMMANDS.items():
        yield f"## {heading}\n| command | what it does | `python -m` |\n|---|---|---|\n"
        for entry in entries:
            doors = ", ".join(f"`{door}`" for door in entry.doors or (f"pipeline {entry.name}",))
            yield f"| [`{entry.name}`](#{entry.name}) | {entry.line} | {doors} |\n"
        yield "\n"


def _details() -> Iterator[str]:
    with click.Context(tfx_rcnn, info_name=TYPED) as group:
        for entries in COMMANDS.values():
            for entry in entries:
                yield from _command(entry, group)


def _command(entry: Listed, group: click.Context) -> Iterator[str]:
    command = tfx_rcnn.get_command(group, entry.name)
    assert command is not None
    yield f"## {entry.name}\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield f"{_plain(paragraph)}\n\n"
    with click.Context(command, info_name=entry.name, parent=group) as context:
        yield "```\n"
        for example in examples_of(command):
            shown = as_called(example, command, context.command_path)
            yield "".join(f"{line}\n" for line in in_lines(shown, _WIDTH))
        yield "```\n| option | meaning |\n|---|---|\n"
        records = [
            option.get_help_record(context)
            for option in command.params
            if option.name != "debug" and not isinstance(option, click.Argument)
        ]
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    if arguments:
        yield f"| `{_cell(' '.join(arguments))}` | |\n"
    for names, meaning in filter(None, records):
        yield f"| `{_cell(names)}` | {_cell(_plain(meaning))} |\n"
    yield "\n"


def _plain(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def main() -> None:
    """Prints the reference."""
    try:
        print(reference(), end="")
    except OSError as error:
        end_without_output(error)


if __name__ == "__main__":
    main()

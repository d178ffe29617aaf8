"""The examples of a command's help: lines `Example: tfx-rcnn NAME ...` of its epilog.

They are shown as the command was called, in lines that a shell takes as they stand.
"""

import re

import click

PROGRAM = "tfx-rcnn"
_BEGIN = "Example: "
_BEFORE_OPTION = re.compile(r" (?=-{1,2}[a-z])")
_CONTINUED, _INDENT = " \\", "  "


def examples_of(command: click.Command) -> list[str]:
    """Returns the examples in a command's epilog, each one line.

    >>> examples_of(click.Command("a", epilog="Example: tfx-rcnn a --out O"))
    ['tfx-rcnn a --out O']
    """
    lines = (command.epilog or "").splitlines()
    return [line.removeprefix(_BEGIN) for line in lines if line.startswith(_BEGIN)]


def program() -> str:
    """Returns what was typed to call the program that runs."""
    context = click.get_current_context(silent=True)
    return context.find_root().command_path if context else PROGRAM


def as_called(example: str, command: click.Command, command_path: str) -> str:
    """Returns an example with what was typed to call the command.

    >>> as_called("tfx-rcnn train --out M", click.Command("x"), "python -m model.train")
    'python -m model.train --out M'
    >>> as_called("tfx-rcnn run --config C", click.Group("x"), "python -m pipeline")
    'python -m pipeline run --config C'
    """
    own_words = 1 if isinstance(command, click.Group) else 2
    words = example.split(" ", own_words)
    return " ".join([command_path, *words[own_words:]]) if words[0] == PROGRAM else example


def in_lines(example: str, width: int) -> list[str]:
    r"""Returns an example in lines of at most `width`, if its options let it, each continued.

    >>> in_lines("tfx-rcnn train --examples T/examples --out M", 40)
    ['tfx-rcnn train --examples T/examples \\', '  --out M']
    """
    first, *options = _BEFORE_OPTION.split(example)
    lines = [first]
    for option in options:
        if len(lines[-1]) + 1 + len(option) + len(_CONTINUED) <= width:
            lines[-1] += f" {option}"
        else:
            lines[-1] += _CONTINUED
            lines.append(_INDENT + option)
    return lines

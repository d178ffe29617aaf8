"""How a command speaks: lines for people, results and troubles alone, or JSON for programs.

What is said tells how work goes on, what came of it (`RESULT`), or what is odd or wrong (by its
level); `--quiet` leaves the first out. With `--json-logs` standard output is one object a line:

    {"time": "2026-11-30T12:00:00.000Z", "level": "info", "event": "progress", "text": ..., ...}

with further fields by the event: `progress` of a training has step, steps, loss and so on.
"""

import contextlib
import datetime
import enum
import functools
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from ground.addresses import shown_leaves, shown_text

RESULT = "result"
JSON_OPTION = "--json-logs"
_INFO = "info"
_ERASE = "\r\x1b[K"
_BAR_COLUMNS = 24


class Manner(enum.Enum):
    """How this process speaks."""

    PLAIN = "plain"
    QUIET = "quiet"
    JSON = "json"


_manner = Manner.PLAIN
_speaks = False  # within a command, not a library's call
_has_bar = False


def manner() -> Manner:
    """Returns how this process speaks."""
    return _manner


@contextlib.contextmanager
def speaking(chosen: Manner) -> Iterator[None]:
    """Makes this process speak so within the block."""
    global _manner, _speaks
    before = _manner, _speaks
    _manner, _speaks = chosen, True
    try:
        yield
    finally:
        erase_bar()
        _manner, _speaks = before


def speaks() -> bool:
    """Returns whether this process is a command's, and not a program's that calls our library."""
    return _speaks


def shows_bars() -> bool:
    """Returns whether the last line of a terminal is a command's, to draw how far it is."""
    return _speaks and _manner is Manner.PLAIN and sys.stdout.isatty()


def draw_bar(text: str, done: int, total: int) -> None:
    """Draws how far a work is in the last line of the terminal, over what was drawn there before.

    What is said next takes its place.
    """
    global _has_bar
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(total, 1), completed=done, width=_BAR_COLUMNS)
    line.add_row(bar, Text(text, no_wrap=True, overflow="ellipsis"))
    console = Console(file=sys.stdout, width=shutil.get_terminal_size().columns - 1)
    with console.capture() as drawn:
        console.print(line)
    _has_bar = True
    click.echo(_ERASE + drawn.get().rstrip("\n"), nl=False)


def erase_bar() -> None:
    """Takes what `draw_bar` drew off the terminal, where something else is to be written."""
    global _has_bar
    if _has_bar:
        _has_bar = False
        click.echo(_ERASE, nl=False)


def say(
    text: str,
    event: str = "progress",
    level: str = _INFO,
    err: bool = False,
    fields: Mapping[str, Any] | None = None,
) -> None:
    """Says a line; secrets in its addresses are hidden.

    Args:
        text: the line as people read it.
        event: what happened, one word.
        level: `info`, which --quiet drops unless it is a result; `warning`; `error`.
        err: plain lines go to standard error.
        fields: further fields of the JSON object, beside time, level, event and text; not finite
            numbers are null.
    """
    erase_bar()
    text = shown_text(text)
    if _manner is Manner.JSON:
        click.echo(json_line(text, event, level, shown_leaves(fields or {})))
    elif _manner is Manner.PLAIN or event == RESULT or level != _INFO:
        click.echo(text, err=err)


def say_warning(text: str, **fields: Any) -> None:
    """Says what is odd."""
    plain = text if _manner is Manner.JSON else f"warning: {text}"
    say(plain, "warning", "warning", err=True, fields=fields)


def say_error(text: str, **fields: Any) -> None:
    """Says what is wrong."""
    plain = text if _manner is Manner.JSON else f"error: {text}"
    say(plain, "error", "error", err=True, fields=fields)


def say_stopped(text: str, **fields: Any) -> None:
    """Says by what a command was stopped, and how to go on."""
    say(text, "stopped", "error", err=True, fields=fields)


def json_line(text: str, event: str, level: str, fields: Mapping[str, Any]) -> str:
    """Returns what is said as one line of JSON."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    own = {"time": now.replace("+00:00", "Z"), "level": level, "event": event, "text": text}
    rest = {name: value for name, value in fields.items() if name not in own}
    return json.dumps(_finite({**own, **rest}), default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    """Returns a value of JSON with null for NaN and infinity, which JSON has no words for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def speech_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--quiet` and `--json-logs` to a command; what it says then is said so.

    It stands above `one_line_errors`, whose line is said so too.
    """

    @click.option("--quiet", is_flag=True, help="Say results, warnings and errors alone.")
    @click.option(
        JSON_OPTION, is_flag=True, help="Say all as one JSON object a line (docs/commands.md)."
    )
    @functools.wraps(command)
    def wrapper(*args: Any, quiet: bool, json_logs: bool, **kwargs: Any) -> Any:
        if quiet and json_logs:
            raise click.UsageError("give --quiet or --json-logs, not both")
        chosen = Manner.JSON if json_logs else Manner.QUIET if quiet else Manner.PLAIN
        with speaking(chosen):
            return command(*args, **kwargs)

    return wrapper

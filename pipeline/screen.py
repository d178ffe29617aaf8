"""The screen of a local run: one line a node, and meanwhile what our own code has to tell."""

import contextlib
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ground.source_digest import OWN_PACKAGES, SOURCE_ROOT
from ground.speech import Manner, manner, say, shows_bars

_CLEAR = "\r\x1b[K"


def show(line: str, event: str = "progress", level: str = "info", **fields: Any) -> None:
    """Says a line that stays; `fields` as in `say`."""
    say(_CLEAR + line if _is_replaced() else line, event, level, fields=fields)


def show_meanwhile(line: str) -> None:
    """Prints a line that the next one replaces; nothing where there is no terminal."""
    if _is_replaced():
        width = shutil.get_terminal_size().columns - 1
        click.echo(_CLEAR + line[:width], nl=False)
        sys.stdout.flush()


def _is_replaced() -> bool:
    return manner() is Manner.PLAIN and sys.stdout.isatty()


class _OwnLines(logging.Handler):
    """Shows what files of our packages log: the training's progress, warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        path = Path(record.pathname)
        if not any(path.is_relative_to(SOURCE_ROOT / package) for package in OWN_PACKAGES):
            return
        text = " ".join(record.getMessage().split())
        if shows_bars() and getattr(record, "told", ("",))[0] == "progress":
            return  # whoever tells it draws it
        if manner() is Manner.JSON:
            event, fields = getattr(record, "told", ("log", {}))
            say(text, event, record.levelname.lower(), fields=fields)
        elif record.levelno >= logging.WARNING or not sys.stdout.isatty():
            show(f"  {text}", level=record.levelname.lower())
        else:
            show_meanwhile(f"  {text}")


@contextlib.contextmanager
def own_lines_shown() -> Iterator[None]:
    """Shows what our own code logs through absl, while the log file gets what everyone says."""
    import absl.logging

    handler = _OwnLines()
    logger, verbosity = absl.logging.get_absl_logger(), absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        absl.logging.set_verbosity(verbosity)

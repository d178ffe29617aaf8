"""Shows a training's events on the screen."""

import dataclasses
import math
import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ground.speech import Manner, manner, say
from model.training.events import Event, Notice, StepDone


class ProgressPrinter:
    """Shows a run on the screen: one line that changes on a terminal, else a line now and then.

    Args:
        seconds_between_lines: where the output is no terminal.
        in_place: False prints lines on a terminal too.
    """

    def __init__(self, seconds_between_lines: float = 10.0, in_place: bool = True) -> None:
        self._seconds_between_lines = seconds_between_lines
        self._last_line = -math.inf
        console = Console(file=sys.stdout)
        shows_in_place = in_place and console.is_terminal and manner() is Manner.PLAIN
        self._live = Live(console=console, auto_refresh=False) if shows_in_place else None

    def __enter__(self) -> "ProgressPrinter":
        """Takes over the last line of a terminal."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the last line as it is."""
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Shows an event of the chief."""
        if isinstance(event, StepDone):
            self._show_progress(event)
        elif event.line:
            self._say(event)

    def _say(self, event: Event) -> None:
        if self._live:
            self._live.console.print(Text(event.line))
        else:
            level = "warning" if isinstance(event, Notice) else "info"
            say(event.line, event.name, level, fields=dataclasses.asdict(event))

    def _show_progress(self, event: StepDone) -> None:
        if self._live:
            self._live.update(Text(event.line, no_wrap=True, overflow="ellipsis"), refresh=True)
            return
        is_last = event.step == event.steps
        if is_last or time.monotonic() - self._last_line >= self._seconds_between_lines:
            self._last_line = time.monotonic()
            self._say(event)

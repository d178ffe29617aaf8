"""Shows a training's events on the screen."""

import dataclasses
import math
import time

from ground.speech import draw_bar, say, shows_bars
from model.training.events import Event, Notice, StepDone


class ProgressPrinter:
    """Shows a run on the screen: a bar on a terminal, else a line now and then.

    Args:
        seconds_between_lines: where the output is no terminal.
        in_place: False prints lines on a terminal too.
    """

    def __init__(self, seconds_between_lines: float = 10.0, in_place: bool = True) -> None:
        self._seconds_between_lines = seconds_between_lines
        self._in_place = in_place
        self._last_line = -math.inf

    def __call__(self, event: Event) -> None:
        """Shows an event of the chief."""
        if isinstance(event, StepDone):
            self._show_progress(event)
        elif event.line:
            self._say(event)

    def _say(self, event: Event) -> None:
        level = "warning" if isinstance(event, Notice) else "info"
        say(event.line, event.name, level, fields=dataclasses.asdict(event))

    def _show_progress(self, event: StepDone) -> None:
        if self._in_place and shows_bars():
            draw_bar(event.line, event.step, event.steps)
            return
        is_last = event.step == event.steps
        if is_last or time.monotonic() - self._last_line >= self._seconds_between_lines:
            self._last_line = time.monotonic()
            self._say(event)

"""How far a long work is, and how long it will take: a bar on a terminal, else a line now and then.

Within a command (ground/speech.py) a terminal has a bar in its last line, --json-logs has objects
with the numbers, and --quiet nothing. Elsewhere, and where there is no terminal, whoever started
the work gets a line every 30 seconds.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ground.periodic import every
from ground.speech import Manner, draw_bar, manner, say, shows_bars, speaks
from ground.wording import duration

SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_BARS = 0.5

# Called with a line for people, and what it says as values.
OnProgress = Callable[[str, Mapping[str, Any]], None]


def say_or_log(line: str, values: Mapping[str, Any]) -> None:
    """Says a line within a command; logs it where our code is called as a library."""
    if speaks():
        say(line, fields=values)
    else:
        logging.getLogger("absl").info("%s", line)  # as the rest of our code does


@contextlib.contextmanager
def elapsed_shown(
    what: str, emit: OnProgress = say_or_log, expected_seconds: float = 0.0
) -> Iterator[None]:
    """Says within the block, every 30 seconds, for how long a work goes on.

    For a library's single call, which tells no pieces of it to reckon with.

    Args:
        what: is done, such as "onnx: converting".
        emit: gets the lines, from a thread of its own.
        expected_seconds: what it is thought to take; once that is over, no end is foretold.
    """
    begun = time.monotonic()

    def tell() -> None:
        seconds = time.monotonic() - begun
        line, values = f"{what}: {duration(seconds)} so far", {"seconds": round(seconds, 1)}
        if (left := expected_seconds - seconds) > 0:
            line += f", about {duration(left)} left"
            values["seconds_left"] = round(left, 1)
        emit(line, values)

    with every(SECONDS_BETWEEN_LINES, tell, "elapsed"):
        yield


def without_values(on_line: Callable[[str], None] | None) -> OnProgress | None:
    """Returns what gives `on_line` the lines alone; None for None."""
    return None if on_line is None else lambda line, values: on_line(line)


class Progress:
    """Says now and then how far it is and how long it will take.

    The clock starts with the first piece: before it lies the first call of a model, which takes
    its time to optimise the graph.

    Args:
        what: is done, such as "evaluating".
        total: pieces to do.
        emit: gets the lines where they are no command's; None says nothing at all.
        noun: name of a piece, in the singular.
        says_end: whether the last piece has a line however soon it comes.
    """

    def __init__(
        self,
        what: str,
        total: int,
        emit: OnProgress | None,
        noun: str = "picture",
        says_end: bool = True,
    ) -> None:
        self._says_end = says_end
        self._what = what
        self._total = total
        self._emit = emit
        self._noun = noun
        self._done = self._first = 0
        self._started = self._last = 0.0
        self._lock = threading.Lock()

    def advance(self) -> None:
        """Counts a piece; any thread may."""
        with self._lock:
            self.reach(self._done + 1)

    def reach(self, done: int) -> None:
        """Notes how many pieces are done."""
        if self._emit is None or done <= self._done:
            return
        now = time.monotonic()
        if not self._done:
            self._first, self._started, self._last = done, now, now
        self._done = done
        between = _SECONDS_BETWEEN_BARS if shows_bars() else SECONDS_BETWEEN_LINES
        is_end = self._says_end and done == self._total
        if now - self._last < between and not is_end:
            return
        self._last = now
        line, values = self._said(now - self._started)
        if shows_bars():
            draw_bar(line, done, self._total)
        elif manner() is Manner.JSON:
            say(line, fields=values)
        else:
            self._emit(line, values)

    def _said(self, seconds: float) -> tuple[str, dict[str, Any]]:
        values: dict[str, Any] = {"done": self._done, "total": self._total}
        line = f"{self._what}: {self._done:,}/{self._total:,} {self._noun}s"
        if seconds > 0 and self._done > self._first:
            rate = (self._done - self._first) / seconds
            left = (self._total - self._done) / rate
            line += f", {rate:,.1f} {self._noun}s/s, {duration(left)} left"
            values |= {f"{self._noun}s_per_second": rate, "seconds_left": left}
        return line, values

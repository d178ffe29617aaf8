"""How far a long work is, said now and then."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from ground.wording import duration

_SECONDS_BETWEEN_LINES = 10.0

# Called with a line for people, and what it says as values.
OnProgress = Callable[[str, Mapping[str, Any]], None]


class Progress:
    """Says now and then how far it is and how long it will take.

    The clock starts with the first piece: before it lies the first call of a model, which takes
    its time to optimise the graph.

    Args:
        what: is done, such as "evaluating".
        total: pieces to do.
        emit: gets the lines; None says nothing.
        noun: name of a piece, in the singular.
    """

    def __init__(
        self, what: str, total: int, emit: OnProgress | None, noun: str = "picture"
    ) -> None:
        self._what = what
        self._total = total
        self._emit = emit
        self._noun = noun
        self._done = 0
        self._started = self._last = 0.0

    def advance(self) -> None:
        """Counts a piece."""
        self._done += 1
        now = time.monotonic()
        if self._done == 1:
            self._started = self._last = now
        is_due = now - self._last >= _SECONDS_BETWEEN_LINES or self._done == self._total
        if self._emit is None or not is_due:
            return
        self._last = now
        fields: dict[str, Any] = {"done": self._done, "total": self._total}
        line = f"{self._what}: {self._done}/{self._total} {self._noun}s"
        if now > self._started:
            rate = (self._done - 1) / (now - self._started)
            left = (self._total - self._done) / rate
            line += f", {rate:.1f} {self._noun}s/s, {duration(left)} left"
            fields |= {f"{self._noun}s_per_second": rate, "seconds_left": left}
        self._emit(line, fields)

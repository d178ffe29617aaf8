"""Sends what is to be tracked from a thread of its own: who is tracked never waits or fails.

A tracker that fails is tried again later and later. What it was to get waits, a bounded number of
things, the oldest of which are dropped first.
"""

import collections
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

_MOST_WAITING = 10_000
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 300.0  # seconds
_USERINFO = re.compile(r"://[^/\s@]+@")
_SECRETS = ("WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")


class TrackedRun(Protocol):
    """A run as a tracker knows it."""

    id: str

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds to the curves."""

    def outcome(
        self, values: Mapping[str, float], tags: Mapping[str, str], files: Mapping[str, str]
    ) -> None:
        """Adds final numbers, words, and files by the name they get."""

    def end(self, status: str) -> None:
        """Says how it ended: FINISHED, FAILED or KILLED."""


Item = Callable[[TrackedRun], None]


class Sender:
    """Hands things to one tracker, in their order.

    Args:
        name: name of the tracker.
        open_run: begins the run there, or goes on with it.
    """

    def __init__(self, name: str, open_run: Callable[[], TrackedRun]) -> None:
        self._name = name
        self._open_run = open_run
        self._waiting: collections.deque[Item] = collections.deque()
        self._changed = threading.Condition()
        self._closing = False
        self._dropped = 0
        self._trouble = ""
        self._notices: list[str] = []
        self._thread = threading.Thread(target=self._work, name=f"track-{name}", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Has something sent when its turn comes."""
        with self._changed:
            if len(self._waiting) >= _MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(item)
            self._changed.notify()

    def notices(self) -> list[str]:
        """Returns what a person should know, once."""
        with self._changed:
            notices, self._notices = self._notices, []
        return notices

    def close(self, seconds: float) -> list[str]:
        """Sends what waits, for so long at most; returns the last notices."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        left = len(self._waiting) + self._dropped
        notices = self.notices()
        if left:
            why = f" ({self._trouble})" if self._trouble else ""
            notices.append(f"{self._name}: {left:,} things were not sent{why}")
        return notices

    def _work(self) -> None:
        run: TrackedRun | None = None
        pause = _FIRST_PAUSE
        while (item := self._next()) is not None:
            try:
                run = run or self._open_run()
                item(run)
            except Exception as error:  # whatever a tracker raises ends no training
                self._note(error)
                if self._pause(pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            with self._changed:
                if self._waiting and self._waiting[0] is item:
                    self._waiting.popleft()

    def _next(self) -> Item | None:
        """Returns the oldest thing that waits; None when all is sent and nothing more will come."""
        with self._changed:
            while not self._waiting:
                if self._closing:
                    return None
                self._changed.wait()
            return self._waiting[0]

    def _note(self, error: Exception) -> None:
        trouble = without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
        with self._changed:
            if not self._trouble:
                self._notices.append(
                    f"{self._name} fails, the work goes on and it is tried again: {trouble}"
                )
            self._trouble = trouble

    def _pause(self, seconds: float) -> bool:
        """Waits before the next try; returns whether it was the last one."""
        until = time.monotonic() + seconds
        with self._changed:
            was_closing = self._closing
            while not self._closing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
        return was_closing


def without_secrets(text: str) -> str:
    """Returns a text without names and passwords of URIs, and without the trackers' keys.

    >>> without_secrets("no answer from https://me:word@host/x")
    'no answer from https://***@host/x'
    """
    for name in _SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return _USERINFO.sub("://***@", text)

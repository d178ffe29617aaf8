"""How a worker says where it is, and how the launcher learns of it.

<work_dir>/status/worker-0.beat     one line, rewritten: step and phase; its mtime is the beat
<work_dir>/status/worker-0.jsonl    events, one JSON object a line; the chief's tell the progress
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from model.training.busy import beats_while_busy
from model.training.events import Event, event_from_json

_BEAT_WIDTH = 40
COMPILING = "compiling"


class WorkerStatus:
    """Writes one worker's beat and events."""

    def __init__(self, folder: str | os.PathLike[str], worker: int) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._beat_path = beat_path(folder, worker)
        self._events_path = events_path(folder, worker)
        self._step = 0

    def beat(self, phase: str, step: int | None = None) -> None:
        """Says that the worker is alive and what it does now."""
        self._step = self._step if step is None else step
        beat = os.open(self._beat_path, os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            os.pwrite(beat, f"{self._step} {phase}".ljust(_BEAT_WIDTH).encode() + b"\n", 0)
        finally:
            os.close(beat)

    @contextlib.contextmanager
    def compiling(self, is_new: bool) -> Iterator[None]:
        """Says within the block of a step that it is alive as long as it computes.

        Args:
            is_new: whether the step is traced and compiled; else nothing is said.
        """
        if not is_new:
            yield
            return
        self.beat(COMPILING)
        with beats_while_busy(lambda: self.beat(COMPILING)):
            yield
        self.beat("step")

    def tell(self, event: Event) -> None:
        """Appends an event; it counts as a beat as well."""
        with open(self._events_path, "a", encoding="utf-8") as events:
            events.write(json.dumps({**event.to_json(), "time": time.time()}) + "\n")
        self.beat(event.name)


def beat_path(folder: str | os.PathLike[str], worker: int) -> Path:
    """Returns the file of a worker's beat."""
    return Path(folder) / f"worker-{worker}.beat"


def events_path(folder: str | os.PathLike[str], worker: int) -> Path:
    """Returns the file of a worker's events."""
    return Path(folder) / f"worker-{worker}.jsonl"


class Beat(NamedTuple):
    """A worker's last sign of life.

    Attributes:
        time: in seconds since the epoch; 0 for none.
        step: that it is in.
        phase: what it does there.
    """

    time: float = 0.0
    step: int = 0
    phase: str = "not started"


def read_beat(folder: str | os.PathLike[str], worker: int) -> Beat:
    """Returns a worker's last beat; where there is none, one that says so."""
    path = beat_path(folder, worker)
    try:
        step, _, phase = path.read_text().strip().partition(" ")
        return Beat(path.stat().st_mtime, int(step), phase)
    except (FileNotFoundError, ValueError):
        return Beat()


class EventFollower:
    """Reads the events of a worker as they come."""

    def __init__(self, folder: str | os.PathLike[str], worker: int) -> None:
        self._path = events_path(folder, worker)
        self._offset = 0

    def new_events(self) -> list[Event]:
        """Returns the whole lines written since the last call."""
        if not self._path.exists():
            return []
        with open(self._path, "rb") as stream:
            stream.seek(self._offset)
            block = stream.read()
        whole = block[: block.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [event_from_json(json.loads(line)) for line in whole.splitlines()]

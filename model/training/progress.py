"""How a worker says where it is, and how the launcher and a person learn of it.

<work_dir>/status/worker-0.beat     one line, rewritten: step and phase; its mtime is the beat
<work_dir>/status/worker-0.jsonl    events, one JSON value a line; the chief's tell the progress
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from model.training.busy import beats_while_busy

Event = dict[str, Any]
OnProgress = Callable[[Event], None]
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

    def event(self, name: str, /, **values: Any) -> None:
        """Appends an event; it counts as a beat as well."""
        with open(self._events_path, "a", encoding="utf-8") as events:
            events.write(json.dumps({"event": name, "time": time.time(), **values}) + "\n")
        self.beat(name)


def beat_path(folder: str | os.PathLike[str], worker: int) -> Path:
    """Returns the file of a worker's beat."""
    return Path(folder) / f"worker-{worker}.beat"


def events_path(folder: str | os.PathLike[str], worker: int) -> Path:
    """Returns the file of a worker's events."""
    return Path(folder) / f"worker-{worker}.jsonl"


def read_beat(folder: str | os.PathLike[str], worker: int) -> tuple[float, int, str]:
    """Returns (time of the last beat, step, phase); (0, 0, "not started") where there is none."""
    path = beat_path(folder, worker)
    try:
        step, _, phase = path.read_text().strip().partition(" ")
        return path.stat().st_mtime, int(step), phase
    except (FileNotFoundError, ValueError):
        return 0.0, 0, "not started"


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
        return [json.loads(line) for line in whole.splitlines()]


# Events that consist of a line, `text`.
TEXT_EVENTS = ("warning", "restart", "skipped", "early_stop")


def start_line(event: Event) -> str:
    """Returns the one line about a run that starts."""
    buckets = " ".join(f"{height}x{width}" for height, width in event["buckets"])
    resumed = f", goes on at step {event['first_step']}" if event["first_step"] else ""
    memory = f" of {event['memory_bytes'] / 2**30:.0f} GiB" if event["memory_bytes"] else ""
    parts = f", {event['accumulate']} times a step," if event["accumulate"] > 1 else ""
    return (
        f"batch {event['workers']}x{event['pictures_per_worker']} (workers x pictures){parts} on "
        f"{event['device']}{memory}, "
        f"{event['precision']}, jit {'on' if event['jit'] else 'off'}, "
        f"learning rate {event['learning_rate']:g}, buckets {buckets}, "
        f"{event['parameters'] / 1e6:.1f} M weights, {event['pictures']} pictures, "
        f"{event['steps']} steps ({event['steps_per_epoch']} an epoch){resumed}"
    )


def progress_line(event: Event) -> str:
    """Returns the one line about where a run is; a narrow terminal cuts the single losses first."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in event["losses"].items())
    validated = "" if event["validation"] is None else f"  AP {event['validation']:.3f}"
    return (
        f"step {event['step']}/{event['steps']}  loss {event['loss']:.4f}{validated}  "
        f"{event['images_per_second']:.1f} images/s  {_clock(event['eta_seconds'])} left  "
        f"({losses})"
    )


def validation_line(event: Event) -> str:
    """Returns the one line about a validation."""
    best = ", the best so far" if event["is_best"] else ""
    return f"validation after step {event['step']}: {metrics_line(event['metrics'])}{best}"


def metrics_line(metrics: dict[str, float]) -> str:
    """Returns COCO's numbers in one line; -1 is undefined, as in pycocotools."""
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


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
        shows_in_place = in_place and console.is_terminal
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
        if event["event"] == "start":
            self._say(start_line(event))
        elif event["event"] == "progress":
            self._show_progress(event)
        elif event["event"] in TEXT_EVENTS:
            self._say(event["text"])
        elif event["event"] == "validation":
            self._say(validation_line(event))

    def _say(self, line: str) -> None:
        if self._live:
            self._live.console.print(Text(line))
        else:
            print(line, flush=True)

    def _show_progress(self, event: Event) -> None:
        line = progress_line(event)
        if self._live:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
            return
        is_last = event["step"] == event["steps"]
        if is_last or time.monotonic() - self._last_line >= self._seconds_between_lines:
            self._last_line = time.monotonic()
            print(line, flush=True)

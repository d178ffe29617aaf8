"""Has trackers follow a training by its events, and learn what came of its model.

Its ids there are kept as `tracking.json` beside its checkpoints, so that a training that goes on
does so in the same run.
"""

import contextlib
import functools
import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ground.files import json_digest, write_json
from model.launch.errors import TrainingStopped
from model.tracking.mlflow_run import open_mlflow_run
from model.tracking.request import TrackingRequest
from model.tracking.sender import Sender, TrackedRun
from model.tracking.wandb_run import open_wandb_run
from model.training.events import Event, OnEvent, RunDone, ScalarsWritten, WarningGiven

IDS_FILE = "tracking.json"
WANDB_FOLDER = "wandb"
_ids_lock = threading.Lock()
_SECONDS_TO_END, _SECONDS_TO_INTERRUPT = 20.0, 0.5


@contextlib.contextmanager
def tracked(request: TrackingRequest | None, folder: Path, on_event: OnEvent) -> Iterator[OnEvent]:
    """Yields what passes events on and tracks them within the block; for the chief alone.

    Args:
        request: None tracks nothing.
        folder: folder of the run; keeps its ids.
        on_event: gets every event, and a warning where a tracker fails.
    """
    if request is None:
        yield on_event
        return
    senders = _senders(request, folder)

    def follow(event: Event) -> None:
        on_event(event)
        for sender in senders:
            if isinstance(event, ScalarsWritten):
                sender.put(functools.partial(_send, step=event.step, values=event.values))
            elif isinstance(event, RunDone):
                tags = {"model_id": event.model_id}
                sender.put(functools.partial(_add, values={}, tags=tags, files={}))
            for notice in sender.notices():
                on_event(WarningGiven(f"tracking: {notice}"))

    status, seconds = "FAILED", _SECONDS_TO_END
    for sender in senders:
        sender.put(lambda run: None)  # opens it
    try:
        yield follow
        status = "FINISHED"
    except TrainingStopped as stopped:
        status = "KILLED"
        if stopped.number == signal.SIGINT:  # a person waits
            seconds = _SECONDS_TO_INTERRUPT
        raise
    except KeyboardInterrupt:
        status, seconds = "KILLED", _SECONDS_TO_INTERRUPT
        raise
    finally:
        for notice in _end(senders, status, seconds):
            on_event(WarningGiven(f"tracking: {notice}"))


def track_outcome(
    request: TrackingRequest,
    folder: Path,
    values: Mapping[str, float],
    tags: Mapping[str, str],
    files: Mapping[str, str],
) -> list[str]:
    """Adds what came of a training's model to its runs; returns what a person should know.

    Args:
        request: the trackers.
        folder: folder of the training's run, with its ids; where there are none, runs are begun.
        values: the evaluation's numbers by name.
        tags: words.
        files: paths by the names that they get.
    """
    senders = _senders(request, folder)
    for sender in senders:
        sender.put(functools.partial(_add, values=values, tags=tags, files=files))
    return [f"tracking: {notice}" for notice in _end(senders, "FINISHED", _SECONDS_TO_END)]


def _send(run: TrackedRun, step: int, values: Mapping[str, float]) -> None:
    run.scalars(step, values)


def _add(
    run: TrackedRun,
    values: Mapping[str, float],
    tags: Mapping[str, str],
    files: Mapping[str, str],
) -> None:
    run.outcome(values, tags, files)


def _end(senders: list[Sender], status: str, seconds: float) -> list[str]:
    """Ends the runs, all at once; returns the last notices."""
    for sender in senders:
        sender.put(lambda run: run.end(status))
    until = time.monotonic() + seconds
    return [n for s in senders for n in s.close(max(0.0, until - time.monotonic()))]


def _senders(request: TrackingRequest, folder: Path) -> list[Sender]:
    ids_path = folder / IDS_FILE
    senders = []
    if request.settings.mlflow:
        senders.append(Sender("MLflow", lambda: _opened("mlflow", request, ids_path)))
    if request.settings.wandb:
        senders.append(Sender("Weights & Biases", lambda: _opened("wandb", request, ids_path)))
    return senders


def _opened(kind: str, request: TrackingRequest, ids_path: Path) -> TrackedRun:
    """Returns the run of a kind of tracker; the id of a new one is kept."""
    place = str(getattr(request.settings, kind))
    known = _ids(ids_path).get(kind, {})
    run_id = known.get("id") if known.get("place") == _digest(place) else None
    run: TrackedRun
    if kind == "mlflow":
        run = open_mlflow_run(request, run_id)
    else:
        run = open_wandb_run(request, run_id, ids_path.parent / WANDB_FOLDER)
    with _ids_lock:
        write_json(ids_path, {**_ids(ids_path), kind: {"id": run.id, "place": _digest(place)}})
    return run


def _digest(place: str) -> str:
    """Returns what tells one place from another and holds no password of it."""
    return json_digest(place)[:16]


def _ids(path: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

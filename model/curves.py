"""Draws the curves of training runs into one picture: losses, learning rate, validation AP.

Example:
    python -m model.curves M/run --out curves.png
    python -m model.curves 1x4/run 2x2/run --out compared.png
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ground.errors import DatasetError, TrainingError
from ground.files import atomic_path
from ground.outputs import MARK
from model.figure_names import label_of, names_as_they_are
from model.tfrecord import read_tfrecord

TOTAL = "loss/total"
_PANEL_INCHES = (5.0, 3.6)  # width, height
# Title -> the tags below it.
_OF_ONE_RUN = {
    "loss": "loss/.*",
    "learning rate": "learning_rate",
    "validation": "validation/.*",
}
_OF_SEVERAL_RUNS = {"loss": TOTAL, "validation": "validation/.*/AP"}

# {tag: [(step, value), ...]} in the order of steps
Scalars = dict[str, list[tuple[int, float]]]


def read_scalars(run: Path) -> Scalars:
    """Returns the scalars of a run by tag; where a run went on, the later value of a step counts.

    Args:
        run: a training run's folder, or its `tensorboard` folder.

    Raises:
        TrainingError: there are no scalars, or those of several trainings.
    """
    trainings = _trainings(run)
    if len(trainings) > 1:
        raise TrainingError(
            f"{run}: {len(trainings)} trainings in it: give one, or several to compare them; the "
            f"newest is {trainings[0][0].parents[1]}"
        )
    files = trainings[0] if trainings else []
    values: dict[str, dict[int, float]] = {}
    for path in files:
        for tag, step, value in _events(path):
            values.setdefault(tag, {})[step] = value
    if not values:
        raise TrainingError(
            f"{run}: no TensorBoard scalars in it; give the folder of a run (M/run)"
        )
    return {tag: sorted(by_step.items()) for tag, by_step in values.items()}


def _trainings(folder: Path) -> list[list[Path]]:
    """Returns the event files below a folder in the order of time, by training, the newest first.

    Their names begin with the time at which they were begun. A pipeline has them twice, where the
    training's checkpoints are and in the trainer's output.
    """
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        by_folder.setdefault(path.parent, []).append(path)
    found, seen = [], set[str]()
    for files in sorted(by_folder.values(), key=lambda files: files[-1].name, reverse=True):
        names = {path.name for path in files}
        if names - seen:
            found.append(files)
        seen |= names
    return found


def draw_curves(runs: Mapping[str, Scalars], out: Path) -> None:
    """Writes the picture of {name of the run: scalars}."""
    with names_as_they_are():
        _draw(runs, out)


def _draw(runs: Mapping[str, Scalars], out: Path) -> None:
    from matplotlib.figure import Figure

    shown = _OF_ONE_RUN if len(runs) == 1 else _OF_SEVERAL_RUNS
    panels = {
        title: [(run, tag) for run in runs for tag in sorted(runs[run]) if re.fullmatch(tags, tag)]
        for title, tags in shown.items()
    }
    panels = {title: lines for title, lines in panels.items() if lines}
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width * len(panels), height), layout="constrained")
    for axes, (title, lines) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        _draw_panel(axes, title, lines, runs)
    with atomic_path(out) as partial:
        form = out.suffix[1:]
        mark = {"Software" if form == "png" else "Creator": MARK}
        figure.savefig(partial, format=form, dpi=100, metadata=mark)


def _draw_panel(
    axes: Any, title: str, lines: Sequence[tuple[str, str]], runs: Mapping[str, Scalars]
) -> None:
    """Draws one kind of curves; `lines` has a run and a tag of each."""
    for run, tag in lines:
        steps, values = zip(*runs[run][tag], strict=True)
        name = tag.partition("/")[2]
        label = name if len(runs) == 1 else f"{label_of(run)} {name}"
        axes.plot(steps, values, label=label, linewidth=2.0 if tag == TOTAL else 1.0)
    axes.set(title=title, xlabel="step")
    axes.grid(alpha=0.3)
    if title == "loss":
        axes.set_ylim(bottom=0.0)
    if len(lines) > 1:
        # Else long names would leave no room for the curves.
        axes.legend(fontsize="small").set_in_layout(False)


def _events(path: Path) -> Iterator[tuple[str, int, float]]:
    """Yields (tag, step, value) of an event file, up to where a killed run cut it off."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.util.tensor_util import make_ndarray

    records = read_tfrecord(path)
    while True:
        try:
            _, payload = next(records)
        except (StopIteration, DatasetError):
            return
        event = Event.FromString(payload)
        for value in event.summary.value:
            array = make_ndarray(value.tensor) if value.HasField("tensor") else np.array([])
            if array.size == 1 and np.issubdtype(array.dtype, np.number):
                yield value.tag, event.step, float(array.reshape(()))


if __name__ == "__main__":
    from model.commands import run_command

    run_command("curves")

"""What a worker tells of its run: one dataclass an event, each with its own line of text.

Events travel from a worker to its launcher as JSON (model/training/status.py), and from there to
whoever called `train`, as they are.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from model.training.validated import Validated


@dataclass(frozen=True)
class Event:
    """Something that happened in a run.

    Attributes:
        name: what its kind is called in JSON.
    """

    name: ClassVar[str] = ""

    @property
    def line(self) -> str:
        """The one line that a person is shown of it; "" for none."""
        return ""

    def to_json(self) -> dict[str, Any]:
        """Returns what `event_from_json` reads."""
        return {"event": self.name, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Event":
        """Returns the event of its fields in JSON."""
        return cls(**fields)


OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Notice(Event):
    """Something that a person should know.

    Attributes:
        text: the line.
    """

    text: str

    @property
    def line(self) -> str:
        """See `Event`."""
        return self.text


@dataclass(frozen=True)
class WarningGiven(Notice):
    """Something about the settings or the data is odd."""

    name = "warning"


@dataclass(frozen=True)
class RunRestarted(Notice):
    """A worker was lost, and all start again from the last checkpoint."""

    name = "restart"


@dataclass(frozen=True)
class StepSkipped(Notice):
    """A step changed nothing, since something in it is not finite.

    Attributes:
        step: its number.
        pictures: image ids of those that may be to blame.
    """

    name = "skipped"
    step: int
    pictures: list[int]


@dataclass(frozen=True)
class StoppedEarly(Notice):
    """Patience is at its end before the last step."""

    name = "early_stop"


@dataclass(frozen=True)
class RunStarted(Event):
    """The first step of a start is about to be done.

    Attributes:
        workers: how many all hosts have.
        pictures_per_worker: in one part of a step.
        accumulate: parts of a step.
        device: the chief's device, in words.
        memory_bytes: memory of its device; 0 where that is not known.
        learning_rate: after the warm-up.
        steps: how many the whole run has.
        steps_per_epoch: by the number of pictures.
        precision: Keras dtype policy.
        jit: whether XLA compiles the step.
        buckets: (height, width) that pictures are padded to.
        parameters: how many numbers are trained.
        pictures: how many the training split has.
        first_step: steps that earlier starts have done.
    """

    name = "start"
    workers: int
    pictures_per_worker: int
    accumulate: int
    device: str
    memory_bytes: int
    learning_rate: float
    steps: int
    steps_per_epoch: int
    precision: str
    jit: bool
    buckets: list[list[int]]
    parameters: int
    pictures: int
    first_step: int

    @property
    def line(self) -> str:
        """See `Event`."""
        buckets = " ".join(f"{height}x{width}" for height, width in self.buckets)
        resumed = f", goes on at step {self.first_step}" if self.first_step else ""
        memory = f" of {self.memory_bytes / 2**30:.0f} GiB" if self.memory_bytes else ""
        parts = f", {self.accumulate} times a step," if self.accumulate > 1 else ""
        return (
            f"batch {self.workers}x{self.pictures_per_worker} (workers x pictures){parts} on "
            f"{self.device}{memory}, "
            f"{self.precision}, jit {'on' if self.jit else 'off'}, "
            f"learning rate {self.learning_rate:g}, buckets {buckets}, "
            f"{self.parameters / 1e6:.1f} M weights, {self.pictures} pictures, "
            f"{self.steps} steps ({self.steps_per_epoch} an epoch){resumed}"
        )


@dataclass(frozen=True)
class StepDone(Event):
    """Where a run is; not after every step.

    Attributes:
        step: steps done.
        steps: how many the whole run has.
        loss: the sum of the losses.
        losses: by name.
        learning_rate: learning rate of the last step.
        images_per_second: pictures a second of all workers, over the last steps.
        eta_seconds: to the last step.
        validation: `train.best_metric` of the last validation; None before the first.
    """

    name = "progress"
    step: int
    steps: int
    loss: float
    losses: dict[str, float]
    learning_rate: float
    images_per_second: float
    eta_seconds: float
    validation: float | None

    @property
    def line(self) -> str:
        """See `Event`; a narrow terminal cuts the single losses first."""
        losses = " ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        validated = "" if self.validation is None else f"  AP {self.validation:.3f}"
        return (
            f"step {self.step}/{self.steps}  loss {self.loss:.4f}{validated}  "
            f"{self.images_per_second:.1f} images/s  {_clock(self.eta_seconds)} left  "
            f"({losses})"
        )


@dataclass(frozen=True)
class ScalarsWritten(Event):
    """The chief has added to TensorBoard's curves.

    Attributes:
        step: place on the curves.
        values: numbers by name.
    """

    name = "scalars"
    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class WeightsValidated(Event):
    """The weights after a step were measured on the validation split.

    Attributes:
        step: steps done.
        metrics: "box/AP" and the like.
        is_best: by `train.best_metric`, so far.
        seconds: that it took.
    """

    name = "validation"
    step: int
    metrics: dict[str, float]
    is_best: bool
    seconds: float

    @property
    def line(self) -> str:
        """See `Event`."""
        best = ", the best so far" if self.is_best else ""
        return f"validation after step {self.step}: {metrics_line(self.metrics)}{best}"


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """The chief has written a checkpoint.

    Attributes:
        step: steps done.
        path: path of the file.
    """

    name = "checkpoint"
    step: int
    path: str


@dataclass(frozen=True)
class RunEnded(Event):
    """A worker has left its loop, all well.

    Attributes:
        step: steps done.
        steps: how many the whole run has.
        skipped_steps: since something in them was not finite.
        best: the best validation; None without one.
        seconds: spent in steps, earlier starts of the run included.
        images_per_second: pictures a second of all workers.
        first_losses: by name, of the first step.
        last_losses: by name, of the last step.
        validations: the oldest first.
    """

    step: int
    steps: int
    skipped_steps: int
    best: Validated | None
    seconds: float
    images_per_second: float
    first_losses: dict[str, float]
    last_losses: dict[str, float]
    validations: list[Validated]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "RunEnded":
        """See `Event`."""
        best, validations = fields["best"], fields["validations"]
        known = {
            "best": None if best is None else Validated.from_json(best),
            "validations": [Validated.from_json(one) for one in validations],
        }
        return cls(**{**fields, **known})


@dataclass(frozen=True)
class RunDone(RunEnded):
    """Nothing is left to train.

    Attributes:
        model_id: id of the exported model; "" on a worker that exports none.
    """

    name = "done"
    model_id: str = ""


@dataclass(frozen=True)
class RunStopped(RunEnded):
    """It was asked to stop, has a checkpoint, and can go on."""

    name = "stopped"


@dataclass(frozen=True)
class WorkerFailed(Event):
    """The last words of a worker that ends by an error.

    Attributes:
        kind: name of the error's class.
        message: on one line.
    """

    name = "error"
    kind: str
    message: str


_KINDS: dict[str, type[Event]] = {
    kind.name: kind
    for kind in (
        WarningGiven,
        RunRestarted,
        StepSkipped,
        StoppedEarly,
        RunStarted,
        StepDone,
        ScalarsWritten,
        WeightsValidated,
        CheckpointSaved,
        RunDone,
        RunStopped,
        WorkerFailed,
    )
}


def event_from_json(fields: Mapping[str, Any]) -> Event:
    """Returns the event that `Event.to_json` gave, whatever `time` was added to it."""
    rest = {name: value for name, value in fields.items() if name not in ("event", "time")}
    return _KINDS[fields["event"]].from_json(rest)


def metrics_line(metrics: Mapping[str, float]) -> str:
    """Returns COCO's numbers in one line; -1 is undefined, as in pycocotools."""
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"

"""How a training can end without a model."""

from ground.errors import TrainingError


class TrainingStopped(TrainingError):
    """The run was asked to stop, wrote a checkpoint, and can go on.

    Attributes:
        step: updates done.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after {step} steps: resumable, run the same again")
        self.step = step


class WorkerLostError(TrainingError):
    """A worker died or stalled: another start from the last checkpoint may help."""


class WorkerLogError(Exception):
    """The end of a lost worker's log; the cause that `--debug` shows."""

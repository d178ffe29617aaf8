"""How a training can end without a model."""

import signal

from ground.errors import TrainingError
from ground.interrupts import say_if_interrupted


class TrainingStopped(TrainingError):
    """The run was asked to stop, wrote a checkpoint, and can go on.

    Attributes:
        step: updates done.
        number: the signal by which this process was asked; 0 where another one was.
    """

    def __init__(self, step: int, number: int = 0) -> None:
        super().__init__(f"stopped after {step} steps: resumable, run the same again")
        self.step = step
        self.number = number

    def raise_if_interrupted(self) -> None:
        """Raises KeyboardInterrupt where it was Ctrl-C, with a line on the steps that are kept.

        SIGTERM is a platform's word, which takes a run that can go on for no failure.
        """
        if self.number == signal.SIGINT:
            kept = f"{self.step} steps are kept: " if self.step else ""  # 0 before it is known
            say_if_interrupted(f"{kept}run the same again to go on")
            raise KeyboardInterrupt


class WorkerLostError(TrainingError):
    """A worker died or stalled: another start from the last checkpoint may help."""


class WorkerLogError(Exception):
    """The end of a lost worker's log; the cause that `--debug` shows."""

"""What a run remembers of itself, and what follows from it: what is due, what is best, the end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from configs.schema import TrainConfig
from model.training.schedules import total_steps
from model.training.validated import Validated, best_validation, is_patience_over
from model.training.validation import is_validation_step


@dataclass
class RunHistory:
    """The numbers that every checkpoint keeps; all workers hold the same.

    Attributes:
        seconds: that the steps took, over all starts of the run.
        images_per_second: pictures a second of all workers, by the last checkpoint.
        first_losses: by name, of the first step.
        last_losses: by name, of the last step.
        validations: the oldest first.
    """

    seconds: float = 0.0
    images_per_second: float = 0.0
    first_losses: dict[str, float] = field(default_factory=dict)
    last_losses: dict[str, float] = field(default_factory=dict)
    validations: list[Validated] = field(default_factory=list)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "RunHistory":
        """Returns the history that `to_json` gave, also that of an older checkpoint."""
        validations = [Validated.from_json(one) for one in fields["validations"]]
        return cls(**{**fields, "validations": validations})

    def to_json(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return asdict(self)

    def add_losses(self, losses: dict[str, float]) -> None:
        """Takes up the losses of a step that changed the weights."""
        self.first_losses = self.first_losses or losses
        self.last_losses = losses


@dataclass(frozen=True)
class RunPlan:
    """What a run is to do, by its settings and the size of its data.

    Attributes:
        train: settings of the run.
        steps: how many the whole run has.
        steps_per_epoch: by the number of pictures.
        validates: whether there is something to validate on.
    """

    train: TrainConfig
    steps: int
    steps_per_epoch: int
    validates: bool

    @classmethod
    def of(cls, train: TrainConfig, steps_per_epoch: int, validates: bool) -> "RunPlan":
        """Returns the plan of a run with so many steps an epoch."""
        steps = total_steps(train.epochs, steps_per_epoch, train.max_steps)
        return cls(train, steps, steps_per_epoch, validates)

    def is_checkpoint_due(self, history: RunHistory, done: int) -> bool:
        """Whether the weights after `done` steps are to be kept, be it for their validation."""
        every = self.train.checkpoint_every_steps
        return done % every == 0 or done == self.steps or self.is_validation_due(history, done)

    def is_validation_due(self, history: RunHistory, done: int) -> bool:
        """Whether the weights after `done` steps are to be validated, and are not yet."""
        last = history.validations[-1].step if history.validations else None
        return (
            self.validates
            and last != done
            and is_validation_step(
                done, self.train.validate_every_epochs, self.steps_per_epoch, self.steps
            )
        )

    def is_over(self, history: RunHistory, done: int) -> bool:
        """Whether nothing is left to train: all steps are done, or patience is at its end."""
        return done == self.steps or is_patience_over(
            history.validations, self.train.best_metric, self.train.patience_validations
        )

    def is_done(self, history: RunHistory, done: int) -> bool:
        """Whether the run is over and its last weights are validated."""
        return self.is_over(history, done) and not self.is_validation_due(history, done)

    def best(self, history: RunHistory) -> Validated | None:
        """Returns the best validation so far; None before the first."""
        return best_validation(history.validations, self.train.best_metric)

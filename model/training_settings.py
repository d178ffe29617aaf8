"""What a training is handed of a config: what shapes the model, its input and its steps."""

from pydantic import model_validator

from configs.model_schema import ModelConfig
from configs.parts import Part
from configs.schema import (
    InputConfig,
    Name,
    TrainConfig,
    check_best_metric,
    check_jit,
)


class TrainingSettings(Part):
    """The sections that the launcher, its workers and the export read."""

    name: Name
    input: InputConfig
    model: ModelConfig
    train: TrainConfig

    @model_validator(mode="after")
    def _sections_agree(self) -> "TrainingSettings":
        check_best_metric(self.train, self.model)
        check_jit(self.train, self.model)
        return self

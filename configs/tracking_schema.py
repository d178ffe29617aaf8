"""Where a run is told of beside TensorBoard: MLflow, Weights & Biases."""

from pydantic import Field

from configs.section import PathText, Section, Text


class TrackingConfig(Section):
    """Trackers of experiments. Without any nothing is sent; none of it is part of a result."""

    mlflow: PathText | None = Field(
        None,
        description="MLflow's tracking URI, such as `http://mlflow:5000`, `sqlite:////data/m.db` "
        "or a folder; needs `tfx-rcnn[mlflow]`.",
    )
    wandb: Text | None = Field(
        None,
        description="Project of Weights & Biases; needs `tfx-rcnn[wandb]`. `WANDB_API_KEY` and "
        "`WANDB_MODE=offline` are its own.",
    )
    experiment: Text | None = Field(
        None, description="MLflow's experiment, and W&B's group; null is the config's name."
    )
    run: Text | None = Field(None, description="Name of the run there; null is theirs to choose.")

    @property
    def is_asked(self) -> bool:
        """Whether there is any tracker."""
        return bool(self.mlflow or self.wandb)

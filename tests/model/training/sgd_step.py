"""A training step with plain SGD on one worker, for tests of what a step does."""

from typing import Any

from model.training.distribution import Distribution
from model.training.optimizers import Sgd
from model.training.state import TrainState
from model.training.step import TrainStep


def sgd_step(
    detector: Any,
    parts: int = 1,
    *,
    jit: bool = False,
    loss_scale: float = 1.0,
    clip_norm: float = 0.0,
    eager: bool = False,
) -> TrainStep:
    """Returns the step of `train.accumulate: parts`; a loss scale of 1 is none."""
    optimizer = Sgd(0.9, 0.0)
    return TrainStep(
        detector,
        TrainState(detector, optimizer, loss_scale),
        optimizer,
        Distribution(),
        seed=0,
        jit=jit,
        clip_norm=clip_norm,
        decay_norms_and_biases=True,
        scales_loss=loss_scale != 1.0,
        parts=parts,
        eager=eager,
    )

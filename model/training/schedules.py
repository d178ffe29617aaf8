"""The learning rate of every step: a pure function of the step, so that a resume needs no state."""

import math

from configs.schema import OptimizerConfig

REFERENCE_BATCH = 16  # pictures a step for which `learning_rate` is given (1706.02677)


def base_learning_rate(optimizer: OptimizerConfig, global_batch: int) -> float:
    """Returns the rate after warm-up: scaled linearly with the global batch where asked for.

    Reference: 1706.02677, section 2.1.
    """
    if not optimizer.scale_with_batch:
        return optimizer.learning_rate
    return optimizer.learning_rate * global_batch / REFERENCE_BATCH


def learning_rate(
    optimizer: OptimizerConfig,
    step: int,
    total_steps: int,
    steps_per_epoch: int,
    global_batch: int,
) -> float:
    """Returns the learning rate of the update that ends step `step` (0 is the first).

    Linear warm-up from `warmup_factor` of the rate, times the schedule: `step` divides by ten at
    each of `drop_epochs`, `cosine` and `polynomial` (power 0.9, as in 1706.05587) fall from the end
    of the warm-up to zero at `total_steps`, `constant` stays.
    """
    rate = base_learning_rate(optimizer, global_batch)
    rate *= _schedule_factor(optimizer, step, total_steps, steps_per_epoch)
    if step < optimizer.warmup_steps:
        done = step / optimizer.warmup_steps
        rate *= optimizer.warmup_factor + (1.0 - optimizer.warmup_factor) * done
    return rate


def unfinished_warmup(optimizer: OptimizerConfig, total_steps: int, steps_per_epoch: int) -> str:
    """Returns a warning where the full rate is never reached, else "".

    The run ends, or the `step` schedule drops the rate, before the warm-up is over.
    """
    end, what = total_steps, "the training ends"
    if optimizer.schedule == "step":
        drop = min(_drop_steps(optimizer, steps_per_epoch), default=end)
        if drop < end:
            end, what = drop, "the rate drops (train.optimizer.drop_epochs)"
    if optimizer.warmup_steps <= end:
        return ""
    return (
        f"warning: {what} at step {end}, before the warm-up of {optimizer.warmup_steps} steps is "
        "over: lower train.optimizer.warmup_steps"
    )


def _drop_steps(optimizer: OptimizerConfig, steps_per_epoch: int) -> list[int]:
    return [round(epoch * steps_per_epoch) for epoch in optimizer.drop_epochs]


def _schedule_factor(
    optimizer: OptimizerConfig, step: int, total_steps: int, steps_per_epoch: int
) -> float:
    if optimizer.schedule == "constant":
        return 1.0
    if optimizer.schedule == "step":
        drops = sum(step >= drop for drop in _drop_steps(optimizer, steps_per_epoch))
        return float(0.1**drops)
    falling_steps = max(1, total_steps - optimizer.warmup_steps)
    done = min(1.0, max(0.0, (step - optimizer.warmup_steps) / falling_steps))
    if optimizer.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    return float((1.0 - done) ** 0.9)


def total_steps(epochs: float, steps_per_epoch: int, max_steps: int | None) -> int:
    """Returns how many steps a run takes: whole epochs rounded up to a step, or `max_steps`."""
    steps = math.ceil(epochs * steps_per_epoch - 1e-9)
    return max(1, steps if max_steps is None else min(steps, max_steps))

import re

import pytest

from configs.schema import OptimizerConfig
from model.training.schedules import (
    base_learning_rate,
    learning_rate,
    total_steps,
    unfinished_warmup,
)


def rate(step: int, total: int = 120, epoch: int = 10, batch: int = 16, **settings) -> float:
    optimizer = OptimizerConfig(**{"learning_rate": 0.02, "warmup_steps": 0, **settings})
    return learning_rate(optimizer, step, total, epoch, batch)


@pytest.mark.parametrize(("batch", "expected"), [(16, 0.02), (64, 0.08), (4, 0.005)])
def test_rate_scales_linearly_with_the_global_batch(batch, expected):
    assert base_learning_rate(OptimizerConfig(), batch) == pytest.approx(expected)


def test_rate_stays_where_scaling_is_off():
    assert base_learning_rate(OptimizerConfig(scale_with_batch=False), 64) == 0.02


def test_warmup_rises_linearly_from_its_factor():
    settings = {"warmup_steps": 10, "warmup_factor": 0.1, "schedule": "constant"}
    # 0.02 * (0.1 + 0.9 * step / 10)
    assert rate(0, **settings) == pytest.approx(0.002)
    assert rate(5, **settings) == pytest.approx(0.02 * 0.55)
    assert rate(10, **settings) == pytest.approx(0.02)


def test_step_schedule_drops_at_the_first_step_of_its_epochs():
    rates = [rate(step, drop_epochs=(8.0, 11.0)) for step in (79, 80, 109, 110, 119)]
    assert rates == pytest.approx([0.02, 0.002, 0.002, 0.0002, 0.0002])


@pytest.mark.parametrize(
    ("schedule", "half"),
    [("cosine", 0.01), ("polynomial", 0.02 * 0.5**0.9)],
)
def test_falling_schedules_end_at_zero_after_warmup(schedule, half):
    settings = {"schedule": schedule, "warmup_steps": 20}
    assert rate(20, **settings) == pytest.approx(0.02)
    assert rate(70, **settings) == pytest.approx(half)  # (70 - 20) / (120 - 20) is the middle
    assert 0 < rate(119, **settings) < 0.001
    assert rate(120, **settings) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("epochs", "per_epoch", "max_steps", "expected"),
    [(12, 10, None, 120), (0.25, 10, None, 3), (12, 10, 7, 7), (1, 10, 99, 10), (0.1, 10, None, 1)],
)
def test_total_steps(epochs, per_epoch, max_steps, expected):
    assert total_steps(epochs, per_epoch, max_steps) == expected


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"warmup_steps": 80}, ""),  # the first drop is at step 8 * 10
        ({"warmup_steps": 81}, r"the rate drops \(.*\) at step 80, before the warm-up of 81 steps"),
        ({"warmup_steps": 120, "schedule": "cosine"}, ""),
        ({"warmup_steps": 121, "schedule": "cosine"}, "the training ends at step 120, before"),
        ({"warmup_steps": 121, "drop_epochs": ()}, "the training ends at step 120, before"),
        ({"warmup_steps": 121, "drop_epochs": (16,)}, "the training ends at step 120, before"),
    ],
)
def test_a_warmup_that_never_ends_is_warned_of(settings, told):
    warning = unfinished_warmup(OptimizerConfig(**settings), 120, 10)
    assert bool(warning) == bool(told)
    assert re.search(told, warning)

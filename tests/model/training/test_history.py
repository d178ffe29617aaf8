"""What is due in a run, what is best, and when it is over."""

import json

import pytest

from configs.schema import TrainConfig
from model.training.history import RunHistory, RunPlan
from model.training.validated import Validated

STEPS, PER_EPOCH = 12, 3


def plan(validates=True, **train) -> RunPlan:
    settings = TrainConfig.model_validate({"checkpoint_every_steps": 5, **train})
    return RunPlan(settings, STEPS, PER_EPOCH, validates)


def history(*scores: float) -> RunHistory:
    """Validated after each epoch."""
    found = [Validated(PER_EPOCH * (n + 1), {"box/AP": score}) for n, score in enumerate(scores)]
    return RunHistory(validations=found)


def test_it_comes_back_from_json_as_it_was():
    kept = RunHistory(1.5, 2.5, {"rpn_box": 3.0}, {"rpn_box": 1.0}, history(0.5).validations)
    assert RunHistory.from_json(json.loads(json.dumps(kept.to_json()))) == kept


def test_first_losses_stay_and_last_ones_follow():
    kept = RunHistory()
    kept.add_losses({"rpn_box": 3.0})
    kept.add_losses({"rpn_box": 1.0})
    assert (kept.first_losses, kept.last_losses) == ({"rpn_box": 3.0}, {"rpn_box": 1.0})


@pytest.mark.parametrize(
    ("validates", "every", "due"),
    [(True, 1, [3, 5, 6, 9, 10, 12]), (True, 2, [5, 6, 10, 12]), (False, 1, [5, 10, 12])],
)
def test_checkpoints_are_due_by_number_before_validations_and_at_the_end(validates, every, due):
    a_plan = plan(validates, validate_every_epochs=every)
    steps = range(1, STEPS + 1)
    assert [done for done in steps if a_plan.is_checkpoint_due(RunHistory(), done)] == due


def test_no_step_is_validated_twice():
    a_plan = plan(validate_every_epochs=1)
    assert a_plan.is_validation_due(history(), 3)
    assert not a_plan.is_validation_due(history(0.5), 3)
    assert a_plan.is_validation_due(history(0.5), 6)


def test_a_run_is_done_when_its_last_weights_are_validated():
    a_plan = plan(validate_every_epochs=1)
    assert a_plan.is_over(history(0.1, 0.2, 0.3), STEPS)
    assert not a_plan.is_done(history(0.1, 0.2, 0.3), STEPS)
    assert a_plan.is_done(history(0.1, 0.2, 0.3, 0.4), STEPS)


def test_patience_ends_a_run_before_its_last_step():
    a_plan = plan(validate_every_epochs=1, best_metric="box/AP", patience_validations=2)
    assert not a_plan.is_over(history(0.5, 0.4), 6)
    assert a_plan.is_over(history(0.5, 0.4, 0.3), 9)
    assert a_plan.best(history(0.5, 0.4, 0.3)).step == 3

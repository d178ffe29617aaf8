"""The best of a run's validations, and when its patience is over."""

import pytest

from model.training.validated import Validated, best_validation, is_patience_over


def validations(*values):
    return [
        Validated(10 * n, {} if value is None else {"box/AP": value})
        for n, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize(
    ("values", "step"), [((0.1, 0.3, 0.2), 20), ((0.3, 0.3, 0.1), 20), ((None, -1.0), 20)]
)
def test_the_best_is_the_last_of_the_highest(values, step):
    assert best_validation(validations(*values), "box/AP").step == step


def test_nothing_is_the_best_of_nothing():
    assert best_validation([], "box/AP") is None
    assert not is_patience_over([], "box/AP", 1)


@pytest.mark.parametrize(
    ("values", "is_over"),
    [((0.1, 0.3, 0.2), False), ((0.3, 0.2, 0.3), True), ((0.3, 0.2, 0.4, 0.1), False)],
)
def test_patience_ends_after_validations_without_a_better_one(values, is_over):
    assert is_patience_over(validations(*values), "box/AP", 2) is is_over
    assert not is_patience_over(validations(*values), "box/AP", 0)

"""What is said of a step that is not finite, whichever worker says it."""

from types import SimpleNamespace

import numpy as np
import pytest

from model.training.non_finite import Part, description, suspects

FINE = Part(0, [1, 2], False, "run/not-finite-step-3-worker-0.npz")
BAD = Part(1, [7], True, "run/not-finite-step-3-worker-1.npz")


def report(loss: float) -> SimpleNamespace:
    return SimpleNamespace(loss=loss, losses={"rpn_box": loss}, gradient_norm=np.nan)


def test_a_part_comes_to_the_others_as_it_was_sent():
    assert Part.from_bytes(BAD.to_bytes()) == BAD


@pytest.mark.parametrize(
    ("parts", "of"),
    [([FINE, BAD], [BAD]), ([BAD, FINE], [BAD]), ([FINE], [FINE]), ([BAD, BAD], [BAD, BAD])],
)
def test_workers_whose_own_losses_are_not_finite_are_named(parts, of):
    assert suspects(parts) == of


def test_all_are_named_where_only_the_sum_is_not_finite():
    text = description(3, report(0.5), suspects([FINE, BAD._replace(is_culprit=False)]))
    assert text == (
        "step 3: gradients not finite (rpn_box 0.5, gradient norm nan) on pictures 1, 2, 7 of "
        "worker 0, 1"
    )


def test_losses_are_told_from_gradients():
    assert description(3, report(np.nan), [BAD]).startswith("step 3: losses not finite")

"""float32, float16 with a dynamic loss scale and bfloat16: the same losses, the same learning."""

import numpy as np
import pytest

from model.detector import build_detector
from model.training.step import INITIAL_LOSS_SCALE
from tests.model.small_detector import NUM_CLASSES, small_batch, small_config
from tests.model.training.sgd_step import sgd_step

pytestmark = pytest.mark.e2e

# At twice this rate the losses jump, where depends on how the CPU's kernels round, and so does
# what the last steps come to.
LEARNING_RATE = 0.01
STEPS = 60


def losses_of_training(policy: str) -> np.ndarray:
    """Returns the losses of every step on the same two pictures, [STEPS, 5] float64."""
    detector = build_detector(small_config(), NUM_CLASSES, seed=1, precision=policy)
    step = sgd_step(detector, loss_scale=INITIAL_LOSS_SCALE if policy == "mixed_float16" else 1.0)
    batch = small_batch(2)
    reports = [step.report(step(batch, number, LEARNING_RATE, False)) for number in range(STEPS)]
    assert all(report.applied or report.is_overflow for report in reports)
    return np.asarray([list(report.losses.values()) for report in reports])


@pytest.fixture(scope="module")
def float32() -> np.ndarray:
    return losses_of_training("float32")


# Units in the last place are 2^-11 of float16 and 2^-8 of bfloat16; the errors of a dozen layers
# add up, and partly cancel.
@pytest.mark.parametrize(
    ("policy", "rtol"),
    [("mixed_float16", 5e-3), pytest.param("mixed_bfloat16", 2e-2, marks=pytest.mark.slow)],
)
def test_sixteen_bits_learn_as_thirty_two_do(float32, policy, rtol):
    losses = losses_of_training(policy)
    np.testing.assert_allclose(losses[0], float32[0], rtol=rtol)
    assert (losses[0] != float32[0]).any()  # it is another precision
    first, last = float32[0].sum(), float32[-10:].sum(axis=1).mean()
    assert last < 0.6 * first
    assert losses[-10:].sum(axis=1).mean() == pytest.approx(last, abs=0.15 * (first - last))

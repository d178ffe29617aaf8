"""K parts of a step against all pictures in one go."""

import numpy as np
import pytest
import tensorflow as tf

from model.detector import build_detector
from model.layers.normalization import BatchNorm
from tests.model.small_detector import NUM_CLASSES, small_batch, small_config
from tests.model.training.sgd_step import sgd_step
from tests.model.training.tiny_run import Term, TinyDetector, TinyInput, tensors


def run(step, inputs, number=0, rate=0.1):
    return step.report(step(inputs, number, rate, False))


def weights(detector):
    return {variable.path: variable.numpy() for variable in detector.trainable_variables}


def tiny_batch(step):
    """Four pictures, of which the last one is sometimes a filler, and not all are sampled."""
    return tensors(TinyInput(1, 4, 0).arrays(0, step))


def assert_same_steps(whole, parts, whole_detector, parts_detector, batches, rtol):
    for number, batch in enumerate(batches):
        one, other = run(whole, batch, number), run(parts, batch, number)
        assert other.denominators == one.denominators
        assert other.losses == pytest.approx(one.losses, rel=rtol)
        assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=10 * rtol)
        assert (other.pictures, other.applied) == (one.pictures, one.applied)
    expected = weights(whole_detector)
    for path, value in weights(parts_detector).items():
        np.testing.assert_allclose(value, expected[path], rtol=rtol, atol=rtol, err_msg=path)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("changes", [{}, {"jit": True}, {"loss_scale": 1024.0}, {"eager": True}])
def test_parts_add_up_to_the_whole(parts, changes):
    one, other = TinyDetector(), TinyDetector()
    batches = [tiny_batch(number) for number in range(5)]
    sampled = [other.loss_terms(b, 0, tf.constant(n, tf.int64)) for n, b in enumerate(batches)]
    assert any(float(t["roi_class"].denominator) < float(t["rpn_box"].denominator) for t in sampled)
    assert_same_steps(
        sgd_step(one, 1), sgd_step(other, parts, **changes), one, other, batches, 1e-5
    )


@pytest.mark.e2e
def test_parts_of_a_detector_s_step_add_up_with_the_denominators_of_all():
    one, other = (build_detector(small_config(), NUM_CLASSES, seed=1) for _ in range(2))
    batch = small_batch(4, empty=[1], filler=[2], crowd=[0])
    # The pictures of the second half alone have other denominators than those of the first.
    assert_same_steps(sgd_step(one, 1), sgd_step(other, 2), one, other, [batch, batch], 1e-4)


def test_a_part_that_is_not_finite_spoils_the_step_and_no_later_one():
    detector, plain = TinyDetector(), TinyDetector()
    step, plain_step = sgd_step(detector, 2), sgd_step(plain, 1)
    good = tiny_batch(0)
    boxes = good.gt_boxes.numpy()
    boxes[3] = np.nan
    assert not run(step, good._replace(gt_boxes=tf.constant(boxes))).applied
    assert run(step, good).applied
    run(plain_step, good)
    for path, value in weights(plain).items():
        np.testing.assert_allclose(weights(detector)[path], value, rtol=1e-5, atol=1e-6)


class NormDetector:
    """A batch norm and nothing else."""

    def __init__(self):
        self.norm = BatchNorm(is_synchronised=False, epsilon=1e-5, name="norm")
        self.norm.build([None, None, None, 3])
        self.variables = self.norm.variables
        self.trainable_variables = self.norm.trainable_variables
        self.non_trainable_variables = self.norm.non_trainable_variables

    def loss_terms(self, batch, seed, step, training=True):
        features = self.norm(tf.cast(batch.images, tf.float32), valid=batch.valid)
        count = tf.reduce_sum(tf.cast(batch.valid, tf.float32))
        return {"a": Term(tf.reduce_sum(features), count)}


def test_counting_leaves_moving_statistics_alone():
    detector = NormDetector()
    batch = tiny_batch(0)
    run(sgd_step(detector, 2), batch)
    moved = np.zeros(3)
    for part in (slice(0, 2), slice(2, 4)):  # each part once: m = 0.9 m + 0.1 mean
        pictures = batch.images.numpy()[part][batch.valid.numpy()[part]]
        moved = 0.9 * moved + 0.1 * pictures.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(detector.norm.moving_mean.numpy(), moved, rtol=1e-5)

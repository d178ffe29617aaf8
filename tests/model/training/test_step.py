"""The step on one worker: update, scaling, and what happens when numbers are not finite."""

import numpy as np
import pytest
import tensorflow as tf

from model.training.distribution import Distribution
from model.training.optimizers import Sgd
from model.training.state import TrainState
from model.training.step import TrainStep
from tests.model.training.tiny_run import TinyDetector, TinyInput, tensors


def make(*, clip_norm=0.0, loss_scale=1.0, jit=False, policy="float32", **state):
    detector = TinyDetector(policy=policy)
    optimizer = Sgd(0.9, 0.0)
    state = TrainState(detector, optimizer, loss_scale, **state)
    step = TrainStep(
        detector,
        state,
        optimizer,
        Distribution(),
        seed=0,
        jit=jit,
        clip_norm=clip_norm,
        decay_norms_and_biases=True,
        scales_loss=loss_scale != 1.0,
    )
    return detector, state, step


def batch(step=0, **changes):
    return tensors(TinyInput(1, 4, 0).arrays(0, step)._replace(**changes))


def run(step, inputs, number=0, rate=0.1):
    return step.report(step(inputs, number, rate, False))


def weights(detector):
    return np.concatenate([v.numpy().ravel() for v in detector.trainable_variables])


def test_losses_are_sums_over_their_denominators():
    detector, _, step = make()
    inputs = batch()
    terms = detector.loss_terms(inputs, 0, tf.constant(0, tf.int64))
    report = run(step, inputs)
    for name, term in terms.items():
        expected = float(term.sum) / max(float(term.denominator), 1.0)
        assert report.losses[name] == pytest.approx(expected, rel=1e-6)
        assert report.denominators[name] == float(term.denominator)
    assert report.loss == pytest.approx(sum(report.losses.values()))
    assert report.pictures == int(inputs.valid.numpy().sum())


def test_update_follows_the_gradient_of_the_total_loss():
    detector, _, step = make()
    inputs = batch()
    with tf.GradientTape() as tape:
        terms = detector.loss_terms(inputs, 0, tf.constant(0, tf.int64))
        total = sum(term.sum / tf.maximum(term.denominator, 1.0) for term in terms.values())
    variables = [v.value for v in detector.trainable_variables]
    gradient = np.concatenate([g.numpy().ravel() for g in tape.gradient(total, variables)])
    before = weights(detector)
    report = run(step, inputs, rate=0.1)
    np.testing.assert_allclose(weights(detector), before - 0.1 * gradient, rtol=1e-5, atol=1e-7)
    assert report.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_a_batch_of_fillers_changes_nothing():
    detector, _, step = make()
    before = weights(detector)
    report = run(step, batch(valid=np.zeros(4, bool)))
    assert report.loss == 0.0
    assert report.applied
    np.testing.assert_array_equal(weights(detector), before)


def test_long_gradients_are_clipped():
    detector, _, step = make(clip_norm=0.01)
    before = weights(detector)
    report = run(step, batch(), rate=1.0)
    assert report.gradient_norm > 0.01
    assert np.linalg.norm(weights(detector) - before) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("changes", [{"jit": True}, {"loss_scale": 1024.0}])
def test_compilation_and_loss_scale_leave_the_update_as_it_is(changes):
    plain, _, plain_step = make()
    other, _, other_step = make(**changes)
    for number in range(3):
        run(plain_step, batch(number), number)
        run(other_step, batch(number), number)
    np.testing.assert_allclose(weights(other), weights(plain), rtol=1e-5, atol=1e-7)


def test_a_loss_that_is_not_finite_leaves_the_weights():
    detector, _, step = make()
    before = weights(detector)
    report = run(step, batch(gt_boxes=np.full([4, 1, 4], np.nan, np.float32)))
    assert not report.applied
    assert not report.is_overflow
    np.testing.assert_array_equal(weights(detector), before)


def test_an_overflow_halves_the_loss_scale_and_skips_the_update():
    detector, state, step = make(loss_scale=2.0**127)  # times a gradient: beyond float32
    before = weights(detector)
    report = run(step, batch(gt_boxes=np.full([4, 1, 4], 1e3, np.float32)))
    assert report.is_overflow
    np.testing.assert_array_equal(weights(detector), before)
    assert state.loss_scale.numpy() == 2.0**126
    assert state.updates.numpy() == 0


def test_good_steps_double_the_loss_scale():
    _, state, step = make(loss_scale=8.0)
    state.good_steps.assign(1998)
    run(step, batch())
    assert (state.loss_scale.numpy(), state.good_steps.numpy()) == (8.0, 1999)
    run(step, batch())
    assert (state.loss_scale.numpy(), state.good_steps.numpy()) == (16.0, 0)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_in_float32_weights(policy):
    detector, _, step = make(policy=policy, loss_scale=1024.0)
    before = weights(detector)
    report = run(step, batch())
    assert report.applied
    assert weights(detector).dtype == np.float32
    assert np.abs(weights(detector) - before).max() > 0.0


def test_averages_follow_the_weights():
    detector, state, step = make(ema_decay=0.3)
    average = weights(detector).astype(np.float64)
    for count in range(1, 5):
        run(step, batch(count), count)
        decay = min(0.3, (1 + count) / (10 + count))  # 2/11, 3/12, then 0.3
        average = decay * average + (1 - decay) * weights(detector)
    after = weights(detector)
    with state.averaged():
        np.testing.assert_allclose(weights(detector), average, rtol=1e-5, atol=1e-7)
    assert weights(detector).tobytes() == after.tobytes()
    assert np.abs(after - average).max() > 1e-3


def test_averages_stay_where_the_step_is_skipped():
    detector, state, step = make(ema_decay=0.5)
    before = weights(detector)
    run(step, batch(gt_boxes=np.full([4, 1, 4], np.nan, np.float32)))
    with state.averaged():
        np.testing.assert_array_equal(weights(detector), before)


def test_frozen_weights_stay_and_have_no_slots():
    detector, state, step = make(freeze=("conv/*",))
    before = detector.export_weights()
    run(step, batch())
    after = detector.export_weights()
    changed = [path for path in before if (before[path] != after[path]).any()]
    assert changed == ["head/kernel", "head/bias"]
    slots = [name for name in state.to_arrays() if name.startswith("slots/")]
    assert slots == ["slots/momentum/head/kernel", "slots/momentum/head/bias"]


def test_one_trace_a_bucket_shape():
    _, _, step = make()
    for number in range(8):
        run(step, batch(number), number)
    assert step._whole.experimental_get_tracing_count() == 2


def test_state_comes_back_from_its_arrays():
    _, state, step = make(loss_scale=8.0, ema_decay=0.9)
    run(step, batch())
    _, other_state, _ = make(loss_scale=8.0, ema_decay=0.9)
    other_state.from_arrays(state.to_arrays())
    for name, array in state.to_arrays().items():
        assert array.tobytes() == other_state.to_arrays()[name].tobytes(), name
    assert {"slots/momentum/conv/kernel", "averages/head/bias"} <= state.to_arrays().keys()
    assert np.abs(other_state.to_arrays()["slots/momentum/conv/kernel"]).max() > 0

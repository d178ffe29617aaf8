import numpy as np
import pytest
import tensorflow as tf

from model.layers.normalization import BatchNorm, FrozenBatchNorm, GroupNorm, make_norm

EPSILON = 1e-5


def features(pictures=3, channels=6, dtype=tf.float32, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(2.0, 3.0, (pictures, 4, 5, channels)).astype(np.float32)
    return tf.cast(values, dtype)


def built(norm, channels=6):
    """The norm with weights that are not its initial ones."""
    norm.build((None, None, None, channels))
    rng = np.random.default_rng(1)
    for variable in norm.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return norm


def test_group_norm_normalises_each_group_of_each_picture():
    norm = built(GroupNorm(EPSILON, dtype="float32"), channels=4)  # two groups of two
    x = features(channels=4)
    groups = x.numpy().reshape(3, 4, 5, 2, 2)
    mean = groups.mean(axis=(1, 2, 4), keepdims=True)
    variance = groups.var(axis=(1, 2, 4), keepdims=True)
    expected = ((groups - mean) / np.sqrt(variance + EPSILON)).reshape(3, 4, 5, 4)
    expected = expected * norm.gamma.numpy() + norm.beta.numpy()
    np.testing.assert_allclose(norm(x), expected, atol=1e-5)


def test_batch_norm_takes_the_statistics_of_valid_pictures():
    norm = built(BatchNorm(False, EPSILON, dtype="float32"))
    old_mean, old_variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    x = features().numpy()
    x[2] = np.inf  # a filler
    y = norm(tf.constant(x), valid=tf.constant([True, True, False]))
    used = x[:2].reshape(-1, 6)
    expected = (x[:2] - used.mean(axis=0)) / np.sqrt(used.var(axis=0) + EPSILON)
    expected = expected * norm.gamma.numpy() + norm.beta.numpy()
    np.testing.assert_allclose(y[:2], expected, atol=1e-5)
    np.testing.assert_allclose(
        norm.moving_mean, 0.9 * old_mean + 0.1 * used.mean(axis=0), rtol=1e-5
    )
    expected = 0.9 * old_variance + 0.1 * used.var(axis=0, ddof=1)  # torch's: unbiased
    np.testing.assert_allclose(norm.moving_variance, expected, rtol=1e-5)


@pytest.mark.parametrize("bad", ["no picture", "overflow"])
def test_unusable_batches_leave_the_moving_statistics(bad):
    norm = built(BatchNorm(False, EPSILON, dtype="float32"))
    before = [norm.moving_mean.numpy(), norm.moving_variance.numpy()]
    x = features().numpy()
    if bad == "overflow":
        x[0, 0, 0, 0] = np.inf
    y = norm(tf.constant(x), valid=tf.constant([bad == "overflow"] * 3))
    if bad == "no picture":  # no larger than it came, but for gamma
        assert np.abs(y).max() < 1.6 * np.abs(x).max() + 1.6
    np.testing.assert_array_equal(before, [norm.moving_mean.numpy(), norm.moving_variance.numpy()])


def test_synchronised_norm_of_one_replica_is_batch_norm():
    x = features(4)
    valid = tf.constant([True, True, True, False])
    whole = built(BatchNorm(False, EPSILON, dtype="float32"))
    expected = whole(x, valid=valid)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        norm = BatchNorm(True, EPSILON, dtype="float32")
    norm = built(norm)
    actual = strategy.run(lambda: norm(x, valid=valid))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    np.testing.assert_allclose(norm.moving_mean, whole.moving_mean, rtol=1e-6)


def test_synchronised_norm_of_one_worker_compiles():
    x, valid = features(2), tf.constant([True, True])
    norm, plain = (built(BatchNorm(kind, EPSILON, dtype="float32")) for kind in (True, False))
    compiled = tf.function(lambda x: norm(x, valid=valid), jit_compile=True)
    np.testing.assert_allclose(compiled(x), plain(x, valid=valid), rtol=1e-5, atol=1e-6)


def test_frozen_norm_is_the_stored_statistics_and_trains_nothing():
    norm = built(FrozenBatchNorm(EPSILON, dtype="float32"))
    assert norm.trainable_variables == []
    scale, shift = norm.scale_and_shift()
    x = features()
    expected = (x - norm.moving_mean.value) / np.sqrt(norm.moving_variance.numpy() + EPSILON)
    expected = expected * norm.gamma.value + norm.beta.value
    np.testing.assert_allclose(x * scale + shift, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["batch_norm", "group_norm"])
def test_gradient_is_that_of_small_changes(kind):
    norm = built(make_norm(kind, EPSILON, "float32"), channels=4)
    x = features(2, channels=4)
    weights = tf.constant(np.random.default_rng(2).normal(size=x.shape), tf.float32)
    arguments = {"valid": tf.constant([True, True])} if kind == "batch_norm" else {}

    def loss(x):
        return tf.reduce_sum(weights * norm(x, **arguments))

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = loss(x)
    gradient = tape.gradient(y, x).numpy()
    assert np.isfinite(gradient).all()
    for position in [(0, 0, 0, 0), (1, 3, 2, 1), (0, 2, 4, 3)]:
        step = np.zeros(x.shape, np.float32)
        step[position] = 0.05
        slope = float(loss(x + step) - loss(x - step)) / 0.1
        assert gradient[position] == pytest.approx(slope, rel=0.02, abs=2e-3)


@pytest.mark.parametrize("kind", ["batch_norm", "group_norm"])
@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_statistics_are_float32_in_every_policy(kind, dtype):
    policy = f"mixed_{dtype.name}"
    x = features(dtype=dtype) * 60  # sums of squares exceed float16's 65504
    arguments = {"valid": tf.constant([True] * 3)} if kind == "batch_norm" else {}
    y = built(make_norm(kind, EPSILON, policy))(x, **arguments)
    exact = built(make_norm(kind, EPSILON, "float32"))(tf.cast(x, tf.float32), **arguments)
    assert y.dtype == dtype
    # x and scale each have a relative error of 2**-8 (bfloat16); |x - mean| reaches 4 deviations.
    np.testing.assert_allclose(tf.cast(y, tf.float32), exact, atol=0.15)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="layer_norm"):
        make_norm("layer_norm", EPSILON, "float32")
    assert make_norm("none", EPSILON, "float32") is None

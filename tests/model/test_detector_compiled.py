"""The detector as one XLA program, and on two replicas: more than ten seconds each."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from model.detector import build_detector
from tests.model.small_detector import NUM_CLASSES, small_batch, small_config

pytestmark = pytest.mark.e2e


def losses_and_gradients(jit):
    detector = build_detector(small_config(), NUM_CLASSES, seed=1, jit=jit)
    weights = [variable.value for variable in detector.trainable_variables]

    def compute(batch):
        with tf.GradientTape() as tape:
            terms = detector.loss_terms(batch, 0, tf.constant(5, tf.int64))
            loss = tf.add_n([term.sum for term in terms.values()])
        gradients = tape.gradient(loss, weights)
        return terms, [tf.convert_to_tensor(gradient) for gradient in gradients]

    function = tf.function(compute, autograph=False, jit_compile=jit or None)
    return function(small_batch(2, empty=[1], crowd=[0]))


def test_losses_and_gradients_are_the_same_under_xla():
    terms, gradients = losses_and_gradients(jit=True)
    exact_terms, exact_gradients = losses_and_gradients(jit=False)
    for name, term in exact_terms.items():
        np.testing.assert_allclose(terms[name].sum, term.sum, rtol=1e-5)
        assert terms[name].denominator == term.denominator
    for gradient, exact in zip(gradients, exact_gradients, strict=True):
        # XLA adds up in another order; relative to the largest of the tensor.
        np.testing.assert_allclose(gradient, exact, atol=1e-4 * np.abs(exact).max() + 1e-7)


def test_detections_are_the_same_under_xla():
    batch = small_batch(2)
    found, exact = (
        tf.function(
            build_detector(small_config(), NUM_CLASSES, seed=1, jit=jit).detect,
            autograph=False,
            jit_compile=jit or None,
        )(batch["images"], batch["image_sizes"])
        for jit in (True, False)
    )
    for name, values in exact.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4)


TWO_REPLICAS = """
import json
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from model.layers.normalization import BatchNorm
x = tf.constant(np.random.default_rng(0).normal(2, 3, (4, 3, 5, 2)), tf.float32)
weights = tf.constant(np.random.default_rng(1).normal(size=x.shape), tf.float32)
valid = tf.constant([True, False, True, True])

def outputs(norm, x, weights, valid):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = norm(x, valid=valid)
        loss = tf.reduce_sum(y * weights)
    return tf.stack([y, tape.gradient(loss, x)])

whole = BatchNorm(False, 1e-5, dtype="float32")
whole.build(x.shape)
expected = outputs(whole, x, weights, valid)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
norm = BatchNorm(True, 1e-5, dtype="float32")
norm.build(x.shape)

@tf.function
def run():
    def replica():
        half = 2 * tf.distribute.get_replica_context().replica_id_in_sync_group
        part = lambda tensor: tensor[half : half + 2]
        return outputs(norm, part(x), part(weights), part(valid))
    return strategy.experimental_local_results(strategy.run(replica))

halves = run()
difference = tf.reduce_max(tf.abs(tf.concat(halves, axis=1) - expected)[:, 0:4:2])
print(json.dumps([float(difference), float(tf.reduce_max(tf.abs(expected)))]))
"""


def test_synchronised_norm_sees_the_pictures_of_both_replicas(repo):
    run = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS], cwd=repo, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    difference, largest = json.loads(run.stdout.splitlines()[-1])
    assert largest > 1
    assert difference < 1e-5

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from model.layers.convolution import Convolution
from model.layers.gradient_checkpointing import checkpointed

VALID = tf.constant([True, True])


def two_convolutions(frozen):
    layers = []
    for number, norm in enumerate(["batch_norm", "frozen_batch_norm"]):
        layer = Convolution(
            4,
            3,
            norm=norm,
            initializer=keras.initializers.RandomNormal(0, 0.5, seed=number),
            dtype="float32",
            name=f"conv{number}",
        )
        layer.build((None, None, None, 4))
        layers.append(layer)
    layers[0].trainable = not frozen
    return layers


def outcome(mode, is_checkpointed, frozen=False):
    """Outputs and gradients of two calls, and the moving statistics after them."""
    layers = two_convolutions(frozen)
    variables = [variable for layer in layers for variable in layer.variables]
    weights = [variable.value for layer in layers for variable in layer.trainable_variables]
    features = np.random.default_rng(0).normal(2.0, 1.0, (2, 6, 6, 4)).astype(np.float32)

    def through(features):
        for layer in layers:
            features = tf.nn.relu(layer(features, valid=VALID, training=True))
        return features

    def compute(features):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([features, *weights])
            outputs = (
                checkpointed(through, variables, features)
                if is_checkpointed
                else (through(features))
            )
            loss = tf.reduce_sum(tf.square(outputs))
        return outputs, tape.gradient(loss, [features, *weights])

    if mode != "eager":
        compute = tf.function(compute, autograph=False, jit_compile=mode == "jit" or None)
    values = [compute(tf.constant(features)) for _ in range(2)]
    statistics = [v.numpy() for v in variables if "moving" in v.path]
    return [array.numpy() for array in tf.nest.flatten(values)], statistics


@pytest.mark.parametrize("mode", ["eager", "graph", "jit"])
@pytest.mark.parametrize("frozen", [False, True])
def test_same_outputs_gradients_and_statistics(mode, frozen):
    values, statistics = outcome(mode, True, frozen)
    exact_values, exact_statistics = outcome(mode, False, frozen)
    for value, exact in zip(values, exact_values, strict=True):
        np.testing.assert_allclose(value, exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())
    # Moved once a call: 0.9 ** 2 of the initial values is left, not 0.9 ** 4.
    for value, exact in zip(statistics, exact_statistics, strict=True):
        np.testing.assert_allclose(value, exact, rtol=1e-5, atol=1e-6)


def test_features_after_the_boundary_have_the_gradient_by_hand():
    weight = keras.Variable(3.0)
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = checkpointed(lambda x: tf.square(weight.value * x), [weight], x)  # 9 x^2
        loss = tf.reduce_sum(y * [10.0, 1.0])
    by_x, by_weight = tape.gradient(loss, [x, weight.value])
    np.testing.assert_allclose(by_x, [10 * 18.0, 18 * 2.0])
    np.testing.assert_allclose(by_weight, 10 * 2 * 3.0 * 1 + 2 * 3.0 * 4)


def test_grappler_does_not_merge_the_second_pass_with_the_first():
    v1 = tf.compat.v1
    ran = v1.RunMetadata()
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [8, 8])

        def fourth_power(x):
            x = tf.matmul(x, x)
            return tf.matmul(x, x)

        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(checkpointed(fourth_power, [], x)))
        session.run(
            tape.gradient(loss, x),
            {x: np.eye(8)},
            options=v1.RunOptions(output_partition_graphs=True),
            run_metadata=ran,
        )
    operations = [node.op for graph in ran.partition_graphs for node in graph.node]
    # Two forward, one again (the gradient does not need the last product), two by two backward.
    assert sum("MatMul" in operation for operation in operations) == 2 + 1 + 4


def test_xla_does_not_merge_the_second_pass_with_the_first():
    weights = [keras.Variable(np.eye(8, dtype=np.float32)) for _ in range(2)]

    def part(x):
        for weight in weights:
            x = tf.sin(tf.matmul(x, weight.value))
        return x

    def products(is_checkpointed):
        def compute(x):
            with tf.GradientTape() as tape:
                y = checkpointed(part, weights, x) if is_checkpointed else part(x)
                loss = tf.reduce_sum(tf.square(y))
            return tape.gradient(loss, [weight.value for weight in weights])

        function = tf.function(compute, autograph=False, jit_compile=True)
        program = function.experimental_get_compiler_ir(tf.ones([8, 8]))(stage="optimized_hlo")
        return len(re.findall(r" dot\(", program))

    assert products(False) == 5  # two forward, three backward: x needs no gradient
    assert products(True) == 5 + 2

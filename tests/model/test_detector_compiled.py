"""The detector as one XLA program, and on two replicas: more than ten seconds each."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from configs.model_schema import BoxHeadConfig, CascadeConfig, DetectionConfig
from model.detector import build_detector
from model.layers.fpn import LEVELS
from tests.model.small_detector import NUM_CLASSES, small_batch, small_config

pytestmark = pytest.mark.e2e


# Everything of the RPN and the box head that is not the default, on a pyramid that is given: the
# backbone is compiled with the default heads.
OTHER_HEADS = small_config(
    rpn=small_config().rpn.model_copy(
        update={"channels": 12, "ignore_crossing_anchors": True, "box_loss": "giou"}
    ),
    box_head=BoxHeadConfig(
        convolutions=1,
        convolution_channels=8,
        norm="group_norm",
        fully_connected=1,
        hidden_units=16,
        class_agnostic=True,
        label_smoothing=0.1,
        box_loss="giou",
    ),
    cascade=CascadeConfig(),
    detections=DetectionConfig(
        max_detections=6, score_threshold=0.01, nms_method="gaussian", nms_sigma=0.5
    ),
)
# What calls back to the host, in a graph and in HLO; and HLO's mark of a dynamic dimension.
HOST_OPS = {"PyFunc", "EagerPyFunc", "PyFuncStateless", "Where", "Unique", "NonMaxSuppressionV5"}
NOT_ON_THE_DEVICE = re.compile(r"\[[^\]]*<=|infeed|outfeed|host_callback|py_func|\bsend\(|\brecv\(")


def whole_detector(jit):
    return build_detector(small_config(), NUM_CLASSES, seed=1, jit=jit)


def other_heads(jit):
    detector = build_detector(OTHER_HEADS, NUM_CLASSES, seed=1, jit=jit)
    rng = np.random.default_rng(0)
    pyramid = {
        level: tf.constant(rng.normal(size=(2, 64 >> n, 64 >> n, 8)), tf.float32)
        for n, level in enumerate(LEVELS, start=2)
    }
    detector.features = lambda *_: pyramid
    return detector


def loss_program(build, jit):
    """A step's losses and gradients as one function of a batch."""
    detector = build(jit)
    weights = [variable.value for variable in detector.trainable_variables]

    def compute(batch):
        with tf.GradientTape() as tape:
            terms = detector.loss_terms(batch, 0, tf.constant(5, tf.int64))
            loss = tf.add_n([term.sum for term in terms.values()])
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        return terms, [tf.convert_to_tensor(gradient) for gradient in gradients]

    return tf.function(compute, autograph=False, jit_compile=jit or None)


def assert_on_device_with_static_shapes(function, *arguments):
    """Looks at every operation of the graph, and at the program that XLA makes of it."""
    graph = function.get_concrete_function(*arguments).graph
    assert not HOST_OPS & {operation for operation in all_operations(graph)}
    hlo = function.experimental_get_compiler_ir(*arguments)(stage="hlo")
    assert "ENTRY" in hlo
    assert not NOT_ON_THE_DEVICE.findall(hlo)


def all_operations(graph):
    """Types of the operations of a graph and of the functions in it."""
    definition = graph.as_graph_def()
    yield from (node.op for node in definition.node)
    for function in definition.library.function:
        yield from (node.op for node in function.node_def)


@pytest.mark.parametrize("build", [whole_detector, other_heads])
def test_losses_and_gradients_are_the_same_under_xla(build):
    batch = small_batch(2, empty=[1], crowd=[0])
    program = loss_program(build, jit=True)
    terms, gradients = program(batch)
    exact_terms, exact_gradients = loss_program(build, jit=False)(batch)
    for name, term in exact_terms.items():
        np.testing.assert_allclose(terms[name].sum, term.sum, rtol=1e-5, atol=1e-6)
        assert terms[name].denominator == term.denominator
    for gradient, exact in zip(gradients, exact_gradients, strict=True):
        # XLA adds up in another order; relative to the largest of the tensor.
        np.testing.assert_allclose(gradient, exact, atol=1e-4 * np.abs(exact).max() + 1e-7)
    assert_on_device_with_static_shapes(program, batch)


def detection_program(detector, jit):
    def detect(images, image_sizes):
        return detector.detect(images, image_sizes, compiled=jit)

    return tf.function(detect, autograph=False, jit_compile=jit or None)


def test_detections_of_a_compiled_training_take_the_body_that_takes_less_memory():
    batch = small_batch(2)
    arguments = batch.images, batch.image_sizes
    detectors = [whole_detector(jit) for jit in (True, False)]
    graphs = [
        tf.function(detector.detect, autograph=False).get_concrete_function(*arguments).graph
        for detector in detectors
    ]
    jitted, plain = ([*all_operations(graph)] for graph in graphs)
    assert "SparseTensorDenseMatMul" in jitted and sorted(jitted) == sorted(plain)
    losses = loss_program(whole_detector, jit=True).get_concrete_function(batch).graph
    assert "SparseTensorDenseMatMul" not in all_operations(losses)


@pytest.mark.parametrize("build", [whole_detector, other_heads])
def test_detections_are_the_same_under_xla(build):
    batch = small_batch(2)
    program, plain = (detection_program(build(jit), jit) for jit in (True, False))
    arguments = batch.images, batch.image_sizes
    found = program(*arguments)
    for tensor, expected in zip(found, plain(*arguments), strict=True):
        np.testing.assert_allclose(tensor, expected, rtol=1e-4, atol=1e-4)
    assert_on_device_with_static_shapes(program, *arguments)


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

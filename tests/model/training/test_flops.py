"""Multiply-adds against TensorFlow's own profiler, published counts and counts by hand."""

import pytest
import tensorflow as tf

from configs.model_schema import BackboneConfig
from model.batch import batch_specs, specs_of
from model.detector import build_detector
from model.layers.backbones import build_backbone
from model.training import flops
from model.training.flops import (
    StepCost,
    multiply_adds,
    step_cost,
)
from tests.model.small_detector import NUM_CLASSES, small_batch, small_config

PICTURES = 2


@pytest.fixture(scope="module")
def detector():
    return build_detector(small_config(), NUM_CLASSES)


def specs(pictures=PICTURES, side=64):
    return batch_specs((side, side), pictures, max_objects=4, mask_side=8)


@pytest.fixture(scope="module")
def cost(detector):
    return step_cost(detector, specs())


def graph_of(function, *shapes):
    arguments = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    return tf.function(function, autograph=False).get_concrete_function(*arguments).graph


def counted(graph):
    return sum(multiply_adds(op) for op in graph.get_operations())


def test_specs_are_those_of_a_batch():
    batch = small_batch(PICTURES)
    assert specs() == specs_of(batch)


def test_a_convolution_by_hand():
    # Stride 2 on 8 x 6: 4 x 3 places, 3 x 3 x 5 inputs and 7 filters at each.
    graph = graph_of(lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"), [2, 8, 6, 5], [3, 3, 5, 7])
    assert counted(graph) == 2 * (4 * 3) * (3 * 3 * 5) * 7


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_by_hand(transposed):
    left = [11, 4] if transposed else [4, 11]
    graph = graph_of(lambda a, b: tf.matmul(a, b, transpose_a=transposed), left, [11, 3])
    assert counted(graph) == 4 * 11 * 3


def test_products_of_three_factors_by_hand():
    graph = graph_of(
        lambda a, b, c: tf.einsum("pah,phw,pbw->pab", a, b, c), [2, 3, 5], [2, 5, 7], [2, 4, 7]
    )
    # TensorFlow makes two products of it: (a, h, w) then (a, w, b).
    assert counted(graph) in (2 * (3 * 5 * 7 + 3 * 7 * 4), 2 * (5 * 7 * 4 + 3 * 5 * 4))


def test_a_depthwise_convolution_and_its_gradients_by_hand():
    def gradients(x, k):
        with tf.GradientTape() as tape:
            tape.watch([x, k])
            y = tf.nn.depthwise_conv2d(x, k, [1, 1, 1, 1], "SAME")
        return tape.gradient(y, [x, k])

    once = 2 * (8 * 6) * (3 * 3) * 5
    assert counted(graph_of(gradients, [2, 8, 6, 5], [3, 3, 5, 1])) == 3 * once


def test_a_shape_that_is_not_static_is_named():
    graph = graph_of(lambda a, b: tf.matmul(a, b), [None, 4], [4, 3])
    with pytest.raises(ValueError, match=r"shape \(None, 4\) is not static"):
        counted(graph)


def test_resnet_50_has_its_published_cost():
    # 4.09e9 multiply-adds at 224 x 224 (torchvision's table of models), the classifier included.
    backbone = build_backbone(BackboneConfig(name="resnet50"), 0, "float32")
    spec = tf.TensorSpec([1, 224, 224, 3], tf.uint8)
    graph = (
        tf.function(lambda images: backbone(images, image_sizes=tf.fill([1, 2], 224.0)))
        .get_concrete_function(spec)
        .graph
    )
    assert counted(graph) + 2048 * 1000 == pytest.approx(4.09e9, rel=0.005)


def test_the_whole_step_as_the_profiler_counts_it(detector, cost):
    def everything(batch):
        with tf.GradientTape() as tape:
            terms = detector.loss_terms(batch, 0, tf.constant(0, tf.int64), training=False)
            loss = tf.add_n([term.sum for term in terms.values()])
        return tape.gradient(loss, [v.value for v in detector.trainable_variables])

    traced = tf.function(everything, autograph=False).get_concrete_function(specs())
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    profile = tf.compat.v1.profiler.profile(frozen.graph, cmd="op", options=options)
    # The profiler counts additions, norms and activations as well.
    assert cost.flops == pytest.approx(profile.total_float_ops, rel=0.1)
    assert cost.flops <= profile.total_float_ops


def boxes_only_cost(pictures=1, frozen_stages=0):
    backbone = BackboneConfig(
        name="resnet18", width=8, norm="group_norm", frozen_stages=frozen_stages
    )
    config = small_config(backbone=backbone, mask_head=None)
    return step_cost(build_detector(config, NUM_CLASSES), batch_specs((64, 64), pictures, 4))


@pytest.fixture(scope="module")
def cost_of_boxes():
    return boxes_only_cost()


def test_cost_grows_with_pictures_and_masks(cost, cost_of_boxes):
    double = boxes_only_cost(pictures=2)
    assert double.flops == pytest.approx(2 * cost_of_boxes.flops, rel=1e-3)
    assert double.activation_bytes == pytest.approx(2 * cost_of_boxes.activation_bytes, rel=0.05)
    assert double.flops < cost.flops
    assert double.activation_bytes < cost.activation_bytes


def test_frozen_stages_have_no_backward_pass(cost_of_boxes):
    frozen = boxes_only_cost(frozen_stages=5)
    assert frozen.forward == cost_of_boxes.forward
    assert frozen.backward < cost_of_boxes.backward
    assert frozen.activation_bytes < cost_of_boxes.activation_bytes


def test_a_bucket_is_counted_once(detector, monkeypatch):
    batches = [small_batch(1), small_batch(1, seed=1), small_batch(2)]
    counted_shapes = []

    def fake(detector, specs, trained):
        counted_shapes.append(specs.images.shape[0])
        return StepCost(forward=specs.images.shape[0], backward=0, activation_bytes=0)

    monkeypatch.setattr(flops, "step_cost", fake)
    assert [*map(flops.FlopCounter(detector, []), batches)] == [2, 2, 4]
    assert counted_shapes == [1, 2]

"""The backbone's own behaviour, and that published weights make an ImageNet classifier of it."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs.model_schema import BackboneConfig
from model.layers.backbones import build_backbone
from model.layers.efficientnet_lite import InvertedResidualBlock
from model.weights.efficientnet_lite import by_our_paths

CHANNELS = {"c2": 24, "c3": 40, "c4": 112, "c5": 320}
LAST_BLOCKS = {2: "c2", 4: "c3", 10: "c4", 15: "c5"}
FIRST_OF_A_STRIDE = (1, 3, 5, 11)
# Objects that fill a square of a picture of COCO val2017 -> class of ImageNet.
OBJECTS = {
    ("000000331352.jpg", (28, 220, 320, 320)): 861,  # toilet seat
    ("000000160012.jpg", (60, 160, 480, 480)): 963,  # pizza
    ("000000229997.jpg", (180, 80, 270, 270)): 295,  # American black bear
    ("000000062554.jpg", (20, 20, 420, 420)): 937,  # broccoli
}


def backbone(policy="float32", **settings):
    config = BackboneConfig(**({"name": "efficientnet_lite0", "frozen_stages": 0} | settings))
    return build_backbone(config, 3, policy)


def noise(height=64, width=96):
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    return tf.constant(images)


def run(network, images=None, training=True):
    images = noise() if images is None else images
    sizes = tf.tile([[float(images.shape[1]), float(images.shape[2])]], [len(images), 1])
    valid = tf.ones([len(images)], bool)
    return network(images, image_sizes=sizes, valid=valid, training=training)


@pytest.fixture(scope="module")
def published(shared_data):
    return dict(np.load(shared_data / "weights/efficientnet_lite0_imagenet.npz"))


@pytest.fixture(scope="module")
def loaded(published):
    network = backbone()
    tensors = by_our_paths(published)
    for variable in network.variables:
        variable.assign(tensors[variable.path].array)
    return network


def norm(weights, x, layer):
    """The layer's norm with the published epsilon, by itself."""
    mean, variance = weights[f"{layer}/bn/mean"], weights[f"{layer}/bn/variance"]
    x = (x - mean) / np.sqrt(variance + 1e-3)
    return x * weights[f"{layer}/bn/gamma"] + weights[f"{layer}/bn/beta"]


def pointwise(weights, x, layer):
    return norm(weights, x @ weights[f"{layer}/kernel"][0, 0], layer)


def reference(weights, images):
    """C2-C5 layer by layer, as published: pixels (x - 127) / 128, padding SAME."""
    x = (tf.cast(images, tf.float32) - 127.0) / 128.0
    x = tf.nn.relu6(norm(weights, tf.nn.conv2d(x, weights["stem/kernel"], 2, "SAME"), "stem"))
    outputs = {}
    for number in range(16):
        block, inside = f"block{number:02d}", x
        stride = 2 if number in FIRST_OF_A_STRIDE else 1
        if number:
            inside = tf.nn.relu6(pointwise(weights, x, f"{block}/expand"))
        kernel = weights[f"{block}/depthwise/kernel"]
        inside = tf.nn.depthwise_conv2d(inside, kernel, [1, stride, stride, 1], "SAME")
        inside = tf.nn.relu6(norm(weights, inside, f"{block}/depthwise"))
        narrow = pointwise(weights, inside, f"{block}/project")
        x = x + narrow if stride == 1 and x.shape == narrow.shape else narrow
        if number in LAST_BLOCKS:
            outputs[LAST_BLOCKS[number]] = x
    return outputs


def classify(weights, c5):
    """Probabilities of the 1000 classes, by the published file's last two layers."""
    means = tf.reduce_mean(tf.nn.relu6(pointwise(weights, c5, "head")), [1, 2])
    return tf.nn.softmax(means @ weights["classifier/kernel"] + weights["classifier/bias"]).numpy()


def test_published_weights_give_the_classifiers_maps(loaded, published):
    expected = reference(published, noise())
    found = run(loaded)
    assert found.keys() == expected.keys()
    for stage, features in expected.items():
        scale = np.abs(features).max()
        np.testing.assert_allclose(found[stage], features, atol=2e-5 * scale, err_msg=stage)


def known_objects(shared_data):
    """Returns a crop of each of OBJECTS, uint8 [4, 224, 224, 3]."""
    crops = []
    for name, (x, y, width, height) in OBJECTS:
        with Image.open(shared_data / "coco_tiny/val2017" / name) as picture:
            crop = picture.convert("RGB").crop((x, y, x + width, y + height))
            crops.append(np.asarray(crop.resize((224, 224), Image.Resampling.BICUBIC)))
    return tf.constant(np.stack(crops))


def test_published_weights_know_known_objects(loaded, published, shared_data):
    images = known_objects(shared_data)
    scores = classify(published, run(loaded, images, training=False)["c5"])
    assert scores.argmax(axis=1).tolist() == list(OBJECTS.values())
    assert scores.max(axis=1).min() > 0.5


def test_strides_and_channels():
    network = backbone()
    assert network.channels == CHANNELS
    for level, (stage, features) in enumerate(run(network).items(), start=2):
        assert features.shape == (2, 64 >> level, 96 >> level, CHANNELS[stage])


def test_frozen_stages_and_norms_do_not_train():
    network = backbone(frozen_stages=2)
    trained = {variable.path for variable in network.trainable_variables}
    # block03 begins C3.
    assert trained == {
        variable.path
        for variable in network.variables
        if variable.path >= "backbone/block03" and variable.path.endswith("kernel")
        if not variable.path.startswith("backbone/stem")
    }
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(features**2) for features in run(network).values()])
    for gradient in tape.gradient(loss, [v.value for v in network.trainable_variables]):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_batch_norm_of_frozen_stages_keeps_its_statistics():
    network = backbone(frozen_stages=2, norm="batch_norm")
    before = {variable.path: variable.numpy() for variable in network.variables}
    run(network)
    moved = {v.path for v in network.variables if not np.array_equal(before[v.path], v.numpy())}
    assert moved and all(path.endswith(("moving_mean", "moving_variance")) for path in moved)
    assert not any(path.startswith(f"backbone/block0{n}") for path in moved for n in range(3))
    assert "backbone/block03/expand/norm/moving_mean" in moved


def test_checkpointed_stages_have_the_same_gradients():
    def gradients(**settings):
        network = backbone(frozen_stages=3, **settings)
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_mean(x**2) for x in run(network).values()])
        return tape.gradient(loss, [v.value for v in network.trainable_variables])

    kept, again = gradients(), gradients(checkpointed_stages=("c4", "c5"))
    for expected, found in zip(kept, again, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_agrees_with_float32(loaded, policy):
    network = backbone(policy)
    for variable, exact in zip(network.variables, loaded.variables, strict=True):
        variable.assign(exact.numpy())
    found, expected = run(network), run(loaded)
    for stage, features in found.items():
        assert features.dtype == network.compute_dtype
        error = tf.norm(tf.cast(features, tf.float32) - expected[stage])
        # bfloat16 has 8 bits, and there are up to 50 layers.
        assert float(error / tf.norm(expected[stage])) < (0.1 if "bf" in policy else 0.02), stage


@pytest.mark.parametrize(("stride", "filters"), [(1, 4), (2, 8)])
def test_a_block_compiles_with_xla(stride, filters):
    block = InvertedResidualBlock(4, filters, 5, stride, 6, "frozen_batch_norm", 3, name="block")
    block.build((None, None, None, 4))
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 8, 8, 4)), tf.float32)

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(block(x) ** 2)
        return tape.gradient(loss, [v.value for v in block.trainable_variables])

    compiled = tf.function(gradients, jit_compile=True)()
    for found, expected in zip(compiled, gradients(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())

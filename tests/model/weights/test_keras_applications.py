"""Keras's files: written by Keras itself, read back by name, by count or by order."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from configs.model_schema import BackboneConfig
from ground.errors import ModelError
from model.detector import build_detector
from model.layers.backbones import build_backbone
from model.layers.keras_backbones import LayerWeights
from model.weights import keras_applications, mobilenet_v2
from model.weights.files import load_start_weights, read_weights
from tests.model.layers.test_efficientnet_lite import OBJECTS, known_objects
from tests.model.small_detector import small_config


def backbone(name="mobilenet"):
    return build_backbone(BackboneConfig(name=name, frozen_stages=0), 3, "float32")


@pytest.fixture(scope="module")
def ours():
    return backbone()


@pytest.fixture(scope="module")
def published():
    """A MobileNet of Keras's own with its classifier, and weights that nothing else has."""
    model = keras.applications.MobileNet(weights=None, classes=5, input_shape=(32, 32, 3))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    return model


def legacy_weights(model, path, rename=lambda name: name):
    """A weights file as keras.applications publishes: groups by layer, attributes in order."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [rename(layer.name).encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(rename(layer.name))
            names = [f"{rename(layer.name)}/{w.name}:0".encode() for w in layer.weights]
            group.attrs["weight_names"] = names
            for name, weight in zip(names, layer.weights, strict=True):
                group[name.decode()] = weight.numpy()
    return path


def check(found, model, network):
    """All of the backbone's weights are those of the layers with the same names."""
    expected = {f"backbone/{w.path}": w.numpy() for layer in model.layers for w in layer.weights}
    assert found.keys() == {variable.path for variable in network.variables}
    for path, tensor in found.items():
        np.testing.assert_array_equal(tensor.array, expected[path], err_msg=path)


def read(path, network):
    return keras_applications.by_our_paths(read_weights(path), network, "mobilenet")


@pytest.mark.parametrize("file", ["a.h5", "a.weights.h5", "a.keras"])
def test_reads_what_keras_writes(tmp_path, ours, published, file):
    path = tmp_path / file
    if file == "a.weights.h5":
        published.save_weights(path)
    else:
        published.save(path)
    check(read(path, ours), published, ours)


@pytest.mark.parametrize("file", ["a.h5", "a.keras"])
def test_reads_a_network_inside_of_a_model(tmp_path, ours, published, file):
    model = keras.Sequential([published, keras.layers.Dense(2, name="mine")])
    model.save(tmp_path / file)
    check(read(tmp_path / file, ours), published, ours)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: name.replace("conv_", "conv/"),  # as some published files have it
        lambda name: f"mobl_{name}",  # nothing matches: by order
    ],
)
def test_reads_published_layouts(tmp_path, ours, published, rename):
    path = legacy_weights(published, tmp_path / "a.h5", rename)
    check(read(path, ours), published, ours)


APPLICATIONS = {
    "keras_resnet50": ("ResNet50", keras.applications.resnet.preprocess_input),
    "resnet50_v2": ("ResNet50V2", keras.applications.resnet_v2.preprocess_input),
    "densenet121": ("DenseNet121", keras.applications.densenet.preprocess_input),
    # These scale pixels in their own first layers.
    "mobilenet_v3_small": ("MobileNetV3Small", np.array),
    "efficientnet_v2_b0": ("EfficientNetV2B0", np.array),
    "convnext_tiny": ("ConvNeXtTiny", np.array),
}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_networks_file_gives_its_own_maps(tmp_path, name, suffix):
    """The last map equals that of Keras's network, from the same pixels."""
    application, preprocess = APPLICATIONS[name]
    network = getattr(keras.applications, application)(weights=None, include_top=False)
    rng = np.random.default_rng(0)
    scaling = keras.layers.Normalization  # keeps the statistics of ImageNet
    layers = [layer for layer in network.layers if not isinstance(layer, scaling)]
    for weight in (weight for layer in layers for weight in layer.weights):
        low = 0.5 if "variance" in weight.path or "gamma" in weight.path else -0.1
        weight.assign(rng.uniform(low, low + 0.2, weight.shape))
    path = tmp_path / f"a{suffix}"
    (network.save if suffix == ".h5" else network.save_weights)(path)
    ours = backbone(name)
    tensors = keras_applications.by_our_paths(read_weights(path), ours, name)
    for variable in ours.variables:
        variable.assign(tensors[variable.path].array)
    images = rng.integers(0, 256, (1, 64, 64, 3), np.uint8)
    expected = network(preprocess(images.astype(np.float32)))
    found = ours(tf.constant(images), image_sizes=tf.fill([1, 2], 64.0))["c5"]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert np.std(expected) > 0


def test_numbered_layers_are_counted_anew(tmp_path):
    """Keras calls ConvNeXt's last norm layer_normalization_7 if it is the eighth of the process."""
    paths = ["backbone/layer_normalization_0/gamma", "backbone/a/kernel"]
    layers = [
        LayerWeights("layer_normalization_0", "layer_normalization", paths[:1]),
        LayerWeights("a", "conv2d", paths[1:]),
    ]
    stored = ["a/a/kernel:0", "layer_normalization_7/layer_normalization_7/gamma:0", "b/b/bias:0"]
    found = keras_applications._by_layer_name(stored, layers)
    assert [(layer.name, names) for layer, names in found] == [
        ("layer_normalization_0", stored[1:2]),
        ("a", stored[:1]),
    ]


def test_starts_a_detector_and_says_what_was_left(tmp_path, published):
    path = legacy_weights(published, tmp_path / "a.h5")
    config = small_config(backbone=BackboneConfig(name="mobilenet"))
    report = load_start_weights(build_detector(config, 3), path)
    assert report.kind == "keras"
    assert len(report.loaded) == 27 * 5  # convolutions, each with a norm
    assert not any(name.startswith("backbone/") for name in report.initial)
    assert [name.split("/")[0] for name in report.left_over] == ["conv_preds", "conv_preds"]


def test_a_shape_that_does_not_fit_is_refused_by_name(tmp_path):
    thin = keras.applications.MobileNet(
        weights=None, include_top=False, alpha=0.5, input_shape=(32, 32, 3)
    )
    thin.save_weights(tmp_path / "thin.weights.h5")
    detector = build_detector(small_config(backbone=BackboneConfig(name="mobilenet")), 3)
    before = detector.export_weights()
    with pytest.raises(ModelError, match=r"conv2d/vars/0 .*\[3, 3, 3, 16\].*backbone/conv1/kernel"):
        load_start_weights(detector, tmp_path / "thin.weights.h5")
    for path, array in detector.export_weights().items():
        np.testing.assert_array_equal(array, before[path])


def test_imagenet_is_what_keras_applications_fetches(tmp_path, monkeypatch, ours, published):
    headless = keras.Model(published.input, published.get_layer("conv_pw_13_relu").output)
    asked = []

    def get_file(name, origin, **_):
        asked.append(name)
        return str(legacy_weights(headless, tmp_path / name))

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    found = keras_applications.fetch_published(ours, "mobilenet")
    assert asked == ["mobilenet_1_0_224_tf_no_top.h5"]
    check(keras_applications.by_our_paths(found, ours, "mobilenet"), published, ours)


def test_without_a_network_the_error_says_which_file_to_fetch(monkeypatch, ours):
    monkeypatch.setenv("KERAS_HOME", "/cache")

    def get_file(name, origin, **_):
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -3] name resolution")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    said = r"cannot fetch https://storage\S+/mobilenet_1_0_224_tf_no_top\.h5; .* /cache/models$"
    with pytest.raises(ModelError, match=said):
        keras_applications.fetch_published(ours, "mobilenet")


def test_files_that_refer_to_others_are_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        external = [(str(tmp_path / "secret.bin"), 0, 16)]
        file.create_dataset("layers/conv2d/vars/0", (4,), np.float32, external=external)
    with pytest.raises(ModelError, match=r"layers/conv2d/vars/0 in .* is no array of numbers in"):
        read_weights(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["layers/conv2d/vars/0"] = h5py.ExternalLink("a.h5", "layers/conv2d/vars/0")
    assert read_weights(tmp_path / "b.h5") == {}
    with zipfile.ZipFile(tmp_path / "c.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match=r"no model\.weights\.h5"):
        read_weights(tmp_path / "c.keras")
    (tmp_path / "d.h5").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"cannot read .*d\.h5"):
        read_weights(tmp_path / "d.h5")


def test_code_in_a_keras_file_is_not_run(tmp_path, ours, published):
    """The file says that its model is made by a class that nobody has."""
    published.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        weights = archive.read("model.weights.h5")
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        archive.writestr("config.json", '{"module": "os", "class_name": "abort", "config": {}}')
        archive.writestr("model.weights.h5", weights)
    check(read(tmp_path / "b.keras", ours), published, ours)


def test_folded_mobilenet_v2_knows_known_objects(shared_data):
    """Its maps and its last layers make the classifier that the file was (class 0: background)."""
    stored = dict(np.load(shared_data / "weights/mobilenet_v2_1.0_imagenet_int8.npz"))
    network = backbone("mobilenet_v2")
    tensors = mobilenet_v2.by_our_paths(stored)
    for variable in network.variables:
        variable.assign(tensors[variable.path].array)
    images = known_objects(shared_data)
    found = network(images, image_sizes=tf.fill([len(images), 2], 224.0))
    expected = folded_reference(stored, images)
    for stage, features in expected.items():
        scale = np.abs(features).max()
        np.testing.assert_allclose(found[stage], features, atol=3e-5 * scale, err_msg=stage)
    means = tf.reduce_mean(found["c5"], [1, 2])
    logits = means @ stored["predictions/kernel"] + stored["predictions/bias"]
    assert (logits.numpy().argmax(axis=1) - 1).tolist() == list(OBJECTS.values())


def folded_reference(weights, images):
    """C2-C5 of 1801.04381, table 2, layer by layer from the file: kernel, bias, ReLU6."""

    def pointwise(x, layer):
        return x @ weights[f"{layer}/kernel"][0, 0] + weights[f"{layer}/bias"]

    def depthwise(x, layer, stride):
        kernel = weights[f"{layer}/kernel"]
        x = tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME")
        return tf.nn.relu6(x + weights[f"{layer}/bias"])

    x = tf.cast(images, tf.float32) / 127.5 - 1.0
    x = tf.nn.relu6(tf.nn.conv2d(x, weights["Conv1/kernel"], 2, "SAME") + weights["Conv1/bias"])
    x = depthwise(x, "expanded_conv_depthwise", 1)
    x = pointwise(x, "expanded_conv_project")
    stages = {}
    for number in range(1, 17):
        block = f"block_{number}"
        inside = tf.nn.relu6(pointwise(x, f"{block}_expand"))
        stride = 2 if number in (1, 3, 6, 13) else 1
        if number in (3, 6, 13):  # the widened map is the last of its stride
            stages[f"c{len(stages) + 2}"] = inside
        narrow = pointwise(depthwise(inside, f"{block}_depthwise", stride), f"{block}_project")
        x = x + narrow if stride == 1 and x.shape == narrow.shape else narrow
    stages["c5"] = tf.nn.relu6(pointwise(x, "Conv_1"))
    return stages

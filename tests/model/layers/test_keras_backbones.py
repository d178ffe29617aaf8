import keras
import numpy as np
import pytest
import tensorflow as tf

from configs.model_schema import BackboneConfig
from ground.errors import ConfigError
from model.layers.backbones import BACKBONES, build_backbone
from model.layers.keras_backbones import MINUS_ONE_TO_ONE, KerasBackbone, find_taps

# Families whose layers Keras numbers, or which end a stage in a branch or start with a patch.
AWKWARD = ["mobilenet_v3_small", "resnet50_v2", "convnext_tiny", "efficientnet_b0"]


def backbone(name="mobilenet", policy="float32", **settings):
    config = BackboneConfig(**({"name": name, "frozen_stages": 0} | settings))
    return build_backbone(config, 3, policy)


def run(network, height=64, width=96):
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    sizes = tf.fill([2, 2], float(height))
    return network(tf.constant(images), image_sizes=sizes, training=True)


def check_strides(network):
    for level, (stage, features) in enumerate(run(network).items(), start=2):
        assert stage == f"c{level}"
        assert features.shape[1:3] == (64 >> level, 96 >> level)
        assert features.shape[3] == network.channels[stage]


@pytest.mark.parametrize(
    "name", ["mobilenet", *(pytest.param(name, marks=pytest.mark.slow) for name in AWKWARD)]
)
def test_strides_paths_and_weights_do_not_depend_on_what_was_built_before(name):
    networks = [backbone(name), backbone(name)]
    check_strides(networks[1])
    first, second = ({v.path: v.numpy() for v in network.variables} for network in networks)
    assert all(path.startswith("backbone/") for path in first)
    assert len(first) == len(networks[0].variables)
    assert sorted(first) == sorted(p for layer in networks[0].layer_weights for p in layer.paths)
    assert first.keys() == second.keys()
    for path, values in first.items():
        np.testing.assert_array_equal(second[path], values)
    kernels = [v for path, v in first.items() if path.endswith("kernel")]
    assert len({values.tobytes() for values in kernels}) == len(kernels)


def test_norms_and_stages_are_frozen():
    network = backbone(frozen_stages=2)
    before = [variable.numpy() for variable in network.variables]
    trained = {variable.path for variable in network.trainable_variables}
    assert not any("bn" in path for path in trained)
    assert "backbone/conv1/kernel" not in trained
    assert "backbone/conv_pw_13/kernel" in trained
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(features) for features in run(network).values()])
    weights = [variable.value for variable in network.trainable_variables]
    for gradient in tape.gradient(loss, weights):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0
    for variable, values in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), values)


def test_policy_holds_for_the_backbone_alone():
    network = backbone(policy="mixed_bfloat16")
    assert run(network)["c5"].dtype == tf.bfloat16
    assert {variable.dtype for variable in network.variables} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def network(*strides, shortcut=False):
    """A convolution a stride, with weights of one channel; the last may have a branch beside it."""
    x = inputs = keras.Input((None, None, 3))
    for number, stride in enumerate(strides):
        y = keras.layers.Conv2D(4, 3, stride, padding="same", name=f"layer{number}")(x)
        x = keras.layers.Add(name=f"sum{number}")([x, y]) if shortcut and stride == 1 else y
    return keras.Model(inputs, x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("application", "said"),
    [
        ("Xception", r"odd has no map of stride 2 for C1, C2, which"),
        ("InceptionV3", r"odd has no map of stride 2 for C1, C2, C3, C4, C5, which"),
        ("NASNetMobile", r"odd takes no picture of 256x256 pixels, so that it has no C2-C5"),
    ],
)
def test_networks_that_pad_otherwise_are_refused(application, said):
    config = BackboneConfig(frozen_stages=0).model_copy(update={"name": "odd"})
    network = getattr(keras.applications, application)
    with pytest.raises(ConfigError, match=said):
        KerasBackbone(network, MINUS_ONE_TO_ONE, config, 0, name="backbone")


def test_every_random_weight_depends_on_the_seed_alone():
    def application(**_):
        x = inputs = keras.Input((None, None, 3))
        layers = keras.layers
        kinds = (layers.Conv2D, layers.SeparableConv2D, layers.Conv2D, layers.SeparableConv2D)
        for kind in kinds:
            x = kind(8, 3, 2, padding="same")(x)
        return keras.Model(inputs, layers.DepthwiseConv2D(3, 2, padding="same")(x))

    config = BackboneConfig(frozen_stages=0).model_copy(update={"name": "odd"})

    def kernels(seed):
        made = KerasBackbone(application, MINUS_ONE_TO_ONE, config, seed, name="backbone")
        return {v.path: v.numpy() for v in made.variables if v.path.endswith("kernel")}

    first, again, other = kernels(0), kernels(0), kernels(1)
    assert list(first) == [
        "backbone/conv2d_0/kernel",
        "backbone/separable_conv2d_0/depthwise_kernel",
        "backbone/separable_conv2d_0/pointwise_kernel",
        "backbone/conv2d_1/kernel",
        "backbone/separable_conv2d_1/depthwise_kernel",
        "backbone/separable_conv2d_1/pointwise_kernel",
        "backbone/depthwise_conv2d_0/kernel",
    ]
    for path, values in first.items():
        np.testing.assert_array_equal(again[path], values)
        assert not np.array_equal(other[path], values)


def tapped(model):
    return {stage: model.operations[number].name for stage, number in find_taps(model, "a").items()}


def test_taps_are_the_last_of_a_stride_on_the_main_path():
    # The layers of stride 1 are beside a shortcut: only the sums carry all.
    taps = tapped(network(2, 2, 1, 1, 2, 1, 2, 2, 1, shortcut=True))
    assert taps == {"c1": "layer0", "c2": "sum3", "c3": "sum5", "c4": "layer6", "c5": "sum8"}


def test_a_patch_stands_for_the_first_two_stages():
    taps = tapped(network(4, 1, 2, 2, 2))
    assert taps == {"c1": "layer0", "c2": "layer1", "c3": "layer2", "c4": "layer3", "c5": "layer4"}


@pytest.mark.parametrize(
    ("strides", "said"),
    [
        ((2, 2, 4, 2), r"odd has no map of stride 8 for C3, which the feature pyramid needs"),
        ((8, 2, 2), r"no map of stride 2 for C1, C2"),
        ((3, 2), r"no map of stride 2 for C1, C2, C3, C4, C5"),
    ],
)
def test_a_missing_stage_is_named(strides, said):
    def application(**_):
        return network(*strides)

    config = BackboneConfig(frozen_stages=0).model_copy(update={"name": "odd"})
    with pytest.raises(ConfigError, match=said):
        KerasBackbone(application, MINUS_ONE_TO_ONE, config, 0, name="backbone")


def test_each_family_sees_the_pixels_that_it_was_trained_on():
    """By keras.applications' own preprocessing, where that is not a layer of the network."""
    pixels = np.arange(2 * 2 * 3, dtype=np.float32).reshape(1, 2, 2, 3) * 20
    applications = keras.applications
    expected = {
        "keras_resnet50": applications.resnet.preprocess_input(pixels.copy()),
        "resnet50_v2": applications.resnet_v2.preprocess_input(pixels.copy()),
        "mobilenet_v2": applications.mobilenet_v2.preprocess_input(pixels.copy()),
        "densenet121": applications.densenet.preprocess_input(pixels.copy()),
        "efficientnet_v2_s": pixels / 128 - 1,
    }
    for name, values in expected.items():
        mean, std, is_bgr = BACKBONES[name].args[1]
        found = (pixels / 255 - np.array(mean)) / np.array(std)
        found = found[..., ::-1] if is_bgr else found
        np.testing.assert_allclose(found, values, atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", AWKWARD)
def test_compiled_maps_are_the_same(name):
    network = backbone(name)
    for expected, found in zip(
        run(network).values(),
        tf.function(lambda: run(network), jit_compile=True)().values(),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_strides_of_every_backbone(name):
    check_strides(backbone(name))

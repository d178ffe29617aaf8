import numpy as np
import pytest
import tensorflow as tf

from configs.model_schema import BackboneConfig
from model.layers.backbones import build_backbone
from model.layers.resnet import MEAN, STD, ResidualBlock, normalize_pixels


def backbone(name="resnet18", policy="float32", **settings):
    config = BackboneConfig(**({"name": name, "width": 8, "frozen_stages": 0} | settings))
    return build_backbone(config, 0, policy)


def run(network, training=False, side=64):
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    return network(
        tf.constant(images),
        image_sizes=tf.fill([2, 2], float(side)),
        valid=tf.constant([True, True]),
        training=training,
    )


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_strides_and_channels(name):
    network = backbone(name)
    stages = run(network)
    assert list(stages) == ["c2", "c3", "c4", "c5"]
    for level, (stage, features) in enumerate(stages.items(), start=2):
        side = 64 // 2**level
        expansion = 4 if name == "resnet50" else 1
        assert features.shape == (2, side, side, 8 * 2 ** (level - 2) * expansion)
        assert network.channels[stage] == features.shape[-1]


# From torchvision's model zoo page (without the classifier's 512 or 2048 x 1000 + 1000).
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512 - 513_000),
        ("resnet34", 21_797_672 - 513_000),
        ("resnet50", 25_557_032 - 2_049_000),
        ("resnet101", 44_549_160 - 2_049_000),
        ("resnet152", 60_192_808 - 2_049_000),
    ],
)
def test_number_of_parameters(name, parameters):
    network = backbone(name, width=64, norm="batch_norm")
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == parameters


# From the result tables of PyTorch Image Models, in millions (resnet50s has the wide stem).
@pytest.mark.parametrize(
    ("name", "stem", "millions"),
    [
        ("resnet18", "deep", 11.71),
        ("resnet50", "deep", 25.58),
        ("resnet101", "deep", 44.57),
        ("resnet50", "deep_wide", 25.68),
    ],
)
def test_number_of_parameters_with_a_deep_stem(name, stem, millions):
    network = backbone(name, width=64, norm="batch_norm", stem=stem, shortcut="average_pool")
    classifier = 513_000 if name == "resnet18" else 2_049_000
    counted = sum(int(np.prod(v.shape)) for v in network.trainable_variables) + classifier
    assert round(counted / 1e6, 2) == millions


@pytest.mark.parametrize("stem", ["deep", "deep_wide"])
def test_deep_stem_halves_the_map_in_its_first_convolution(stem):
    network = backbone(stem=stem, norm="group_norm")
    assert [convolution.stride for convolution in network.stem] == [2, 1, 1]
    assert [convolution.filters for convolution in network.stem] == {
        "deep": [4, 4, 8],
        "deep_wide": [8, 8, 16],
    }[stem]
    assert run(network)["c2"].shape == (2, 16, 16, 8)
    assert len({variable.path for variable in network.variables}) == len(network.variables)


def test_average_pool_shortcut_by_hand():
    config = BackboneConfig(norm="frozen_batch_norm", shortcut="average_pool")
    block = ResidualBlock(2, 2, True, True, config, 0, dtype="float32", name="block")
    block.build((None, None, None, 3))
    for convolution in block.convolutions:  # leaves the shortcut alone
        convolution.kernel.assign(tf.zeros_like(convolution.kernel))
    features = np.random.default_rng(0).normal(size=(1, 4, 6, 3)).astype(np.float32)
    kernel = block.projection.kernel.numpy()[0, 0]
    expected = np.zeros((1, 2, 3, 8))
    for row in range(2):
        for column in range(3):
            window = features[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            expected[0, row, column] = window.reshape(4, 3).sum(axis=0) / 4 @ kernel
    expected = np.maximum(expected / np.sqrt(1 + config.norm_epsilon), 0)  # variance 1, then ReLU
    np.testing.assert_allclose(block(tf.constant(features)), expected, rtol=1e-5, atol=1e-6)


def test_pixels_are_normalised_and_padding_is_zero():
    images = tf.fill([1, 4, 4, 3], tf.constant(255, tf.uint8))
    out = normalize_pixels(images, tf.constant([[3.0, 2.0]]), MEAN, STD)
    expected = (1.0 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(out[0, 2, 1], expected, rtol=1e-6)
    assert np.abs(out[0, 3:]).max() == 0
    assert np.abs(out[0, :, 2:]).max() == 0


@pytest.mark.parametrize(
    ("frozen_stages", "prefixes"),
    [
        (0, ()),
        (1, ("backbone/stem",)),
        (3, ("backbone/stem", "backbone/c2", "backbone/c3")),
        (5, ("backbone/",)),
    ],
)
@pytest.mark.parametrize("norm", ["batch_norm", "group_norm"])
def test_frozen_stages_do_not_change_in_training(frozen_stages, prefixes, norm):
    network = backbone(norm=norm, frozen_stages=frozen_stages)
    before = {variable.path: variable.numpy() for variable in network.variables}
    trained = [variable.path for variable in network.trainable_variables]
    assert not any(path.startswith(prefixes) for path in trained if prefixes)
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(x) for x in run(network, training=True).values()])
    weights = [variable.value for variable in network.variables]
    for variable, gradient in zip(network.variables, tape.gradient(loss, weights), strict=True):
        is_frozen = bool(prefixes) and variable.path.startswith(prefixes)
        if is_frozen:  # nor do its batch statistics
            np.testing.assert_array_equal(variable.numpy(), before[variable.path])
        assert (gradient is None) == (variable.path not in trained), variable.path


@pytest.mark.parametrize("frozen_stages", [0, 2])
def test_checkpointed_stages_change_no_number(frozen_stages):
    stages = ("stem", "c2", "c4", "c5")
    results = []
    for checkpointed_stages in ((), stages):
        network = backbone(
            norm="batch_norm",
            frozen_stages=frozen_stages,
            checkpointed_stages=checkpointed_stages,
        )
        weights = [variable.value for variable in network.trainable_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            outputs = run(network, training=True)
            loss = tf.add_n([tf.reduce_mean(tf.square(x)) for x in outputs.values()])
        gradients = tape.gradient(loss, weights)
        results.append([*outputs.values(), *gradients, *network.non_trainable_variables])
    for value, exact in zip(*results, strict=True):
        exact = tf.convert_to_tensor(exact).numpy()
        np.testing.assert_allclose(value, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


def test_stride_in_1x1_moves_the_stride():
    # A map that is zero in odd rows and columns: a 1x1 convolution of stride 2 sees all of it.
    by_3x3, by_1x1 = (backbone("resnet50", stride_in_1x1=setting) for setting in (False, True))
    block_3x3, block_1x1 = (
        next(b for b in network.stages["c3"] if b.name == "c3_block1")
        for network in (by_3x3, by_1x1)
    )
    assert [c.stride for c in block_3x3.convolutions] == [1, 2, 1]
    assert [c.stride for c in block_1x1.convolutions] == [2, 1, 1]
    assert run(by_1x1)["c3"].shape == run(by_3x3)["c3"].shape


def test_padding_convention_shifts_what_a_stride_sees():
    symmetric, same = (backbone(symmetric_padding=setting) for setting in (True, False))
    difference = np.abs(run(symmetric)["c2"].numpy() - run(same)["c2"].numpy())
    assert difference.max() > 0.01


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("norm", ["batch_norm", "group_norm"])
def test_policies_are_near_float32(policy, norm):
    exact = run(backbone(norm=norm), training=True)["c5"].numpy()
    network = backbone(norm=norm, policy=policy)
    lower = run(network, training=True)["c5"]
    assert lower.dtype == policy.removeprefix("mixed_")
    # 17 convolutions, each with relative rounding of 2**-8 (bfloat16).
    error = np.linalg.norm(tf.cast(lower, tf.float32) - exact) / np.linalg.norm(exact)
    assert error < 0.1


def test_pixel_settings_are_those_of_the_first_convolution():
    # Other statistics and the reversed order, undone in the kernel: the same features.
    plain, caffe = backbone(), backbone(channel_order="bgr", pixel_std=(1.0, 1.0, 1.0))
    for ours, theirs in zip(caffe.variables, plain.variables, strict=True):
        ours.assign(theirs)
    scale = 1.0 / np.array((58.395, 57.12, 57.375), np.float32)  # of red, green, blue
    kernel = plain.stem[0].kernel.numpy() * scale[:, np.newaxis]
    caffe.stem[0].kernel.assign(kernel[:, :, ::-1])
    for stage, features in run(plain).items():
        np.testing.assert_allclose(run(caffe)[stage], features, rtol=1e-3, atol=1e-4)

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs.errors import ConfigError
from configs.schema import BackboneConfig
from model.layers.backbones import BACKBONES, build_backbone


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


def test_strides_paths_and_weights_do_not_depend_on_what_was_built_before():
    networks = [backbone(), backbone()]
    check_strides(networks[1])
    first, second = ({v.path: v.numpy() for v in network.variables} for network in networks)
    assert all(path.startswith("backbone/") for path in first)
    assert len(first) == len(networks[0].variables)
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


def test_other_norms_are_refused():
    with pytest.raises(ConfigError, match=r"mobilenet has frozen_batch_norm only, got group_norm"):
        backbone(norm="group_norm")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BACKBONES if not name.startswith("resnet")])
def test_strides_of_every_family(name):
    check_strides(backbone(name))

"""The networks that can stand below the FPN, by name.

A backbone is a layer that is called as `backbone(images, image_sizes, valid=, training=)`, has its
own normalisation of pixels, returns C2-C5 by name, and tells their `channels`. Their names stand in
configs/backbones.py, which is all that a further network of keras.applications needs; one of our
own also has its layer and a line in `BACKBONES` (docs/backbones.md).
"""

from collections.abc import Callable
from functools import partial

import keras

from configs.backbones import KERAS_NETWORKS, RESNET_DEPTHS, KerasNetwork
from configs.model_schema import BackboneConfig
from model.layers import keras_backbones
from model.layers.efficientnet_lite import EfficientNetLite
from model.layers.keras_backbones import KerasBackbone, PixelStatistics
from model.layers.resnet import ResNet

_BuildBackbone = Callable[[BackboneConfig, int, str], keras.layers.Layer]


def _resnet(depth: int, config: BackboneConfig, seed: int, policy: str) -> keras.layers.Layer:
    return ResNet(depth, config, seed, dtype=policy, name="backbone")


def _efficientnet_lite0(config: BackboneConfig, seed: int, policy: str) -> keras.layers.Layer:
    return EfficientNetLite(config, seed, dtype=policy, name="backbone")


def keras_network(
    network: Callable[..., keras.Model],
    pixels: PixelStatistics,
    config: BackboneConfig,
    seed: int,
    policy: str,
) -> keras.layers.Layer:
    """Returns a backbone made of a network of Keras's layers.

    Args:
        network: makes it, given include_top, weights and input_shape.
        pixels: what it was trained on.
        config: the `model.backbone` section.
        seed: seed of the initial weights.
        policy: Keras dtype policy.
    """
    return KerasBackbone(network, pixels, config, seed, dtype=policy, name="backbone")


def _application(network: KerasNetwork) -> _BuildBackbone:
    unscaled = {"include_preprocessing": False} if network.scales_pixels else {}
    made = partial(getattr(keras.applications, network.function), **unscaled)
    return partial(keras_network, made, getattr(keras_backbones, network.pixels))


# name -> (config, seed, dtype policy) -> layer
BACKBONES: dict[str, _BuildBackbone] = {
    **{f"resnet{depth}": partial(_resnet, depth) for depth in RESNET_DEPTHS},
    "efficientnet_lite0": _efficientnet_lite0,
    **{name: _application(network) for name, network in KERAS_NETWORKS.items()},
}


def build_backbone(config: BackboneConfig, seed: int, policy: str) -> keras.layers.Layer:
    """Returns the backbone that the config names, with its weights.

    Args:
        config: the `model.backbone` section.
        seed: seed of the initial weights.
        policy: Keras dtype policy.

    Raises:
        ConfigError: the network lacks one of the stages C2-C5.
    """
    backbone = BACKBONES[config.name](config, seed, policy)
    backbone.build((None, None, None, 3))
    return backbone

"""The networks that can stand below the FPN, by name.

A backbone is a layer that is called as `backbone(images, image_sizes, valid=, training=)`, has its
own normalisation of pixels, returns C2-C5 by name, and tells their `channels`. A further one is a
function here and a line in `BACKBONES`.
"""

import difflib
from collections.abc import Callable
from functools import partial

import keras

from configs.errors import ConfigError
from configs.schema import BackboneConfig
from model.layers.efficientnet_lite import EfficientNetLite
from model.layers.keras_backbones import IMAGENET, MINUS_ONE_TO_ONE, KerasBackbone, PixelStatistics
from model.layers.resnet import ResNet


def _resnet(depth: int, config: BackboneConfig, seed: int, policy: str) -> keras.layers.Layer:
    return ResNet(depth, config, seed, dtype=policy, name="backbone")


def _efficientnet_lite0(config: BackboneConfig, seed: int, policy: str) -> keras.layers.Layer:
    return EfficientNetLite(config, seed, dtype=policy, name="backbone")


def _keras(
    application: str,
    pixels: PixelStatistics,
    config: BackboneConfig,
    seed: int,
    policy: str,
    **options: bool,
) -> keras.layers.Layer:
    make = partial(getattr(keras.applications, application), **options)
    return KerasBackbone(make, pixels, config, seed, dtype=policy, name="backbone")


# Families that would scale pixels themselves.
_scaled_outside = partial(_keras, include_preprocessing=False)

# name -> (config, seed, dtype policy) -> layer
BACKBONES: dict[str, Callable[[BackboneConfig, int, str], keras.layers.Layer]] = {
    "resnet18": partial(_resnet, 18),
    "resnet34": partial(_resnet, 34),
    "resnet50": partial(_resnet, 50),
    "resnet101": partial(_resnet, 101),
    "resnet152": partial(_resnet, 152),
    "efficientnet_lite0": _efficientnet_lite0,
    "mobilenet": partial(_keras, "MobileNet", MINUS_ONE_TO_ONE),
    "mobilenet_v2": partial(_keras, "MobileNetV2", MINUS_ONE_TO_ONE),
    "mobilenet_v3_small": partial(_scaled_outside, "MobileNetV3Small", MINUS_ONE_TO_ONE),
    "mobilenet_v3_large": partial(_scaled_outside, "MobileNetV3Large", MINUS_ONE_TO_ONE),
    "efficientnet_v2_b0": partial(_scaled_outside, "EfficientNetV2B0", MINUS_ONE_TO_ONE),
    "efficientnet_v2_b3": partial(_scaled_outside, "EfficientNetV2B3", MINUS_ONE_TO_ONE),
    "densenet121": partial(_keras, "DenseNet121", IMAGENET),
    "densenet169": partial(_keras, "DenseNet169", IMAGENET),
}


def build_backbone(config: BackboneConfig, seed: int, policy: str) -> keras.layers.Layer:
    """Returns the backbone that the config names, with its weights.

    Args:
        config: the `model.backbone` section.
        seed: of the initial weights.
        policy: Keras dtype policy.

    Raises:
        ConfigError: no backbone has this name.
    """
    if config.name not in BACKBONES:
        near = difflib.get_close_matches(config.name, BACKBONES, n=1) or sorted(BACKBONES)
        raise ConfigError(f"model.backbone.name: no backbone {config.name!r}; try {near[0]!r}")
    backbone = BACKBONES[config.name](config, seed, policy)
    backbone.build((None, None, None, 3))
    return backbone

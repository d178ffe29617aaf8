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
from model.layers.keras_backbones import (
    CAFFE,
    HALF_OF_256,
    IMAGENET,
    MINUS_ONE_TO_ONE,
    KerasBackbone,
    PixelStatistics,
)
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


# Families that would scale pixels themselves if they were let to.
_scaled_outside = partial(_keras, include_preprocessing=False)

# name -> (config, seed, dtype policy) -> layer
BACKBONES: dict[str, Callable[[BackboneConfig, int, str], keras.layers.Layer]] = {
    **{f"resnet{depth}": partial(_resnet, depth) for depth in (18, 34, 50, 101, 152)},
    "efficientnet_lite0": _efficientnet_lite0,
    **{f"keras_resnet{n}": partial(_keras, f"ResNet{n}", CAFFE) for n in (50, 101, 152)},
    **{f"resnet{n}_v2": partial(_keras, f"ResNet{n}V2", MINUS_ONE_TO_ONE) for n in (50, 101, 152)},
    "mobilenet": partial(_keras, "MobileNet", MINUS_ONE_TO_ONE),
    "mobilenet_v2": partial(_keras, "MobileNetV2", MINUS_ONE_TO_ONE),
    "mobilenet_v3_small": partial(_scaled_outside, "MobileNetV3Small", MINUS_ONE_TO_ONE),
    "mobilenet_v3_large": partial(_scaled_outside, "MobileNetV3Large", MINUS_ONE_TO_ONE),
    **{f"efficientnet_b{n}": partial(_keras, f"EfficientNetB{n}", IMAGENET) for n in range(8)},
    **{
        f"efficientnet_v2_b{n}": partial(_scaled_outside, f"EfficientNetV2B{n}", IMAGENET)
        for n in range(4)
    },
    **{
        f"efficientnet_v2_{size.lower()}": partial(
            _scaled_outside, f"EfficientNetV2{size}", HALF_OF_256
        )
        for size in ("S", "M", "L")
    },
    **{
        f"convnext_{size.lower()}": partial(_scaled_outside, f"ConvNeXt{size}", IMAGENET)
        for size in ("Tiny", "Small", "Base", "Large", "XLarge")
    },
    **{f"densenet{n}": partial(_keras, f"DenseNet{n}", IMAGENET) for n in (121, 169, 201)},
    **{f"vgg{n}": partial(_keras, f"VGG{n}", CAFFE) for n in (16, 19)},
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

"""The networks that can stand below the FPN, by name.

A backbone is a layer that is called as `backbone(images, image_sizes, valid=, training=)`, has its
own normalisation of pixels, returns C2-C5 by name, and tells their `channels`. A further one is a
function, a line in `BACKBONES` and its name
in `configs.model_schema` (docs/backbones.md).
"""

from collections.abc import Callable
from functools import partial

import keras

from configs.model_schema import BackboneConfig
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


def _application(
    name: str, pixels: PixelStatistics, **options: bool
) -> Callable[[BackboneConfig, int, str], keras.layers.Layer]:
    network = partial(getattr(keras.applications, name), **options)
    return partial(keras_network, network, pixels)


# For families that would otherwise scale pixels themselves.
_UNSCALED = {"include_preprocessing": False}

# name -> (config, seed, dtype policy) -> layer
BACKBONES: dict[str, Callable[[BackboneConfig, int, str], keras.layers.Layer]] = {
    **{f"resnet{depth}": partial(_resnet, depth) for depth in (18, 34, 50, 101, 152)},
    "efficientnet_lite0": _efficientnet_lite0,
    **{f"keras_resnet{n}": _application(f"ResNet{n}", CAFFE) for n in (50, 101, 152)},
    **{f"resnet{n}_v2": _application(f"ResNet{n}V2", MINUS_ONE_TO_ONE) for n in (50, 101, 152)},
    "mobilenet": _application("MobileNet", MINUS_ONE_TO_ONE),
    "mobilenet_v2": _application("MobileNetV2", MINUS_ONE_TO_ONE),
    **{
        f"mobilenet_v3_{size.lower()}": _application(
            f"MobileNetV3{size}", MINUS_ONE_TO_ONE, **_UNSCALED
        )
        for size in ("Small", "Large")
    },
    **{f"efficientnet_b{n}": _application(f"EfficientNetB{n}", IMAGENET) for n in range(8)},
    **{
        f"efficientnet_v2_b{n}": _application(f"EfficientNetV2B{n}", IMAGENET, **_UNSCALED)
        for n in range(4)
    },
    **{
        f"efficientnet_v2_{size.lower()}": _application(
            f"EfficientNetV2{size}", HALF_OF_256, **_UNSCALED
        )
        for size in ("S", "M", "L")
    },
    **{
        f"convnext_{size.lower()}": _application(f"ConvNeXt{size}", IMAGENET, **_UNSCALED)
        for size in ("Tiny", "Small", "Base", "Large", "XLarge")
    },
    **{f"densenet{n}": _application(f"DenseNet{n}", IMAGENET) for n in (121, 169, 201)},
    **{f"vgg{n}": _application(f"VGG{n}", CAFFE) for n in (16, 19)},
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

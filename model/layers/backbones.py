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
from model.layers.resnet import ResNet


def _resnet(depth: int, config: BackboneConfig, seed: int, policy: str) -> keras.layers.Layer:
    return ResNet(depth, config, seed, dtype=policy, name="backbone")


# name -> (config, seed, dtype policy) -> layer
BACKBONES: dict[str, Callable[[BackboneConfig, int, str], keras.layers.Layer]] = {
    "resnet18": partial(_resnet, 18),
    "resnet34": partial(_resnet, 34),
    "resnet50": partial(_resnet, 50),
    "resnet101": partial(_resnet, 101),
    "resnet152": partial(_resnet, 152),
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

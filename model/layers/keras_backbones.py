"""Networks of keras.applications as backbones.

Their taps are found by stride: C2 is the last layer whose map has a quarter of the picture's side,
and so on. Their batch norm is frozen, as usual in detection, so they are of use with weights that
were trained before: `model.weights`, a file with the variables' paths.

They fit families where that layer is on the main path and where all layers with weights have fixed
names: the paths of weights must not depend on what else was built in the process. (ResNetV2's last
layers are in a branch; EfficientNet's and ConvNeXt's have numbered names.)
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from configs.errors import ConfigError
from configs.schema import BackboneConfig
from model.layers.initializers import derive_seed
from model.layers.layer import Layer
from model.layers.resnet import MEAN, STD, normalize_pixels

# Mean and deviation of RGB values in 0-1 that a family was trained with.
PixelStatistics = tuple[tuple[float, float, float], tuple[float, float, float]]
IMAGENET = (MEAN, STD)
MINUS_ONE_TO_ONE = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_PROBE_SIDE_PX = 256  # of the copy on which strides are measured


class KerasBackbone(Layer):
    """A network of keras.applications, cut off after its last map of stride 32.

    Attributes:
        channels: by stage, of what comes out.

    Args:
        application: makes the network, given include_top, weights and input_shape.
        pixels: mean and deviation of RGB values in 0-1.
        config: `frozen_stages`; the norm must be frozen_batch_norm.
        seed: of the initial weights.
    """

    def __init__(
        self,
        application: Callable[..., keras.Model],
        pixels: PixelStatistics,
        config: BackboneConfig,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if config.norm != "frozen_batch_norm":
            raise ConfigError(
                f"model.backbone.norm: {config.name} has frozen_batch_norm only, got {config.norm}"
            )
        self.pixels = pixels
        self.frozen_stages = config.frozen_stages
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)
        try:
            self.taps = _last_layers_of_strides(application)
            with keras.name_scope(self.name):
                whole = application(include_top=False, weights=None, input_shape=(None, None, 3))
        finally:
            keras.config.set_dtype_policy(policy)
        _initialize(whole, seed)
        self._freeze(whole)
        outputs = {stage: whole.layers[index].output for stage, index in self.taps.items()}
        self.channels = {stage: output.shape[-1] for stage, output in outputs.items()}
        self.channels.pop("c1")
        self.network = keras.Model(whole.input, outputs, name="network")

    def build(self, input_shape: Any) -> None:
        """Does nothing: keras.applications makes weights at once."""

    def call(
        self,
        images: tf.Tensor,
        image_sizes: tf.Tensor,
        valid: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns C2-C5; the arguments are `ResNet`'s, and the last two change nothing here."""
        pixels = normalize_pixels(images, image_sizes, *self.pixels)
        stages = self.network(tf.cast(pixels, self.compute_dtype), training=False)
        frozen = [f"c{number}" for number in range(1, self.frozen_stages + 1)]
        return {
            stage: tf.stop_gradient(stages[stage]) if stage in frozen else stages[stage]
            for stage in self.channels
        }

    def _freeze(self, whole: keras.Model) -> None:
        """Freezes batch norms, and the layers up to the tap of the last frozen stage."""
        last = self.taps[f"c{self.frozen_stages}"] if self.frozen_stages else -1
        for index, layer in enumerate(whole.layers):
            is_norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = not is_norm and index > last


def _last_layers_of_strides(application: Callable[..., keras.Model]) -> dict[str, int]:
    """Returns the number of the last layer of stride 2, 4, ... 32 as {"c1": ..., "c5": ...}."""
    probe = application(
        include_top=False, weights=None, input_shape=(_PROBE_SIDE_PX, _PROBE_SIDE_PX, 3)
    )
    taps = {}
    for index, layer in enumerate(probe.layers):
        shape = layer.output.shape
        for level in range(1, 6):
            if len(shape) == 4 and shape[1] == shape[2] == _PROBE_SIDE_PX >> level:
                taps[f"c{level}"] = index
    return taps


def _initialize(network: keras.Model, seed: int) -> None:
    """Draws the weights again, each layer by a seed of its own name."""
    for layer in network.layers:
        initializer = getattr(layer, "depthwise_initializer", None)
        initializer = initializer or getattr(layer, "kernel_initializer", None)
        if initializer is not None:
            settings = initializer.get_config() | {"seed": derive_seed(seed, layer.name)}
            layer.kernel.assign(type(initializer).from_config(settings)(layer.kernel.shape))

"""EfficientNet-Lite0 that gives C2-C5, as published: TensorFlow's padding, ReLU6, no squeezing.

Letters: N pictures, H, W, C channels. A block is MobileNetV2's inverted residual (1801.04381,
figure 4b): widened by a 1x1 convolution, filtered channel by channel, narrowed without activation.
The table is EfficientNet-B0's (1905.11946, table 1). C2-C5 are what the last block of a stride
gives, as EfficientDet takes them (1911.09070, section 3.3); the classifier's last 1x1 convolution
is left out. Published weights fit (model/weights/efficientnet_lite.py).

Reference: tensorflow/tpu, models/official/efficientnet/lite.
"""

from functools import partial
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from configs.model_schema import BackboneConfig
from model.layers.convolution import Convolution, DepthwiseConvolution
from model.layers.initializers import derive_seed, kaiming_normal
from model.layers.layer import Layer
from model.layers.resnet import normalize_pixels
from model.layers.stages import run_stages

# What the published weights were trained with; the padding of strided windows is TensorFlow's SAME.
MEAN = (127 / 255, 127 / 255, 127 / 255)
STD = (128 / 255, 128 / 255, 128 / 255)
NORM_EPSILON = 1e-3
STEM_FILTERS = 32


class _Row(NamedTuple):
    """Like blocks in a row; the first has the stride."""

    blocks: int
    kernel_size: int
    stride: int
    expansion: int
    filters: int


# Stage -> its rows. The first, of stride 2, begins with the stem's convolution.
STAGES = {
    "stem": [_Row(1, 3, 1, 1, 16)],
    "c2": [_Row(2, 3, 2, 6, 24)],
    "c3": [_Row(2, 5, 2, 6, 40)],
    "c4": [_Row(3, 3, 2, 6, 80), _Row(3, 5, 1, 6, 112)],
    "c5": [_Row(4, 5, 2, 6, 192), _Row(1, 3, 1, 6, 320)],
}


class InvertedResidualBlock(Layer):
    """Widens, filters each channel, narrows; adds its input where the shape stays.

    Args:
        channels: that come in.
        filters: channels that come out.
        kernel_size: kernel size of the depthwise convolution.
        stride: stride of the depthwise convolution.
        expansion: channels inside / `channels`; 1 leaves the widening out.
        norm: one of `make_norm`'s kinds.
        seed: seed of the initial weights.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel_size: int,
        stride: int,
        expansion: int,
        norm: str,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.filters = filters
        self.is_residual = stride == 1 and channels == filters

        def settings(name: str) -> dict[str, Any]:
            return _convolution_settings(norm, derive_seed(seed, name), self.dtype_policy, name)

        inside = channels * expansion
        self.expand = Convolution(inside, 1, **settings("expand")) if expansion > 1 else None
        self.depthwise = DepthwiseConvolution(
            inside, kernel_size, stride=stride, **settings("depthwise")
        )
        self.project = Convolution(filters, 1, **settings("project"))

    def build(self, input_shape: Any) -> None:
        """Creates the weights for `input_shape` [N, H, W, C]."""
        inside = (None, None, None, self.depthwise.filters)
        if self.expand is not None:
            self.expand.build(input_shape)
        self.depthwise.build(inside)
        self.project.build(inside)

    def call(
        self, features: tf.Tensor, valid: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Returns [N, H / stride, W / stride, filters]; the arguments are `Convolution`'s."""
        inside = features
        if self.expand is not None:
            inside = tf.nn.relu6(self.expand(inside, valid=valid, training=training))
        inside = tf.nn.relu6(self.depthwise(inside, valid=valid, training=training))
        narrow = self.project(inside, valid=valid, training=training)
        return features + narrow if self.is_residual else narrow


class EfficientNetLite(Layer):
    """EfficientNet-Lite0 without its classifier.

    Attributes:
        channels: by stage, of what comes out.

    Args:
        config: norm, frozen and checkpointed stages; pixel statistics, padding and epsilon are the
            family's.
        seed: seed of the initial weights.
    """

    def __init__(self, config: BackboneConfig, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frozen_stages = config.frozen_stages
        self.checkpointed_stages = config.checkpointed_stages
        self.stem = Convolution(
            STEM_FILTERS,
            3,
            stride=2,
            **_convolution_settings(
                _norm_of_stage(config, 1), derive_seed(seed, "stem"), self.dtype_policy, "stem"
            ),
        )
        self.stages = _stages(config, seed, self.dtype_policy)
        self.channels = {
            stage: blocks[-1].filters for stage, blocks in self.stages.items() if stage != "stem"
        }

    def build(self, input_shape: Any) -> None:
        """Creates the weights; `input_shape` is [N, H, W, 3]."""
        self.stem.build(input_shape)
        self.stem.trainable = self.frozen_stages < 1
        for level, blocks in enumerate(self.stages.values(), start=1):
            for block in blocks:
                block.build((None, None, None, block.channels))
                block.trainable = self.frozen_stages < level

    def call(
        self,
        images: tf.Tensor,
        image_sizes: tf.Tensor,
        valid: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns {"c2": [N, H / 4, W / 4, C], ..., "c5": ...}; the arguments are `ResNet`'s."""
        features = normalize_pixels(images, image_sizes, MEAN, STD)
        outputs = run_stages(
            self.stages,
            partial(self._run_stage, valid=valid, training=training),
            self._stage_variables,
            features,
            self.frozen_stages,
            self.checkpointed_stages if training else (),
        )
        return {stage: outputs[stage] for stage in self.channels}

    def _run_stage(
        self, stage: str, features: tf.Tensor, valid: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        """Returns what a stage makes of [N, H, W, C]; the first one takes pixels."""
        if stage == "stem":
            features = tf.nn.relu6(self.stem(features, valid=valid, training=training))
        for block in self.stages[stage]:
            features = block(features, valid=valid, training=training)
        return features

    def _stage_variables(self, stage: str) -> list[keras.Variable]:
        """Returns the variables that `_run_stage` reads or assigns."""
        layers = [*([self.stem] if stage == "stem" else []), *self.stages[stage]]
        return [variable for layer in layers for variable in layer.variables]


def _stages(
    config: BackboneConfig, seed: int, policy: Any
) -> dict[str, list[InvertedResidualBlock]]:
    """Returns the blocks of each stage, numbered through as in published files."""
    stages: dict[str, list[InvertedResidualBlock]] = {}
    channels, number = STEM_FILTERS, 0
    for level, (stage, rows) in enumerate(STAGES.items(), start=1):
        stages[stage] = []
        for row in rows:
            for index in range(row.blocks):
                name = f"block{number:02d}"
                block = InvertedResidualBlock(
                    channels,
                    row.filters,
                    row.kernel_size,
                    1 if index else row.stride,
                    row.expansion,
                    _norm_of_stage(config, level),
                    derive_seed(seed, name),
                    dtype=policy,
                    name=name,
                )
                stages[stage].append(block)
                channels, number = row.filters, number + 1
    return stages


def _convolution_settings(norm: str, seed: int, policy: Any, name: str) -> dict[str, Any]:
    """Returns what all convolutions of the family have in common."""
    return {
        "initializer": kaiming_normal(seed),
        "norm": norm,
        "norm_epsilon": NORM_EPSILON,
        "symmetric": False,
        "dtype": policy,
        "name": name,
    }


def _norm_of_stage(config: BackboneConfig, level: int) -> str:
    """Returns the norm's kind; the batch statistics of frozen stages are frozen too."""
    is_frozen = level <= config.frozen_stages
    return "frozen_batch_norm" if is_frozen and "batch_norm" in config.norm else config.norm

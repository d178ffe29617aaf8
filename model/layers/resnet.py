"""Residual networks (1512.03385) that give C2-C5, by torchvision's conventions.

Letters: N pictures, H, W, C channels. Names follow the paper: stage c2 is conv2_x, its first block
`block1`. Weights of torchvision files fit (model/weights/torchvision.py).

The variants called v1, v1b (v1.5), v1c and v1d, which are the paper's ResNet and B, C and D of
1812.01187, are combinations of `stride_in_1x1`, `stem` and `shortcut`: docs/model.md.
"""

from functools import partial
from typing import Any

import keras
import tensorflow as tf

from configs.model_schema import BackboneConfig
from model.layers.convolution import Convolution, padding_of
from model.layers.initializers import derive_seed, kaiming_normal
from model.layers.layer import Layer
from model.layers.stages import run_stages

# Blocks of each stage, c2 to c5.
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_EXPANSION = 4  # channels out of a bottleneck block / channels inside
STAGES = ("c2", "c3", "c4", "c5")
STEM_STRIDE = 2

# torchvision's ImageNet statistics of RGB values in 0-1: the defaults of `pixel_mean`, `pixel_std`.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class ResidualBlock(Layer):
    """Adds to its input (projected where the shape changes) what two or three convolutions make.

    Args:
        width: channels inside the block.
        stride: stride of the first block of a stage, 1 or 2.
        is_bottleneck: 1x1, 3x3, 1x1 (50 layers and more) instead of 3x3, 3x3.
        has_projection: whether the shortcut is a 1x1 convolution.
        config: its norm, epsilon, padding, place of the stride and shortcut.
        seed: seed of the initial weights.
    """

    def __init__(
        self,
        width: int,
        stride: int,
        is_bottleneck: bool,
        has_projection: bool,
        config: BackboneConfig,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        convolution = partial(_convolution, config=config, seed=seed, dtype=self.dtype_policy)
        if is_bottleneck:
            self.filters = width * BOTTLENECK_EXPANSION
            first_stride = stride if config.stride_in_1x1 else 1
            self.convolutions = [
                convolution("conv1", width, 1, first_stride),
                convolution("conv2", width, 3, stride // first_stride),
                convolution("conv3", self.filters, 1, 1),
            ]
        else:
            self.filters = width
            self.convolutions = [
                convolution("conv1", width, 3, stride),
                convolution("conv2", width, 3, 1),
            ]
        self.pooling = stride if config.shortcut == "average_pool" else 1
        self.projection = None
        if has_projection:
            self.projection = convolution("projection", self.filters, 1, stride // self.pooling)

    def build(self, input_shape: Any) -> None:
        """Creates the weights for `input_shape` [N, H, W, C]."""
        channels = input_shape[-1]
        for convolution in self.convolutions:
            convolution.build((None, None, None, channels))
            channels = convolution.filters
        if self.projection is not None:
            self.projection.build(input_shape)

    def call(
        self, features: tf.Tensor, valid: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Returns [N, H / stride, W / stride, filters]; the arguments are `Convolution`'s."""
        shortcut = features
        if self.projection is not None:
            shortcut = average_pool(features, self.pooling)
            shortcut = self.projection(shortcut, valid=valid, training=training)
        for number, convolution in enumerate(self.convolutions):
            if number:
                features = tf.nn.relu(features)
            features = convolution(features, valid=valid, training=training)
        return tf.nn.relu(features + shortcut)


class ResNet(Layer):
    """A ResNet without its classifier.

    Attributes:
        channels: by stage, of what comes out.

    Args:
        depth: 18, 34, 50, 101 or 152.
        config: width, stem, norm, padding, place of the stride, frozen stages, pixel statistics.
        seed: seed of the initial weights.
    """

    def __init__(self, depth: int, config: BackboneConfig, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        is_bottleneck = depth >= 50
        frozen = _frozen_config(config)
        stem_config = frozen if config.frozen_stages >= 1 else config
        self.symmetric_padding = config.symmetric_padding
        self.is_bgr = config.channel_order == "bgr"
        self.mean, self.std = config.pixel_mean, config.pixel_std
        self.frozen_stages = config.frozen_stages
        self.checkpointed_stages = config.checkpointed_stages
        self.stem = [
            _convolution(name, filters, size, stride, stem_config, seed, self.dtype_policy)
            for name, filters, size, stride in _stem_convolutions(config)
        ]
        filters = config.width * (BOTTLENECK_EXPANSION if is_bottleneck else 1)  # of C2
        self.stages: dict[str, list[ResidualBlock]] = {}
        for number, (stage, blocks) in enumerate(zip(STAGES, BLOCKS[depth], strict=True)):
            self.stages[stage] = [
                ResidualBlock(
                    config.width * 2**number,
                    2 if number and block == 1 else 1,
                    is_bottleneck,
                    block == 1 and (number > 0 or self.stem[-1].filters != filters),
                    frozen if number + 2 <= config.frozen_stages else config,
                    derive_seed(seed, f"{stage}/block{block}"),
                    dtype=self.dtype_policy,
                    name=f"{stage}_block{block}",
                )
                for block in range(1, blocks + 1)
            ]
        self.channels = {stage: blocks[-1].filters for stage, blocks in self.stages.items()}

    def build(self, input_shape: Any) -> None:
        """Creates the weights; `input_shape` is [N, H, W, 3]."""
        channels = input_shape[-1]
        for convolution in self.stem:
            convolution.build((None, None, None, channels))
            convolution.trainable = self.frozen_stages < 1
            channels = convolution.filters
        for number, blocks in enumerate(self.stages.values()):
            for block in blocks:
                block.build((None, None, None, channels))
                block.trainable = self.frozen_stages < number + 2
                channels = block.filters

    def call(
        self,
        images: tf.Tensor,
        image_sizes: tf.Tensor,
        valid: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns {"c2": [N, H / 4, W / 4, C], ..., "c5": [N, H / 32, W / 32, C]}.

        Args:
            images: [N, H, W, 3] RGB, 0-255, of any dtype.
            image_sizes: float32 [N, 2], height and width of the content; the rest is padding.
            valid: bool [N], pictures that enter batch statistics; needed in training.
            training: whether batch norm uses the statistics of the batch.
        """
        mean, std = ((r / 255, g / 255, b / 255) for r, g, b in (self.mean, self.std))
        features = normalize_pixels(images, image_sizes, mean, std)
        features = features[..., ::-1] if self.is_bgr else features
        outputs = run_stages(
            ("stem", *STAGES),
            partial(self._run_stage, valid=valid, training=training),
            self._stage_variables,
            features,
            self.frozen_stages,
            self.checkpointed_stages if training else (),
        )
        return {stage: outputs[stage] for stage in STAGES}

    def _run_stage(
        self, stage: str, features: tf.Tensor, valid: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        """Returns [N, H, W, C], what the stem or one of c2 ... c5 makes of its input.

        Args:
            stage: "stem", "c2", ... "c5".
            features: [N, H, W, C]; pixels for the stem.
            valid: see `call`.
            training: see `call`.
        """
        if stage != "stem":
            for block in self.stages[stage]:
                features = block(features, valid=valid, training=training)
            return features
        for convolution in self.stem:
            features = tf.nn.relu(convolution(features, valid=valid, training=training))
        return max_pool(features, self.symmetric_padding)

    def _stage_variables(self, stage: str) -> list[keras.Variable]:
        """Returns all weights and statistics of a stage, or of the stem."""
        layers = self.stem if stage == "stem" else self.stages[stage]
        return [variable for layer in layers for variable in layer.variables]


def average_pool(features: tf.Tensor, stride: int) -> tf.Tensor:
    """Returns the mean of `stride` x `stride` windows of [N, H, W, C], side by side.

    Where a side is odd, the last window is smaller (ResNet-D of 1812.01187).
    """
    return tf.nn.avg_pool2d(features, stride, stride, "SAME") if stride > 1 else features


def max_pool(features: tf.Tensor, symmetric: bool) -> tf.Tensor:
    """Returns the largest of 3x3 at every second pixel of [N, H, W, C], which must be >= 0.

    Args:
        features: what comes out of a ReLU, so that zeros may stand for the padding. (XLA has no
            pooling with explicit padding.)
        symmetric: see `Convolution`.
    """
    if not symmetric:
        return tf.nn.max_pool2d(features, 3, 2, "SAME")
    return tf.nn.max_pool2d(tf.pad(features, padding_of(3, 2, symmetric)), 3, 2, "VALID")


def normalize_pixels(
    images: tf.Tensor,
    image_sizes: tf.Tensor,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> tf.Tensor:
    """Returns float32 [N, H, W, 3]: (images / 255 - mean) / std, and zero in the padding."""
    scale = tf.constant([1.0 / (255.0 * s) for s in std], tf.float32)
    shift = tf.constant([-m / s for m, s in zip(mean, std, strict=True)], tf.float32)
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    rows = tf.cast(tf.range(height), tf.float32) < image_sizes[:, :1]  # [N, H]
    columns = tf.cast(tf.range(width), tf.float32) < image_sizes[:, 1:]  # [N, W]
    content = rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]
    return tf.where(content, tf.cast(images, tf.float32) * scale + shift, 0.0)


def _stem_convolutions(config: BackboneConfig) -> list[tuple[str, int, int, int]]:
    """Returns name, channels, kernel size and stride of what stands before the max pooling."""
    if config.stem == "7x7":
        return [("stem", config.width, 7, STEM_STRIDE)]
    inner = config.width if config.stem == "deep_wide" else config.width // 2
    return [
        ("stem_conv1", inner, 3, STEM_STRIDE),
        ("stem_conv2", inner, 3, 1),
        ("stem_conv3", 2 * inner, 3, 1),
    ]


def _convolution(
    name: str,
    filters: int,
    kernel_size: int,
    stride: int,
    config: BackboneConfig,
    seed: int,
    dtype: Any,
) -> Convolution:
    """Returns a convolution with the config's norm and padding, seeded by its name."""
    return Convolution(
        filters,
        kernel_size,
        stride=stride,
        initializer=kaiming_normal(derive_seed(seed, name)),
        norm=config.norm,
        norm_epsilon=config.norm_epsilon,
        symmetric=config.symmetric_padding,
        dtype=dtype,
        name=name,
    )


def _frozen_config(config: BackboneConfig) -> BackboneConfig:
    """Returns the config of frozen stages: batch statistics are frozen too, as in Detectron2."""
    if config.norm in ("batch_norm", "sync_batch_norm"):
        return config.model_copy(update={"norm": "frozen_batch_norm"})
    return config

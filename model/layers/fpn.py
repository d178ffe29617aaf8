"""Feature pyramid network (1612.03144): C2-C5 -> P2-P6.

Letters: N pictures, H, W, C channels.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from configs.model_schema import FpnConfig
from model.layers.convolution import Convolution
from model.layers.initializers import derive_seed, kaiming_uniform
from model.layers.layer import Layer

LEVELS = ("p2", "p3", "p4", "p5", "p6")
ROI_LEVELS = LEVELS[:-1]  # P6 serves the RPN only


class FeaturePyramid(Layer):
    """Lateral 1x1 convolutions, top-down sums, 3x3 convolutions.

    P6 is every second pixel of P5, as in the paper (footnote 1) and both references.

    Args:
        config: channels, norm, upsampling.
        channels: channels of C2-C5, by stage.
        seed: seed of the initial weights.
    """

    def __init__(
        self, config: FpnConfig, channels: Mapping[str, int], seed: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stage_channels = dict(channels)
        self.add_upsampled = add_nearest if config.upsampling == "nearest" else add_bilinear

        def convolution(name: str, kernel_size: int) -> Convolution:
            """Returns a convolution with the config's channels and norm."""
            return Convolution(
                config.channels,
                kernel_size,
                initializer=kaiming_uniform(derive_seed(seed, name)),
                norm=config.norm,
                dtype=self.dtype_policy,
                name=name,
            )

        self.laterals = {stage: convolution(f"lateral_{stage}", 1) for stage in channels}
        self.outputs = {level: convolution(f"output_{level}", 3) for level in ROI_LEVELS}

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights; the channels were given before."""
        for stage, lateral in self.laterals.items():
            lateral.build((None, None, None, self.stage_channels[stage]))
        for output in self.outputs.values():
            output.build((None, None, None, output.filters))

    def call(
        self,
        stages: Mapping[str, tf.Tensor],
        valid: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns {"p2": [N, H / 4, W / 4, C], ..., "p6": [N, H / 64, W / 64, C]}.

        Args:
            stages: C2-C5 of pictures whose sides are multiples of 32.
            valid: bool [N], pictures that enter batch statistics; needed in training.
            training: whether batch norm uses the statistics of the batch.
        """
        merged = None
        pyramid = {}
        for stage, level in reversed(list(zip(self.laterals, ROI_LEVELS, strict=True))):
            lateral = self.laterals[stage](stages[stage], valid=valid, training=training)
            merged = lateral if merged is None else self.add_upsampled(lateral, merged)
            pyramid[level] = self.outputs[level](merged, valid=valid, training=training)
        pyramid["p6"] = pyramid["p5"][:, ::2, ::2]
        return {level: pyramid[level] for level in LEVELS}


def add_nearest(features: tf.Tensor, coarse: tf.Tensor) -> tf.Tensor:
    """Returns `features` [N, 2 H, 2 W, C] plus `coarse` [N, H, W, C], each pixel used for 2x2.

    Broadcasting adds without writing the upsampled map; pictures and rows are one axis, and
    nothing is sliced: TFLite cannot make a slice of six axes.
    """
    width, channels = tf.shape(coarse)[2], features.shape[-1]
    halves = tf.reshape(features, [-1, 2, width, 2, channels])
    merged = halves + tf.reshape(coarse, [-1, 1, width, 1, channels])
    return tf.reshape(merged, tf.shape(features))


def add_bilinear(features: tf.Tensor, coarse: tf.Tensor) -> tf.Tensor:
    """Returns `features` [N, 2 H, 2 W, C] plus `coarse` [N, H, W, C], upsampled bilinearly.

    As `tf.image.resize`, whose kernel XLA lacks, with pixel centres at half: each new pixel is 3/4
    of the one it lies in and 1/4 of the next one on its side, at the border of itself.
    """
    for axis in (1, 2):
        length = tf.shape(coarse)[axis]
        places = tf.range(length)
        before = tf.gather(coarse, tf.maximum(places - 1, 0), axis=axis)
        after = tf.gather(coarse, tf.minimum(places + 1, length - 1), axis=axis)
        halves = tf.stack([coarse + (before - coarse) / 4, coarse + (after - coarse) / 4], axis + 1)
        shape = tf.concat([tf.shape(coarse)[:axis], [2 * length], tf.shape(coarse)[axis + 1 :]], 0)
        coarse = tf.reshape(halves, shape)
    return features + tf.ensure_shape(coarse, features.shape)

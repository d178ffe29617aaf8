"""Mask head: one mask a class for each RoI (1703.06870, section 3 and figure 4 right).

Letters: N pictures, P RoIs a picture (positives in training, detections at inference), S bins of
RoIAlign, C channels, K classes, M ground-truth rows. A mask has 2 S pixels a side.
"""

from typing import Any

import tensorflow as tf

from configs.model_schema import MaskHeadConfig
from model.batch import Masks
from model.layers.convolution import Convolution
from model.layers.initializers import derive_seed, kaiming_normal, normal
from model.layers.layer import Layer
from model.layers.losses import LossTerm, binary_cross_entropy, count, sum_where
from model.layers.rois import SampledRois
from model.ops.masks import mask_targets


class MaskHead(Layer):
    """3x3 convolutions, a 2x2 transposed convolution of stride 2, a 1x1 convolution a class.

    Only the mask of one given class is computed for a RoI: the last layer's weights of that class
    are gathered, which costs 1 / K of all masks. The windows of the transposed convolution do not
    overlap, so it is one matrix product; its four pixels are interleaved only at the very end,
    where there is one channel.

    Args:
        config: number, channels and norm of the convolutions.
        num_classes: K.
        seed: seed of the initial weights.
    """

    def __init__(self, config: MaskHeadConfig, num_classes: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.channels = config.channels
        self.seed = seed
        self.convolutions = [
            Convolution(
                config.channels,
                3,
                initializer=kaiming_normal(derive_seed(seed, f"conv{number}")),
                norm=config.norm,
                dtype=self.dtype_policy,
                name=f"conv{number}",
            )
            for number in range(1, config.convolutions + 1)
        ]

    def build(self, input_shape: Any) -> None:
        """Creates the weights for `input_shape` [N, P, S, S, C]."""
        channels = input_shape[-1]
        for convolution in self.convolutions:
            convolution.build((None, None, None, channels))
            channels = convolution.filters
        self.upsample_kernel = self.add_weight(
            name="upsample_kernel",
            shape=(2, 2, channels, self.channels),  # row, column, in, out
            initializer=kaiming_normal(derive_seed(self.seed, "upsample")),
        )
        self.upsample_bias = self.add_weight(
            name="upsample_bias", shape=(self.channels,), initializer="zeros"
        )
        self.mask_kernel = self.add_weight(
            name="mask_kernel",
            shape=(self.num_classes, self.channels),
            initializer=normal(0.001, derive_seed(self.seed, "mask")),
        )
        self.mask_bias = self.add_weight(
            name="mask_bias", shape=(self.num_classes,), initializer="zeros"
        )

    def call(
        self,
        roi_features: tf.Tensor,
        classes: tf.Tensor,
        valid: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Returns float32 mask logits [N, P, 2 S, 2 S] of the given class of each RoI.

        Args:
            roi_features: [N, P, S, S, C].
            classes: int32 [N, P] 1..K; 0 in unused rows gives the mask of class 1.
            valid: bool [N, P], the RoIs that enter batch statistics; needed in training.
            training: whether batch norm uses the statistics of the batch.
        """
        size, channels = roi_features.shape[3:]
        features = tf.reshape(roi_features, [-1, size, size, channels])
        rows = None if valid is None else tf.reshape(valid, [-1])
        for convolution in self.convolutions:
            features = tf.nn.relu(convolution(features, valid=rows, training=training))
        features = self._upsample(features)  # [N P, S S 2 2, C]
        row = tf.reshape(tf.maximum(classes - 1, 0), [-1])
        kernel = tf.cast(tf.gather(self.mask_kernel.value, row), self.compute_dtype)  # [N P, C]
        logits = tf.cast(tf.matmul(features, kernel[..., tf.newaxis]), tf.float32)[..., 0]
        logits += tf.gather(self.mask_bias.value, row)[:, tf.newaxis]
        logits = tf.reshape(logits, [-1, size, size, 2, 2])
        logits = tf.transpose(logits, [0, 1, 3, 2, 4])
        num_images, num_rois = tf.unstack(tf.shape(classes))
        logits = tf.reshape(logits, [num_images, num_rois, 2 * size, 2 * size])
        return tf.ensure_shape(logits, [*classes.shape, 2 * size, 2 * size])

    def _upsample(self, features: tf.Tensor) -> tf.Tensor:
        """Returns [N P, S S 2 2, C]: for each position the four pixels that it becomes."""
        size, channels = features.shape[2:]
        kernel = tf.cast(self.upsample_kernel.value, self.compute_dtype)
        kernel = tf.reshape(tf.transpose(kernel, [2, 0, 1, 3]), [channels, 4 * self.channels])
        pixels = tf.matmul(tf.reshape(features, [-1, channels]), kernel)
        pixels = tf.reshape(pixels, [-1, size * size * 4, self.channels])
        return tf.nn.relu(pixels + tf.cast(self.upsample_bias.value, self.compute_dtype))


def mask_loss_term(mask_logits: tf.Tensor, rois: SampledRois, gt_masks: Masks) -> LossTerm:
    """Returns the mask term: mean cross-entropy of a mask's pixels, divided by the number of masks.

    Only positive RoIs whose object has a mask are counted (1703.06870, section 3).

    Args:
        mask_logits: [N, P, 2 S, 2 S] of the ground truth's classes; P is `rois.max_positives`.
        rois: what was sampled.
        gt_masks: masks of the ground truth.
    """
    positives = slice(0, rois.max_positives)
    gt_index = rois.gt_index[:, positives]
    has_mask = tf.gather(gt_masks.valid, gt_index, batch_dims=1)
    is_counted = rois.is_positive[:, positives] & has_mask  # [N, P]
    targets = mask_targets(
        gt_masks.bitmaps,
        gt_masks.boxes,
        rois.boxes[:, positives],
        gt_index,
        mask_logits.shape[-1],
    )
    pixel_losses = binary_cross_entropy(mask_logits, tf.stop_gradient(targets))
    mask_losses = tf.reduce_mean(pixel_losses, axis=[2, 3])
    return LossTerm(sum_where(is_counted, mask_losses), count(is_counted))

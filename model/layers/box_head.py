"""Box head: classes and boxes of RoIs (1504.08083).

Letters: N pictures, R RoIs a picture, S bins of RoIAlign, C channels, K classes (0 is background),
P proposals, D detections, B boxes a RoI (K, or 1 if class-agnostic).
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from configs.model_schema import BoxHeadConfig, DetectionConfig, LogScaleLimits
from model.layers.convolution import Convolution
from model.layers.initializers import derive_seed, kaiming_normal, kaiming_uniform, normal
from model.layers.layer import Layer
from model.layers.losses import LossTerm, box_losses, count, cross_entropy, sum_where
from model.layers.rois import SampledRois
from model.ops.boxes import clip_boxes, decode_deltas
from model.ops.nms import Detections, multiclass_nms


class BoxHead(Layer):
    """Convolutions (none by default), fully connected layers, class logits and deltas.

    The first values are Detectron2's (`FastRCNNConvFCHead`, `FastRCNNOutputLayers`).

    Args:
        config: numbers, channels and units of the layers; whether boxes are class-agnostic.
        num_classes: K.
        seed: seed of the initial weights.
    """

    def __init__(self, config: BoxHeadConfig, num_classes: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.boxes_per_roi = 1 if config.class_agnostic else num_classes

        def dense(name: str, units: int, initializer: keras.Initializer) -> keras.layers.Dense:
            return keras.layers.Dense(
                units, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
            )

        self.convolutions = [
            Convolution(
                config.convolution_channels,
                3,
                initializer=kaiming_normal(derive_seed(seed, f"conv{number}")),
                norm=config.norm,
                dtype=self.dtype_policy,
                name=f"conv{number}",
            )
            for number in range(1, config.convolutions + 1)
        ]
        self.hidden = [
            dense(
                f"fc{number}",
                config.hidden_units,
                kaiming_uniform(derive_seed(seed, f"fc{number}")),
            )
            for number in range(1, config.fully_connected + 1)
        ]
        self.class_logits = dense(
            "class_logits", num_classes + 1, normal(0.01, derive_seed(seed, "class_logits"))
        )
        self.deltas = dense(
            "deltas", self.boxes_per_roi * 4, normal(0.001, derive_seed(seed, "deltas"))
        )

    def build(self, input_shape: Any) -> None:
        """Creates the weights for `input_shape` [N, R, S, S, C]."""
        *_, height, width, channels = input_shape
        for convolution in self.convolutions:
            convolution.build((None, height, width, channels))
            channels = convolution.filters
        units = height * width * channels
        for layer in self.hidden:
            layer.build((None, units))
            units = layer.units
        for layer in (self.class_logits, self.deltas):
            layer.build((None, units))

    def call(
        self, roi_features: tf.Tensor, valid: tf.Tensor | None = None, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns float32 class logits [N, R, K + 1] and deltas [N, R, B, 4].

        Args:
            roi_features: [N, R, S, S, C]; flattened in the order row, column, channel.
            valid: bool [N, R], the RoIs that enter batch statistics; needed in training.
            training: whether batch norm uses the statistics of the batch.
        """
        num_rois = roi_features.shape[1]
        features = tf.reshape(roi_features, [-1, *roi_features.shape[2:]])  # [N R, S, S, C]
        rows = None if valid is None else tf.reshape(valid, [-1])
        for convolution in self.convolutions:
            features = tf.nn.relu(convolution(features, valid=rows, training=training))
        hidden = tf.reshape(features, [-1, features.shape[1:].num_elements()])
        for layer in self.hidden:
            hidden = tf.nn.relu(layer(hidden))
        logits = tf.cast(self.class_logits(hidden), tf.float32)
        deltas = tf.cast(self.deltas(hidden), tf.float32)
        return (
            tf.reshape(logits, [-1, num_rois, self.class_logits.units]),
            tf.reshape(deltas, [-1, num_rois, self.boxes_per_roi, 4]),
        )


def box_loss_terms(
    class_logits: tf.Tensor,
    deltas: tf.Tensor,
    rois: SampledRois,
    delta_weights: Sequence[float],
    config: BoxHeadConfig,
) -> dict[str, LossTerm]:
    """Returns the terms `roi_class` and `roi_box`, both divided by the number of sampled RoIs.

    That is the references' choice (1504.08083's lambda 1): a picture with few positives does not
    weigh each of them more.

    Args:
        class_logits: [N, R, K + 1].
        deltas: [N, R, B, 4]; those of the ground truth's class are used.
        rois: what was sampled.
        delta_weights: factors on (dy, dx, dh, dw).
        config: label smoothing, box loss.
    """
    positives = slice(0, rois.max_positives)
    is_positive = rois.is_positive[:, positives]  # [N, P]
    pred_deltas = deltas[:, positives]
    if pred_deltas.shape[2] == 1:
        pred_deltas = pred_deltas[:, :, 0]
    else:
        column = tf.maximum(rois.gt_classes[:, positives] - 1, 0)
        pred_deltas = tf.gather(pred_deltas, column, axis=2, batch_dims=2)
    losses = box_losses(
        pred_deltas,
        rois.boxes[:, positives],
        rois.gt_boxes[:, positives],
        is_positive,
        delta_weights,
        config,
    )
    denominator = count(rois.is_sampled)
    class_losses = cross_entropy(class_logits, rois.gt_classes, config.label_smoothing)
    return {
        "roi_class": LossTerm(sum_where(rois.is_sampled, class_losses), denominator),
        "roi_box": LossTerm(tf.reduce_sum(losses), denominator),
    }


def detect_boxes(
    class_logits: Sequence[tf.Tensor],
    deltas: tf.Tensor,
    rois: tf.Tensor,
    valid: tf.Tensor,
    image_sizes: tf.Tensor,
    delta_weights: Sequence[float],
    log_scale_limits: LogScaleLimits,
    config: DetectionConfig,
) -> Detections:
    """Returns the detections: scores over the threshold, non-maximum suppression a class.

    Args:
        class_logits: [N, P, K + 1] of each stage; scores are the mean of their softmax.
        deltas: [N, P, B, 4] of the last stage.
        rois: [N, P, 4], the boxes that these deltas move.
        valid: bool [N, P]; other rows give nothing.
        image_sizes: float32 [N, 2], height and width to clip to.
        delta_weights: factors on (dy, dx, dh, dw).
        log_scale_limits: on the deltas.
        config: threshold, suppression, number of detections.
    """
    scores = tf.add_n([tf.nn.softmax(logits) for logits in class_logits]) / len(class_logits)
    scores = tf.where(valid[..., tf.newaxis], scores[..., 1:], -1.0)  # [N, P, K]
    num_boxes = deltas.shape[1] * deltas.shape[2]
    boxes = decode_deltas(deltas, rois[:, :, tf.newaxis], delta_weights, log_scale_limits)
    boxes = clip_boxes(tf.reshape(boxes, [-1, num_boxes, 4]), image_sizes)
    return multiclass_nms(
        tf.reshape(boxes, tf.shape(deltas)),
        scores,
        config.score_threshold,
        config.nms_iou,
        config.max_detections,
        config.min_box_size_px,
        config.nms_method,
        config.nms_sigma,
    )

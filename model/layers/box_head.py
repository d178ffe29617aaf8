"""Box head: classes and boxes of RoIs (1504.08083).

Letters: N pictures, R RoIs a picture, S bins of RoIAlign, C channels, K classes (0 is background),
P proposals, M ground-truth rows, D detections, B boxes a RoI (K, or 1 if class-agnostic).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from configs.schema import BoxHeadConfig, DetectionConfig, RoiConfig
from model.layers.convolution import Convolution
from model.layers.initializers import derive_seed, kaiming_normal, kaiming_uniform, normal
from model.layers.layer import Layer
from model.layers.losses import LossTerm, count, cross_entropy, smooth_l1, sum_where
from model.layers.rpn import Proposals
from model.ops.boxes import (
    clip_boxes,
    decode_deltas,
    encode_deltas,
    intersection_over_area,
    iou_matrix,
)
from model.ops.matcher import IGNORE, NEGATIVE, match_boxes
from model.ops.nms import Detections, multiclass_nms
from model.ops.sampler import random_priorities, sample_rois

# Keeps the draws of RoIs apart from those of the RPN's anchors.
SAMPLING_SALT = 2


class SampledRois(NamedTuple):
    """The RoIs of a training step, positives first, constant for the gradient.

    Attributes:
        boxes: [N, R, 4] float32, yxyx, input-frame pixels.
        gt_index: int32 [N, R], row of the best ground truth; only for positives.
        gt_boxes: [N, R, 4], that row's box.
        gt_classes: int32 [N, R], 1..K for positives, else 0.
        is_positive: bool [N, R].
        is_sampled: bool [N, R]; False in the rows that pad to R and in filler pictures.
        max_positives: int, only the first so many rows can be positive.
    """

    boxes: tf.Tensor
    gt_index: tf.Tensor
    gt_boxes: tf.Tensor
    gt_classes: tf.Tensor
    is_positive: tf.Tensor
    is_sampled: tf.Tensor
    max_positives: int


class BoxHead(Layer):
    """Convolutions (none by default), fully connected layers, class logits and deltas.

    The first values are Detectron2's (`FastRCNNConvFCHead`, `FastRCNNOutputLayers`).

    Args:
        config: numbers, channels and units of the layers; whether boxes are class-agnostic.
        num_classes: K.
        seed: of the initial weights.
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

    def call(self, roi_features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns float32 class logits [N, R, K + 1] and deltas [N, R, B, 4].

        Args:
            roi_features: [N, R, S, S, C]; flattened in the order row, column, channel.
        """
        num_rois = roi_features.shape[1]
        features = tf.reshape(roi_features, [-1, *roi_features.shape[2:]])  # [N R, S, S, C]
        for convolution in self.convolutions:
            features = tf.nn.relu(convolution(features))
        hidden = tf.reshape(features, [-1, features.shape[1:].num_elements()])
        for layer in self.hidden:
            hidden = tf.nn.relu(layer(hidden))
        logits = tf.cast(self.class_logits(hidden), tf.float32)
        deltas = tf.cast(self.deltas(hidden), tf.float32)
        return (
            tf.reshape(logits, [-1, num_rois, self.class_logits.units]),
            tf.reshape(deltas, [-1, num_rois, self.boxes_per_roi, 4]),
        )


def sample_training_rois(
    proposals: Proposals,
    batch: Mapping[str, tf.Tensor],
    seed: int,
    step: tf.Tensor,
    config: RoiConfig,
) -> SampledRois:
    """Returns the RoIs to train on: drawn from the proposals and the ground-truth boxes.

    As in the references the ground truth is added to the proposals, so that there are positives
    from the first step on. A proposal that a crowd region covers by more than `crowd_overlap` is
    ignored instead of negative.

    Args:
        proposals: of the RPN.
        batch: ground truth, as in model/input/input_pipeline.py.
        seed: of the sampling.
        step: of the training; other RoIs are drawn in each.
        config: overlaps and numbers.
    """
    is_object = batch["gt_valid"] & ~batch["gt_is_crowd"]
    is_crowd = batch["gt_valid"] & batch["gt_is_crowd"]
    boxes = tf.concat([proposals.boxes, batch["gt_boxes"]], axis=1)  # [N, P + M, 4]
    valid = tf.concat([proposals.valid, is_object], axis=1)
    gt_index, labels = match_boxes(
        iou_matrix(boxes, batch["gt_boxes"]),
        is_object,
        config.positive_iou,
        config.positive_iou,
        allow_low_quality=False,
    )
    cover = intersection_over_area(boxes, batch["gt_boxes"])  # [N, P + M, M]
    cover = tf.reduce_max(tf.where(is_crowd[:, tf.newaxis], cover, 0.0), axis=-1)
    is_ignored = ~valid | ((labels == NEGATIVE) & (cover > config.crowd_overlap))
    labels = tf.where(is_ignored, IGNORE, labels)
    priorities = random_priorities(seed, step, batch["image_ids"], boxes.shape[1], SAMPLING_SALT)
    samples = min(config.samples_per_picture, boxes.shape[1])
    index, is_positive, is_sampled = sample_rois(
        labels, priorities, samples, config.positive_fraction
    )
    is_positive &= batch["valid"][:, tf.newaxis]
    gt_index = tf.gather(gt_index, index, batch_dims=1)  # [N, R]
    gt_classes = tf.gather(batch["gt_classes"], gt_index, batch_dims=1)
    return SampledRois(
        boxes=tf.stop_gradient(tf.gather(boxes, index, batch_dims=1)),
        gt_index=gt_index,
        gt_boxes=tf.gather(batch["gt_boxes"], gt_index, batch_dims=1),
        gt_classes=tf.where(is_positive, gt_classes, 0),
        is_positive=is_positive,
        is_sampled=is_sampled & batch["valid"][:, tf.newaxis],
        max_positives=int(samples * config.positive_fraction),
    )


def box_loss_terms(
    class_logits: tf.Tensor, deltas: tf.Tensor, rois: SampledRois, config: BoxHeadConfig
) -> dict[str, LossTerm]:
    """Returns the terms `roi_class` and `roi_box`, both divided by the number of sampled RoIs.

    That is the references' choice (1504.08083's lambda 1): a picture with few positives does not
    weigh each of them more.

    Args:
        class_logits: [N, R, K + 1].
        deltas: [N, R, B, 4]; those of the ground truth's class are used.
        rois: what was sampled.
        config: weights of the deltas, beta.
    """
    positives = slice(0, rois.max_positives)
    is_positive = rois.is_positive[:, positives]  # [N, P]
    pred_deltas = deltas[:, positives]
    if pred_deltas.shape[2] == 1:
        pred_deltas = pred_deltas[:, :, 0]
    else:
        column = tf.maximum(rois.gt_classes[:, positives] - 1, 0)
        pred_deltas = tf.gather(pred_deltas, column, axis=2, batch_dims=2)
    gt_deltas = encode_deltas(
        rois.gt_boxes[:, positives], rois.boxes[:, positives], config.delta_weights
    )
    differences = tf.where(is_positive[..., tf.newaxis], pred_deltas - gt_deltas, 0.0)
    box_losses = tf.reduce_sum(smooth_l1(differences, config.smooth_l1_beta), axis=-1)
    denominator = count(rois.is_sampled)
    class_losses = cross_entropy(class_logits, rois.gt_classes)
    return {
        "roi_class": LossTerm(sum_where(rois.is_sampled, class_losses), denominator),
        "roi_box": LossTerm(sum_where(is_positive, box_losses), denominator),
    }


def detect_boxes(
    class_logits: tf.Tensor,
    deltas: tf.Tensor,
    proposals: Proposals,
    image_sizes: tf.Tensor,
    config: BoxHeadConfig,
    detection_config: DetectionConfig,
) -> Detections:
    """Returns the detections: scores over the threshold, non-maximum suppression a class.

    Args:
        class_logits: [N, P, K + 1].
        deltas: [N, P, B, 4].
        proposals: the RoIs; rows that are not valid give nothing.
        image_sizes: float32 [N, 2], height and width to clip to.
        config: weights of the deltas.
        detection_config: threshold, overlap, number of detections.
    """
    scores = tf.nn.softmax(class_logits)[..., 1:]  # [N, P, K]
    scores = tf.where(proposals.valid[..., tf.newaxis], scores, -1.0)
    num_boxes = deltas.shape[1] * deltas.shape[2]
    boxes = decode_deltas(deltas, proposals.boxes[:, :, tf.newaxis], config.delta_weights)
    boxes = clip_boxes(tf.reshape(boxes, [-1, num_boxes, 4]), image_sizes)
    return multiclass_nms(
        tf.reshape(boxes, tf.shape(deltas)),
        scores,
        detection_config.score_threshold,
        detection_config.nms_iou,
        detection_config.max_detections,
        detection_config.min_box_size_px,
    )

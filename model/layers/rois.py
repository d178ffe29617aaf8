"""The RoIs of a training step: labelled by the ground truth and drawn (1504.08083, section 2.3).

Letters: N pictures, R RoIs a picture, P proposals, M ground-truth rows.
"""

from typing import NamedTuple

import tensorflow as tf

from configs.model_schema import RoiConfig
from model.batch import Batch
from model.layers.rpn import Proposals
from model.ops.boxes import intersection_over_area, iou_matrix
from model.ops.matcher import IGNORE, NEGATIVE, Matches, match_boxes
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


def sample_training_rois(
    proposals: Proposals,
    batch: Batch,
    seed: int,
    step: tf.Tensor,
    config: RoiConfig,
) -> SampledRois:
    """Returns the RoIs to train on: drawn from the proposals and the ground-truth boxes.

    As in the references the ground truth is added to the proposals, so that there are positives
    from the first step on. A proposal that a crowd region covers by more than `crowd_overlap` is
    ignored instead of negative.

    Args:
        proposals: proposals of the RPN, [N, P, 4].
        batch: its ground truth.
        seed: seed of the sampling.
        step: number of the training's step; other RoIs are drawn in each.
        config: overlaps and numbers.
    """
    boxes = tf.concat([proposals.boxes, batch.gt_boxes], axis=1)  # [N, P + M, 4]
    valid = tf.concat([proposals.valid, batch.is_object], axis=1)
    gt_index, labels = label_boxes(boxes, valid, batch, config.positive_iou, config.crowd_overlap)
    priorities = random_priorities(seed, step, batch.image_ids, boxes.shape[1], SAMPLING_SALT)
    samples = min(config.samples_per_picture, boxes.shape[1])
    index, is_positive, is_sampled = sample_rois(
        labels, priorities, samples, config.positive_fraction
    )
    is_positive &= batch.valid[:, tf.newaxis]
    gt_index = tf.gather(gt_index, index, batch_dims=1)  # [N, R]
    gt_classes = tf.gather(batch.gt_classes, gt_index, batch_dims=1)
    return SampledRois(
        boxes=tf.stop_gradient(tf.gather(boxes, index, batch_dims=1)),
        gt_index=gt_index,
        gt_boxes=tf.gather(batch.gt_boxes, gt_index, batch_dims=1),
        gt_classes=tf.where(is_positive, gt_classes, 0),
        is_positive=is_positive,
        is_sampled=is_sampled & batch.valid[:, tf.newaxis],
        max_positives=int(samples * config.positive_fraction),
    )


def label_boxes(
    boxes: tf.Tensor,
    valid: tf.Tensor,
    batch: Batch,
    positive_iou: float,
    crowd_overlap: float,
) -> Matches:
    """Returns the ground truth of each box: POSITIVE at or above the overlap, else NEGATIVE.

    IGNORE are boxes that are not valid, and those that would be NEGATIVE but lie in a crowd.

    Args:
        boxes: [N, R, 4].
        valid: bool [N, R].
        batch: its ground truth.
        positive_iou: smallest overlap of a positive with its object.
        crowd_overlap: share of a box beyond which a crowd covers it.
    """
    gt_index, labels = match_boxes(
        iou_matrix(boxes, batch.gt_boxes),
        batch.is_object,
        positive_iou,
        positive_iou,
        allow_low_quality=False,
    )
    cover = intersection_over_area(boxes, batch.gt_boxes)  # [N, R, M]
    cover = tf.reduce_max(tf.where(batch.is_crowd[:, tf.newaxis], cover, 0.0), axis=-1)
    is_ignored = ~valid | ((labels == NEGATIVE) & (cover > crowd_overlap))
    return Matches(gt_index, tf.where(is_ignored, IGNORE, labels))

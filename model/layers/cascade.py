"""Cascade R-CNN (1712.00726): box heads in a row, each on the boxes that the one before has made.

A box head works best on boxes of about the overlap it was trained for, so each stage counts as
positive only what overlaps more than before. A plain detector is a cascade of one stage. As in
Detectron2's cascade_rcnn.py: boxes are the same for all classes, RoIs are drawn for the first stage
and only labelled anew for the others, no gradient passes from stage to stage, and the gradient to
the pyramid is divided by the number of stages. At inference scores are the mean of all stages'.

Letters: N pictures, R RoIs a picture, B boxes a RoI.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from configs.model_schema import LogScaleLimits, ModelConfig
from model.batch import Batch
from model.layers.rois import SampledRois, label_boxes
from model.ops.boxes import box_areas, clip_boxes, decode_deltas
from model.ops.matcher import IGNORE, POSITIVE


class Stage(NamedTuple):
    """One box head's place in the row.

    Attributes:
        head: name of its weights, "box_head", "box_head_2", ...
        loss_suffix: suffix of its loss terms: "" in a row of one, else "_1", "_2", ...
        positive_iou: a RoI at or above is positive.
        delta_weights: factors on (dy, dx, dh, dw).
    """

    head: str
    loss_suffix: str
    positive_iou: float
    delta_weights: tuple[float, float, float, float]


def stages_of(config: ModelConfig) -> list[Stage]:
    """Returns the stages of a detector, the first of them its `box_head`."""
    overlaps, weights = [config.roi.positive_iou], [config.box_head.delta_weights]
    if config.cascade is None:
        return [Stage("box_head", "", overlaps[0], weights[0])]
    overlaps += config.cascade.positive_ious
    weights += config.cascade.delta_weights
    heads = ["box_head", *(f"box_head_{number}" for number in range(2, len(overlaps) + 1))]
    suffixes = [f"_{number}" for number in range(1, len(overlaps) + 1)]
    return [Stage(*stage) for stage in zip(heads, suffixes, overlaps, weights, strict=True)]


def refine_boxes(
    deltas: tf.Tensor,
    boxes: tf.Tensor,
    image_sizes: tf.Tensor,
    delta_weights: Sequence[float],
    log_scale_limits: LogScaleLimits,
) -> tf.Tensor:
    """Returns the RoIs of the next stage [N, R, 4], clipped, constant for the gradient.

    Args:
        deltas: [N, R, 1, 4] of this stage.
        boxes: [N, R, 4], its RoIs.
        image_sizes: float32 [N, 2], height and width to clip to.
        delta_weights: weights of this stage.
        log_scale_limits: on the deltas.
    """
    refined = decode_deltas(deltas[:, :, 0], boxes, delta_weights, log_scale_limits)
    return tf.stop_gradient(clip_boxes(refined, image_sizes))


def relabel_rois(
    rois: SampledRois,
    boxes: tf.Tensor,
    batch: Batch,
    positive_iou: float,
    crowd_overlap: float,
) -> SampledRois:
    """Returns `rois` with other boxes [N, R, 4], labelled for them; nothing is drawn.

    Any row can be positive then. Boxes without area and those that lie in a crowd drop out.
    """
    valid = rois.is_sampled & (box_areas(boxes) > 0.0)
    gt_index, labels = label_boxes(boxes, valid, batch, positive_iou, crowd_overlap)
    is_positive = labels == POSITIVE
    gt_classes = tf.gather(batch.gt_classes, gt_index, batch_dims=1)
    return SampledRois(
        boxes=boxes,
        gt_index=gt_index,
        gt_boxes=tf.gather(batch.gt_boxes, gt_index, batch_dims=1),
        gt_classes=tf.where(is_positive, gt_classes, 0),
        is_positive=is_positive,
        is_sampled=labels != IGNORE,
        max_positives=boxes.shape[1],
    )


def scale_gradient(features: tf.Tensor, factor: float) -> tf.Tensor:
    """Returns `features` (any shape and dtype), whose gradient is multiplied by `factor`.

    The stages' losses are added up; the paper's code took their mean and trained the heads faster.
    """
    if factor == 1.0:
        return features

    @tf.custom_gradient
    def scaled(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return tf.identity(features), lambda upstream: upstream * tf.cast(factor, upstream.dtype)

    return scaled(features)

"""Region proposal network (1506.01497; on a pyramid 1612.03144, section 4.1).

Letters: N pictures, H, W, C of a level's map, a anchors a cell, A anchors of all levels,
k candidates a level, L levels, P proposals, M ground-truth rows.

Naming, after Detectron2's rpn.py:

    pred_objectness_logits   before the sigmoid; pred_scores after
    pred_anchor_deltas       what would turn an anchor into a box
    gt_labels                POSITIVE, NEGATIVE or IGNORE of each anchor
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from configs.model_schema import AnchorConfig, LogScaleLimits, RoiConfig, RpnConfig
from model.batch import Batch
from model.layers.convolution import Convolution
from model.layers.fpn import LEVELS
from model.layers.initializers import derive_seed, normal
from model.layers.layer import Layer
from model.layers.losses import LossTerm, binary_cross_entropy, box_losses, count, sum_where
from model.ops.anchors import base_anchors, level_anchors
from model.ops.boxes import clip_boxes, decode_deltas, is_large_enough
from model.ops.matcher import IGNORE, Matches, match_anchors
from model.ops.nms import nms_keep
from model.ops.sampler import random_priorities, sample_anchors

DELTA_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
# Keeps the draws of the RPN apart from those of the RoI sampler.
SAMPLING_SALT = 1


class Proposals(NamedTuple):
    """Boxes that may hold an object, best first, constant for the gradient.

    Attributes:
        boxes: [N, P, 4] float32, yxyx, input-frame pixels, within the picture.
        logits: [N, P] float32 objectness before the sigmoid; -inf where not valid.
        valid: [N, P] bool; False in the rows that pad to P.
    """

    boxes: tf.Tensor
    logits: tf.Tensor
    valid: tf.Tensor


class RpnHead(Layer):
    """3x3 convolutions, then two 1x1 for objectness and deltas; shared by all levels.

    Args:
        channels: channels of the pyramid.
        hidden_channels: channels of each 3x3 convolution.
        num_anchors: a, anchors a cell.
        seed: seed of the initial weights (normal, deviation 0.01).
        num_convolutions: 3x3 convolutions in a row, at least one.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        num_anchors: int,
        seed: int,
        num_convolutions: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels

        def convolution(name: str, filters: int, kernel_size: int) -> Convolution:
            """Returns a convolution with a bias, seeded by its name."""
            initializer = normal(0.01, derive_seed(seed, name))
            return Convolution(
                filters,
                kernel_size,
                initializer=initializer,
                dtype=self.dtype_policy,
                name=name,
            )

        later = [f"conv{number}" for number in range(2, num_convolutions + 1)]
        self.convolutions = [convolution(name, hidden_channels, 3) for name in ("conv", *later)]
        self.objectness = convolution("objectness", num_anchors, 1)
        self.deltas = convolution("deltas", num_anchors * 4, 1)

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights; the channels were given before."""
        channels = self.channels
        for convolution in self.convolutions:
            convolution.build((None, None, None, channels))
            channels = convolution.filters
        for convolution in (self.objectness, self.deltas):
            convolution.build((None, None, None, channels))

    def call(self, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns float32 logits [N, H W a] and deltas [N, H W a, 4] of one level's map."""
        for convolution in self.convolutions:
            features = tf.nn.relu(convolution(features))
        logits, deltas = self.objectness(features), self.deltas(features)
        shape = tf.shape(logits)
        num_anchors = _static_or_dynamic_product(logits)
        return (
            tf.cast(tf.reshape(logits, [shape[0], num_anchors]), tf.float32),
            tf.cast(tf.reshape(deltas, [shape[0], num_anchors, 4]), tf.float32),
        )


def pyramid_anchors(config: AnchorConfig, pyramid: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns by level the anchors [H W a, 4]: order row, column, aspect ratio.

    Args:
        config: sizes, ratios and the conventions of offset and rounding.
        pyramid: the maps P2-P6, which give H and W.
    """
    anchors = {}
    for level, size_px in zip(LEVELS, config.sizes_px, strict=True):
        static, dynamic = pyramid[level].shape, tf.shape(pyramid[level])
        height, width = (static[i] if static[i] is not None else dynamic[i] for i in (1, 2))
        base = base_anchors(size_px, config.aspect_ratios, config.rounded)
        anchors[level] = level_anchors(height, width, 2 ** int(level[1]), base, config.offset)
    return anchors


def propose(
    anchors: Mapping[str, tf.Tensor],
    logits: Mapping[str, tf.Tensor],
    deltas: Mapping[str, tf.Tensor],
    image_sizes: tf.Tensor,
    config: RpnConfig,
    training: bool,
) -> Proposals:
    """Returns the best boxes of each picture after non-maximum suppression a level.

    The order is the references': best k logits a level, decode, clip, drop small ones, suppress
    within a level, best P of all levels. No gradient passes.

    Args:
        anchors: by level [H W a, 4].
        logits: by level [N, H W a].
        deltas: by level [N, H W a, 4].
        image_sizes: float32 [N, 2], height and width to clip to.
        config: numbers to keep, overlap, smallest side.
        training: chooses between the numbers for training and for inference.
    """
    pre_nms_top_k = config.pre_nms_top_k if training else config.test_pre_nms_top_k
    post_nms_top_k = config.post_nms_top_k if training else config.test_post_nms_top_k
    width = _most_candidates(logits, pre_nms_top_k)
    levels = [
        _best_of_level(
            anchors[level],
            tf.stop_gradient(logits[level]),
            tf.stop_gradient(deltas[level]),
            pre_nms_top_k,
            width,
            config.log_scale_limits,
        )
        for level in LEVELS
    ]
    boxes = tf.stack([boxes for boxes, _ in levels], axis=1)  # [N, L, k, 4]
    scores = tf.stack([scores for _, scores in levels], axis=1)  # [N, L, k], -inf: no candidate
    num_levels = len(levels)
    boxes = clip_boxes(tf.reshape(boxes, [-1, num_levels * width, 4]), image_sizes)
    valid = is_large_enough(boxes, config.min_box_size_px)
    valid &= tf.math.is_finite(tf.reshape(scores, [-1, num_levels * width]))
    keep = nms_keep(
        tf.reshape(boxes, [-1, width, 4]), tf.reshape(valid, [-1, width]), config.nms_iou
    )
    keep = tf.reshape(keep, [-1, num_levels * width])
    scores = tf.where(keep, tf.reshape(scores, [-1, num_levels * width]), -float("inf"))
    best, order = tf.math.top_k(scores, min(post_nms_top_k, num_levels * width))
    return Proposals(tf.gather(boxes, order, batch_dims=1), best, tf.math.is_finite(best))


def rpn_loss_terms(
    anchors: tf.Tensor,
    pred_objectness_logits: tf.Tensor,
    pred_anchor_deltas: tf.Tensor,
    batch: Batch,
    seed: int,
    step: tf.Tensor,
    config: RpnConfig,
    roi_config: RoiConfig,
) -> dict[str, LossTerm]:
    """Returns the terms `rpn_objectness` and `rpn_box`.

    Both are divided by the number of sampled anchors, positive and negative: torchvision's way.
    (Detectron2 divides by samples_per_picture x pictures, which is the same number as long as every
    picture has enough anchors.) A picture without objects gives negatives only.

    Args:
        anchors: [A, 4] of all levels.
        pred_objectness_logits: [N, A].
        pred_anchor_deltas: [N, A, 4].
        batch: its ground truth.
        seed: seed of the sampling.
        step: number of the training's step; other anchors are drawn in each.
        config: overlaps, samples, box loss.
        roi_config: crowd_overlap.
    """
    matches = _match(anchors, batch, config, roi_config.crowd_overlap)
    priorities = random_priorities(
        seed, step, batch.image_ids, matches.label.shape[1], SAMPLING_SALT
    )
    positive, negative = sample_anchors(
        matches.label, priorities, config.samples_per_picture, config.positive_fraction
    )
    positive &= batch.valid[:, tf.newaxis]
    sampled = positive | (negative & batch.valid[:, tf.newaxis])
    gt_boxes = tf.gather(batch.gt_boxes, matches.gt_index, batch_dims=1)  # [N, A, 4]
    losses = box_losses(pred_anchor_deltas, anchors, gt_boxes, positive, DELTA_WEIGHTS, config)
    objectness = binary_cross_entropy(pred_objectness_logits, tf.cast(positive, tf.float32))
    denominator = count(sampled)
    return {
        "rpn_objectness": LossTerm(sum_where(sampled, objectness), denominator),
        "rpn_box": LossTerm(tf.reduce_sum(losses), denominator),
    }


def _match(anchors: tf.Tensor, batch: Batch, config: RpnConfig, crowd_overlap: float) -> Matches:
    """Returns the ground truth of each anchor [A, 4] in each picture."""
    if config.ignore_crossing_anchors:
        clipped = clip_boxes(anchors[tf.newaxis], batch.image_sizes)  # [N, A, 4]
        is_within = tf.reduce_all(clipped == anchors, axis=-1)
        anchors = tf.where(is_within[..., tf.newaxis], anchors, 0.0)  # a point overlaps nothing
    matches = match_anchors(
        anchors,
        batch.gt_boxes,
        batch.gt_valid,
        batch.gt_is_crowd,
        positive_iou=config.positive_iou,
        negative_iou=config.negative_iou,
        allow_low_quality=True,
        crowd_overlap=crowd_overlap,
    )
    if config.ignore_crossing_anchors:
        matches = matches._replace(label=tf.where(is_within, matches.label, IGNORE))
    return matches


def _best_of_level(
    anchors: tf.Tensor,
    logits: tf.Tensor,
    deltas: tf.Tensor,
    top_k: int,
    width: int,
    log_scale_limits: LogScaleLimits,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns boxes [N, width, 4] and logits [N, width] of the best `top_k`, padded with -inf."""
    available = logits.shape[1] if logits.shape[1] is not None else tf.shape(logits)[1]
    k = min(top_k, available) if isinstance(available, int) else tf.minimum(top_k, available)
    best, index = tf.math.top_k(logits, k)  # [N, k]
    deltas = tf.gather(deltas, index, batch_dims=1)
    boxes = decode_deltas(deltas, tf.gather(anchors, index), DELTA_WEIGHTS, log_scale_limits)
    rest = [[0, 0], [0, width - k]]
    boxes = tf.pad(boxes, [*rest, [0, 0]])
    best = tf.pad(best, rest, constant_values=-float("inf"))
    return tf.ensure_shape(boxes, [None, width, 4]), tf.ensure_shape(best, [None, width])


def _most_candidates(logits: Mapping[str, tf.Tensor], top_k: int) -> int:
    """Returns how many candidates the largest level [N, H W a] can give, at most `top_k`.

    Where sizes are dynamic it is `top_k`.
    """
    sizes = [logits[level].shape[1] for level in LEVELS]
    return top_k if None in sizes else min(top_k, max(sizes))


def _static_or_dynamic_product(logits: tf.Tensor) -> int | tf.Tensor:
    """Returns H W a of logits [N, H, W, a], as an int where the shape is static."""
    static = logits.shape[1:].num_elements()
    return static if static is not None else tf.reduce_prod(tf.shape(logits)[1:])

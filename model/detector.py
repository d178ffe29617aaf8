"""Faster R-CNN and Mask R-CNN on a feature pyramid: composition only.

Letters: N pictures, R RoIs, D detections, K classes. Everything has static shapes if the pictures
have, so that XLA can compile it; `detect` also takes pictures of any size that is a multiple of 32.
"""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from configs.model_schema import ModelConfig
from ground.errors import ModelError
from model.batch import Batch, Found
from model.layers.backbones import build_backbone
from model.layers.box_head import BoxHead, box_loss_terms, detect_boxes
from model.layers.cascade import Stage, refine_boxes, relabel_rois, scale_gradient, stages_of
from model.layers.fpn import LEVELS, ROI_LEVELS, FeaturePyramid
from model.layers.initializers import derive_seed
from model.layers.losses import LossTerm
from model.layers.mask_head import MaskHead, mask_loss_term
from model.layers.rois import SampledRois, sample_training_rois
from model.layers.rpn import Proposals, RpnHead, propose, pyramid_anchors, rpn_loss_terms
from model.ops.nms import Detections
from model.ops.roi_align import roi_align
from model.weights.files import load_start_weights


def build_detector(
    config: ModelConfig,
    num_classes: int,
    seed: int = 0,
    precision: str = "float32",
    jit: bool = False,
) -> "RcnnDetector":
    """Returns a detector with its weights.

    Args:
        config: the `model` section. Its `weights` file, if any, gives the first weights.
        num_classes: K, without the background.
        seed: seed of the weights that no file gives; the same seed gives the same weights.
        precision: Keras dtype policy: float32, mixed_bfloat16 or mixed_float16. The weights are
            float32 under each.
        jit: whether `loss_terms` will be called under jit_compile; chooses RoIAlign's body, whose
            faster form has no XLA kernel. `detect` is not, unless it is called with `compiled`.

    Raises:
        ConfigError: no backbone has the config's name.
        ModelError: the weights file does not fit.
    """
    detector = RcnnDetector(config, num_classes, seed, precision, jit)
    if config.weights is not None:
        load_start_weights(detector, config.weights)
    return detector


class RcnnDetector:
    """Backbone, feature pyramid, RPN, box head and, if configured, mask head.

    Attributes:
        config: the `model` section.
        num_classes: K.

    Args:
        config: the `model` section.
        num_classes: K, at least 1.
        seed: seed of the initial weights.
        precision: Keras dtype policy.
        jit: whether its losses will be called under jit_compile.
    """

    def __init__(
        self, config: ModelConfig, num_classes: int, seed: int, precision: str, jit: bool
    ) -> None:
        if num_classes < 1:
            raise ModelError(f"a detector needs at least one class, got {num_classes}")
        if jit and config.roi.sampling_ratio == 0:
            raise ModelError(
                "model.roi.sampling_ratio: 0 has dynamic shapes, which XLA cannot compile: "
                "set a number of samples such as 2, or train.jit: off"
            )
        self.config = config
        self.num_classes = num_classes
        self._jit = jit
        channels = config.fpn.channels
        policy = {"dtype": precision}
        self.backbone = build_backbone(config.backbone, derive_seed(seed, "backbone"), precision)
        self.fpn = FeaturePyramid(
            config.fpn, self.backbone.channels, derive_seed(seed, "fpn"), name="fpn", **policy
        )
        self.fpn.build()
        num_anchors = len(config.anchors.aspect_ratios)
        rpn_channels = config.rpn.channels or channels
        rpn_seed = derive_seed(seed, "rpn")
        self.rpn = RpnHead(
            channels,
            rpn_channels,
            num_anchors,
            rpn_seed,
            config.rpn.convolutions,
            name="rpn",
            **policy,
        )
        self.rpn.build()
        self.stages = stages_of(config)
        self.box_heads = []
        bins = config.roi.box_resolution
        for stage in self.stages:
            head_seed = derive_seed(seed, stage.head)
            box_head = BoxHead(config.box_head, num_classes, head_seed, name=stage.head, **policy)
            box_head.build((None, None, bins, bins, channels))
            self.box_heads.append(box_head)
        self.mask_head = None
        if config.mask_head is not None:
            self.mask_head = MaskHead(
                config.mask_head,
                num_classes,
                derive_seed(seed, "mask_head"),
                name="mask_head",
                **policy,
            )
            bins = config.mask_head.resolution
            self.mask_head.build((None, None, bins, bins, channels))

    @property
    def has_masks(self) -> bool:
        """Whether there is a mask head."""
        return self.mask_head is not None

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """What training changes by gradients."""
        return [v for part in self._parts() for v in part.trainable_variables]

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """Frozen weights and moving statistics."""
        return [v for part in self._parts() for v in part.non_trainable_variables]

    @property
    def variables(self) -> list[keras.Variable]:
        """All weights, in an order that depends on the config only."""
        return [v for part in self._parts() for v in part.variables]

    def loss_terms(
        self, batch: Batch, seed: int, step: tf.Tensor, training: bool = True
    ) -> dict[str, LossTerm]:
        """Returns rpn_objectness, rpn_box, roi_class, roi_box and, with a mask head, mask.

        In a cascade each stage has its roi_class_1, roi_box_1, ...

        A term depends on each picture by itself (but for batch statistics), so the terms of parts
        of a batch add up to those of the whole. Filler pictures count for nothing.

        Args:
            batch: pictures and ground truth of static shapes.
            seed: seed of the sampling of anchors and RoIs.
            step: int64 scalar; other samples are drawn in each step.
            training: whether batch norm uses and updates statistics.
        """
        config = self.config
        image_sizes = batch.image_sizes
        pyramid = self.features(batch.images, image_sizes, batch.valid, training)
        logits, deltas, anchors = self.rpn_outputs(pyramid)
        terms = rpn_loss_terms(
            tf.concat([anchors[level] for level in LEVELS], axis=0),
            tf.concat([logits[level] for level in LEVELS], axis=1),
            tf.concat([deltas[level] for level in LEVELS], axis=1),
            batch,
            seed,
            step,
            config.rpn,
            config.roi,
        )
        proposals = propose(anchors, logits, deltas, image_sizes, config.rpn, training=True)
        rois = sample_training_rois(proposals, batch, seed, step, config.roi)
        terms |= self._box_loss_terms(pyramid, rois, batch, training)
        if self.mask_head is not None:
            if batch.gt_masks is None:
                raise ModelError("the detector has a mask head, and the batch has no masks")
            positives = slice(0, rois.max_positives)
            mask_logits = self.mask_logits(
                pyramid,
                rois.boxes[:, positives],
                rois.gt_classes[:, positives],
                rois.is_positive[:, positives],
                training,
            )
            terms["mask"] = mask_loss_term(mask_logits, rois, batch.gt_masks)
        return terms

    def detect(self, images: tf.Tensor, image_sizes: tf.Tensor, compiled: bool = False) -> Found:
        """Returns what is found in each picture, best first.

        Args:
            images: [N, H, W, 3] RGB 0-255, uint8 or float; H and W are multiples of 32.
            image_sizes: float32 [N, 2], height and width of the content.
            compiled: trace it for XLA, as the losses are. What XLA needs, static shapes and
                RoIAlign's other body, takes 0.8 GB a picture without XLA.
        """
        trains_compiled = self._jit
        self._jit = trains_compiled and compiled
        try:
            return self._detect(images, image_sizes)
        finally:
            self._jit = trains_compiled

    def _detect(self, images: tf.Tensor, image_sizes: tf.Tensor) -> Found:
        config = self.config
        image_sizes = tf.cast(image_sizes, tf.float32)
        pyramid = self.features(images, image_sizes)
        logits, deltas, anchors = self.rpn_outputs(pyramid)
        proposals = propose(anchors, logits, deltas, image_sizes, config.rpn, training=False)
        found = self._detect_boxes(pyramid, proposals, image_sizes)
        used = found.valid
        outputs = Found(
            boxes=tf.where(used[..., tf.newaxis], found.boxes, 0.0),
            scores=tf.where(used, found.scores, 0.0),
            classes=tf.where(used, found.classes, 0),
            num=tf.reduce_sum(tf.cast(used, tf.int32), axis=1),
        )
        if self.mask_head is None:
            return outputs
        return outputs._replace(masks=self._masks(pyramid, outputs))

    def features(
        self,
        images: tf.Tensor,
        image_sizes: tf.Tensor,
        valid: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns P2-P6; the arguments are the backbone's."""
        stages = self.backbone(images, image_sizes=image_sizes, valid=valid, training=training)
        return self.fpn(stages, valid=valid, training=training)

    def rpn_outputs(
        self, pyramid: Mapping[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Returns logits, deltas and anchors by level."""
        logits, deltas = {}, {}
        for level in LEVELS:
            logits[level], deltas[level] = self.rpn(pyramid[level])
        return logits, deltas, pyramid_anchors(self.config.anchors, pyramid)

    def box_predictions(
        self,
        pyramid: Mapping[str, tf.Tensor],
        rois: tf.Tensor,
        stage: int = 0,
        valid: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns class logits [N, R, K + 1] and deltas [N, R, K or 1, 4] of RoIs [N, R, 4].

        In training the RoIs that are `valid`, bool [N, R], enter batch statistics.
        """
        features = self._roi_features(pyramid, rois, self.config.roi.box_resolution)
        features = scale_gradient(features, 1.0 / len(self.stages))
        return self.box_heads[stage](features, valid=valid, training=training)

    def mask_logits(
        self,
        pyramid: Mapping[str, tf.Tensor],
        rois: tf.Tensor,
        classes: tf.Tensor,
        valid: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Returns mask logits [N, R, 2 S, 2 S] of RoIs [N, R, 4], each for its class [N, R].

        In training the RoIs that are `valid`, bool [N, R], enter batch statistics.
        """
        if self.mask_head is None or self.config.mask_head is None:
            raise ModelError("the detector has no mask head (config key model.mask_head)")
        resolution = self.config.mask_head.resolution
        features = self._roi_features(pyramid, rois, resolution)
        return self.mask_head(features, classes=classes, valid=valid, training=training)

    def export_weights(self) -> dict[str, np.ndarray]:
        """Returns all weights by their paths."""
        return {variable.path: variable.numpy() for variable in self.variables}

    def import_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Sets all weights to what `export_weights` of such a detector returned.

        Raises:
            ModelError: a name is missing or unknown, or a shape differs; nothing is changed then.
        """
        variables = {variable.path: variable for variable in self.variables}
        missing, unknown = sorted(variables.keys() - weights), sorted(weights - variables.keys())
        if missing or unknown:
            raise ModelError(
                f"weights do not fit the model: {len(missing)} missing (first: {missing[:1]}), "
                f"{len(unknown)} unknown (first: {unknown[:1]}); is the config another one?"
            )
        for path, variable in variables.items():
            if tuple(variable.shape) != np.shape(weights[path]):
                raise ModelError(
                    f"weight {path} has shape {list(np.shape(weights[path]))}, "
                    f"the model needs {list(variable.shape)}; is the config another one?"
                )
        for path, variable in variables.items():
            variable.assign(weights[path])

    def _box_loss_terms(
        self, pyramid: Mapping[str, tf.Tensor], rois: SampledRois, batch: Batch, training: bool
    ) -> dict[str, LossTerm]:
        """Returns the terms of all stages, scalars; `rois` [N, R, ...] are those of the first."""
        terms: dict[str, LossTerm] = {}
        for number, stage in enumerate(self.stages):
            logits, deltas = self.box_predictions(
                pyramid, rois.boxes, number, rois.is_sampled, training
            )
            of_stage = box_loss_terms(
                logits, deltas, rois, stage.delta_weights, self.config.box_head
            )
            terms |= {f"{name}{stage.loss_suffix}": term for name, term in of_stage.items()}
            if number + 1 < len(self.stages):
                boxes = self._refined(deltas, rois.boxes, batch.image_sizes, stage)
                positive_iou = self.stages[number + 1].positive_iou
                rois = relabel_rois(rois, boxes, batch, positive_iou, self.config.roi.crowd_overlap)
        return terms

    def _detect_boxes(
        self, pyramid: Mapping[str, tf.Tensor], proposals: Proposals, image_sizes: tf.Tensor
    ) -> Detections:
        """Returns the detections [N, D, ...]: boxes of the last stage, scores of all.

        The pyramid is of N pictures, whose sizes are [N, 2]; the proposals are [N, P, ...].
        """
        boxes, logits = proposals.boxes, []
        for number, stage in enumerate(self.stages):
            of_stage, deltas = self.box_predictions(pyramid, boxes, number)
            logits.append(of_stage)
            if number + 1 < len(self.stages):
                boxes = self._refined(deltas, boxes, image_sizes, stage)
        return detect_boxes(
            logits,
            deltas,
            boxes,
            proposals.valid,
            image_sizes,
            self.stages[-1].delta_weights,
            self.config.box_head.log_scale_limits,
            self.config.detections,
        )

    def _refined(
        self, deltas: tf.Tensor, boxes: tf.Tensor, image_sizes: tf.Tensor, stage: Stage
    ) -> tf.Tensor:
        """Returns the boxes [N, R, 4] that a stage hands to the next."""
        limits = self.config.box_head.log_scale_limits
        return refine_boxes(deltas, boxes, image_sizes, stage.delta_weights, limits)

    def _masks(self, pyramid: Mapping[str, tf.Tensor], found: Found) -> tf.Tensor:
        """Returns mask probabilities [N, D, 2 S, 2 S]; zero in rows that are not in use.

        Without XLA, which needs static shapes, only as many rows are computed as the fullest
        picture has: on two cores 100 masks cost several times the rest of a small detector.
        """
        boxes, classes = found.boxes, found.classes
        slots = classes.shape[1]
        rows = slots if self._jit else tf.maximum(tf.reduce_max(found.num), 1)
        masks = tf.sigmoid(self.mask_logits(pyramid, boxes[:, :rows], classes[:, :rows]))
        used = tf.sequence_mask(found.num, rows)[..., tf.newaxis, tf.newaxis]
        masks = tf.pad(tf.where(used, masks, 0.0), [[0, 0], [0, slots - rows], [0, 0], [0, 0]])
        return tf.ensure_shape(masks, [None, slots, *masks.shape[2:]])

    def _parts(self) -> list[keras.layers.Layer]:
        parts = [self.backbone, self.fpn, self.rpn, *self.box_heads, self.mask_head]
        return [part for part in parts if part is not None]

    def _roi_features(
        self, pyramid: Mapping[str, tf.Tensor], rois: tf.Tensor, resolution: int
    ) -> tf.Tensor:
        """Returns [N, R, S, S, C] of RoIs [N, R, 4]; S is `resolution`."""
        roi = self.config.roi
        return roi_align(
            {level: pyramid[level] for level in ROI_LEVELS},
            rois,
            resolution,
            sampling_ratio=roi.sampling_ratio,
            aligned=roi.aligned,
            body="gather" if self._jit else "auto",
            level_shifts=(roi.level_shift, roi.level_size_shift),
        )

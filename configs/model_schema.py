"""The detector's settings: the section `model`."""

import difflib
import math
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from configs.backbones import KERAS_BACKBONES, OWN_BACKBONES
from configs.section import Fraction, PathText, Section, Text

Channels = Annotated[int, Field(ge=1, le=65_536)]
Layers = Annotated[int, Field(ge=0, le=100)]
PositiveLayers = Annotated[int, Field(ge=1, le=100)]
Boxes = Annotated[int, Field(ge=1, le=10**6)]
Weight = Annotated[float, Field(gt=0, le=1e6)]
# Norms that a layer with random first values may have.
Norm = Literal["none", "batch_norm", "sync_batch_norm", "group_norm"]
LogScaleLimits = tuple[float | None, float]
LOG_SCALE_LIMITS: LogScaleLimits = (None, math.log(1000 / 16))
_ON_LOG_SCALE_LIMITS = (
    "Lowest (null: none) and highest dh and dw, natural logarithms, weights taken off: log(1000 / "
    "16), tensorpack log(1344 / 16), AWSDet both ways."
)
NmsMethod = Literal["greedy", "linear", "gaussian"]
BoxLoss = Literal["smooth_l1", "giou"]
BOX_LOSS = "Of deltas (smooth_l1) or of the boxes they make (giou, 1902.09630)."
BOX_LOSS_WEIGHT = "Factor on the box loss; for giou Detectron2 takes 2 (RPN) and 10 (box head)."


PUBLISHED_WEIGHTS = "imagenet"  # what keras.applications fetches
_SEE_BACKBONES = "docs/backbones.md lists them"
# The fields of the backbone section that a family reads; its other ones must stay as they are.
_READ_BY_KERAS_BACKBONES = {"name", "frozen_stages"}
_READ_BY_EFFICIENTNET_LITE = {"name", "frozen_stages", "checkpointed_stages", "norm"}


class BackboneConfig(Section):
    """The network that gives C2-C5."""

    name: Text = Field("resnet50", description="One of docs/backbones.md.")
    width: int = Field(
        64,
        ge=8,
        le=4096,
        description="Channels of the first stage (own ResNets); 64 is the paper's.",
    )
    norm: Literal["frozen_batch_norm", "batch_norm", "sync_batch_norm", "group_norm"] = Field(
        "frozen_batch_norm", description="Normalisation in the backbone (own ResNets)."
    )
    norm_epsilon: float = Field(1e-5, ge=0, description="Added to the variance.")
    channel_order: Literal["rgb", "bgr"] = Field(
        "rgb",
        description="Order in which the first convolution sees the channels (own ResNets).",
    )
    pixel_mean: tuple[float, float, float] = Field(
        (123.675, 116.28, 103.53),
        description="Subtracted from (red, green, blue), 0-255 (own ResNets).",
    )
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (58.395, 57.12, 57.375),
        description="Then divides (red, green, blue); ones where a model was made without.",
    )
    stride_in_1x1: bool = Field(
        False,
        description="Stride in the 1x1 (MSRA) instead of the 3x3 convolution (torchvision).",
    )
    stem: Literal["7x7", "deep", "deep_wide"] = Field(
        "7x7",
        description="First convolutions (own ResNets): one of 7x7; three of 3x3 with width / 2, "
        "width / 2 and width channels (deep: v1c, v1d) or twice as many (deep_wide: AWSDet's).",
    )
    shortcut: Literal["strided", "average_pool"] = Field(
        "strided",
        description="Projections that halve a map (own ResNets): a strided 1x1 convolution, or "
        "2x2 average pooling before it (v1d).",
    )
    symmetric_padding: bool = Field(
        True,
        description="Pad strided windows evenly (torchvision); else TensorFlow's SAME.",
    )
    frozen_stages: int = Field(
        2, ge=0, le=5, description="Stages without training: 1 the stem, 2 also C2, ..."
    )
    checkpointed_stages: tuple[Literal["stem", "c2", "c3", "c4", "c5"], ...] = Field(
        (),
        description="Stages whose inner maps are computed again in the backward pass instead of "
        "kept (not keras.applications): less memory, more time (docs/training.md).",
    )

    @field_validator("name")
    @classmethod
    def _name_is_known(cls, name: str) -> str:
        known = OWN_BACKBONES | KERAS_BACKBONES
        if name not in known:
            near = difflib.get_close_matches(name[:80], sorted(known), 3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else _SEE_BACKBONES
            raise ValueError(f"no backbone {name[:80]!r}: {hint}")
        return name

    @model_validator(mode="after")
    def _family_reads_what_is_set(self) -> "BackboneConfig":
        read = fields_read_by(self.name)
        for name, field in type(self).model_fields.items():
            if name not in read and getattr(self, name) != field.default:
                raise ValueError(
                    f"model.backbone.{name}: {self.name} has no such setting, only "
                    f"{', '.join(sorted(read))}; leave it out (docs/backbones.md)"
                )
        return self


def fields_read_by(backbone: str) -> set[str]:
    """Returns the fields of the backbone section that the backbone of this name reads."""
    if backbone in KERAS_BACKBONES:
        return _READ_BY_KERAS_BACKBONES
    if backbone == "efficientnet_lite0":
        return _READ_BY_EFFICIENTNET_LITE
    return set(BackboneConfig.model_fields)


class FpnConfig(Section):
    """Feature pyramid (1612.03144)."""

    channels: int = Field(256, ge=8, le=65_536, description="Channels of P2-P6.")
    upsampling: Literal["nearest", "bilinear"] = Field(
        "nearest", description="Of the coarser level; bilinear is AWSDet's."
    )
    norm: Norm = Field("none", description="After each convolution.")


class AnchorConfig(Section):
    """Anchors of P2-P6."""

    sizes_px: tuple[Weight, Weight, Weight, Weight, Weight] = Field(
        (32, 64, 128, 256, 512),
        description="Square root of the anchor area on P2 ... P6.",
    )
    aspect_ratios: tuple[Weight, ...] = Field(
        (0.5, 1.0, 2.0), min_length=1, max_length=100, description="Height / width."
    )
    offset: Fraction = Field(
        0.0,
        description="Anchor centre in a cell, in strides: 0 (torchvision, Detectron2) to 0.5.",
    )
    rounded: bool = Field(False, description="Round the base anchors' corners (torchvision).")


class RpnConfig(Section):
    """Region proposal network (1506.01497)."""

    convolutions: PositiveLayers = Field(
        1,
        description="3x3 convolutions in a row; Detectron2's new baselines and torchvision's "
        "versions 2 have two.",
    )
    channels: Channels | None = Field(
        None, description="Of each 3x3 convolution; null is those of the pyramid."
    )
    positive_iou: Fraction = Field(0.7, description="An anchor at or above is positive.")
    negative_iou: Fraction = Field(0.3, description="An anchor below is negative.")
    ignore_crossing_anchors: bool = Field(
        False, description="Train on anchors within the picture only (1506.01497, section 3.1.3)."
    )
    samples_per_picture: Boxes = Field(256, description="Anchors in the loss.")
    positive_fraction: Fraction = Field(0.5, description="Upper share of positives.")
    pre_nms_top_k: Boxes = Field(2000, description="Proposals a level before NMS, training.")
    post_nms_top_k: Boxes = Field(1000, description="Proposals a picture, training.")
    test_pre_nms_top_k: Boxes = Field(1000, description="Likewise at inference.")
    test_post_nms_top_k: Boxes = Field(1000, description="Likewise at inference.")
    nms_iou: Fraction = Field(0.7, description="Suppress above this overlap.")
    min_box_size_px: float = Field(0.0, ge=0, le=1e6, description="Drop smaller proposals.")
    log_scale_limits: LogScaleLimits = Field(LOG_SCALE_LIMITS, description=_ON_LOG_SCALE_LIMITS)
    box_loss: BoxLoss = Field("smooth_l1", description=BOX_LOSS)
    box_loss_weight: Weight = Field(1.0, description=BOX_LOSS_WEIGHT)
    smooth_l1_beta: float = Field(0.0, ge=0, le=1e6, description="0 is L1; torchvision uses 1/9.")

    @model_validator(mode="after")
    def _overlaps_are_in_order(self) -> "RpnConfig":
        if self.negative_iou > self.positive_iou:
            raise ValueError(
                f"model.rpn.negative_iou {self.negative_iou:g} exceeds positive_iou "
                f"{self.positive_iou:g}"
            )
        return self


class RoiConfig(Section):
    """Sampling of RoIs and RoIAlign (1703.06870)."""

    positive_iou: Fraction = Field(0.5, description="A RoI at or above is positive.")
    samples_per_picture: Boxes = Field(512, description="RoIs in the loss.")
    positive_fraction: Fraction = Field(0.25, description="Upper share of positives.")
    crowd_overlap: Fraction = Field(
        0.5,
        description="Anchors and RoIs covered more than this by a crowd are ignored.",
    )
    sampling_ratio: int = Field(
        2,
        ge=0,
        le=64,
        description="RoIAlign samples a bin and axis; 0 is one a cell (Detectron2), which has no "
        "static shape: it runs without XLA.",
    )
    level_shift: float = Field(
        1e-6,
        ge=0,
        description="Added to a RoI's level before it is rounded down (torchvision: 1e-6).",
    )
    level_size_shift: float = Field(
        0.0,
        ge=0,
        description="Added to its size / 224 inside the logarithm (tensorpack, AWSDet: 1e-6).",
    )
    aligned: bool = Field(True, description="RoIAlign's half-pixel shift (Detectron2).")
    box_resolution: int = Field(7, ge=1, le=256, description="Bins of the box head's RoIAlign.")


class BoxHeadConfig(Section):
    """Box head: two fully connected layers (1612.03144), or convolutions before them.

    The head "4conv1fc" of 1803.08494 is `convolutions: 4, fully_connected: 1`.
    """

    convolutions: Layers = Field(0, description="3x3 convolutions before the hidden layers.")
    convolution_channels: Channels = Field(256, description="Of each convolution.")
    norm: Norm = Field("none", description="After each convolution.")
    fully_connected: PositiveLayers = Field(2, description="Fully connected hidden layers.")
    hidden_units: Channels = Field(1024, description="Units of each hidden layer.")
    delta_weights: tuple[Weight, Weight, Weight, Weight] = Field(
        (10.0, 10.0, 5.0, 5.0), description="Factors on (dy, dx, dh, dw)."
    )
    log_scale_limits: LogScaleLimits = Field(LOG_SCALE_LIMITS, description=_ON_LOG_SCALE_LIMITS)
    label_smoothing: Fraction = Field(
        0.0, lt=1, description="Share of a class target spread over all classes (1512.00567)."
    )
    box_loss: BoxLoss = Field("smooth_l1", description=BOX_LOSS)
    box_loss_weight: Weight = Field(1.0, description=BOX_LOSS_WEIGHT)
    smooth_l1_beta: float = Field(0.0, ge=0, le=1e6, description="0 is L1; torchvision uses 1/9.")
    class_agnostic: bool = Field(False, description="One box for all classes.")

    @model_validator(mode="after")
    def _norm_has_a_convolution(self) -> "BoxHeadConfig":
        if self.norm != "none" and not self.convolutions:
            raise ValueError(
                f"model.box_head.norm: {self.norm} stands after convolutions, and "
                "model.box_head.convolutions is 0: set 4, or leave norm out"
            )
        return self


class CascadeConfig(Section):
    """Cascade R-CNN (1712.00726); it is there if and only if this section is.

    The first stage is the box head itself, with `roi.positive_iou` and `box_head.delta_weights`;
    here stand the stages after it, each a box head on the boxes that the one before has made.
    """

    positive_ious: tuple[Fraction, ...] = Field(
        (0.6, 0.7),
        min_length=1,
        max_length=10,
        description="A RoI at or above is positive, by stage.",
    )
    delta_weights: tuple[tuple[Weight, Weight, Weight, Weight], ...] = Field(
        ((20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
        description="Factors on (dy, dx, dh, dw), by stage.",
    )

    @model_validator(mode="after")
    def _stages_agree(self) -> "CascadeConfig":
        if len(self.positive_ious) != len(self.delta_weights):
            raise ValueError(
                f"model.cascade.positive_ious has {len(self.positive_ious)} stages, "
                f"model.cascade.delta_weights {len(self.delta_weights)}"
            )
        return self


class MaskHeadConfig(Section):
    """Mask head (1703.06870); it is there if and only if this section is."""

    resolution: int = Field(
        14, ge=2, le=256, description="Bins of its RoIAlign; masks are twice that."
    )
    convolutions: PositiveLayers = Field(4, description="3x3 convolutions.")
    channels: Channels = Field(256, description="Of each convolution.")
    norm: Norm = Field("none", description="After each 3x3 convolution.")


class DetectionConfig(Section):
    """From class scores and boxes to detections."""

    score_threshold: Fraction = Field(0.05, description="Detections must score above this.")
    nms_method: NmsMethod = Field(
        "greedy",
        description="What becomes of a box that overlaps a better one of its class by o: greedy, "
        "it falls above nms_iou; linear, its score is multiplied by 1 - o above nms_iou; gaussian, "
        "by exp(-o^2 / nms_sigma) at any o (soft-NMS, 1704.04503).",
    )
    nms_iou: Fraction = Field(0.5, description="Suppress within a class above this overlap.")
    nms_sigma: Weight = Field(0.5, description="Of gaussian; the larger, the softer.")
    max_detections: Boxes = Field(100, description="A picture.")
    min_box_size_px: float = Field(0.0, ge=0, le=1e6, description="Drop smaller detections.")


class ModelConfig(Section):
    """The detector."""

    preset: Literal["torchvision", "detectron2", "tensorpack", "awsdet"] | None = Field(
        None,
        description="Whose conventions hold where a config gives no setting of its own "
        "(docs/presets.md).",
    )
    weights: PathText | None = Field(
        None,
        description="File to start from (docs/weights.md), of ours, torchvision, Detectron2, "
        "tensorpack, Keras, ...; a name such as coco/torchvision-mask-rcnn-r50-fpn: that file of "
        "the cache folder, fetched where it is missing; imagenet: what keras.applications "
        "fetches; null: random.",
    )
    backbone: BackboneConfig = BackboneConfig()
    fpn: FpnConfig = FpnConfig()
    anchors: AnchorConfig = AnchorConfig()
    rpn: RpnConfig = RpnConfig()
    roi: RoiConfig = RoiConfig()
    box_head: BoxHeadConfig = BoxHeadConfig()
    cascade: CascadeConfig | None = None
    mask_head: MaskHeadConfig | None = None
    detections: DetectionConfig = DetectionConfig()

    @model_validator(mode="after")
    def _sections_agree(self) -> "ModelConfig":
        if self.cascade is not None and not self.box_head.class_agnostic:
            raise ValueError(
                "model.cascade refines one box for all classes: "
                "set model.box_head.class_agnostic: true"
            )
        if self.weights == PUBLISHED_WEIGHTS and self.backbone.name in OWN_BACKBONES:
            raise ValueError(
                f"model.weights: {PUBLISHED_WEIGHTS} is for networks of keras.applications, "
                f"{self.backbone.name} is none: give a file (docs/weights.md)"
            )
        return self

"""Every setting of a run: one frozen pydantic model, with units in the descriptions.

Lengths are pixels of the model-input frame unless a field says otherwise; times are steps or
epochs. Each component gets only the sections it depends on (`component_settings`), so that a
changed threshold does not retrain a model.
"""

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    field_validator,
    model_validator,
)

from configs.errors import ConfigError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Policy = Literal["accept", "mend", "drop", "refuse"]
LogScaleLimits = tuple[float | None, float]
LOG_SCALE_LIMITS = (
    "Lowest (null: none) and highest dh and dw, natural logarithms, weights taken off: log(1000 / "
    "16), tensorpack log(1344 / 16), AWSDet both ways."
)
_HIGHEST_LOG_SCALE = math.log(1000 / 16)
SHARED_MEMORY_PATH = "/dev/shm"
NmsMethod = Literal["greedy", "linear", "gaussian"]
BoxLoss = Literal["smooth_l1", "giou"]
BOX_LOSS = "Of deltas (smooth_l1) or of the boxes they make (giou, 1902.09630)."
BOX_LOSS_WEIGHT = "Factor on the box loss; for giou Detectron2 takes 2 (RPN) and 10 (box head)."


# COCO's twelve numbers, in the order in which pycocotools gives them.
METRIC_NAMES = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip


class Section(BaseModel):
    """A part of the config: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Section):
    """Where the COCO-format data lies (below --data-dir) and how it is read."""

    train_annotations: str = Field(
        "annotations/instances_train2017.json",
        description="COCO JSON of the training pictures.",
    )
    train_pictures: str = Field("train2017", description="Folder of the training pictures.")
    eval_annotations: str = Field(
        "annotations/instances_val2017.json",
        description="COCO JSON of the evaluation pictures.",
    )
    eval_pictures: str = Field("val2017", description="Folder of the evaluation pictures.")
    train_shards: int = Field(8, ge=1, description="TFRecord files of the training split.")
    eval_shards: int = Field(2, ge=1, description="TFRecord files of the evaluation split.")
    seed: int = Field(0, ge=0, description="Seeds the spread of pictures over shards.")
    max_rejected_fraction: Fraction = Field(
        0.01,
        description="Share of a split's pictures that may be refused before the run fails.",
    )
    max_picture_pixels: int = Field(
        100_000_000, ge=1, description="Largest width x height that is decoded."
    )
    policies: dict[str, Policy] = Field(
        {},
        description="What to do with a flawed record, by reason code (docs/data.md).",
    )


class TransformConfig(Section):
    """How CocoTransform prepares training records."""

    mask_frame: Literal["box", "picture"] = Field(
        "box",
        description="A bitmap covers its object's box (compact) or the whole picture.",
    )
    mask_size: int = Field(112, ge=8, description="Largest side of a box bitmap, in bitmap pixels.")
    jpeg_quality: int = Field(95, ge=1, le=100, description="Of pictures that are re-encoded.")
    max_buckets: int = Field(3, ge=1, le=8, description="Padded input shapes of the plan.")


class LargeScaleJitterConfig(Section):
    """Large-scale jitter (2012.07177): a wide range of sizes, then crop or pad to a square."""

    side_px: int = Field(1024, ge=32, description="Of the square that every picture enters.")
    range: tuple[float, float] = Field(
        (0.1, 2.0),
        description="The picture is resized to fit into a square this many times as large; the "
        "factor is uniform.",
    )

    @field_validator("range")
    @classmethod
    def _range_is_positive(cls, values: tuple[float, float]) -> tuple[float, float]:
        if not 0 < values[0] <= values[1]:
            raise ValueError(f"expected [low, high] with 0 < low <= high, got {list(values)}")
        return values


class InputConfig(Section):
    """Size and augmentation of the pictures that enter the model."""

    short_side_px: int = Field(800, ge=32, description="Shorter side after resizing.")
    long_side_px: int = Field(1333, ge=32, description="Upper limit of the longer side.")
    size_multiple_px: int = Field(32, ge=32, description="Padded sides are multiples of this.")
    max_objects: int = Field(
        100,
        ge=1,
        description="Ground-truth rows a picture; what exceeds it is counted.",
    )
    flip_probability: Fraction = Field(0.5, description="Chance of a horizontal flip.")
    scale_jitter: tuple[float, float] = Field(
        (1.0, 1.0),
        description="Range of the random factor on the resized size (training).",
    )
    short_side_choices_px: tuple[Annotated[int, Field(ge=32)], ...] = Field(
        (),
        description="Training draws the shorter side from these (Detectron2: 640, 672 ... 800); "
        "empty is short_side_px.",
    )
    large_scale_jitter: LargeScaleJitterConfig | None = None

    @property
    def largest_sides_px(self) -> tuple[float, float]:
        """Limits of the shorter and the longer side of what training resizes to."""
        if self.large_scale_jitter is not None:
            side = self.large_scale_jitter.side_px * self.large_scale_jitter.range[1]
            return side, side
        factor = self.scale_jitter[1]
        short = max(self.short_side_choices_px, default=self.short_side_px)
        return short * factor, self.long_side_px * factor

    @model_validator(mode="after")
    def _one_kind_of_jitter(self) -> "InputConfig":
        given = {
            "scale_jitter": self.scale_jitter != (1.0, 1.0),
            "short_side_choices_px": bool(self.short_side_choices_px),
            "large_scale_jitter": self.large_scale_jitter is not None,
        }
        if sum(given.values()) > 1:
            both = " and ".join(f"input.{name}" for name, is_given in given.items() if is_given)
            raise ValueError(f"{both} exclude each other: each says how sizes are drawn")
        jitter, multiple = self.large_scale_jitter, self.size_multiple_px
        if jitter is not None and jitter.side_px % multiple:
            raise ValueError(
                f"input.large_scale_jitter.side_px {jitter.side_px} must be a multiple of "
                f"input.size_multiple_px {multiple}"
            )
        return self

    @model_validator(mode="after")
    def _sides_fit(self) -> "InputConfig":
        if max(self.short_side_choices_px, default=0) > self.long_side_px:
            raise ValueError(
                f"input.short_side_choices_px {max(self.short_side_choices_px)} exceeds "
                f"input.long_side_px {self.long_side_px}"
            )
        if self.short_side_px > self.long_side_px:
            raise ValueError(
                f"input.short_side_px {self.short_side_px} exceeds "
                f"input.long_side_px {self.long_side_px}"
            )
        if not 0 < self.scale_jitter[0] <= self.scale_jitter[1]:
            raise ValueError("input.scale_jitter must be [low, high] with 0 < low <= high")
        return self


class BackboneConfig(Section):
    """The network that gives C2-C5."""

    name: str = Field("resnet50", description="A name known to model/layers/backbones.py.")
    width: int = Field(
        64,
        ge=8,
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


class FpnConfig(Section):
    """Feature pyramid (1612.03144)."""

    channels: int = Field(256, ge=8, description="Channels of P2-P6.")
    upsampling: Literal["nearest", "bilinear"] = Field(
        "nearest", description="Of the coarser level; bilinear is AWSDet's."
    )
    norm: Literal["none", "batch_norm", "sync_batch_norm", "group_norm"] = Field(
        "none", description="After each convolution."
    )


class AnchorConfig(Section):
    """Anchors of P2-P6."""

    sizes_px: tuple[float, float, float, float, float] = Field(
        (32, 64, 128, 256, 512),
        description="Square root of the anchor area on P2 ... P6.",
    )
    aspect_ratios: tuple[float, ...] = Field((0.5, 1.0, 2.0), description="Height / width.")
    offset: Fraction = Field(
        0.0,
        description="Anchor centre in a cell, in strides: 0 (torchvision, Detectron2) to 0.5.",
    )
    rounded: bool = Field(False, description="Round the base anchors' corners (torchvision).")


class RpnConfig(Section):
    """Region proposal network (1506.01497)."""

    channels: int | None = Field(
        None, ge=1, description="Of its 3x3 convolution; null is those of the pyramid."
    )
    positive_iou: Fraction = Field(0.7, description="An anchor at or above is positive.")
    negative_iou: Fraction = Field(0.3, description="An anchor below is negative.")
    ignore_crossing_anchors: bool = Field(
        False, description="Train on anchors within the picture only (1506.01497, section 3.1.3)."
    )
    samples_per_picture: int = Field(256, ge=1, description="Anchors in the loss.")
    positive_fraction: Fraction = Field(0.5, description="Upper share of positives.")
    pre_nms_top_k: int = Field(2000, ge=1, description="Proposals a level before NMS, training.")
    post_nms_top_k: int = Field(1000, ge=1, description="Proposals a picture, training.")
    test_pre_nms_top_k: int = Field(1000, ge=1, description="Likewise at inference.")
    test_post_nms_top_k: int = Field(1000, ge=1, description="Likewise at inference.")
    nms_iou: Fraction = Field(0.7, description="Suppress above this overlap.")
    min_box_size_px: float = Field(0.0, ge=0, description="Drop smaller proposals.")
    log_scale_limits: LogScaleLimits = Field(
        (None, _HIGHEST_LOG_SCALE), description=LOG_SCALE_LIMITS
    )
    box_loss: BoxLoss = Field("smooth_l1", description=BOX_LOSS)
    box_loss_weight: float = Field(1.0, gt=0, description=BOX_LOSS_WEIGHT)
    smooth_l1_beta: float = Field(0.0, ge=0, description="0 is L1; torchvision uses 1/9.")


class RoiConfig(Section):
    """Sampling of RoIs and RoIAlign (1703.06870)."""

    positive_iou: Fraction = Field(0.5, description="A RoI at or above is positive.")
    samples_per_picture: int = Field(512, ge=1, description="RoIs in the loss.")
    positive_fraction: Fraction = Field(0.25, description="Upper share of positives.")
    crowd_overlap: Fraction = Field(
        0.5,
        description="Anchors and RoIs covered more than this by a crowd are ignored.",
    )
    sampling_ratio: int = Field(
        2,
        ge=0,
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
    box_resolution: int = Field(7, ge=1, description="Bins of the box head's RoIAlign.")


class BoxHeadConfig(Section):
    """Box head: two fully connected layers (1612.03144), or convolutions before them.

    The head "4conv1fc" of 1803.08494 is `convolutions: 4, fully_connected: 1`.
    """

    convolutions: int = Field(0, ge=0, description="3x3 convolutions before the hidden layers.")
    convolution_channels: int = Field(256, ge=1, description="Of each convolution.")
    norm: Literal["none", "batch_norm", "sync_batch_norm", "group_norm"] = Field(
        "none", description="After each convolution."
    )
    fully_connected: int = Field(2, ge=1, description="Fully connected hidden layers.")
    hidden_units: int = Field(1024, ge=1, description="Units of each hidden layer.")
    delta_weights: tuple[float, float, float, float] = Field(
        (10.0, 10.0, 5.0, 5.0), description="Factors on (dy, dx, dh, dw)."
    )
    log_scale_limits: LogScaleLimits = Field(
        (None, _HIGHEST_LOG_SCALE), description=LOG_SCALE_LIMITS
    )
    label_smoothing: Fraction = Field(
        0.0, lt=1, description="Share of a class target spread over all classes (1512.00567)."
    )
    box_loss: BoxLoss = Field("smooth_l1", description=BOX_LOSS)
    box_loss_weight: float = Field(1.0, gt=0, description=BOX_LOSS_WEIGHT)
    smooth_l1_beta: float = Field(0.0, ge=0, description="0 is L1; torchvision uses 1/9.")
    class_agnostic: bool = Field(False, description="One box for all classes.")


class CascadeConfig(Section):
    """Cascade R-CNN (1712.00726); it is there if and only if this section is.

    The first stage is the box head itself, with `roi.positive_iou` and `box_head.delta_weights`;
    here stand the stages after it, each a box head on the boxes that the one before has made.
    """

    positive_ious: tuple[Fraction, ...] = Field(
        (0.6, 0.7), min_length=1, description="A RoI at or above is positive, by stage."
    )
    delta_weights: tuple[tuple[float, float, float, float], ...] = Field(
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

    resolution: int = Field(14, ge=2, description="Bins of its RoIAlign; masks are twice that.")
    convolutions: int = Field(4, ge=1, description="3x3 convolutions.")
    channels: int = Field(256, ge=1, description="Of each convolution.")


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
    nms_sigma: float = Field(0.5, gt=0, description="Of gaussian; the larger, the softer.")
    max_detections: int = Field(100, ge=1, description="A picture.")
    min_box_size_px: float = Field(0.0, ge=0, description="Drop smaller detections.")


class ModelConfig(Section):
    """The detector."""

    preset: Literal["torchvision", "detectron2", "tensorpack", "awsdet"] | None = Field(
        None,
        description="Whose conventions hold where a config gives no setting of its own "
        "(docs/presets.md).",
    )
    weights: str | None = Field(
        None,
        description="File to start from (docs/weights.md), of ours, torchvision, Detectron2, "
        "tensorpack, Keras, ...; imagenet: what keras.applications fetches; null: random.",
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
        return self


class OptimizerConfig(Section):
    """The optimiser and its learning-rate schedule."""

    name: Literal["sgd", "adamw", "lars"] = Field(
        "sgd",
        description="`lars` (1708.03888) takes 0.001 of a weight's norm over its gradient's as the "
        "weight's share of the rate: give it a far larger one than sgd.",
    )
    learning_rate: float = Field(0.02, gt=0, description="For a global batch of 16 pictures.")
    scale_with_batch: bool = Field(
        True, description="Multiply the rate by global batch / 16 (1706.02677)."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD momentum; AdamW's beta 1.")
    nesterov: bool = Field(False, description="Nesterov momentum (sgd).")
    weight_decay: float = Field(1e-4, ge=0)
    decay_norms_and_biases: bool = Field(True, description="Also decay norms and biases.")
    clip_norm: float = Field(0.0, ge=0, description="Global gradient norm limit; 0 is none.")
    warmup_steps: int = Field(500, ge=0, description="Linear warm-up of the rate.")
    warmup_factor: Fraction = Field(0.001, description="Share of the rate at step 0.")
    schedule: Literal["step", "cosine", "polynomial", "constant"] = "step"
    drop_epochs: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (8.0, 11.0), description="Epochs at which the rate is divided by ten (step)."
    )

    @model_validator(mode="after")
    def _nesterov_looks_ahead_along_a_momentum(self) -> "OptimizerConfig":
        if self.nesterov and (self.name != "sgd" or not self.momentum):
            raise ValueError(
                f"nesterov is of sgd with momentum, got {self.name} with momentum {self.momentum:g}"
            )
        return self


class TrainConfig(Section):
    """The training run."""

    batch: str = Field(
        "1x2",
        description="NxM: workers (one a GPU) x pictures per worker in a step. `autoxM`: as many "
        "workers as all hosts have GPUs, one a host without any. `train.workers: N` (or `auto`) "
        "sets N alone and wins.",
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="Batches of NxM whose gradients are added up to one step; steps, epochs and "
        "the rate count as with one batch of so many pictures.",
    )
    epochs: float = Field(12.0, gt=0)
    max_steps: int | None = Field(None, ge=1, description="Stop earlier, after these steps.")
    seed: int = Field(0, ge=0)
    optimizer: OptimizerConfig = OptimizerConfig()
    freeze: tuple[str, ...] = Field(
        (),
        description="Weights that stay as they are: patterns of their paths, such as "
        "'backbone/*' or '*/bias' (in addition to model.backbone.frozen_stages).",
    )
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of an exponential moving average of the weights, which is then "
        "exported in place of them; 0 is none.",
    )
    validate_every_epochs: float = Field(
        0.0, ge=0, description="Measure COCO's AP so often, and at the end; 0 is never."
    )
    validation_split: str = Field("eval", description="Split of the examples that is measured.")
    best_metric: Literal["box/AP", "mask/AP"] = Field(
        "box/AP", description="By which a validation is the best; its checkpoint is kept."
    )
    patience_validations: int = Field(
        0,
        ge=0,
        description="End the training after so many validations without a better one; 0 is never.",
    )
    export: Literal["best", "last"] = Field(
        "best",
        description="The weights of the best validation, or the last; without validation the last.",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    jit: Literal["auto", "on", "off"] = "auto"
    checkpoint_every_steps: int = Field(500, ge=1)
    keep_checkpoints: int = Field(3, ge=1, description="The last K are kept.")
    log_every_steps: int = Field(20, ge=1, description="TensorBoard and progress lines.")
    picture_every_steps: int = Field(
        0,
        ge=0,
        description="Ground truth beside detections of a few pictures in TensorBoard; 0 is never.",
    )
    profile_steps: tuple[int, int] | None = Field(
        None,
        description="[a, b]: TensorFlow's profiler watches the chief's steps a to b - 1.",
    )
    input_threads: int = Field(0, ge=0, description="Per worker; 0 is tf.data's own choice.")
    heartbeat_seconds: float = Field(
        600.0,
        gt=0,
        description="A worker that ends no step for this long is taken for lost; must exceed "
        "the longest compilation of a step.",
    )
    max_restarts: int = Field(
        0,
        ge=0,
        description="After a lost or stalled worker go on from the last checkpoint, so many times.",
    )
    max_non_finite_steps: int = Field(
        0,
        ge=0,
        description="Steps of a run that may be skipped since a loss or a gradient is not finite "
        "(float16 overflows apart); the next one ends it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _workers_are_part_of_the_batch(cls, settings: Any) -> Any:
        """Puts `workers` where it is kept: before the x of `batch`."""
        if not isinstance(settings, dict) or "workers" not in settings:
            return settings
        workers = settings["workers"]
        if not re.fullmatch(r"[1-9]\d*|auto", str(workers)):
            raise ValueError(f"train.workers: expected a number or auto, got {workers!r}")
        batch = str(settings.get("batch", cls.model_fields["batch"].default))
        rest = {name: value for name, value in settings.items() if name != "workers"}
        return rest | {"batch": f"{workers}x{batch.partition('x')[2]}"}

    @model_validator(mode="after")
    def _patience_needs_validations(self) -> "TrainConfig":
        if self.patience_validations and not self.validate_every_epochs:
            raise ValueError(
                "train.patience_validations counts validations: set train.validate_every_epochs"
            )
        return self

    @field_validator("jit", mode="before")
    @classmethod
    def _yaml_reads_on_as_true(cls, jit: Any) -> Any:
        return {True: "on", False: "off"}[jit] if isinstance(jit, bool) else jit

    @field_validator("batch", mode="before")
    @classmethod
    def _batch_is_n_by_m(cls, batch: Any) -> Any:
        # YAML reads 0x4 as a number.
        if not re.fullmatch(r"([1-9]\d*|auto)x[1-9]\d*", str(batch)):
            raise ValueError(f"expected NxM such as 8x4 or autox4, got {batch!r}")
        return batch

    @field_validator("profile_steps")
    @classmethod
    def _window_has_steps(cls, window: tuple[int, int] | None) -> tuple[int, int] | None:
        if window is not None and not 0 <= window[0] < window[1]:
            raise ValueError(f"expected [a, b] with 0 <= a < b, got {list(window)}")
        return window

    @property
    def workers(self) -> int:
        """Number of worker processes, one per GPU.

        Raises:
            ConfigError: it is `auto`, which only the launcher can turn into a number.
        """
        workers = self.batch.split("x")[0]
        if workers == "auto":
            raise ConfigError(f"train.batch: {self.batch} has no number of workers before training")
        return int(workers)

    def with_workers(self, workers: int) -> "TrainConfig":
        """Returns the same settings with so many workers."""
        return self.model_copy(update={"batch": f"{workers}x{self.pictures_per_worker}"})

    @property
    def pictures_per_worker(self) -> int:
        """Pictures of one worker at once."""
        return int(self.batch.split("x")[1])

    @property
    def pictures_per_step(self) -> int:
        """Pictures of one worker in one step."""
        return self.pictures_per_worker * self.accumulate

    @property
    def global_batch(self) -> int:
        """Pictures of all workers in one step."""
        return self.workers * self.pictures_per_step


class Threshold(Section):
    """One condition of the gate on one metric."""

    metric: str = Field(description='"box/AP", "box/AP50", "mask/APs", ...')
    min: float | None = Field(None, description="The candidate must reach it.")
    max_drop: float | None = Field(
        None, ge=0, description="The candidate may be this much below the pushed model."
    )

    @model_validator(mode="after")
    def _something_is_asked(self) -> "Threshold":
        if self.min is None and self.max_drop is None:
            raise ValueError(f"threshold on {self.metric}: give min, max_drop or both")
        return self

    @field_validator("metric")
    @classmethod
    def _metric_is_known(cls, metric: str) -> str:
        kind, _, name = metric.partition("/")
        if kind not in ("box", "mask") or name not in METRIC_NAMES:
            raise ValueError(
                f"unknown metric {metric!r}: box/ or mask/ and one of {', '.join(METRIC_NAMES)}"
            )
        return metric


class EvaluateConfig(Section):
    """Evaluation and the gate. No thresholds: never blessed."""

    thresholds: tuple[Threshold, ...] = ()
    batch_size: int = Field(4, ge=1, description="Pictures per inference call.")
    worst_pictures: int = Field(12, ge=0, description="Shown in the report.")


class PushConfig(Section):
    """Where blessed models go."""

    folder: str | None = Field(
        None, description="Base of serving/<name>/<version>; null is <root>/serving."
    )


class KubeflowVolume(Section):
    """A PersistentVolumeClaim in every container, to read and to write."""

    claim: str = Field(description="Its name, in the namespace of the runs.")
    path: str = Field(description="Absolute folder in the containers, such as /data.")

    @field_validator("claim")
    @classmethod
    def _claim_names_a_volume(cls, claim: str) -> str:
        # A claim's name may have dots, but KFP names the pod's volume after it, which may not.
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", claim):
            raise ValueError(
                "expected a Kubernetes name of lower-case letters, digits and -, at most 63, "
                f"got {claim!r}"
            )
        return claim

    @field_validator("path")
    @classmethod
    def _path_is_a_folder(cls, path: str) -> str:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not path.startswith("/") or not parts or ".." in parts or ":" in path:
            raise ValueError(f"expected an absolute folder such as /data, got {path!r}")
        return "/" + "/".join(parts)


class KubeflowToleration(Section):
    """A taint of nodes that the trainer may run on all the same, in Kubernetes' terms."""

    key: str | None = Field(None, description="Of the taint; null, with Exists: every taint.")
    operator: Literal["Equal", "Exists"] = Field(
        "Equal", description="Equal: the taint has this value; Exists: any."
    )
    value: str | None = Field(None, description="Of the taint, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Of the taint; null: any."
    )

    @model_validator(mode="after")
    def _kubernetes_takes_it(self) -> "KubeflowToleration":
        if self.operator == "Exists" and self.value:
            raise ValueError(f"operator Exists takes no value, got {self.value!r}")
        if self.operator == "Equal" and not self.key:
            raise ValueError("expected a key, or operator: Exists for every taint")
        return self


class KubeflowConfig(Section):
    """What the Kubeflow graph asks the cluster for."""

    trainer_gpus: int = Field(8, ge=0)
    trainer_gpu_type: str = Field("nvidia.com/gpu", description="Kubernetes resource name.")
    trainer_memory: str = Field("240Gi")
    trainer_cpus: str = Field("48")
    trainer_shared_memory: str | None = Field(
        None,
        description="Size of the trainer's /dev/shm, such as 16Gi, out of its memory: NCCL between "
        "several GPUs needs more than the usual 64 MB. Null leaves it alone: backends before "
        "KFP 2.3 fail the task on this setting.",
    )
    trainer_node_selector: dict[str, str] = Field(
        {}, description="Labels of the nodes that the trainer may run on."
    )
    trainer_tolerations: tuple[KubeflowToleration, ...] = Field(
        (), description="Taints of nodes that the trainer may run on all the same; from KFP 2.1."
    )
    component_memory: str = Field("16Gi", description="Of every other component.")
    component_cpus: str = Field("8")
    volumes: tuple[KubeflowVolume, ...] = Field(
        (), description="In every container; --data-dir and --shared-dir lie in them."
    )

    @model_validator(mode="after")
    def _mounts_are_apart(self) -> "KubeflowConfig":
        paths = [volume.path for volume in self.volumes]
        claims = [volume.claim for volume in self.volumes]
        for path in paths:
            if paths.count(path) > 1:
                raise ValueError(f"volumes: two of them at {path}")
        for claim in claims:
            if claims.count(claim) > 1:  # KFP would give the pod two volumes of one name.
                raise ValueError(
                    f"volumes: claim {claim} twice: mount it once, and give folders in it as "
                    "--data-dir and --shared-dir"
                )
        if self.trainer_shared_memory is not None and SHARED_MEMORY_PATH in paths:
            raise ValueError(f"volumes: {SHARED_MEMORY_PATH} is that of trainer_shared_memory")
        return self


class PipelineConfig(Section):
    """Orchestration."""

    beam_args: tuple[str, ...] = Field(
        ("--direct_running_mode=in_memory",),
        description="Beam's options: runner, workers, ...",
    )
    kubeflow: KubeflowConfig = KubeflowConfig()


class Config(Section):
    """One run: its data, model, training, gate and where it goes."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="Of the pipeline and the pushed model.",
    )
    data: DataConfig = DataConfig()
    transform: TransformConfig = TransformConfig()
    input: InputConfig = InputConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    push: PushConfig = PushConfig()
    pipeline: PipelineConfig = PipelineConfig()

    @model_validator(mode="after")
    def _sections_agree(self) -> "Config":
        if self.train.best_metric == "mask/AP" and self.model.mask_head is None:
            raise ValueError("train.best_metric is mask/AP, but the config has no model.mask_head")
        for threshold in self.evaluate.thresholds:
            if threshold.metric.startswith("mask/") and self.model.mask_head is None:
                raise ValueError(
                    f"evaluate.thresholds asks for {threshold.metric}, "
                    "but the config has no model.mask_head"
                )
        if self.train.jit == "on" and self.jit_obstacle:
            raise ValueError(
                f"train.jit: on cannot compile {self.jit_obstacle}, or train.jit: auto"
            )
        return self

    @property
    def jit_obstacle(self) -> str | None:
        """What keeps XLA from compiling a training step, and what to set instead; None if nothing.

        `train.jit: auto` does not compile then.
        """
        if self.model.roi.sampling_ratio == 0:
            return (
                "model.roi.sampling_ratio: 0, whose shapes are dynamic: "
                "set a number of samples such as 2"
            )
        if not self.train.batch.startswith("1x"):
            for section, norm in (
                ("backbone", self.model.backbone.norm),
                ("fpn", self.model.fpn.norm),
            ):
                if norm == "sync_batch_norm":
                    return (
                        f"model.{section}.norm: sync_batch_norm, whose forward pass waits for the "
                        "other workers: set another norm"
                    )
        return None

    def to_json(self) -> str:
        """Returns the whole config as JSON; `Config.model_validate_json` reads it back equal."""
        return self.model_dump_json()


# What each component reads: a section name, or fields of a section.
_COMPONENT_SETTINGS: dict[str, dict[str, Any]] = {
    "coco_example_gen": {"name": True, "data": True},
    "coco_transform": {
        "name": True,
        "transform": True,
        "input": {
            "short_side_px",
            "long_side_px",
            "size_multiple_px",
            "scale_jitter",
            "short_side_choices_px",
            "large_scale_jitter",
        },
        "model": {"anchors"},
    },
    "detection_trainer": {"name": True, "input": True, "model": True, "train": True},
    # The mask head's section too: thresholds on masks are refused where there is none.
    "coco_evaluator": {"name": True, "evaluate": True, "model": {"mask_head"}},
}


def component_settings(config: Config, component: str) -> str:
    """Returns the JSON of just the settings that `component` depends on.

    `Config.model_validate_json` reads it, the rest at its defaults. It is the component's
    execution property, so a change elsewhere in the config leaves its cached result valid.

    Raises:
        KeyError: `component` is none of the four that have settings.
    """
    settings = config.model_dump(mode="json", include=_COMPONENT_SETTINGS[component])
    return json.dumps(settings, sort_keys=True, separators=(",", ":"))

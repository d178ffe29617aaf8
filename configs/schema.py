"""Every setting of a run: one frozen pydantic model, with units in the descriptions.

Lengths are pixels of the model-input frame unless a field says otherwise; times are steps or
epochs. Each component gets only the sections that it declares (`configs/parts.py`), so that a
changed threshold does not retrain a model. The detector's sections are in model_schema.py, the
cluster's in kubeflow_schema.py.

Longer than other files: it is a list of fields with their meaning, which a person searches from top
to bottom, and not code that is followed.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from configs.augmentation_schema import Augmentations
from configs.data_schema import ClassesConfig, DataPlaces, SplitConfig
from configs.kubeflow_schema import KubeflowConfig
from configs.metric_names import METRIC_NAMES, is_known
from configs.model_schema import MaskHeadConfig, ModelConfig
from configs.section import Count, Fraction, PathText, PositiveCount, Section, Seed, Text
from configs.tracking_schema import TrackingConfig
from ground.errors import ConfigError

Policy = Literal["accept", "mend", "drop", "refuse"]
LARGEST_SIDE_PX = 32_768
LARGEST_FACTOR = 100  # on a picture's sides
BATCH = re.compile(r"([1-9][0-9]{0,3}|auto)x[1-9][0-9]{0,4}")
BoxFormat = Literal["xywh", "xyxy", "cxcywh", "xywh_shares", "xyxy_shares", "cxcywh_shares"]


class LossLimits(Section):
    """How much of the data may be lost on its way to the training."""

    max_rejected_fraction: Fraction = Field(
        0.01,
        description="Share of a split's pictures that may be refused before the run fails.",
    )
    max_lost_objects_fraction: Fraction = Field(
        0.1,
        description="Share of a split's objects that any one reason may drop, or mend with a "
        "guess.",
    )
    max_lost_masks_fraction: Fraction = Field(
        0.1, description="Share of a split's masks that any one reason may cost their objects."
    )


class DataConfig(LossLimits, DataPlaces):
    """Where the COCO-format data lies (below --data-dir) and how it is read."""

    split: SplitConfig | None = Field(
        None,
        description="How the pictures of `data.annotations`, or of all `data.sources` together, "
        "are split, see below.",
    )
    classes: ClassesConfig | None = Field(
        None, description="Which classes are learnt, and as what; null: those of the files."
    )
    train_shards: int = Field(
        8, ge=1, le=99_999, description="TFRecord files of the training split."
    )
    eval_shards: int = Field(
        2, ge=1, le=99_999, description="TFRecord files of the evaluation split."
    )
    seed: Seed = Field(0, description="Seeds the spread of pictures over shards.")
    max_dropped_fraction: Fraction = Field(
        0.1,
        description="Share of a split's pictures that any one reason may drop by policy, or mend "
        "with a loss.",
    )
    max_picture_pixels: int = Field(
        100_000_000,
        ge=1,
        le=10**10,
        description="Largest width x height that is taken, at most input.max_picture_pixels.",
    )
    picture_prefix: str = Field(
        "",
        max_length=4096,
        description="Taken off the front of each file name before the picture is looked for, such "
        "as 'upload/7/'.",
    )
    box_format: BoxFormat = Field(
        "xywh",
        description="What the four numbers of a `bbox` are: corner and sides (COCO), two corners, "
        "or middle and sides; in pixels, or as shares of the picture's sides.",
    )
    crowds: Literal["ignore", "objects"] = Field(
        "ignore",
        description="What `iscrowd: 1` means: a region that is neither learnt nor measured (COCO), "
        "or an object like any other, as some tools write it with every run-length mask.",
    )
    allow_same_splits: bool = Field(
        False, description="Whether both splits may come from one and the same COCO JSON."
    )
    policies: dict[str, Policy] = Field(
        {},
        description="What to do with a flawed record, by reason code (docs/data.md).",
    )

    @model_validator(mode="after")
    def _split_has_a_file(self) -> "DataConfig":
        is_undivided = any(each.split is None for each in self.inputs())
        if self.split is None and self.sources and is_undivided:
            raise ValueError(
                "data.sources needs data.split, such as {train: 0.9, eval: 0.1}, or each source "
                "its own split"
            )
        if self.split is None and is_undivided:
            raise ValueError(
                "data.annotations needs data.split, such as {train: 0.9, eval: 0.1}; one file a "
                "split is data.train_annotations and data.eval_annotations"
            )
        if self.split is not None and self.sources and not is_undivided:
            raise ValueError(
                "data.split and a split of each of data.sources exclude each other: keep one"
            )
        if self.split is not None and not is_undivided:
            raise ValueError(
                "data.split splits one file: name it by data.annotations and data.pictures, or "
                "several by data.sources"
            )
        return self


class DriftConfig(Section):
    """From when on the splits, or this run's data and the last one's, count as different.

    Distances are 0 (alike) to 1, and looked at where both sides have 100 or more.
    """

    max_class_change: Fraction = Field(
        0.1,
        description="Largest difference of a class's share of the objects (TFDV's L-infinity).",
    )
    max_size_divergence: Fraction = Field(
        0.1, description="Of the boxes' sides (TFDV's Jensen-Shannon divergence)."
    )
    max_count_divergence: Fraction = Field(0.1, description="Of the objects a picture, likewise.")
    on_drift: Literal["warn", "fail"] = Field(
        "warn", description="`warn`: a note in the report and the summary; `fail`: the run ends."
    )


class TransformConfig(Section):
    """How CocoTransform prepares training records, and what it looks for in the data."""

    mask_frame: Literal["box", "picture"] = Field(
        "box",
        description="A bitmap covers its object's box (compact) or the whole picture.",
    )
    mask_size: int = Field(
        112, ge=8, le=4096, description="Largest side of a box bitmap, in bitmap pixels."
    )
    jpeg_quality: int = Field(95, ge=1, le=100, description="Of pictures that are re-encoded.")
    max_buckets: int = Field(3, ge=1, le=8, description="Padded input shapes of the plan.")
    max_shared_pictures_fraction: Fraction = Field(
        0.0,
        description="Share of a split's pictures whose files, byte for byte, may be among those of "
        "the training split; `data.allow_same_splits` allows all.",
    )
    on_anomalies: Literal["fail", "warn"] = Field(
        "fail", description="What an anomaly that ExampleValidator finds in the records does."
    )
    drift: DriftConfig = DriftConfig()


class LargeScaleJitterConfig(Section):
    """Large-scale jitter (2012.07177): a wide range of sizes, then crop or pad to a square."""

    side_px: int = Field(
        1024, ge=32, le=LARGEST_SIDE_PX, description="Of the square that every picture enters."
    )
    range: tuple[float, float] = Field(
        (0.1, 2.0),
        description="The picture is resized to fit into a square this many times as large; the "
        "factor is uniform.",
    )

    @field_validator("range")
    @classmethod
    def _range_is_positive(cls, values: tuple[float, float]) -> tuple[float, float]:
        if not 0 < values[0] <= values[1] <= LARGEST_FACTOR:
            raise ValueError(
                f"expected [low, high] with 0 < low <= high <= {LARGEST_FACTOR}, got {list(values)}"
            )
        return values


class InputSizes(Section):
    """The sizes that pictures enter the model in."""

    short_side_px: int = Field(
        800, ge=32, le=LARGEST_SIDE_PX, description="Shorter side after resizing."
    )
    long_side_px: int = Field(
        1333, ge=32, le=LARGEST_SIDE_PX, description="Upper limit of the longer side."
    )
    size_multiple_px: int = Field(
        32, ge=32, le=4096, description="Padded sides are multiples of this."
    )
    max_objects: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Ground-truth rows a picture; what exceeds it is counted.",
    )
    scale_jitter: tuple[float, float] = Field(
        (1.0, 1.0),
        description="Range of the random factor on the resized size (training).",
    )
    short_side_choices_px: tuple[Annotated[int, Field(ge=32, le=LARGEST_SIDE_PX)], ...] = Field(
        (),
        description="Training draws the shorter side from these (Detectron2: 640, 672 ... 800); "
        "empty is short_side_px.",
    )
    large_scale_jitter: LargeScaleJitterConfig | None = None
    crop_min_share: float = Field(
        1.0,
        ge=0.3,
        le=1,
        description="Training cuts out a window at any place, whose sides are a share of the "
        "picture's, uniform from this one to 1, and enlarges it to the size of the whole; 1 is "
        "none.",
    )

    @property
    def stored_sides_px(self) -> tuple[float, float]:
        """Limits of a picture's sides beyond which training has no use for more pixels."""
        short_side_px, long_side_px = self.largest_sides_px
        return short_side_px / self.crop_min_share, long_side_px / self.crop_min_share

    @property
    def largest_sides_px(self) -> tuple[float, float]:
        """Limits of the shorter and the longer side of what training resizes whole pictures to."""
        if self.large_scale_jitter is not None:
            side = self.large_scale_jitter.side_px * self.large_scale_jitter.range[1]
            return side, side
        factor = self.scale_jitter[1]
        short = max(self.short_side_choices_px, default=self.short_side_px)
        return short * factor, self.long_side_px * factor

    @model_validator(mode="after")
    def _one_kind_of_jitter(self) -> "InputSizes":
        given = {
            "scale_jitter": self.scale_jitter != (1.0, 1.0),
            "short_side_choices_px": bool(self.short_side_choices_px),
            "large_scale_jitter": self.large_scale_jitter is not None,
        }
        if sum(given.values()) > 1:
            both = " and ".join(f"input.{name}" for name, is_given in given.items() if is_given)
            raise ValueError(f"{both} exclude each other: each says how sizes are drawn")
        if self.large_scale_jitter is not None and self.crop_min_share < 1:
            raise ValueError(
                "input.large_scale_jitter and input.crop_min_share exclude each other: "
                "large-scale jitter crops already"
            )
        jitter, multiple = self.large_scale_jitter, self.size_multiple_px
        if jitter is not None and jitter.side_px % multiple:
            raise ValueError(
                f"input.large_scale_jitter.side_px {jitter.side_px} must be a multiple of "
                f"input.size_multiple_px {multiple}"
            )
        return self

    @model_validator(mode="after")
    def _sides_fit(self) -> "InputSizes":
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
        if not 0 < self.scale_jitter[0] <= self.scale_jitter[1] <= LARGEST_FACTOR:
            raise ValueError(
                f"input.scale_jitter must be [low, high] with 0 < low <= high <= {LARGEST_FACTOR}, "
                f"got {list(self.scale_jitter)}"
            )
        return self


class InputConfig(InputSizes, Augmentations):
    """Size and augmentation of the pictures that enter the model."""

    max_picture_pixels: int = Field(
        100_000_000,
        ge=1,
        le=10**10,
        description="Largest width x height of a file that the exported model decodes; a pixel "
        "takes up to 27 bytes of memory while it does.",
    )


class OptimizerConfig(Section):
    """The optimiser and its learning-rate schedule."""

    name: Literal["sgd", "adamw", "lars"] = Field(
        "sgd",
        description="`lars` (1708.03888) takes 0.001 of a weight's norm over its gradient's as the "
        "weight's share of the rate: give it a far larger one than sgd.",
    )
    learning_rate: float = Field(
        0.02, gt=0, le=1e6, description="For a global batch of 16 pictures."
    )
    scale_with_batch: bool = Field(
        True, description="Multiply the rate by global batch / 16 (1706.02677)."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD momentum; AdamW's beta 1.")
    nesterov: bool = Field(False, description="Nesterov momentum (sgd).")
    weight_decay: float = Field(1e-4, ge=0, le=1e6)
    decay_norms_and_biases: bool = Field(True, description="Also decay norms and biases.")
    clip_norm: float = Field(0.0, ge=0, description="Global gradient norm limit; 0 is none.")
    warmup_steps: Count = Field(500, description="Linear warm-up of the rate.")
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
        le=10_000,
        description="Batches of NxM whose gradients are added up to one step; steps, epochs and "
        "the rate count as with one batch of so many pictures.",
    )
    epochs: float = Field(12.0, gt=0, le=1e6)
    max_steps: Count | None = Field(None, ge=1, description="Stop earlier, after these steps.")
    seed: Seed = 0
    optimizer: OptimizerConfig = OptimizerConfig()
    freeze: tuple[Text, ...] = Field(
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
        0.0, ge=0, le=1e6, description="Measure COCO's AP so often, and at the end; 0 is never."
    )
    validation_split: Text = Field("eval", description="Split of the examples that is measured.")
    best_metric: Literal["box/AP", "mask/AP"] = Field(
        "box/AP", description="By which a validation is the best; its checkpoint is kept."
    )
    patience_validations: Count = Field(
        0,
        description="End the training after so many validations without a better one; 0 is never.",
    )
    export: Literal["best", "last"] = Field(
        "best",
        description="The weights of the best validation, or the last; without validation the last.",
    )
    device: Literal["auto", "gpu", "cpu"] = Field(
        "auto",
        description="`auto`: the host's GPUs (CUDA_VISIBLE_DEVICES names or hides some), CPUs "
        "where there are none; GPUs that cannot be used end the run before it starts. `gpu`: so "
        "does a host without. `cpu`: CPUs, whatever is there.",
    )
    fewer_gpus: Literal["refuse", "accumulate"] = Field(
        "refuse",
        description="Where there are fewer GPUs than workers: `refuse` ends the run before it "
        "starts; `accumulate` has as many workers as share the batch evenly, each with more parts "
        "a step (train.accumulate): the same steps, and more time. Not with sync_batch_norm.",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    jit: Literal["auto", "on", "off"] = "auto"
    checkpoint_every_steps: PositiveCount = Field(500)
    keep_checkpoints: PositiveCount = Field(3, description="The last K are kept.")
    log_every_steps: PositiveCount = Field(20, description="TensorBoard and progress lines.")
    picture_every_steps: Count = Field(
        0,
        description="Ground truth beside detections of a few pictures in TensorBoard; 0 is never.",
    )
    profile_steps: tuple[int, int] | None = Field(
        None,
        description="[a, b]: TensorFlow's profiler watches the chief's steps a to b - 1.",
    )
    input_threads: int = Field(
        0, ge=0, le=4096, description="Per worker; 0 is tf.data's own choice."
    )
    numa: Literal["auto", "off"] = Field(
        "auto",
        description="`auto`: on a machine of several sockets each of several workers keeps to the "
        "cores of one, that of its GPU. `off`: the kernel moves them as it likes.",
    )
    heartbeat_seconds: float = Field(
        600.0,
        gt=0,
        le=1e9,
        description="A worker that ends no step for this long is taken for lost. Compiling is no "
        "standstill, as long as it takes the processor.",
    )
    max_restarts: Count = Field(
        0,
        description="After a lost or stalled worker go on from the last checkpoint, so many times.",
    )
    max_non_finite_steps: Count = Field(
        0,
        description="Steps of a run that may be skipped since a loss or a gradient is not finite "
        "(float16 overflows apart); the next one ends it.",
    )

    @model_validator(mode="after")
    def _patience_needs_validations(self) -> "TrainConfig":
        if self.patience_validations and not self.validate_every_epochs:
            raise ValueError(
                "train.patience_validations counts validations: set train.validate_every_epochs"
            )
        return self

    @field_validator("batch")
    @classmethod
    def _batch_is_n_by_m(cls, batch: str) -> str:
        if not BATCH.fullmatch(batch):
            raise ValueError(
                f"expected NxM such as 8x4 or autox4, got {batch[:40]!r} (at most 9999x99999)"
            )
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
        workers, _ = self._workers_and_pictures
        if workers is None:
            raise ConfigError(f"train.batch: {self.batch} has no number of workers before training")
        return workers

    @property
    def has_auto_workers(self) -> bool:
        """Whether the launcher is to count the workers, one a GPU."""
        return self._workers_and_pictures[0] is None

    @property
    def _workers_and_pictures(self) -> tuple[int | None, int]:
        """N, None where it is `auto`, and M of `batch`: the one place where it is taken apart."""
        workers, pictures = self.batch.split("x")
        return None if workers == "auto" else int(workers), int(pictures)

    def with_workers(self, workers: int) -> "TrainConfig":
        """Returns the same settings with so many workers."""
        return self.model_copy(update={"batch": f"{workers}x{self.pictures_per_worker}"})

    def with_fewer_workers(self, most: int, hosts: int = 1) -> "TrainConfig":
        """Returns the same settings with at most so many workers, and as many parts a step more.

        Args:
            most: workers at most, one a host at least.
            hosts: which get equally many.
        """
        workers = max(n for n in range(hosts, most + 1, hosts) if self.workers % n == 0)
        parts = self.accumulate * (self.workers // workers)
        return self.with_workers(workers).model_copy(update={"accumulate": parts})

    @property
    def pictures_per_worker(self) -> int:
        """Pictures of one worker at once."""
        return self._workers_and_pictures[1]

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

    metric: str = Field(description='"box/AP", "box/AP50", "mask/APs", "box/AR10", ...')
    classes: Literal["all"] | tuple[Text, ...] | None = Field(
        None,
        description="The condition holds for each of these classes, `all` or names, in place of "
        "their mean.",
    )
    min_objects: Count | None = Field(
        None,
        description="Of the classes only those with so many objects, for APs, APm ... of that "
        "size.",
    )
    min: Fraction | None = Field(
        None, description="The candidate must reach it; a share: 0.375 for 37.5 %."
    )
    max_drop: Fraction | None = Field(
        None,
        description="The candidate may be this much below the newest pushed model, and below the "
        "best of the last evaluate.best_of_last.",
    )
    min_gain: Fraction | None = Field(
        None, description="The candidate must be this much above the newest pushed model."
    )
    confidence: float | None = Field(
        None,
        ge=0.5,
        lt=1,
        description="Judge max_drop and min_gain by chance: a drop is refused where it is beyond "
        "max_drop at this level, a gain accepted where it reaches min_gain. Without, the numbers "
        "alone judge.",
    )

    @model_validator(mode="after")
    def _something_is_asked(self) -> "Threshold":
        if self.min is None and self.max_drop is None and self.min_gain is None:
            raise ValueError(f"threshold on {self.metric}: give min, max_drop, min_gain or several")
        if self.min_objects is not None and self.classes is None:
            raise ValueError(
                f"threshold on {self.metric}: min_objects chooses among classes: "
                "give classes: all, or names"
            )
        if self.classes == ():
            raise ValueError(f"threshold on {self.metric}: classes names none")
        if self.confidence is not None and self.max_drop is None and self.min_gain is None:
            raise ValueError(
                f"threshold on {self.metric}: confidence is that of max_drop or min_gain: give one"
            )
        return self

    @field_validator("classes", mode="wrap")
    @classmethod
    def _classes_are_all_or_named(cls, classes: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(tuple(classes) if isinstance(classes, list) else classes)
        except ValidationError:  # which tells what is wrong with each of the two forms
            raise ValueError(
                f"expected all, or a list of names such as [person, dog], got {classes!r:.80}"
            ) from None

    @field_validator("metric")
    @classmethod
    def _metric_is_known(cls, metric: str) -> str:
        if not is_known(metric):
            raise ValueError(
                f"unknown metric {metric!r}: box/ or mask/ and one of {', '.join(METRIC_NAMES)}"
            )
        return metric


class LimitsConfig(Section):
    """What a model may cost, in a process of its own on the machine that evaluates."""

    size_mb: float | None = Field(
        None, gt=0, le=1e6, description="Of all files of the exported model, in 10^6 bytes."
    )
    load_s: float | None = Field(
        None, gt=0, le=1e6, description="Time to load the model, TensorFlow's own start left out."
    )
    memory_mb: float | None = Field(
        None,
        gt=0,
        le=1e9,
        description="Most memory of the process that serves it, in 10^6 bytes, with eight pictures "
        "in a call and one of 12 million pixels; the GPU's not counted.",
    )
    latency_p50_ms: float | None = Field(
        None, gt=0, le=1e9, description="Median time of a call with one picture."
    )
    latency_p99_ms: float | None = Field(
        None, gt=0, le=1e9, description="Time that 99 of 100 calls with one picture keep."
    )


class EvaluateConfig(Section):
    """Evaluation and the gate. No thresholds: never blessed."""

    thresholds: tuple[Threshold, ...] = ()
    limits: LimitsConfig = LimitsConfig()
    best_of_last: int = Field(
        3,
        ge=1,
        le=100,
        description="A max_drop also counts against the best of so many pushed models, each "
        "measured on these pictures; 1 is the newest alone.",
    )
    resamples: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="Of the pictures, that say what a change owes to chance; fewer (200 at "
        "least) where the set is so large that they take long. 0 compares numbers alone.",
    )
    seed: Seed = Field(0, description="Seeds the resamples.")
    evaluator: Literal["hotcoco", "pycocotools"] = Field(
        "hotcoco",
        description="Computes COCO's numbers. `hotcoco` is many times as fast, and gives way to "
        "pycocotools, which checks some pictures of each run, where one bit differs; "
        "`pycocotools` computes alone.",
    )
    batch_size: int = Field(4, ge=1, le=4096, description="Pictures per inference call.")
    served_pictures: int = Field(
        8,
        ge=0,
        le=1000,
        description="Pictures of the evaluation set that the exported model is shown in a process "
        "of its own before it is blessed, beside drawn ones of each kind (JPEG, PNG, grey, 16 "
        "bits, tiny, large); its calls are timed with them.",
    )
    worst_pictures: int = Field(12, ge=0, le=1000, description="Shown in the report.")
    max_detections: int = Field(
        100,
        ge=10,
        le=100_000,
        description="Detections of a class in a picture that count, best first. COCO's 100 caps "
        "the numbers where a picture has more objects of a class; AR100 is then AR at this many.",
    )
    on_unusable_baseline: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="Where the newest pushed model is there and cannot be read, measured or "
        "trusted: bless nothing, or go on as if it were not there.",
    )
    on_changed_classes: Literal["refuse", "accept"] = Field(
        "refuse",
        description="Where a class of the pushed model is gone or has another id or name, or the "
        "data name a class otherwise than the model: bless nothing, or compare what both know.",
    )

    @model_validator(mode="after")
    def _resamples_can_tell(self) -> "EvaluateConfig":
        for threshold in self.thresholds:
            level = threshold.confidence
            if level is not None and (1 - level) * (self.resamples + 1) < 2:
                raise ValueError(
                    f"evaluate.thresholds: a confidence of {level:g} on {threshold.metric} needs "
                    f"evaluate.resamples of {round(2 / (1 - level))} or more, got {self.resamples}"
                )
        return self


class PushConfig(Section):
    """Where blessed models go."""

    folder: PathText | None = Field(
        None, description="Base of serving/<name>/<version>; null is <root>/serving."
    )


class PipelineConfig(Section):
    """Orchestration."""

    beam_args: tuple[Text, ...] = Field(
        ("--direct_running_mode=in_memory",),
        description="Beam's options: workers, ...; without a runner the local one, on which a "
        "process a core writes shards, or `--shard_processes=N`.",
    )
    kubeflow: KubeflowConfig = KubeflowConfig()


def _fits_folders_and_kubernetes(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise ValueError(f"expected letters a to z, digits and -, at most 63, got {name[:80]!r}")
    return name


def check_best_metric(train: TrainConfig, model: ModelConfig) -> None:
    """Refuses to choose the best model by masks where there are none."""
    if train.best_metric == "mask/AP" and model.mask_head is None:
        raise ValueError("train.best_metric is mask/AP, but the config has no model.mask_head")


def check_thresholds(evaluate: EvaluateConfig, mask_head: MaskHeadConfig | None) -> None:
    """Refuses conditions on masks where there are none."""
    for threshold in evaluate.thresholds:
        if threshold.metric.startswith("mask/") and mask_head is None:
            raise ValueError(
                f"evaluate.thresholds asks for {threshold.metric}, "
                "but the config has no model.mask_head"
            )


def check_jit(train: TrainConfig, model: ModelConfig) -> None:
    """Refuses `train.jit: on` where XLA cannot compile a training step."""
    if train.jit == "on" and (obstacle := jit_obstacle(train, model)):
        raise ValueError(f"train.jit: on cannot compile {obstacle}, or train.jit: auto")


def jit_obstacle(train: TrainConfig, model: ModelConfig) -> str | None:
    """Returns what keeps XLA from compiling a training step, and what to set; None if nothing.

    `train.jit: auto` does not compile then.
    """
    if model.roi.sampling_ratio == 0:
        return (
            "model.roi.sampling_ratio: 0, whose shapes are dynamic: "
            "set a number of samples such as 2"
        )
    if (train.has_auto_workers or train.workers > 1) and (section := synchronised(model)):
        return (
            f"model.{section}.norm: sync_batch_norm, whose forward pass waits for the other "
            "workers: set another norm"
        )
    return None


def synchronised(model: ModelConfig) -> str | None:
    """Returns a section of a model whose batch norm takes all workers' pictures; None if none."""
    for section in ("backbone", "fpn", "box_head", "mask_head"):
        if getattr(getattr(model, section), "norm", None) == "sync_batch_norm":
            return section
    return None


Name = Annotated[str, AfterValidator(_fits_folders_and_kubernetes)]


class Config(Section):
    """One run: its data, model, training, gate and where it goes."""

    name: Name = Field(
        description="Of the pipeline and the pushed model: a to z, digits and -, at most 63.",
    )
    data: DataConfig = DataConfig()
    transform: TransformConfig = TransformConfig()
    input: InputConfig = InputConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    push: PushConfig = PushConfig()
    pipeline: PipelineConfig = PipelineConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _sections_agree(self) -> "Config":
        check_best_metric(self.train, self.model)
        check_thresholds(self.evaluate, self.model.mask_head)
        if self.data.max_picture_pixels > self.input.max_picture_pixels:
            raise ValueError(
                f"data.max_picture_pixels {self.data.max_picture_pixels} exceeds "
                f"input.max_picture_pixels {self.input.max_picture_pixels}: the exported model "
                "must decode what it is trained on; set both"
            )
        check_jit(self.train, self.model)
        return self

    def to_json(self) -> str:
        """Returns the whole config as JSON; `loader.config_from_json` reads it back equal."""
        return self.model_dump_json()

"""Time, memory and cost of a training before it starts.

    python -m model.estimate --config C --gpu V100 --workers 8

The model behind it (docs/speed.md): the step is traced, not run, for its floating-point operations
and the bytes of its activations. Without tensor cores a GPU does a share of its peak FLOP/s; with
them (16 bits, TF32) a detector waits for memory, and does so many operations per byte that the GPU
can move. Both constants, and how far they are spread, come from published runs.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from configs.schema import Config, jit_obstacle
from ground.errors import ConfigError
from model.gpu_facts import GPUS, PUBLISHED, PublishedSpeed, auto_precision, peak_flops
from model.input.sizes import padded_sides, resized_sides

GIB = 1 << 30


# Memory over that of activations, weights, slots and gradients: what published runs of two pictures
# a GPU in float32 took (Detectron2 3.0 and 3.4 GB, MMDetection 4.4, torchvision 5.2 and 5.4).
ACTIVATION_FACTOR = (1.4, 2.0, 3.0)
CONTEXT_GIB = 1  # of a GPU's memory, what CUDA, cuDNN and NCCL take beside the tensors
# Speed kept at each doubling of the workers beyond 8: AWSDet kept 0.93 at 16, 0.90 at 32 and, with
# half the pictures a GPU, 0.70 at 64.
WORKERS_OF_ONE_MACHINE = 8
KEPT_PER_DOUBLING = (0.88, 0.93, 1.0)
# Below this share of the published models' work a picture, kernels are too small for their speeds.
SHARE_OF_SMALL_MODEL = 0.25
# Where nothing was published for the GPU, and for TF32.
WIDER_WITHOUT_A_ROW = 1.3


class Spread(NamedTuple):
    """A number and how far off it may be."""

    low: float
    middle: float
    high: float

    def scaled(self, factor: float) -> "Spread":
        """Returns the spread times a positive factor."""
        return Spread(*(value * factor for value in self))

    def times(self, other: "Spread") -> "Spread":
        """Returns the product of two positive spreads."""
        return Spread(*(a * b for a, b in zip(self, other, strict=True)))

    def wider(self, factor: float) -> "Spread":
        """Returns the spread with its ends further apart."""
        return Spread(self.low / factor, self.middle, self.high * factor)

    def divides(self, amount: float) -> "Spread":
        """Returns amount / self: the higher end gives the lower one."""
        return Spread(amount / self.high, amount / self.middle, amount / self.low)


@dataclass(frozen=True)
class Work:
    """What the config asks of one GPU.

    Attributes:
        flops_per_picture: floating-point operations of a training step.
        activation_bytes: bytes of the activations of a worker's step in the largest bucket.
        weights: number of all weights.
        trained_weights: number of those that are trained.
        slots: variables as large as a trained weight: the optimiser's, its average, its sum.
        pictures_per_step: pictures of one worker.
        compiled: whether XLA compiles the step.
    """

    flops_per_picture: float
    activation_bytes: int
    weights: int
    trained_weights: int
    slots: int
    pictures_per_step: int
    compiled: bool = True


@dataclass(frozen=True)
class Estimate:
    """The answer; the low and high ends are what the published runs leave open.

    Attributes:
        images_per_second: pictures a second of all workers.
        hours: from the first step to the last.
        memory_gib: memory of the tensors on one GPU.
        dollars: what all GPUs cost for these hours; None without a price.
        steps: those of the whole run.
        fits: by memory of the GPU's variants: "yes", "no" or "perhaps".
        reasons: for the width of the range.
    """

    images_per_second: Spread
    hours: Spread
    memory_gib: Spread
    dollars: Spread | None
    steps: int
    fits: dict[str, str]
    reasons: list[str]


def sustained_flops(gpu: str, precision: str) -> Spread:
    """Returns the FLOP/s that a detector gets from a GPU.

    Args:
        gpu: a key of `GPUS`.
        precision: Keras dtype policy.
    """
    is_float32 = precision == "float32"
    if is_float32 and not GPUS[gpu].has_tf32:
        per_peak = [_rate(row) / (peak_flops(row.gpu, precision) or 0) for row in _rows(precision)]
        rate = _spread(per_peak).scaled(peak_flops(gpu, precision) or 0)
    else:
        rows = _rows("mixed_float16")
        per_byte = [_rate(row) / GPUS[row.gpu].bytes_per_second for row in rows]
        # TF32 moves twice the bytes for the same operations.
        rate = _spread(per_byte).scaled(GPUS[gpu].bytes_per_second / (2 if is_float32 else 1))
    has_row = any(row.gpu == gpu and row.precision == _known(precision) for row in PUBLISHED)
    return rate if has_row else rate.wider(WIDER_WITHOUT_A_ROW)


def estimate(
    work: Work,
    gpu: str,
    precision: str,
    workers: int,
    steps: int,
    dollars_per_gpu_hour: float | None,
) -> Estimate:
    """Returns what a training takes.

    Args:
        work: from `work_of`.
        gpu: a key of `GPUS`.
        precision: Keras dtype policy.
        workers: GPUs.
        steps: how many the whole run has.
        dollars_per_gpu_hour: None takes the table's.
    """
    doublings = max(0.0, math.log2(workers / WORKERS_OF_ONE_MACHINE))
    kept = Spread(*(share**doublings for share in KEPT_PER_DOUBLING))
    rate = sustained_flops(gpu, precision).scaled(workers / work.flops_per_picture).times(kept)
    hours = rate.divides(steps * workers * work.pictures_per_step / 3600)
    memory = _memory_gib(work)
    price = GPUS[gpu].dollars_per_hour if dollars_per_gpu_hour is None else dollars_per_gpu_hour
    return Estimate(
        images_per_second=rate,
        hours=hours,
        memory_gib=memory,
        dollars=None if price is None else hours.scaled(workers * price),
        steps=steps,
        fits={f"{size} GiB": _fits(memory, size) for size in GPUS[gpu].memory_gib},
        reasons=_reasons(gpu, precision, workers, work.flops_per_picture, work.compiled),
    )


def work_of(config: Config, precision: str, num_classes: int, bucket: tuple[int, int]) -> Work:
    """Returns what a config asks of one GPU, from the traced step.

    Args:
        config: `model.weights` is not read.
        precision: Keras dtype policy.
        num_classes: K, without the background.
        bucket: height and width of the padded pictures.
    """
    from model.batch import batch_specs
    from model.detector import build_detector
    from model.training.flops import step_cost
    from model.training.freezing import unfrozen
    from model.training.optimizers import build_optimizer

    train = config.train
    pictures = train.pictures_per_worker
    without_file = config.model.model_copy(update={"weights": None})
    compiled = jit_obstacle(config.train, config.model) is None
    detector = build_detector(without_file, num_classes, precision=precision, jit=compiled)
    mask_side = config.transform.mask_size + 1 if config.model.mask_head else None
    trained = unfrozen(detector, train.freeze)
    specs = batch_specs(bucket, pictures, config.input.max_objects, mask_side)
    cost = step_cost(detector, specs, trained)
    slots = len(build_optimizer(train.optimizer).slot_names)
    return Work(
        flops_per_picture=cost.flops / pictures,
        activation_bytes=cost.activation_bytes,
        weights=sum(math.prod(weight.shape) for weight in detector.variables),
        trained_weights=sum(math.prod(weight.shape) for weight in trained),
        slots=slots + (train.ema_decay > 0) + (train.accumulate > 1),
        pictures_per_step=train.pictures_per_step,
        compiled=compiled and train.jit != "off",
    )


def usual_bucket(config: Config, height: int, width: int) -> tuple[int, int]:
    """Returns the padded input of a picture of this size."""
    if config.input.large_scale_jitter is not None:
        return (config.input.large_scale_jitter.side_px,) * 2
    jitter, choices = config.input.scale_jitter, config.input.short_side_choices_px
    scale = math.sqrt(jitter[0] * jitter[1])  # the middle of a log-uniform factor
    short = sum(choices) / len(choices) if choices else config.input.short_side_px
    rows, columns = resized_sides(height, width, short * scale, config.input.long_side_px * scale)
    sides = padded_sides([int(rows), int(columns)], config.input.size_multiple_px)
    return int(sides[0]), int(sides[1])


def _known(precision: str) -> str:
    """Returns the policy under which published runs of this kind are listed."""
    return "float32" if precision == "float32" else "mixed_float16"


def _rows(precision: str) -> list[PublishedSpeed]:
    return [row for row in PUBLISHED if row.precision == precision]


def _rate(row: PublishedSpeed) -> float:
    return row.flops_per_picture * row.images_per_second


def _spread(values: list[float]) -> Spread:
    """Returns least, geometric mean and largest."""
    middle = math.exp(sum(map(math.log, values)) / len(values))
    return Spread(min(values), middle, max(values))


def _memory_gib(work: Work) -> Spread:
    fixed = 4 * (work.weights + work.trained_weights * (1 + work.slots))  # and gradients
    return Spread(*((fixed + work.activation_bytes * factor) / GIB for factor in ACTIVATION_FACTOR))


def _fits(memory: Spread, size_gib: int) -> str:
    free = size_gib - CONTEXT_GIB
    if memory.high <= free:
        return "yes"
    return "no" if memory.low > free else "perhaps"


def _reasons(
    gpu: str, precision: str, workers: int, flops_per_picture: float, compiled: bool
) -> list[str]:
    rows = _rows(_known(precision))
    rates = [_rate(row) for row in rows if row.gpu == "V100"]
    reasons = [
        f"{len(rows)} published runs of R50-FPN, whose codes differ "
        f"{max(rates) / min(rates):.1f}-fold on a V100; none is of this code"
    ]
    share = flops_per_picture / min(row.flops_per_picture for row in PUBLISHED)
    if share < SHARE_OF_SMALL_MODEL:
        reasons.append(
            f"{share:.1%} of their work a picture: so small a model keeps no GPU busy, expect less "
            "than the low end"
        )
    if gpu not in {row.gpu for row in rows}:
        reasons.append(f"none of them on {gpu}: scaled from V100 and A100 by the data sheets")
    if precision == "float32" and GPUS[gpu].has_tf32:
        reasons.append("none of them in TF32: taken as 16 bits with twice the bytes")
    if workers > 1 and compiled:
        reasons.append(
            "several workers: what the loss is divided by is summed up between forward and "
            "backward, so XLA compiles them apart and keeps every activation: memory near the "
            "high end"
        )
    if workers > WORKERS_OF_ONE_MACHINE:
        reasons.append("more than 8 workers: the network between machines matters")
    reasons.append("without start, compilation, evaluation, and waits for input")
    return reasons


def steps_of_run(config: Config, workers: int, pictures: int) -> int:
    """Returns the steps of a whole run on `pictures`."""
    from model.training.schedules import total_steps

    steps_per_epoch = -(-pictures // (workers * config.train.pictures_per_step))
    return total_steps(config.train.epochs, steps_per_epoch, config.train.max_steps)


def precision_on(setting: str, gpu: str) -> str:
    """Returns the dtype policy that a setting means on a GPU.

    Raises:
        ConfigError: the GPU has no unit for it.
    """
    if setting == "mixed_bfloat16" and not GPUS[gpu].has_bfloat16:
        raise ConfigError(f"train.precision mixed_bfloat16: {gpu} has no unit for it")
    return auto_precision(GPUS[gpu].capability) if setting == "auto" else setting


if __name__ == "__main__":
    from model.commands import run_command

    run_command("estimate")

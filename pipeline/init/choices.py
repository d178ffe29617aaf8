"""The settings that fit a data set and a machine, each with its reason.

The constants come from the trainings of docs/learning.md (CPUs) and the papers' configs (GPUs).
"""

import math
from typing import Any, NamedTuple

import numpy as np

from configs.schema import LARGEST_SIDE_PX
from model.anchor_proposal import propose_anchors
from model.input.buckets import choose_buckets
from model.input.sizes import padded_sides, resized_sides
from pipeline.init.facts import DataFacts, Floats, Ints
from pipeline.init.machine import Machine
from pipeline.init.start_weights import StartWeights

Settings = dict[str, Any]
_MULTIPLE_PX = 32
_OBJECTS_SHARE = 0.1  # of the objects may be smaller than what is aimed at
_MOST_UPSCALING = 2.0
_NEAR_WHOLE = 0.1  # of the factor
_LONGEST_OUTLIER = 2.0  # aspect that pictures may have beside shorter ones
_MOST_BUCKETS = 5
_PADDING_WORTH = 1.03  # padded area that one bucket more must save
_OBJECT_STEPS = (16, 32, 64, 128, 256, 512)
_DETECTION_STEPS = (100, 200, 300, 500, 1000)
_CROWDED = 60  # objects in a picture from which more proposals are kept
_PICTURES_A_SHARD = 500
_STEPS, _STEPS_FROM_RANDOM = 600, 900
_FEWEST_EPOCHS, _MOST_EPOCHS = 12, 100
_FEW_PICTURES = 50  # on which a change of .02 is chance


class Scale(NamedTuple):
    """How large a training may be.

    Attributes:
        fewest_px: area of a picture below which objects are hard to tell.
        most_px: area that the machine can train in a sensible time.
        object_px: side that most objects shall have, the root of their area.
        batch_px: area of the pictures of a worker in a step.
    """

    fewest_px: int
    most_px: int
    object_px: float
    batch_px: int


_ON_CPU = Scale(256 * 320, 448 * 448, 20.0, 330_000)
_ON_GPU = Scale(480 * 640, 800 * 1333, 32.0, 4_300_000)


class Choice(NamedTuple):
    """Settings of one matter.

    Attributes:
        settings: by dotted key.
        what: the matter in a word or two.
        why: the reason.
    """

    settings: Settings
    what: str
    why: str


class Sizes(NamedTuple):
    """The sizes that pictures enter the model in, and what they make of the objects.

    Attributes:
        short_px: `input.short_side_px`.
        long_px: `input.long_side_px`.
        factors: float64 [P], the factor of each picture.
        object_px: root of the area of the objects of which a tenth is smaller.
        choice: the settings.
    """

    short_px: int
    long_px: int
    factors: Floats
    object_px: float
    choice: Choice


def choose_sizes(facts: DataFacts, machine: Machine) -> Sizes:
    """Returns the picture size under which most objects are large enough, if the machine can."""
    scale = _ON_CPU if machine.is_cpu else _ON_GPU
    heights, widths = np.maximum(facts.heights, 1), np.maximum(facts.widths, 1)
    area = float(np.median(heights * widths))
    objects = np.sqrt(facts.box_heights * facts.box_widths)
    small = float(np.quantile(objects, _OBJECTS_SHARE))
    factor = min(
        max(scale.object_px / small, math.sqrt(scale.fewest_px / area)),
        math.sqrt(scale.most_px / area),
        _MOST_UPSCALING,
    )
    aspects = np.maximum(heights, widths) / np.minimum(heights, widths)
    side = float(np.median(np.minimum(heights, widths)))
    short = _short_side(side, factor)
    long = _long_side(short, side * factor, aspects)
    new_heights, _ = resized_sides(heights, widths, short, long)
    factors = new_heights / heights
    resized = float(np.quantile(objects * factors[facts.picture_of], _OBJECTS_SHARE))
    buckets = _buckets(heights, widths, short, long)
    why = (
        f"pictures of {_sizes_in_words(heights, widths)}; a tenth of the objects is smaller than "
        f"{small:.0f} px, and than {resized:.0f} px at this size"
    )
    if resized < scale.object_px / 2:
        why += " (hard to find: a larger size, or tiles cut out of the pictures, would help)"
    settings = {
        "input.short_side_px": short,
        "input.long_side_px": long,
        "transform.max_buckets": buckets,
    }
    return Sizes(short, long, factors, resized, Choice(settings, "picture size", why))


def _short_side(side: float, factor: float) -> int:
    """Returns the side that a factor makes, one that averages whole pixels where that is near."""
    for whole in (1.0, 2.0, 1 / 2, 1 / 3, 1 / 4):
        if abs(factor / whole - 1) <= _NEAR_WHOLE and side * whole >= _MULTIPLE_PX:
            return int(side * whole)
    return max(_MULTIPLE_PX, round(side * factor / _MULTIPLE_PX) * _MULTIPLE_PX)


def _long_side(short: int, wanted: float, aspects: Floats) -> int:
    """Returns the long side that most pictures have at a short one; outliers are made smaller.

    Args:
        short: the short side.
        wanted: what it would be if a config could have any.
        aspects: those of the pictures, at least 1.
    """
    usual = max(_LONGEST_OUTLIER, float(np.median(aspects)))
    aspect = min(float(np.quantile(aspects, 0.98)), usual)
    # Strips that are thinner than a config's least short side are held small by the long one.
    side = short if wanted >= _MULTIPLE_PX else wanted
    long = int(padded_sides([math.floor(side * aspect + 0.5)], _MULTIPLE_PX)[0])
    return min(max(short, long), LARGEST_SIDE_PX)


def _sizes_in_words(heights: Ints, widths: Ints) -> str:
    pairs, counts = np.unique(np.stack([widths, heights]), axis=1, return_counts=True)
    width, height = pairs[:, int(np.argmax(counts))].tolist()
    if len(counts) == 1:
        return f"{width}x{height} px"
    low, high = int(np.minimum(heights, widths).min()), int(np.maximum(heights, widths).max())
    return f"{len(counts)} sizes, {low} to {high} px a side, most often {width}x{height}"


def _buckets(heights: Ints, widths: Ints, short: int, long: int) -> int:
    """Returns the number of padded shapes beyond which one more saves little."""
    new_heights, new_widths = resized_sides(heights, widths, short, long)
    aspects = np.unique(np.stack([new_heights, new_widths]), axis=1)
    most = min(_MOST_BUCKETS, aspects.shape[1])
    areas = []
    for number in range(1, most + 1):
        shapes = choose_buckets(
            heights,
            widths,
            short_side_px=short,
            long_side_px=long,
            multiple_px=_MULTIPLE_PX,
            max_buckets=number,
        )
        areas.append(_padded_area(new_heights, new_widths, shapes))
    best = 1
    for number in range(2, most + 1):
        if areas[best - 1] > areas[number - 1] * _PADDING_WORTH ** (number - best):
            best = number
    return best


def _padded_area(heights: Ints, widths: Ints, shapes: list[tuple[int, int]]) -> float:
    """Returns the area of all pictures in the smallest shape that each fits into."""
    area = np.full(len(heights), np.inf)
    for height, width in shapes:
        fits = (heights <= height) & (widths <= width)
        area = np.where(fits, np.minimum(area, height * width), area)
    return float(np.sum(area[np.isfinite(area)]))


def choose_anchors(facts: DataFacts, sizes: Sizes, start: StartWeights) -> Choice:
    """Returns anchors that fit the boxes; a detector's weights keep the anchors of their own."""
    if start.is_detector:
        why = "those of the weights, whose proposals were learnt with them"
        return Choice({}, "anchors", why)
    factors = sizes.factors[facts.picture_of]
    anchors = propose_anchors(facts.box_heights * factors, facts.box_widths * factors)
    settings: Settings = {"model.anchors.sizes_px": [_short(size) for size in anchors.sizes_px]}
    if anchors.aspect_ratios != (0.5, 1.0, 2.0):
        settings["model.anchors.aspect_ratios"] = list(anchors.aspect_ratios)
    roots = np.sqrt(facts.box_heights * facts.box_widths) * factors
    low, high = np.quantile(roots, (0.05, 0.95))
    return Choice(settings, "anchors", f"nine tenths of the boxes are {low:.0f} to {high:.0f} px")


def _short(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number


def choose_model(
    facts: DataFacts, sizes: Sizes, start: StartWeights, machine: Machine, has_masks: bool
) -> list[Choice]:
    """Returns the network: as published on GPUs, small on CPUs."""
    crowded = int(facts.objects_by_picture.max(initial=0)) > _CROWDED
    settings: Settings = {"model.weights": start.weights}
    if start.preset:
        settings["model.preset"] = start.preset
    settings |= _backbone(start, machine, has_masks)
    settings |= {
        f"model.{key}": value
        for key, value in start.layers.items()
        if has_masks or not key.startswith("mask_head.")
    }
    chosen = [Choice(settings, "start", f"{start.backbone}: {start.why}")]
    if machine.is_cpu and not start.is_detector:
        chosen.append(Choice(_small_heads(crowded, has_masks), "heads", "small, for CPUs"))
    elif has_masks:
        head = {"model.mask_head.convolutions": 4}
        chosen.append(Choice(head, "heads", "as published"))
    if not machine.is_cpu and start.preset == "detectron2":
        # Its own 0 has dynamic shapes, which XLA cannot compile.
        chosen.append(Choice({"model.roi.sampling_ratio": 2}, "RoIAlign", "so that XLA compiles"))
    if start.weights is None and not machine.is_cpu:
        chosen.append(Choice({"model.fpn.norm": "group_norm"}, "pyramid", "learns from random"))
    return chosen


def _backbone(start: StartWeights, machine: Machine, has_masks: bool) -> Settings:
    settings: Settings = {"model.backbone.name": start.backbone}
    if start.weights is None:
        settings |= {"model.backbone.norm": "group_norm", "model.backbone.frozen_stages": 0}
        if machine.is_cpu:
            settings["model.backbone.width"] = 24
    elif start.preset is None:
        # As in the trainings of docs/learning.md.
        settings["model.backbone.frozen_stages"] = 0 if has_masks else 1
    return settings


def _small_heads(crowded: bool, has_masks: bool) -> Settings:
    before, after = (512, 400) if crowded else (256, 200)
    settings: Settings = {
        "model.fpn.channels": 64,
        "model.fpn.norm": "group_norm",
        "model.rpn.pre_nms_top_k": before,
        "model.rpn.post_nms_top_k": after,
        "model.rpn.test_pre_nms_top_k": before,
        "model.rpn.test_post_nms_top_k": after,
        "model.roi.samples_per_picture": 128 if crowded else 64,
        "model.box_head.hidden_units": 256,
    }
    if has_masks:
        settings |= {"model.mask_head.convolutions": 2, "model.mask_head.channels": 64}
    return settings


def choose_limits(facts: DataFacts, eval_facts: DataFacts, has_masks: bool) -> list[Choice]:
    """Returns how many objects a picture may have, and how fine masks are kept."""
    objects = max(int(f.objects_by_picture.max(initial=0)) for f in (facts, eval_facts))
    of_a_class = max(f.most_of_a_class for f in (facts, eval_facts))
    settings: Settings = {"input.max_objects": _step(objects, _OBJECT_STEPS)}
    chosen = [Choice(settings, "objects", f"at most {objects} objects in a picture")]
    if of_a_class > _DETECTION_STEPS[0]:
        most = _step(int(of_a_class * 1.2), _DETECTION_STEPS)
        chosen.append(
            Choice(
                {"model.detections.max_detections": most, "evaluate.max_detections": most},
                "detections",
                f"up to {of_a_class} objects of a class in a picture, which COCO's 100 would cut",
            )
        )
    if has_masks:
        chosen.append(Choice({"transform.mask_size": 56}, "masks", "the head learns 28 x 28"))
    return chosen


def _step(number: int, steps: tuple[int, ...]) -> int:
    return next((step for step in steps if step >= number), steps[-1])


class Pace(NamedTuple):
    """How long a training is.

    Attributes:
        workers: processes.
        pictures: those of a worker in a step.
        epochs: passes over the pictures.
        steps: those of the whole training.
        choice: the settings.
    """

    workers: int
    pictures: int
    epochs: int
    steps: int
    choice: Choice


def choose_pace(pictures: int, sizes: Sizes, start: StartWeights, machine: Machine) -> Pace:
    """Returns batch, epochs and schedule by the number of pictures and the machine."""
    scale = _ON_CPU if machine.is_cpu else _ON_GPU
    area = sizes.short_px * sizes.long_px
    workers = max(1, min(machine.workers, pictures))
    most = 8 if machine.is_cpu else 4
    each = max(1, min(most, round(scale.batch_px / area), pictures // (4 * workers)))
    batch = workers * each
    wanted = _STEPS_FROM_RANDOM if start.weights is None else _STEPS
    wanted = wanted if machine.is_cpu else 4 * wanted
    epochs = min(max(math.ceil(wanted * batch / pictures), _FEWEST_EPOCHS), _MOST_EPOCHS)
    steps = math.ceil(pictures / batch) * epochs
    optimizer = _adamw(steps) if machine.is_cpu or start.preset is None else _sgd(steps)
    every = max(20, min(500, steps // 8))
    settings: Settings = {
        "train.batch": f"{workers}x{each}",
        "train.epochs": epochs,
        "train.precision": "auto",
        **{f"train.optimizer.{key}": value for key, value in optimizer.items()},
        "train.checkpoint_every_steps": every,
        "train.validate_every_epochs": max(1, round(epochs / 5)),
        "train.export": "last",
    }
    why = f"{pictures:,} pictures to learn, {machine.words()}: {steps:,} steps of {batch}"
    return Pace(workers, each, epochs, steps, Choice(settings, "training", why))


def _adamw(steps: int) -> Settings:
    return {
        "name": "adamw",
        "learning_rate": 0.001,
        "scale_with_batch": False,
        "weight_decay": 0.01,
        "clip_norm": 5.0,
        "warmup_steps": _warmup(steps),
        "schedule": "cosine",
    }


def _sgd(steps: int) -> Settings:
    return {
        "name": "sgd",
        "learning_rate": 0.02,
        "weight_decay": 0.0001,
        "clip_norm": 10.0,
        "warmup_steps": _warmup(steps),
        "schedule": "cosine",
    }


def _warmup(steps: int) -> int:
    return max(5, min(500, steps // 12))


def choose_gate(eval_pictures: int, has_masks: bool) -> Choice:
    """Returns the thresholds of the gate: a floor, and no loss against the pushed model."""
    drop = 0.05 if eval_pictures < _FEW_PICTURES else 0.02
    kinds = ["box", "mask"] if has_masks else ["box"]
    thresholds = [{"metric": f"{kind}/AP50", "min": 0.3, "max_drop": drop} for kind in kinds]
    why = f"{eval_pictures} pictures to measure on; raise `min` once you know what is reached"
    return Choice({"evaluate.thresholds": thresholds}, "gate", why)


def choose_shards(train: int, evaluation: int) -> Choice:
    """Returns how many files the records are spread over."""
    settings = {
        "data.train_shards": max(2, min(256, round(train / _PICTURES_A_SHARD))),
        "data.eval_shards": max(1, min(64, round(evaluation / _PICTURES_A_SHARD))),
    }
    return Choice(settings, "files", "some hundred pictures each")

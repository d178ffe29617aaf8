"""Whole detectors against torchvision's numbers, in the stages that the fixtures' README advises.

Everything stored is x-first and channels-first; it is turned here, ours stays as it is. Tolerances
are those of the README.
"""

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from configs.model_schema import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    DetectionConfig,
    MaskHeadConfig,
    ModelConfig,
    RoiConfig,
    RpnConfig,
)
from model.batch import Batch, Masks
from model.detector import RcnnDetector, build_detector
from model.input.resize import resize_values, resized_size
from model.layers.fpn import LEVELS
from model.layers.resnet import MEAN, STD, normalize_pixels
from model.layers.rpn import Proposals, propose
from model.ops.boxes import iou_matrix
from model.ops.mask_paste import paste_mask
from model.weights.torchvision import from_torchvision, to_torchvision
from tests.parity.checks import Check, difference, equality, minimum

NUM_CLASSES = 90
SHORT_SIDE_PX, LONG_SIDE_PX = 320, 512
Y_FIRST = [1, 0, 3, 2]  # turns x-first boxes and deltas into ours, and back
LOSS_NAMES = {
    "loss_objectness": "rpn_objectness",
    "loss_rpn_box_reg": "rpn_box",
    "loss_classifier": "roi_class",
    "loss_box_reg": "roi_box",
    "loss_mask": "mask",
}

Arrays = Mapping[str, np.ndarray]


def torchvision_config(with_masks: bool, for_losses: bool) -> ModelConfig:
    """The settings of the fixtures' detectors; for_losses: nothing is left to chance."""
    samples = 1_000_000 if for_losses else 256
    return ModelConfig(
        backbone=BackboneConfig(name="resnet50", frozen_stages=0),
        anchors=AnchorConfig(rounded=True),
        rpn=RpnConfig(
            samples_per_picture=samples,
            pre_nms_top_k=300,
            post_nms_top_k=2000,
            min_box_size_px=1e-3,
            smooth_l1_beta=1 / 9,
        ),
        # All positives are taken as long as they are fewer than this share; fewer rows for masks.
        roi=RoiConfig(samples_per_picture=samples, positive_fraction=0.05, aligned=False),
        box_head=BoxHeadConfig(smooth_l1_beta=1 / 9),
        mask_head=MaskHeadConfig() if with_masks else None,
        detections=DetectionConfig(min_box_size_px=1e-2),
    )


class Fixture:
    """One folder of fixtures: pictures as a batch, weights, stored numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = np.load(folder / "images.npz")
        self.losses = np.load(folder / "losses.npz")
        self.pictures = [self.images[f"pixels_{i}"] for i in range(2)]
        resized = [self._resized(picture) for picture in self.pictures]
        self.sizes = np.array([r.shape[:2] for r in resized], np.float32)
        self.side_px = (-(-self.sizes.max(axis=0) // 32) * 32).astype(int)
        self.batch = np.stack([self._padded(r) for r in resized])
        # Resized pixels per picture pixel, on the axes (height, width).
        self.scales = self.sizes / np.array([p.shape[:2] for p in self.pictures])

    def detections(self, kind: str) -> Arrays:
        return np.load(self.folder / f"detections_{kind}.npz")

    def state_dict(self, kind: str) -> dict[str, np.ndarray]:
        spec = importlib.util.spec_from_file_location("rule", self.folder / "weights_rule.py")
        rule = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(rule)
        salt = json.loads((self.folder / "meta.json").read_text())["salt"]
        return rule.state_dict(kind, salt)

    def detector(self, kind: str, for_losses: bool, jit: bool = False) -> RcnnDetector:
        config = torchvision_config(kind == "mask", for_losses)
        detector = build_detector(config, NUM_CLASSES, jit=jit)
        shapes = {variable.path: variable.shape for variable in detector.variables}
        detector.import_weights(from_torchvision(self.state_dict(kind), shapes))
        return detector

    def training_batch(self) -> Batch:
        """Pictures and ground truth in the form that `loss_terms` takes."""
        rows = max(len(self.images[f"gt_labels_{i}"]) for i in range(2))
        truth = [self._ground_truth(i, rows) for i in range(2)]
        fields = {name: np.stack([t[name] for t in truth]) for name in truth[0]}
        masks = Masks(fields.pop("bitmaps"), fields.pop("mask_boxes"), fields["gt_valid"])
        batch = Batch(
            images=self.batch,
            image_sizes=self.sizes,
            image_ids=np.arange(2, dtype=np.int64),
            valid=np.ones(2, bool),
            gt_is_crowd=np.zeros((2, rows), bool),
            gt_masks=masks,
            **fields,
        )
        return tf.nest.map_structure(tf.constant, batch)

    def _ground_truth(self, i: int, rows: int) -> dict[str, np.ndarray]:
        boxes = self.images[f"gt_boxes_{i}"][:, Y_FIRST] * np.tile(self.scales[i], 2)
        labels, used = self.images[f"gt_labels_{i}"], len(boxes)
        height, width = self.pictures[i].shape[:2]
        bits = self.images[f"gt_masks_bits_{i}"]
        masks = np.unpackbits(bits, axis=-1, count=width)
        new_height, new_width = self.sizes[i].astype(int)
        rows_of = np.floor(np.arange(new_height) * np.float32(height / new_height)).astype(int)
        columns_of = np.floor(np.arange(new_width) * np.float32(width / new_width)).astype(int)
        bitmaps = np.zeros((rows, *self.side_px), np.uint8)
        bitmaps[:used, :new_height, :new_width] = masks[:, rows_of][:, :, columns_of]
        padding = ((0, rows - used), (0, 0))
        return {
            "gt_boxes": np.pad(boxes, padding).astype(np.float32),
            "gt_classes": np.pad(labels, padding[0]).astype(np.int32),
            "gt_valid": np.arange(rows) < used,
            "bitmaps": bitmaps,
            "mask_boxes": np.tile([0, 0, *self.side_px], (rows, 1)).astype(np.float32),
        }

    def _resized(self, picture: np.ndarray) -> np.ndarray:
        """Returns float values: torchvision normalises first, which does not round."""
        size = resized_size(*picture.shape[:2], SHORT_SIDE_PX, LONG_SIDE_PX)
        return resize_values(tf.constant(picture), *size).numpy()

    def _padded(self, picture: np.ndarray) -> np.ndarray:
        missing = self.side_px - picture.shape[:2]
        return np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)))


def model_checks(folder: Path) -> Iterator[Check]:
    """Yields every check of both models, eagerly and in a compiled graph."""
    fixture = Fixture(folder)
    for kind in ("faster", "mask"):
        detector = fixture.detector(kind, for_losses=False)
        for mode, wrap in (("eager", _as_is), ("graph", _as_graph)):
            prefix = f"{kind} {mode}"
            yield from detection_checks(prefix, fixture, kind, detector, wrap)
        training = fixture.detector(kind, for_losses=True)
        for mode, wrap in (("eager", _as_is), ("graph", _as_graph)):
            yield from _loss_checks(f"{kind} {mode}", fixture, kind, training, wrap)


Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def _as_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _as_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, autograph=False)


def detection_checks(
    prefix: str, fixture: Fixture, kind: str, detector: RcnnDetector, wrap: Wrap = _as_is
) -> Iterator[Check]:
    """Yields the comparisons of inference, stage by stage.

    Args:
        prefix: of the checks' names.
        fixture: pictures and stored numbers.
        kind: "faster" or "mask".
        detector: with the fixture's weights.
        wrap: makes a graph of a function, or not.
    """
    stored = fixture.detections(kind)
    images, sizes = tf.constant(fixture.batch), tf.constant(fixture.sizes)
    pixels = wrap(lambda: normalize_pixels(images, sizes, MEAN, STD))()
    every_16th = _channels_first(pixels)[:, :, ::16, ::16]
    yield difference(f"{prefix} batch", every_16th, stored["batch/every_16th"], 1e-4)

    def outputs() -> Any:
        stages = detector.backbone(images, image_sizes=sizes)
        pyramid = detector.fpn(stages)
        logits, deltas, anchors = detector.rpn_outputs(pyramid)
        proposals = propose(anchors, logits, deltas, sizes, detector.config.rpn, training=False)
        return dict(stages), pyramid, logits, deltas, proposals

    stages, pyramid, logits, deltas, proposals = wrap(outputs)()
    maps = {name: _channels_first(value) for name, value in (stages | pyramid).items()}
    for level in LEVELS:
        height, width = pyramid[level].shape[1:3]
        shape = (2, height, width, -1)
        maps[f"rpn_logits_{level}"] = _channels_first(tf.reshape(logits[level], shape))
        x_first = tf.gather(deltas[level], Y_FIRST, axis=-1)
        maps[f"rpn_deltas_{level}"] = _channels_first(tf.reshape(x_first, shape))
    for name, value in maps.items():
        yield from _map_checks(prefix, name, value, stored)
    for i in range(2):
        yield from _proposal_checks(prefix, i, proposals, stored)
    yield from _box_head_checks(prefix, detector, wrap, pyramid, stored)
    found = wrap(lambda: detector.detect(images, sizes))()
    for i in range(2):
        yield from _final_checks(prefix, i, found, fixture.scales[i], stored)
    if kind == "mask":
        yield from _mask_checks(prefix, fixture, detector, wrap, pyramid, stored)


def _map_checks(prefix: str, name: str, value: np.ndarray, stored: Arrays) -> Iterator[Check]:
    yield equality(f"{prefix} {name} shape", list(value.shape), stored[f"{name}/shape"].tolist())
    flat = value.reshape(2, -1).astype(np.float64)
    mean_std = np.stack([flat.mean(axis=1), flat.std(axis=1)])
    yield difference(f"{prefix} {name} mean, std", mean_std, stored[f"{name}/mean_std"], 1e-4)
    steps = [max(value.shape[1] // 16, 1), *(max(side // 4, 1) for side in value.shape[2:])]
    sample = value[:, :: steps[0], :: steps[1], :: steps[2]]
    yield difference(f"{prefix} {name} sample", sample, stored[f"{name}/sample"], 5e-4)


def _proposal_checks(prefix: str, i: int, proposals: Proposals, stored: Arrays) -> Iterator[Check]:
    boxes = proposals.boxes[i].numpy()[proposals.valid[i].numpy()]
    theirs = stored[f"proposals_{i}/boxes"][:, Y_FIRST]
    has_partner = iou_matrix(theirs, boxes).numpy().max(axis=1) > 0.99
    share = 980 / 1000 * len(theirs)
    yield minimum(f"{prefix} picture {i} proposals with a partner", has_partner.sum(), share)
    first = has_partner[:100].sum()
    yield minimum(f"{prefix} picture {i} of the first 100", first, 98)
    yield minimum(f"{prefix} picture {i} proposals", len(boxes), share)


def _box_head_checks(
    prefix: str, detector: RcnnDetector, wrap: Wrap, pyramid: Any, stored: Arrays
) -> Iterator[Check]:
    """Compares the box head's outputs for the stored proposals."""
    rois = _stacked(stored, "proposals_{}/boxes", 100)[:, :, Y_FIRST]
    logits, deltas = wrap(lambda: detector.box_predictions(pyramid, tf.constant(rois)))()
    deltas = tf.gather(deltas, Y_FIRST, axis=-1).numpy()[:, :, :5].reshape(2, 100, 20)
    for i in range(2):
        name = f"proposals_{i}/class_logits_of_first_100"
        yield difference(f"{prefix} picture {i} class logits", logits[i], stored[name], 5e-3)
        name = f"proposals_{i}/box_deltas_of_first_100_classes_1_to_5"
        yield difference(f"{prefix} picture {i} box deltas", deltas[i], stored[name], 2e-3)


def _final_checks(
    prefix: str, i: int, found: Mapping[str, tf.Tensor], scales: np.ndarray, stored: Arrays
) -> Iterator[Check]:
    num = int(found.num[i])
    boxes = found.boxes[i, :num].numpy() / np.tile(scales, 2)
    classes, scores = found.classes[i, :num].numpy(), found.scores[i, :num].numpy()
    their_boxes = stored[f"detections_{i}/boxes"][:, Y_FIRST]
    iou = iou_matrix(their_boxes, boxes).numpy()
    iou[stored[f"detections_{i}/labels"][:, None] != classes[None]] = 0.0
    partner = iou.argmax(axis=1)
    has_partner = iou.max(axis=1) > 0.99
    partners = has_partner.sum()
    share = 0.97 * len(their_boxes)
    name = f"{prefix} picture {i} detections"
    yield equality(f"{name}, number", num, len(their_boxes))
    yield minimum(f"{name} with a partner", partners, share)
    ours, theirs = boxes[partner][has_partner], their_boxes[has_partner]
    yield difference(f"{name}, boxes", ours, theirs, 0.05)
    their_scores = stored[f"detections_{i}/scores"][has_partner]
    yield difference(f"{name}, scores", scores[partner][has_partner], their_scores, 1e-3)


def _mask_checks(
    prefix: str, fixture: Fixture, detector: RcnnDetector, wrap: Wrap, pyramid: Any, stored: Arrays
) -> Iterator[Check]:
    """Compares masks for the stored boxes, and their pasting into the pictures."""
    boxes = _stacked(stored, "detections_{}/boxes_in_batch")[:, :, Y_FIRST]
    classes = _stacked(stored, "detections_{}/labels").astype(np.int32)
    masks = wrap(lambda: tf.sigmoid(detector.mask_logits(pyramid, boxes, classes)))().numpy()
    for i in range(2):
        first_20 = stored[f"detections_{i}/masks_28x28_of_first_20"]
        yield difference(f"{prefix} picture {i} masks", masks[i, :20], first_20, 1e-3)
        height, width = fixture.pictures[i].shape[:2]
        boxes_orig = stored[f"detections_{i}/boxes"][:, Y_FIRST]
        pasted = np.zeros((len(boxes_orig), height, width), bool)
        for mask, box, canvas in zip(masks[i], boxes_orig, pasted, strict=False):
            y, x, window = paste_mask(mask, box, height, width)
            canvas[y : y + window.shape[0], x : x + window.shape[1]] = window
        bits = stored[f"detections_{i}/pasted_masks_bits_of_first_5"]
        theirs = np.unpackbits(bits, axis=-1, count=width).astype(bool)
        common = (pasted[:5] & theirs).sum(axis=(1, 2))
        iou = common / np.maximum((pasted[:5] | theirs).sum(axis=(1, 2)), 1)
        yield minimum(f"{prefix} picture {i} pasted masks, worst IoU", iou.min(), 0.95)
        yield minimum(f"{prefix} picture {i} pasted masks, mean IoU", iou.mean(), 0.99)
        pixels = pasted.sum(axis=(1, 2))
        their_pixels = stored[f"detections_{i}/mask_pixels"]
        worst = np.abs(pixels - their_pixels) / np.maximum(their_pixels, 1)
        yield difference(f"{prefix} picture {i} mask pixels, relative", worst, 0 * worst, 0.05)


def _loss_checks(
    prefix: str, fixture: Fixture, kind: str, detector: RcnnDetector, wrap: Wrap
) -> Iterator[Check]:
    batch = fixture.training_batch()
    variables = detector.trainable_variables + [
        variable for variable in detector.non_trainable_variables if "norm" not in variable.path
    ]

    def losses_and_gradients() -> Any:
        with tf.GradientTape() as tape:
            terms = detector.loss_terms(batch, 0, tf.constant(0, tf.int64))
            losses = {name: term.sum / term.denominator for name, term in terms.items()}
            total = tf.add_n(list(losses.values()))
        gradients = tape.gradient(total, [variable.value for variable in variables])
        return losses, {name: term.denominator for name, term in terms.items()}, gradients

    losses, denominators, gradients = wrap(losses_and_gradients)()
    stored = {
        name.removeprefix(f"{kind}/"): fixture.losses[name]
        for name in fixture.losses.files
        if name.startswith(f"{kind}/")
    }
    sampled = int(stored["rois_sampled"].sum())
    yield equality(f"{prefix} RoIs sampled", int(denominators["roi_class"]), sampled)
    if kind == "mask":
        positive = int(stored["rois_positive"].sum())
        yield equality(f"{prefix} RoIs positive", int(denominators["mask"]), positive)
    for name, ours in LOSS_NAMES.items():
        if name in stored:
            relative = float(losses[ours]) / float(stored[name]) - 1.0
            yield difference(f"{prefix} {name}, relative", relative, 0.0, 2e-4)
    by_path = {
        variable.path: tf.convert_to_tensor(gradient).numpy()
        for variable, gradient in zip(variables, gradients, strict=True)
    }
    yield from _gradient_checks(prefix, to_torchvision(by_path), fixture.state_dict(kind), stored)


def _gradient_checks(
    prefix: str, gradients: Arrays, weights: Arrays, stored: Arrays
) -> Iterator[Check]:
    names = stored["gradient_names"].tolist()
    yield equality(f"{prefix} weights with a gradient", sorted(gradients), sorted(names))
    norms = np.array([np.linalg.norm(gradients[name].astype(np.float64)) for name in names])
    worst = np.abs(norms / stored["gradient_norms"] - 1.0)
    name = f"{prefix} gradient norms, relative (worst: {names[int(worst.argmax())]})"
    yield difference(name, worst, 0 * worst, 3e-3)
    dots = [np.vdot(gradients[name].astype(np.float64), weights[name]) for name in names]
    yield difference(f"{prefix} gradient dot weights", dots, stored["gradient_dot_weights"], 5e-3)


def _channels_first(value: tf.Tensor) -> np.ndarray:
    return np.moveaxis(tf.convert_to_tensor(value).numpy(), -1, 1)


def _stacked(stored: Arrays, template: str, rows: int | None = None) -> np.ndarray:
    """Returns the arrays of both pictures as one, the shorter padded with zeros."""
    arrays = [stored[template.format(i)][:rows] for i in range(2)]
    longest = max(len(array) for array in arrays)
    padding = [[(0, longest - len(a)), *[(0, 0)] * (a.ndim - 1)] for a in arrays]
    return np.stack([np.pad(a, p) for a, p in zip(arrays, padding, strict=True)])

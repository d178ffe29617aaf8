"""Single tensor functions against torchvision's numbers.

Everything stored is x-first and channels-first; it is turned here, ours stays as it is. Tolerances
are those of the fixtures' README. What compiles under XLA is compared eagerly and compiled.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from pycocotools import mask as coco_mask

from model.ops.anchors import base_anchors, level_anchors
from model.ops.boxes import clip_boxes, decode_deltas, encode_deltas, iou_matrix, is_large_enough
from model.ops.mask_paste import encode_window, paste_mask, paste_probabilities
from model.ops.masks import mask_targets
from model.ops.matcher import NEGATIVE, POSITIVE, Matches, match_boxes
from model.ops.nms import multiclass_nms, nms_keep
from model.ops.roi_align import assign_levels, roi_align, roi_align_on_levels
from tests.parity.checks import Check, difference, equality

# The fixtures' anchors: side on p2 ... p6 and height / width.
ANCHOR_SIZES_PX = (32, 64, 128, 256, 512)
ASPECT_RATIOS = (0.5, 1.0, 2.0)
DELTA_WEIGHTS = {"w1": (1.0, 1.0, 1.0, 1.0), "w10": (10.0, 10.0, 5.0, 5.0)}
THRESHOLDS = {"rpn_07_03_low_quality": (0.7, 0.3, True), "roi_05_05": (0.5, 0.5, False)}

RELATIVE = 2e-5  # of the largest number
POOLED = 1e-4  # absolute

Arrays = Mapping[str, np.ndarray]
Mode = tuple[str, Callable[..., Any]]
MODES: tuple[Mode, ...] = (
    ("eager", lambda function: function),
    ("graph", tf.function),
    ("jit", lambda function: tf.function(function, jit_compile=True)),
)


def component_checks(folder: Path) -> Iterator[Check]:
    """Yields a check for each stored output of model/ops' functions, in each mode."""
    stored = stored_components(folder)
    for checks in CHECKS.values():
        yield from checks(stored)


def stored_components(folder: Path) -> Arrays:
    """The arrays of a folder of fixtures."""
    with np.load(folder / "components.npz") as file:
        return dict(file)


def y_first(boxes: np.ndarray) -> np.ndarray:
    """Boxes or deltas [..., 4] from x-first to y-first, and back."""
    return boxes[..., [1, 0, 3, 2]]


def _near(name: str, ours: Any, theirs: np.ndarray) -> Check:
    return difference(name, ours, theirs, RELATIVE * float(np.abs(theirs).max(initial=0.0)))


def _anchor_checks(stored: Arrays) -> Iterator[Check]:
    base = [base_anchors(size, ASPECT_RATIOS, rounded=True) for size in ANCHOR_SIZES_PX]
    yield _near("anchors/base", np.concatenate(base), y_first(stored["anchors/base"]))
    sizes = [(int(height), int(width)) for height, width in stored["anchors/map_sizes"]]

    def all_levels():
        parts = zip(sizes, base, range(2, 7), strict=True)
        return tf.concat(
            [level_anchors(h, w, 2**level, a, offset=0.0) for (h, w), a, level in parts], axis=0
        )

    for mode, wrap in MODES:
        theirs = y_first(stored["anchors/anchors"])
        yield _near(f"anchors/anchors ({mode})", wrap(all_levels)(), theirs)


def _delta_checks(stored: Arrays) -> Iterator[Check]:
    boxes = tf.constant(y_first(stored["box_coder/boxes"]))
    anchors = tf.constant(y_first(stored["box_coder/anchors"]))
    for name, weights in DELTA_WEIGHTS.items():
        encoded = y_first(stored[f"box_coder/{name}/encoded"])
        decoded = y_first(stored[f"box_coder/{name}/decoded"])
        deltas = y_first(stored[f"box_coder/{name}/deltas"].reshape(decoded.shape))

        def encode(boxes, anchors, weights=weights):
            return encode_deltas(boxes, anchors, weights)

        def decode(deltas, anchors, weights=weights):
            return decode_deltas(deltas, anchors[:, None, :], weights)

        for mode, wrap in MODES:
            prefix = f"box_coder/{name}"
            yield _near(f"{prefix}/encoded ({mode})", wrap(encode)(boxes, anchors), encoded)
            ours = wrap(decode)(tf.constant(deltas), anchors)
            yield _near(f"{prefix}/decoded ({mode})", ours, decoded)


def _iou_checks(stored: Arrays) -> Iterator[Check]:
    first, second = (tf.constant(y_first(stored[f"box_iou/{n}"])) for n in ("first", "second"))
    for mode, wrap in MODES:
        ours = wrap(iou_matrix)(first, second)
        yield _near(f"box_iou/iou ({mode})", ours, stored["box_iou/iou"])


def _clip_checks(stored: Arrays) -> Iterator[Check]:
    boxes = tf.constant(y_first(stored["clip/boxes"])[None])
    sizes = tf.constant(stored["clip/height_width"][None], tf.float32)
    for mode, wrap in MODES:
        clipped = wrap(clip_boxes)(boxes, sizes)[0]
        yield _near(f"clip/clipped ({mode})", clipped, y_first(stored["clip/clipped"]))
    for name, min_size_px in (("not_small_1e_3", 1e-3), ("not_small_1e_2", 1e-2)):
        ours = np.flatnonzero(is_large_enough(clipped, min_size_px))
        yield equality(f"clip/{name}", ours.tolist(), stored[f"clip/{name}"].tolist())


def _matcher_checks(stored: Arrays) -> Iterator[Check]:
    overlaps = tf.constant(stored["matcher/quality"].T[None])
    for name, (positive_iou, negative_iou, low_quality) in THRESHOLDS.items():

        def match(iou, high=positive_iou, low=negative_iou, low_quality=low_quality):
            valid = tf.ones([1, iou.shape[2]], tf.bool)
            return match_boxes(iou, valid, high, low, low_quality)

        for mode, wrap in MODES:
            ours = _their_numbers(wrap(match)(overlaps))
            yield equality(f"matcher/{name} ({mode})", ours, stored[f"matcher/{name}"].tolist())


def _their_numbers(matches: Matches) -> list[int]:
    """The object of each anchor, -1 for negative and -2 for ignored ones."""
    label, gt_index = matches.label[0].numpy(), matches.gt_index[0].numpy()
    return np.where(label == POSITIVE, gt_index, np.where(label == NEGATIVE, -1, -2)).tolist()


def _nms_checks(stored: Arrays) -> Iterator[Check]:
    boxes, scores = y_first(stored["nms/boxes"]), stored["nms/scores"]
    groups = stored["nms/groups"]
    order = np.argsort(-scores, kind="stable")
    by_group = np.full([1, len(scores), groups.max() + 1], -1.0, np.float32)
    by_group[0, np.arange(len(scores)), groups] = scores
    for key in sorted(name for name in stored if name.startswith("nms/keep_")):
        threshold = float(key.removeprefix("nms/keep_"))

        def keep(boxes, threshold=threshold):
            return nms_keep(boxes, tf.ones(boxes.shape[:2], tf.bool), threshold)

        def detect(boxes, scores, threshold=threshold):
            # Scores of 0 count as well, and nothing is cut off.
            return multiclass_nms(boxes, scores, -0.5, threshold, boxes.shape[1], 0.0)

        batched = key.replace("keep", "batched_keep")
        for mode, wrap in MODES:
            kept = wrap(keep)(tf.constant(boxes[None, order]))[0].numpy()
            yield equality(f"{key} ({mode})", order[kept].tolist(), stored[key].tolist())
            found = wrap(detect)(tf.constant(boxes[None, :, None]), tf.constant(by_group))
            ours = found.roi_index[0].numpy()[found.valid[0].numpy()].tolist()
            yield equality(f"{batched} ({mode})", ours, stored[batched].tolist())


def _roi_align_checks(stored: Arrays) -> Iterator[Check]:
    feature = stored["roi_align/feature"].transpose(0, 2, 3, 1)
    stride = round(1 / float(stored["roi_align/spatial_scale"]))
    level = stride.bit_length() - 1
    features = {f"p{n}": tf.zeros_like(feature[:, :1, :1]) for n in range(2, 6)}
    features |= {f"p{level}": tf.constant(feature)}
    rois, rows = _by_image(stored["roi_align/rois"], len(feature))
    levels = tf.fill(rois.shape[:2], level)
    for key in sorted(name for name in stored if name.startswith("roi_align/out")):
        bins, ratio, kind = re.fullmatch(r".*out(\d+)_ratio(\d+)_((?:un)?aligned)", key).groups()

        def pool(features, rois, body, bins=int(bins), ratio=int(ratio), kind=kind):
            aligned = kind == "aligned"
            return roi_align_on_levels(features, rois, levels, bins, ratio, aligned, body)

        theirs = stored[key].transpose(0, 2, 3, 1)
        for mode, body, wrap in _pooling_modes(adaptive=ratio == "0"):
            ours = wrap(lambda f, r, body=body, pool=pool: pool(f, r, body))(features, rois)
            yield difference(f"{key} ({body}, {mode})", ours.numpy()[rows], theirs, POOLED)


def _multiscale_checks(stored: Arrays) -> Iterator[Check]:
    names = [f"p{level}" for level in range(2, 6)]
    features = {n: tf.constant(stored[f"multiscale/{n}"].transpose(0, 2, 3, 1)) for n in names}
    boxes = [stored[f"multiscale/boxes_{i}"] for i in range(len(features["p2"]))]
    numbers = np.repeat(np.arange(len(boxes)), [len(b) for b in boxes]).astype(np.float32)
    rois, rows = _by_image(np.column_stack([numbers, np.concatenate(boxes)]), len(boxes))
    levels = assign_levels(rois).numpy()[rows] - 2
    name = "multiscale/level_of_box"
    yield equality(name, levels.tolist(), stored[name].tolist())
    theirs = stored["multiscale/pooled"].transpose(0, 2, 3, 1)
    for mode, body, wrap in _pooling_modes(adaptive=False):
        ours = wrap(lambda f, r, body=body: roi_align(f, r, 7, 2, False, body))(features, rois)
        name = f"multiscale/pooled ({body}, {mode})"
        yield difference(name, ours.numpy()[rows], theirs, POOLED)


def _pooling_modes(adaptive: bool) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    for mode, wrap in MODES:
        if mode != "jit":
            yield mode, "sparse", wrap
        if not adaptive:
            yield mode, "gather", wrap


def _by_image(rois: np.ndarray, num_images: int) -> tuple[tf.Tensor, tuple[np.ndarray, ...]]:
    """Rows (image, x-first box) as [N, R, 4] boxes padded with points, and where each row went."""
    images = rois[:, 0].astype(int)
    places = np.array([np.sum(images[:row] == images[row]) for row in range(len(rois))])
    boxes = np.zeros([num_images, places.max() + 1, 4], np.float32)
    boxes[images, places] = y_first(rois[:, 1:])
    return tf.constant(boxes), (images, places)


def _mask_target_checks(stored: Arrays) -> Iterator[Check]:
    masks = stored["maskrcnn_loss/gt_masks"]
    whole = np.array([0, 0, *masks.shape[1:]], np.float32)
    theirs = stored["maskrcnn_loss/mask_targets_28x28"]
    for mode, wrap in MODES:
        ours = wrap(lambda *arguments: mask_targets(*arguments, theirs.shape[1]))(
            tf.constant(masks[None]),
            tf.constant(np.tile(whole, [1, len(masks), 1])),
            tf.constant(y_first(stored["maskrcnn_loss/proposals"])[None]),
            tf.constant(stored["maskrcnn_loss/matched"][None], tf.int32),
        )
        yield difference(f"maskrcnn_loss/mask_targets ({mode})", ours[0], theirs, POOLED)


def _paste_checks(stored: Arrays) -> Iterator[Check]:
    height, width = (int(side) for side in stored["paste_masks/height_width"])
    boxes = y_first(stored["paste_masks/boxes"])
    for i, (mask, box) in enumerate(zip(stored["paste_masks/masks"][:, 0], boxes, strict=True)):
        theirs = stored["paste_masks/pasted"][i, 0]
        y0, x0, window = paste_probabilities(mask, box, height, width)
        ours = np.zeros([height, width], np.float32)
        ours[y0 : y0 + window.shape[0], x0 : x0 + window.shape[1]] = window
        yield difference(f"paste_masks/pasted {i}", ours, theirs, POOLED)
        y0, x0, covered = paste_mask(mask, box, height, width)
        ours = encode_window(covered, y0, x0, height, width)["counts"]
        whole = np.asfortranarray((theirs > 0.5).astype(np.uint8))
        yield equality(f"paste_masks/code {i}", ours, coco_mask.encode(whole)["counts"].decode())


CHECKS: dict[str, Callable[[Arrays], Iterator[Check]]] = {
    "anchors": _anchor_checks,
    "box_coder": _delta_checks,
    "box_iou": _iou_checks,
    "clip": _clip_checks,
    "matcher": _matcher_checks,
    "nms": _nms_checks,
    "roi_align": _roi_align_checks,
    "multiscale": _multiscale_checks,
    "mask_targets": _mask_target_checks,
    "paste_masks": _paste_checks,
}

"""What the data report says beside plain counts: suspicions, likeness, masks, anchors, overflow."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.coco_transform.anchor_fit import Fit, fit
from components.coco_transform.likeness import Likeness, Pictures
from components.coco_transform.statistics import SplitStatistics
from components.coco_transform.suspicion import (
    BOX_AND_MASK,
    DUPLICATE,
    WHOLE_PICTURE,
    SuspiciousPlace,
)
from configs.model_schema import AnchorConfig
from ground.wording import plural
from model.examples import TRAINING_SPLIT
from model.input.index import ShardIndex

_SHOWN_PAIRS = 12
_LISTED = 20
# Below it a mask's edge is seen to differ: a judgement.
_POOR_FIDELITY = 0.9
_ENOUGH_TO_FIT = 100
# A judgement: below it other anchors are no reason to train anew.
_WORTH_TELLING = 0.02

SUSPICIONS = {
    BOX_AND_MASK: "box and mask lie in different places",
    WHOLE_PICTURE: "box covers almost the whole picture",
    DUPLICATE: "drawn twice: box and class are those of another object",
}


class Alike(NamedTuple):
    """Which pictures of the splits are the same.

    Attributes:
        pictures: those of all splits, whose names are `names` in their order.
        names: names of the splits.
        same_files: by split, but for training's: places of a picture and of training's.
        looks: pictures that look alike.
    """

    pictures: Pictures
    names: list[str]
    same_files: Mapping[str, Sequence[tuple[int, int]]]
    looks: Likeness


def suspicions_content(statistics: SplitStatistics) -> dict[str, Any]:
    """Returns counts by kind, and the surest of each kind with their ids."""
    found = statistics.suspicions
    return {
        kind: {
            "objects": found.counts[kind],
            "surest": [_suspicious(place) for place in found.places.get(kind, [])],
        }
        for kind in SUSPICIONS
        if found.counts[kind]
    }


def _suspicious(place: SuspiciousPlace) -> dict[str, Any]:
    ids = {"image_id": place.image_id, "annotation_id": place.annotation_id}
    other = {} if place.other_id is None else {"other_annotation_id": place.other_id}
    return ids | other | {"degree": round(1 - place.doubt, 4)}


def masks_content(statistics: SplitStatistics) -> dict[str, Any] | None:
    """Returns how near bitmaps come to their masks, and what they take; None without masks."""
    number, masks = statistics.objects["mask_kept"], statistics.masks
    if not number or not statistics.worst_mask:
        return None
    worst, image_id, annotation_id = statistics.worst_mask
    return {
        "bitmaps": number,
        "shrunk": masks["shrunk"],
        "bytes_each": round(masks["bytes"] / number, 1),
        "mean_iou": round(masks["iou_millionths"] / 1e6 / number, 4),
        "worst_iou": round(worst, 4),
        "worst_image_id": image_id,
        "worst_annotation_id": annotation_id,
    }


def anchors_content(
    statistics: Mapping[str, SplitStatistics], anchors: AnchorConfig
) -> dict[str, Any] | None:
    """Returns how the anchors fit the training split, and those that `init` proposes for it."""
    if TRAINING_SPLIT not in statistics:
        return None
    proposed = statistics[TRAINING_SPLIT].boxes.propose()
    if proposed is None:
        return None
    shapes = statistics[TRAINING_SPLIT].histograms["box_shape"]
    fits = fit(shapes, anchors), fit(shapes, proposed)
    return {
        "objects": int(shapes.sum()),
        "given": _fit_content(anchors, fits[0]),
        "proposed": _fit_content(proposed, fits[1]),
        "is_better": fits[1].score - fits[0].score >= _WORTH_TELLING,
        "fragment": f"model:\n  anchors:\n    sizes_px: {_listed(proposed.sizes_px)}\n"
        f"    aspect_ratios: {_listed(proposed.aspect_ratios)}\n",
    }


def _fit_content(anchors: AnchorConfig, found: Fit) -> dict[str, Any]:
    return {
        "sizes_px": list(anchors.sizes_px),
        "aspect_ratios": list(anchors.aspect_ratios),
        "mean_iou": round(found.mean_iou, 4),
        "covered": round(found.covered, 4),
    }


def _listed(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{number:g}' for number in numbers)}]"


def overflow_content(most: int, index: ShardIndex) -> dict[str, Any]:
    """Returns what of a split exceeds `input.max_objects`."""
    excess = np.maximum(index.num_objects.astype(np.int64) - most, 0)
    fullest = np.argsort(-index.num_objects, kind="stable")[:5]
    return {
        "max_objects": most,
        "pictures": int(np.count_nonzero(excess)),
        "objects": int(excess.sum()),
        "fullest": [
            {"image_id": int(index.image_id[row]), "objects": int(index.num_objects[row])}
            for row in fullest
        ],
    }


def alike_content(alike: Alike) -> dict[str, Any]:
    """Returns how many pictures are the same, byte for byte or to the eye, with their ids.

    `look_alikes_beside_same` are those that look like one of training's and are no file of it.
    """
    pictures, looks = alike.pictures, alike.looks
    ids = pictures.image_id.tolist()
    splits = {}
    for number, name in enumerate(alike.names):
        is_own = pictures.split == number
        others = {
            other: int(looks.has_twin[is_own, at].sum())
            for at, other in enumerate(alike.names)
            if looks.has_twin.shape[1] > at
        }
        shared = alike.same_files.get(name, ())
        splits[name] = {
            "same_files": len(shared),
            "same_files_listed": [[ids[one], ids[other]] for one, other in shared[:_LISTED]],
            "look_alikes": others,
            "look_alikes_beside_same": _beside_same(alike, number),
        }
    return {
        "splits": splits,
        "is_complete": looks.is_complete,
        "pairs": [
            {
                "bits": pair.bits,
                "pictures": [[alike.names[pictures.split[at]], ids[at]] for at in pair[1:]],
            }
            for pair in shown_pairs(alike)
        ],
    }


def _beside_same(alike: Alike, number: int) -> int:
    """Returns how many of a split, by its number, look like training's and are no file of it."""
    name, twins = alike.names[number], alike.looks.has_twin
    if name == TRAINING_SPLIT or TRAINING_SPLIT not in alike.names[: twins.shape[1]]:
        return 0
    is_counted = (alike.pictures.split == number) & twins[:, alike.names.index(TRAINING_SPLIT)]
    # Not all of the same files look alike: of a plain picture there is no hash.
    is_counted[[one for one, _ in alike.same_files.get(name, ())]] = False
    return int(is_counted.sum())


def shown_pairs(alike: Alike) -> list[Any]:
    """Returns the pairs to show: those of different splits first."""
    split = alike.pictures.split
    same = {frozenset(pair) for pairs in alike.same_files.values() for pair in pairs}
    pairs = sorted(
        alike.looks.pairs,
        key=lambda pair: (
            split[pair.one] == split[pair.other],
            frozenset(pair[1:]) not in same,
            pair,
        ),
    )
    return pairs[:_SHOWN_PAIRS]


def notes_on_findings(content: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each thing found that a person should look at."""
    return [
        *_notes_on_likeness(content["alike"]),
        *(note for name, split in content["splits"].items() for note in _notes(name, split)),
        *_notes_on_anchors(content["anchors"]),
    ]


def _notes(name: str, split: Mapping[str, Any]) -> list[str]:
    notes = [
        f"{name}: {plural(found['objects'], 'object')}: {SUSPICIONS[kind]}"
        for kind, found in split["suspicions"].items()
    ]
    masks = split["masks"]
    if masks is not None and masks["mean_iou"] < _POOR_FIDELITY:
        notes.append(
            f"{name}: bitmaps come to an IoU of {masks['mean_iou']:.2f} with their masks on "
            "average: transform.mask_size makes them finer"
        )
    return notes


def _notes_on_likeness(alike: Mapping[str, Any]) -> list[str]:
    notes = []
    for name, split in alike["splits"].items():
        if name == TRAINING_SPLIT:
            continue
        if number := split["same_files"]:
            notes.append(
                f"{name}: {plural(number, 'picture')} also in {TRAINING_SPLIT}, byte for byte"
            )
        if number := split["look_alikes_beside_same"]:
            them = "looks like one" if number == 1 else "look like some"
            notes.append(
                f"{name}: {plural(number, 'picture')} {them} of {TRAINING_SPLIT}: a model may be "
                "measured on what it learnt"
            )
    if not alike["is_complete"]:
        notes.append("very many pictures look alike: not all of them were compared")
    return notes


def _notes_on_anchors(anchors: Mapping[str, Any] | None) -> list[str]:
    if anchors is None or not anchors["is_better"] or anchors["objects"] < _ENOUGH_TO_FIT:
        return []
    given, proposed = anchors["given"], anchors["proposed"]
    return [
        f"{TRAINING_SPLIT}: other anchors fit better: "
        f"model.anchors.sizes_px={_listed(proposed['sizes_px'])}, "
        f"model.anchors.aspect_ratios={_listed(proposed['aspect_ratios'])} "
        f"(mean IoU {proposed['mean_iou']:.2f} in place of {given['mean_iou']:.2f}), as "
        "tfx-rcnn init proposes; not for the weights of a trained detector"
    ]

"""Whether so much of a split can be used that it may be trained on: CocoExampleGen's limits."""

from collections.abc import Sequence

import numpy as np

from components.coco_transform.likeness import Pictures
from components.coco_transform.record import DROP_REASONS
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.statistics import SplitStatistics
from configs.schema import LossLimits
from ground.errors import DatasetError
from ground.wording import listed, plural
from model.coco.limits import beyond_limit
from model.examples import TRAINING_SPLIT


def check_losses(name: str, statistics: SplitStatistics, limits: LossLimits) -> None:
    """Checks what CocoTransform could not use of a split.

    Raises:
        DatasetError: no picture is left, or more pictures, objects or masks are lost than the
            limits allow.
    """
    pictures, objects = statistics.pictures, statistics.objects
    dropped = {reason: pictures[reason] for reason in DROP_REASONS if pictures[reason]}
    if pictures["read"] and not pictures["written"]:
        read = plural(pictures["read"], "picture")
        example = statistics.lost[max(dropped, key=lambda reason: dropped[reason])]
        raise DatasetError(
            f"split {name!r}: none of its {read} can be used ({listed(dropped)}). For example "
            f"{example}"
        )
    _check(
        name,
        statistics,
        sum(dropped.values()),
        pictures["read"],
        "picture",
        dropped,
        ("data.max_rejected_fraction", limits.max_rejected_fraction),
    )
    for why in ("without_area", "outside"):
        number = sum(objects[f"{kind}_dropped_{why}"] for kind in ("object", "crowd"))
        _check(
            name,
            statistics,
            number,
            objects["read"],
            "object",
            {why: number},
            ("data.max_lost_objects_fraction", limits.max_lost_objects_fraction),
        )
    empty = objects["mask_empty"]
    _check(
        name,
        statistics,
        empty,
        empty + objects["mask_kept"],
        "mask",
        {"mask_empty": empty},
        ("data.max_lost_masks_fraction", limits.max_lost_masks_fraction),
    )


def check_shared_pictures(
    name: str,
    pictures: Pictures,
    shared: Sequence[tuple[int, int]],
    settings: CocoTransformSettings,
) -> None:
    """Checks that not too many pictures of a split are among those of the training split.

    Args:
        name: name of the split.
        pictures: those of all splits.
        shared: places of such a picture and of the training split's, of `same_files`.
        settings: what is allowed.

    Raises:
        DatasetError: there are more.
    """
    if settings.data.allow_same_splits or not shared:
        return
    limit = settings.transform.max_shared_pictures_fraction
    total = int(np.count_nonzero(pictures.split == pictures.split[shared[0][0]]))
    if len(shared) > limit * total:
        verb = "is" if len(shared) == 1 else "are"
        own, other = (pictures.image_id[place] for place in shared[0])
        raise DatasetError(
            f"split {name!r}: {len(shared):,} of {plural(total, 'picture')} {verb} also in "
            f"{TRAINING_SPLIT!r}, byte for byte (image id {own} is image id {other} there), so "
            "that a model would be measured on what it learnt: leave them out of one, let "
            "data.split.group keep them together, or raise transform.max_shared_pictures_fraction "
            f"{limit:g}"
        )


def _check(
    name: str,
    statistics: SplitStatistics,
    lost: int,
    total: int,
    noun: str,
    reasons: dict[str, int],
    limit: tuple[str, float],
) -> None:
    if lost <= limit[1] * total:
        return
    example = statistics.lost[max(reasons, key=lambda reason: reasons[reason])]
    fate = f"of no use for training ({listed(reasons)})"
    raise DatasetError(
        beyond_limit(f"split {name!r}", lost, total, noun, fate, limit, example, "Mend the data")
    )

"""Whether a training split holds what a detector can learn from; looked at before any worker."""

import os

import numpy as np

from ground.errors import DatasetError
from ground.wording import plural
from model.examples import Split, read_manifest
from model.input.index import index_path, read_index

_FEW_MASKS = 0.5  # share of the objects below which it is said


def check_trainable(examples_dir: str | os.PathLike[str], split: str, has_mask_head: bool) -> str:
    """Checks that a split has objects, and masks where a mask head is to learn them.

    Returns:
        A warning where only few objects have a mask, else "".

    Raises:
        DatasetError: no object but crowd regions, or a mask head and no mask.
    """
    held = read_manifest(examples_dir)["splits"][split]
    objects = held["objects"] - held.get("crowds", 0)
    if not objects:
        pictures = plural(held["records"], "picture")
        crowds = plural(held.get("crowds", 0), "crowd region")
        raise DatasetError(
            f"{examples_dir}: the split {split!r} has no object to learn from: {pictures} with "
            f"{crowds}: check the annotations of its data (docs/data.md)"
        )
    if not has_mask_head:
        return ""
    masks = held.get("masks")
    if masks == 0 or (masks is None and not _has_bitmaps(examples_dir, split, held)):
        raise DatasetError(
            f"{examples_dir}: none of {plural(objects, 'object')} of the split {split!r} has a "
            "mask, and the model has a mask head: check the `segmentation` of the data, or set "
            "model.mask_head=null"
        )
    if masks is None or masks >= _FEW_MASKS * objects:
        return ""
    verb = "has a mask" if masks == 1 else "have a mask"
    return (
        f"warning: only {masks:,} of {plural(objects, 'object')} of the split {split!r} {verb}: "
        "the mask head learns from those alone"
    )


def _has_bitmaps(examples_dir: str | os.PathLike[str], split: str, held: Split) -> bool:
    """Returns whether any record has a bitmap, by the index: for manifests that do not say.

    True where the manifest lists no shard either, so that nothing can be told.
    """
    shards = len(held["shards"])
    indexes = [read_index(index_path(examples_dir, split, n, shards)) for n in range(shards)]
    return not indexes or any(np.any(index.mask_side > 0) for index in indexes)

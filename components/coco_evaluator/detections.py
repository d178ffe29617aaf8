"""What a model finds in the pictures of a source; kept, so that new thresholds only compare."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from components.coco_evaluator.frames import turn_from_upright, turned_detections
from components.coco_evaluator.kept_detections import claim_detections_dir, read_kept, write_kept
from components.coco_evaluator.sources import Source
from ground.errors import DatasetError, ModelError
from ground.progress import Progress, without_values
from ground.source_digest import source_digest
from model.encoded.files import shown
from model.evaluation.coco_numbers import results_of_picture
from model.launch.gpus import show_unused_gpus
from model.model_folder import files_digest, read_categories
from model.prediction.replicas import Replicas

_KEY_DIGITS = 12


def model_detections(
    saved_model: Path,
    source: Source,
    batch_size: int,
    keep_in: str | os.PathLike[str] | None = None,
    image_ids: set[int] | None = None,
    on_progress: Callable[[str], None] | None = None,
    is_baseline: bool = False,
    model_digest: str | None = None,
    on_failure: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Returns the detections of an exported model in COCO's results form, in the source's order.

    Args:
        saved_model: the exported model.
        source: pictures and ground truth.
        batch_size: pictures a call of the model.
        keep_in: folder where detections are kept by the digests of the model's files, of the
            source and of the code which makes them, so that the next call only reads them; None
            keeps none.
        image_ids: only these pictures; then nothing is kept.
        on_progress: called with a line now and then.
        is_baseline: the model may be of an older data set: what it finds of categories that the
            source does not have is left out.
        model_digest: `files_digest` of the model, where the caller knows it.
        on_failure: called with a line for each picture that cannot be measured, in which nothing
            is found; then nothing is kept. Without it the first is raised.

    Raises:
        ModelError: the model cannot be loaded, changed meanwhile, finds what is not a number, or
            knows a category that the source does not.
        DatasetError: a picture cannot be measured, and there is no `on_failure`.
    """
    if not is_baseline:
        check_categories(saved_model, source)
    digest = model_digest or files_digest(saved_model)
    kept = None
    if keep_in is not None and source.digest is not None and image_ids is None:
        code = source_digest(__name__)[:_KEY_DIGITS]
        kept = Path(keep_in) / digest / f"{source.digest}-{code}.json"
        claim_detections_dir(keep_in, [saved_model])
    found = None if kept is None else read_kept(kept)
    if found is None:
        failed: list[str] = []
        found = _run_model(saved_model, source, batch_size, image_ids, on_progress, failed)
        for line in failed:
            if on_failure is None:
                raise DatasetError(line)
            on_failure(line)
        if files_digest(saved_model) != digest:
            raise ModelError(f"{saved_model}: its files changed while it was measured")
        if kept is not None and not failed:
            write_kept(kept, found)
    else:
        logging.info("Detections of this model on these examples are kept: %s", kept)
    known = {category["id"] for category in source.ground_truth.categories}
    return [detection for detection in found if detection["category_id"] in known]


def check_categories(saved_model: Path, source: Source) -> None:
    """Checks that the data have all categories that a model was trained on.

    Raises:
        ModelError: they have not.
    """
    known = {category["id"]: category["name"] for category in source.ground_truth.categories}
    for category in read_categories(saved_model):
        if category["id"] not in known:
            raise ModelError(
                f"{saved_model}: was trained on category {category['id']} ({category['name']}), "
                f"which {source.name} does not have; it has {len(known)} others"
            )


def _run_model(
    saved_model: Path,
    source: Source,
    batch_size: int,
    image_ids: set[int] | None,
    on_progress: Callable[[str], None] | None,
    failed: list[str],
) -> list[dict[str, Any]]:
    """Returns what is found; adds to `failed` a line for each picture that cannot be measured."""
    images = source.ground_truth.images
    total = sum(image_ids is None or image["id"] in image_ids for image in images)
    progress = Progress("evaluating", total, without_values(on_progress))
    by_image: dict[int, list[dict[str, Any]]] = {}
    if not total:
        return []
    model = Replicas(saved_model)
    if on_progress:
        show_unused_gpus(on_progress)

    def fail(image: dict[str, Any], error: DatasetError) -> None:
        name = shown(image["file_name"])
        failed.append(f"image id {image['id']} ({name}): {str(error).removeprefix(f'{name}: ')}")

    pictures = source.pictures(image_ids, model.max_picture_pixels, fail)
    for image, picture, upright in model.detect_all(pictures, batch_size, fail):
        found = turned_detections(upright, turn_from_upright(image, picture))
        if not (np.isfinite(found.boxes_norm).all() and np.isfinite(found.scores).all()):
            raise ModelError(
                f"{saved_model}: finds boxes or scores that are not numbers in picture "
                f"{image['id']} ({image['file_name']})"
            )
        by_image[image["id"]] = results_of_picture(
            image, found.boxes_norm, found.scores, found.category_ids, found.masks
        )
        progress.advance()
    return [result for image in images for result in by_image.get(image["id"], [])]

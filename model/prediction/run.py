"""The work of `predict` on many pictures: look, keep, draw; then put it together."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ground.errors import DatasetError, ModelError
from ground.files import atomic_path
from ground.progress import OnProgress, Progress
from ground.version import VERSION
from model.drawing import LONGEST_JPEG_PX, Mark, class_colour, draw
from model.encoded.files import shown
from model.evaluation.coco_numbers import results_of_picture
from model.model_folder import CATEGORIES_FILE, files_digest
from model.pictures import Picture, read_picture
from model.prediction.detections import Detections
from model.prediction.files import FILES, write_detections
from model.prediction.journal import Entry, Journal
from model.prediction.paths import FoundPicture, output_names
from model.prediction.tiles import Tiling


class Model(Protocol):
    """What is needed of `model.prediction.replicas.Replicas`, or of a `LoadedModel`."""

    folder: Path
    model_id: str
    categories: list[dict[str, Any]]

    @property
    def max_picture_pixels(self) -> int:
        """Largest width x height of a picture that it decodes."""

    def detect_all(
        self,
        pictures: Any,
        batch_size: int,
        on_failure: Callable[[Any, DatasetError], None],
        tiling: Tiling | None = None,
    ) -> Iterator[tuple[Any, Picture, Detections]]:
        """Yields (key, picture, detections), not in order; may read in a thread of its own."""


@dataclass(frozen=True)
class Settings:
    """How pictures are looked at and drawn.

    Attributes:
        score_threshold: only detections that score at least this are drawn.
        batch_size: pictures or tiles a call of the model.
        is_drawn: whether drawn pictures are written.
        tiling: how large pictures are cut; None for not at all.
    """

    score_threshold: float = 0.5
    batch_size: int = 4
    is_drawn: bool = True
    tiling: Tiling | None = None


def predict(
    model: Model,
    pictures: Sequence[FoundPicture],
    out: Path,
    work: Path,
    settings: Settings,
    on_failure: Callable[[str], None] = lambda line: None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Writes what a model finds in picture files, and draws it; returns the summary.

    What is found in a picture is kept in `work` at once. Where a run was killed, the next one with
    the same model and settings goes on there: pictures whose files are as they were then are not
    looked at again.

    Args:
        model: the exported model.
        pictures: picture files; one that cannot be used is reported, the others go on.
        out: empty folder; gets the drawn pictures, `detections.json` and `detections.csv`.
        work: folder on the same file system, which the caller removes when `out` is safe.
        settings: see there.
        on_failure: called with one line for each file that cannot be used.
        on_progress: called now and then.

    Raises:
        ModelError: the model finds what is not a number.
    """
    started = time.monotonic()
    journal = Journal(work, _key_of(model, settings))
    failures: list[str] = []

    def fail(line: str) -> None:
        failures.append(line)
        on_failure(line)

    stamps = [stamp_of(found.path) for found in pictures]
    try:
        resumed = _look_at_all(model, pictures, stamps, journal, settings, fail, on_progress)
    finally:
        journal.close()
    summary = _put_together(model, pictures, stamps, journal, settings, out)
    read = summary.pop("read")
    return {
        "model": str(model.folder),
        "model_id": model.model_id,
        "pictures": {"read": read, "failed": len(failures)},
        **summary,
        "failures": failures,
        "resumed": resumed,
        "tiling": settings.tiling and asdict(settings.tiling),
        "seconds": round(time.monotonic() - started, 3),
    }


def _key_of(model: Model, settings: Settings) -> dict[str, Any]:
    """Returns what the results depend on beside the pictures; the size of a batch is none of it."""
    return {
        "version": VERSION,
        "model": files_digest(model.folder),
        "drawn_from": settings.score_threshold if settings.is_drawn else None,
        "tiling": settings.tiling and asdict(settings.tiling),
    }


def _look_at_all(
    model: Model,
    pictures: Sequence[FoundPicture],
    stamps: Sequence[list[int]],
    journal: Journal,
    settings: Settings,
    fail: Callable[[str], None],
    on_progress: OnProgress | None,
) -> int:
    """Adds to the journal what it does not have; returns how many pictures it had."""
    todo = [n for n, s in enumerate(stamps) if not journal.has(str(pictures[n].path), s)]
    resumed = len(pictures) - len(todo)
    if resumed and on_progress:
        line = f"going on: {resumed} of {len(pictures)} pictures were done before"
        on_progress(line, {"done": resumed, "total": len(pictures)})
    progress = Progress("predicting", len(todo), on_progress)
    labels = {category["id"]: category for category in model.categories}

    def failed(position: int, line: str) -> None:
        fail(line)
        progress.advance()

    def readable() -> Iterator[tuple[int, Picture]]:
        for n in todo:
            try:
                yield n, read_picture(pictures[n].path, model.max_picture_pixels)
            except DatasetError as error:
                failed(n, str(error))

    for n, picture, found in model.detect_all(
        readable(),
        settings.batch_size,
        lambda n, error: failed(n, f"{shown(pictures[n].path)}: {error}"),
        settings.tiling,
    ):
        journal.open()
        file = str(pictures[n].path)
        results = results_in(model, file, picture, found)
        if settings.is_drawn:
            sure = [r for r in reversed(results) if r["score"] >= settings.score_threshold]
            marks = [_mark(result, labels[result["category_id"]]) for result in sure]
            try:
                _draw(picture, marks, _drawn_path(journal, file))
            except DatasetError as error:
                failed(n, f"{shown(pictures[n].path)}: {error}")
                continue
        journal.add(file, Entry(stamps[n], picture.height, picture.width, results))
        progress.advance()
    return resumed


def _draw(picture: Picture, marks: Sequence[Mark], path: Path) -> None:
    """Writes a picture with marks.

    Raises:
        DatasetError: it cannot be decoded here, though the model could.
    """
    pixels = picture.open()
    with atomic_path(path) as partial:
        drawn = draw(pixels, marks)
        if max(drawn.size) > LONGEST_JPEG_PX:
            drawn.thumbnail((LONGEST_JPEG_PX, LONGEST_JPEG_PX))
        drawn.save(partial, "JPEG", quality=92)


def stamp_of(path: Path) -> list[int]:
    """Returns size and time of change of a file; empty where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # told when it is read
        return []
    return [status.st_size, status.st_mtime_ns]


def results_in(
    model: Model, file: str, picture: Picture, found: Detections
) -> list[dict[str, Any]]:
    """Returns what was found in COCO's results form, the picture's id left open.

    Raises:
        ModelError: a box or a score is not a number, or a category is none of the model's.
    """
    if not (np.isfinite(found.boxes_norm).all() and np.isfinite(found.scores).all()):
        raise ModelError(
            f"{model.folder}: finds boxes or scores that are not numbers in {shown(file)}"
        )
    known = {category["id"] for category in model.categories}
    if unknown := sorted(set(found.category_ids.tolist()) - known):
        raise ModelError(
            f"{model.folder}: finds the category {unknown[0]} in {shown(file)}, "
            f"which its {CATEGORIES_FILE} does not name"
        )
    image = {"id": 0, "height": picture.height, "width": picture.width}
    return results_of_picture(
        image, found.boxes_norm, found.scores, found.category_ids, found.masks
    )


def _mark(result: Mapping[str, Any], category: Mapping[str, Any]) -> Mark:
    """Returns what is drawn of a COCO result."""
    return Mark(
        result["bbox"],
        class_colour(category["label"]),
        f"{category['name']} {result['score']:.2f}",
        result.get("segmentation"),
    )


def _drawn_path(journal: Journal, file: str) -> Path:
    """Returns where the drawn picture waits: by the file, as its name depends on the others."""
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()
    return journal.pictures / digest[:2] / f"{digest}.jpg"


def _put_together(
    model: Model,
    pictures: Sequence[FoundPicture],
    stamps: Sequence[list[int]],
    journal: Journal,
    settings: Settings,
    out: Path,
) -> dict[str, Any]:
    """Writes all files from the journal; returns their part of the summary."""
    files = [str(found.path) for found in pictures]
    names = output_names([found.below for found in pictures], FILES)
    drawn: list[str] = []
    read = 0

    def results() -> Iterator[dict[str, Any]]:
        nonlocal read
        for n, entry in enumerate(journal.entries(list(zip(files, stamps, strict=True)))):
            if entry is None:
                continue
            read += 1
            if settings.is_drawn:
                _link(_drawn_path(journal, files[n]), out / names[n])
                drawn.append(names[n])
            for result in entry.results:
                yield {**result, "image_id": n + 1, "file_name": files[n]}

    names_of = {category["id"]: category["name"] for category in model.categories}
    count = write_detections(out, results(), names_of)
    return {"read": read, "detections": count, "drawn": drawn}


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where the file system knows no such thing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)  # whose own error is told

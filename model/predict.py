"""Pictures in, detections out, with an exported model.

    python -m model.predict --model DIR PICTURE... --out P

writes `P/<picture>.jpg` with the detections drawn, `P/detections.json` in COCO's results form with
`file_name`, and `P/summary.json`.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ground.errors import DatasetError, ModelError
from ground.files import atomic_path, write_json
from ground.outputs import check_pattern
from model.drawing import Mark, class_colour, draw
from model.encoded.files import shown
from model.evaluation.coco_numbers import results_of_picture
from model.input.sizes import padded_sides, resized_sides
from model.limits import share_machine
from model.model_folder import (
    find_saved_model,
    read_categories,
    read_model_config,
    read_model_id,
)
from model.op_error import reason_of
from model.pictures import DEFAULT_MAX_PIXELS, SUFFIXES, Picture, read_picture

DETECTIONS_FILE = "detections.json"

_WAITING_BATCHES = 16
_MAX_STEM_BYTES = 200  # file systems take 255 for a name, of which a partial file needs some


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, best first.

    Attributes:
        boxes_norm: [n, 4] float32 yxyx, shares of the picture's sides.
        scores: [n] float32.
        category_ids: [n] int64, COCO's.
        masks: [n, 28, 28] float32 probabilities within the box; None without a mask head.
    """

    boxes_norm: np.ndarray
    scores: np.ndarray
    category_ids: np.ndarray
    masks: np.ndarray | None


class LoadedModel:
    """An exported model, ready to detect.

    Args:
        folder: the SavedModel, or a folder that `find_saved_model` finds one in.

    Raises:
        ModelError: there is none, or it cannot be loaded.
        OutputError: TensorFlow takes its path for a pattern of several.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = find_saved_model(folder)
        check_pattern(self.folder, "--model")
        self.model_id = read_model_id(self.folder)
        self.categories = read_categories(self.folder)
        self._input = read_model_config(self.folder)["input"]
        share_machine(os.environ)
        import tensorflow as tf  # takes seconds: after what can be seen at once

        try:
            self._model = tf.saved_model.load(str(self.folder))
            self._detect = self._model.signatures["serving_default"]
        except Exception as error:  # damaged files end in an IndexError, a KeyError, anything
            raise ModelError(
                f"{self.folder}: cannot be loaded ({type(error).__name__}: {error})"
            ) from None

    @property
    def max_picture_pixels(self) -> int:
        """Largest width x height of a picture that it decodes."""
        return int(self._input.get("max_picture_pixels", DEFAULT_MAX_PIXELS))

    @property
    def has_masks(self) -> bool:
        """Whether the model has a mask head."""
        return "detection_masks" in self._detect.structured_outputs

    def detect_bytes(self, encoded: Sequence[bytes]) -> list[Detections]:
        """Returns the detections in JPEG or PNG files of any size, from one call of the model.

        Raises:
            DatasetError: the call fails, as it does where a file cannot be decoded.
        """
        import tensorflow as tf

        if not encoded:
            return []
        try:
            outputs = self._detect(image_bytes=tf.constant(list(encoded), tf.string))
        except tf.errors.OpError as error:
            raise DatasetError(f"the model cannot take it: {reason_of(error.message)}") from None
        found = {name: value.numpy() for name, value in outputs.items()}
        return [_of_picture(found, n) for n in range(len(encoded))]

    def detect_all(
        self,
        pictures: Iterable[tuple[Any, Picture]],
        batch_size: int,
        on_failure: Callable[[Any, DatasetError], None] | None = None,
    ) -> Iterator[tuple[Any, Picture, Detections]]:
        """Yields (key, picture, detections), not in order.

        Pictures that the model pads to the same size share a call, so that batches are full where
        the model works on them together. No more than `_WAITING_BATCHES` batches wait for others.

        Args:
            pictures: (key, picture); read as needed.
            batch_size: pictures a call at most.
            on_failure: called with the key of a picture that the model cannot take, for which
                nothing is yielded; without it the error is raised.

        Raises:
            DatasetError: the model cannot take a picture, and there is no `on_failure`.
        """
        waiting: dict[tuple[int, int], list[tuple[Any, Picture]]] = defaultdict(list)
        for item in pictures:
            size = self._padded_size(item[1])
            waiting[size].append(item)
            count = sum(map(len, waiting.values()))
            if len(waiting[size]) < batch_size and count >= _WAITING_BATCHES * batch_size:
                size = max(waiting, key=lambda key: len(waiting[key]))
            if len(waiting[size]) == batch_size or count >= _WAITING_BATCHES * batch_size:
                yield from self._detect_batch(waiting.pop(size), on_failure)
        for batch in waiting.values():
            yield from self._detect_batch(batch, on_failure)

    def _detect_batch(
        self,
        batch: list[tuple[Any, Picture]],
        on_failure: Callable[[Any, DatasetError], None] | None,
    ) -> Iterator[tuple[Any, Picture, Detections]]:
        """Yields what is found in each picture; where the call fails, each gets one of its own."""
        try:
            found = self.detect_bytes([picture.encoded for _, picture in batch])
        except DatasetError as error:
            if on_failure is None:
                raise
            if len(batch) == 1:
                on_failure(batch[0][0], error)
                return
            for item in batch:
                yield from self._detect_batch([item], on_failure)
            return
        for (key, picture), detections in zip(batch, found, strict=True):
            yield key, picture, detections

    def _padded_size(self, picture: Picture) -> tuple[int, int]:
        """Returns height and width of the picture as it enters the model, pixels."""
        height, width = resized_sides(
            picture.height,
            picture.width,
            self._input["short_side_px"],
            self._input["long_side_px"],
        )
        height, width = padded_sides([height, width], self._input["size_multiple_px"])
        return int(height), int(width)


def _of_picture(found: dict[str, np.ndarray], n: int) -> Detections:
    """Returns row `n` of the model's outputs without the padding."""
    used = slice(int(found["num_detections"][n]))
    masks = found.get("detection_masks")
    return Detections(
        found["detection_boxes"][n, used],
        found["detection_scores"][n, used],
        found["detection_classes"][n, used].astype(np.int64),
        None if masks is None else masks[n, used],
    )


def predict(
    model: LoadedModel,
    paths: Sequence[Path],
    out: Path,
    score_threshold: float = 0.5,
    batch_size: int = 4,
    on_failure: Any = None,
) -> dict[str, Any]:
    """Draws and writes what the model finds in picture files; returns the summary.

    Args:
        model: the exported model.
        paths: picture files; one that cannot be decoded is reported, the others go on.
        out: folder of the drawn pictures and `detections.json`, which holds every detection.
        score_threshold: only detections that score at least this are drawn.
        batch_size: pictures a call of the model.
        on_failure: called with one line for each file that cannot be decoded.
    """
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    names = output_names(paths)
    labels = {c["id"]: c for c in model.categories}
    by_position: dict[int, list[dict[str, Any]]] = {}

    def readable() -> Iterator[tuple[int, Picture]]:
        """Yields the pictures that can be read, with their position."""
        for position, path in enumerate(paths):
            try:
                yield position, read_picture(path, model.max_picture_pixels)
            except DatasetError as error:
                fail(str(error))

    def fail(line: str) -> None:
        failed.append(line)
        if on_failure:
            on_failure(line)

    found_in = model.detect_all(
        readable(), batch_size, lambda position, e: fail(f"{shown(paths[position])}: {e}")
    )
    for position, picture, found in found_in:
        image = {"id": position + 1, "height": picture.height, "width": picture.width}
        results = results_of_picture(
            image, found.boxes_norm, found.scores, found.category_ids, found.masks
        )
        by_position[position] = [{**r, "file_name": str(paths[position])} for r in results]
        drawn = [r for r in results if r["score"] >= score_threshold]
        marks = [_mark(r, labels[r["category_id"]]) for r in reversed(drawn)]
        with atomic_path(out / names[position]) as partial:
            draw(picture.open(), marks).save(partial, "JPEG", quality=92)
    results = [result for position in sorted(by_position) for result in by_position[position]]
    write_json(out / DETECTIONS_FILE, results)
    return {
        "model": str(model.folder),
        "model_id": model.model_id,
        "pictures": {"read": len(by_position), "failed": len(failed)},
        "detections": len(results),
        "drawn": [names[position] for position in sorted(by_position)],
        "failures": failed,
        "seconds": round(time.monotonic() - started, 3),
    }


def _mark(result: dict[str, Any], category: dict[str, Any]) -> Mark:
    """Returns what is drawn of a COCO result."""
    return Mark(
        result["bbox"],
        class_colour(category["label"]),
        f"{category['name']} {result['score']:.2f}",
        result.get("segmentation"),
    )


def output_names(paths: Sequence[Path]) -> list[str]:
    """Returns a `.jpg` name for each path; equal stems from different folders get a number."""
    taken: set[str] = set()
    names = []
    for path in paths:
        stem = os.fsdecode(os.fsencode(path.stem)[:_MAX_STEM_BYTES])
        name, count = stem, 1
        while name in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name)
        names.append(f"{name}.jpg")
    return names


def picture_paths(arguments: Iterable[str]) -> list[Path]:
    """Returns the files named, and of a folder its pictures by name.

    Raises:
        DatasetError: a folder holds no pictures.
    """
    paths: list[Path] = []
    for argument in map(Path, arguments):
        if not argument.is_dir():
            paths.append(argument)
            continue
        inside = sorted(p for p in argument.iterdir() if p.suffix.lower() in SUFFIXES)
        if not inside:
            raise DatasetError(f"{argument}: a folder without pictures ({', '.join(SUFFIXES)})")
        paths += inside
    return paths


if __name__ == "__main__":
    from model.commands import run_command

    run_command("predict")

"""Pictures in, detections out, with an exported model.

    python -m model.predict --model DIR PICTURE... --out P

writes `P/<picture>.jpg` with the detections drawn, `P/detections.json` in COCO's results form with
`file_name`, `P/detections.csv` and `P/summary.json`; what it does around the model is in
`model/prediction/`.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ground.errors import DatasetError, ModelError
from ground.outputs import check_pattern
from model.input.sizes import padded_sides, resized_sides
from model.limits import share_machine
from model.model_folder import (
    CONFIG_FILE,
    find_saved_model,
    read_categories,
    read_model_config,
    read_model_id,
)
from model.op_error import reason_of
from model.pictures import DEFAULT_MAX_PIXELS, Picture
from model.prediction.detections import Detections
from model.prediction.tiles import Tiling, Window, merged_tiles

__all__ = ["Detections", "LoadedModel"]

_WAITING_BATCHES = 16
_SIZES = ("short_side_px", "long_side_px", "size_multiple_px")


class LoadedModel:
    """An exported model, ready to detect.

    Args:
        folder: the SavedModel, or a folder that `find_saved_model` finds one in.
        device: where it lies and computes, such as "/GPU:1"; None is TensorFlow's choice.

    Raises:
        ModelError: there is none, or it cannot be loaded.
        OutputError: TensorFlow takes its path for a pattern of several.
    """

    def __init__(self, folder: str | os.PathLike[str], device: str | None = None) -> None:
        self.folder = find_saved_model(folder)
        check_pattern(self.folder, "--model")
        self.model_id = read_model_id(self.folder)
        self.categories = read_categories(self.folder)
        config = read_model_config(self.folder)
        self._input = config["input"]
        try:
            self._nms_iou = float(config["model"]["detections"]["nms_iou"])
            self._sides = [int(self._input[key]) for key in _SIZES]
            self._max_pixels = int(self._input.get("max_picture_pixels", DEFAULT_MAX_PIXELS))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.folder / CONFIG_FILE}: expected model.detections.nms_iou and "
                f"{', '.join(_SIZES)} of input ({type(error).__name__}: {error})"
            ) from None
        share_machine(os.environ)
        import tensorflow as tf  # takes seconds: after what can be seen at once

        self._device = device
        try:
            with tf.device(device):
                self._model = tf.saved_model.load(str(self.folder))
            self._detect = self._model.signatures["serving_default"]
            self._detect_decoded = self._model.signatures["decoded"]
        except Exception as error:  # damaged files end in an IndexError, a KeyError, anything
            raise ModelError(
                f"{self.folder}: cannot be loaded ({type(error).__name__}: {error})"
            ) from None

    @property
    def max_picture_pixels(self) -> int:
        """Largest width x height of a picture that it decodes."""
        return self._max_pixels

    @property
    def signatures(self) -> dict[str, Any]:
        """The SavedModel's functions by name, without those of initialisation."""
        names = ("serving_default", "decoded")
        return {name: self._model.signatures[name] for name in names}

    @property
    def weights(self) -> list[np.ndarray]:
        """The values of its variables, in the order of the detector that was exported."""
        return [variable.numpy() for variable in self._model.weights]

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
        strings = tf.constant(list(encoded), tf.string)
        return self._found(lambda: self._detect(image_bytes=strings), len(encoded))

    def detect_pixels(self, images: np.ndarray) -> list[Detections]:
        """Returns the detections in pictures uint8 [N, H, W, 3], RGB, from one call of the model.

        Raises:
            DatasetError: the call fails.
        """
        import tensorflow as tf

        return self._found(lambda: self._detect_decoded(images=tf.constant(images)), len(images))

    def detect_in_tiles(self, picture: Picture, tiling: Tiling, batch_size: int) -> Detections:
        """Returns the detections in a picture that is cut, by the rule of `model.prediction.tiles`.

        Raises:
            DatasetError: it cannot be decoded, or a call fails.
        """
        pixels = np.asarray(picture.open())
        windows = tiling.windows(picture.height, picture.width)
        (whole,) = self.detect_bytes([picture.encoded])
        parts = [(Window(0, 0, picture.height, picture.width), whole)]
        for n in range(0, len(windows), batch_size):
            batch = windows[n : n + batch_size]
            images = np.stack([pixels[w.ymin : w.ymax, w.xmin : w.xmax] for w in batch])
            parts += zip(batch, self.detect_pixels(images), strict=True)
        return merged_tiles(parts, picture.height, picture.width, self._nms_iou)

    def _found(self, call: Callable[[], Any], count: int) -> list[Detections]:
        import tensorflow as tf

        try:
            with tf.device(self._device):
                outputs = call()
        except tf.errors.OpError as error:
            raise DatasetError(f"the model cannot take it: {reason_of(error.message)}") from None
        found = {name: value.numpy() for name, value in outputs.items()}
        return [_of_picture(found, n) for n in range(count)]

    def detect_all(
        self,
        pictures: Iterable[tuple[Any, Picture]],
        batch_size: int,
        on_failure: Callable[[Any, DatasetError], None] | None = None,
        tiling: Tiling | None = None,
    ) -> Iterator[tuple[Any, Picture, Detections]]:
        """Yields (key, picture, detections), not in order.

        Pictures that the model pads to the same size share a call, so that batches are full where
        the model works on them together. No more than `_WAITING_BATCHES` batches wait for others.

        Args:
            pictures: (key, picture); read as needed.
            batch_size: pictures a call at most.
            on_failure: called with the key of a picture that the model cannot take, for which
                nothing is yielded; without it the error is raised.
            tiling: how large pictures are cut; None for not at all.

        Raises:
            DatasetError: the model cannot take a picture, and there is no `on_failure`.
        """
        for batch in self.batches(pictures, batch_size, tiling):
            yield from self.detect_batch(batch, batch_size, on_failure, tiling)

    def batches(
        self,
        pictures: Iterable[tuple[Any, Picture]],
        batch_size: int,
        tiling: Tiling | None = None,
    ) -> Iterator[list[tuple[Any, Picture]]]:
        """Yields the pictures of each call; one that is cut comes alone. See `detect_all`."""
        waiting: dict[tuple[int, int], list[tuple[Any, Picture]]] = defaultdict(list)
        for item in pictures:
            if _is_cut(item[1], tiling):
                yield [item]
                continue
            size = self._padded_size(item[1])
            waiting[size].append(item)
            count = sum(map(len, waiting.values()))
            if len(waiting[size]) < batch_size and count >= _WAITING_BATCHES * batch_size:
                size = max(waiting, key=lambda key: len(waiting[key]))
            if len(waiting[size]) == batch_size or count >= _WAITING_BATCHES * batch_size:
                yield waiting.pop(size)
        yield from waiting.values()

    def detect_batch(
        self,
        batch: list[tuple[Any, Picture]],
        batch_size: int,
        on_failure: Callable[[Any, DatasetError], None] | None = None,
        tiling: Tiling | None = None,
    ) -> Iterator[tuple[Any, Picture, Detections]]:
        """Yields what is found in a batch of `batches`; arguments as of `detect_all`."""
        if tiling is not None and _is_cut(batch[0][1], tiling):
            return self._detect_cut(batch[0], tiling, batch_size, on_failure)
        return self._detect_together(batch, on_failure)

    def _detect_together(
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
                yield from self._detect_together([item], on_failure)
            return
        for (key, picture), detections in zip(batch, found, strict=True):
            yield key, picture, detections

    def _detect_cut(
        self,
        item: tuple[Any, Picture],
        tiling: Tiling,
        batch_size: int,
        on_failure: Callable[[Any, DatasetError], None] | None,
    ) -> Iterator[tuple[Any, Picture, Detections]]:
        """Yields what is found in a picture that is cut; nothing where that fails."""
        key, picture = item
        try:
            found = self.detect_in_tiles(picture, tiling, batch_size)
        except DatasetError as error:
            if on_failure is None:
                raise
            on_failure(key, error)
            return
        yield key, picture, found

    def _padded_size(self, picture: Picture) -> tuple[int, int]:
        """Returns height and width of the picture as it enters the model, pixels."""
        short, long, multiple = self._sides
        height, width = resized_sides(picture.height, picture.width, short, long)
        height, width = padded_sides([height, width], multiple)
        return int(height), int(width)


def _is_cut(picture: Picture, tiling: Tiling | None) -> bool:
    return tiling is not None and tiling.applies(picture.height, picture.width)


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


if __name__ == "__main__":
    from model.commands import run_command

    run_command("predict")

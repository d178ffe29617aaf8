"""The detector of a SavedModel, built anew with its weights, to be written in another form."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from pydantic import ValidationError

from ground.errors import ModelError
from model.batch import Found
from model.detector import RcnnDetector, build_detector
from model.export import ServingModule
from model.model_folder import CONFIG_FILE, read_categories, read_model_config
from model.training_settings import TrainingSettings


class Rebuilt:
    """A SavedModel's detector, settings and graph.

    Args:
        folder: the SavedModel.

    Raises:
        ModelError: it is not one of ours, or of another version of the code.
    """

    def __init__(self, folder: Path) -> None:
        self.categories = read_categories(folder)
        self.config = _settings_of(folder)
        try:
            saved = tf.saved_model.load(str(folder))
            weights, self.saved_graph = list(saved.weights), saved._detect
        except Exception as error:  # damaged files end in an IndexError, a KeyError, anything
            raise ModelError(f"{folder}: cannot be loaded ({type(error).__name__})") from None
        self._saved = saved  # its variables live as long as it does
        settings = self.config.model.model_copy(update={"weights": None})
        # Built as for XLA, where it can be: of its ops other runtimes know most.
        jit = settings.roi.sampling_ratio != 0
        self.detector: RcnnDetector = build_detector(settings, len(self.categories), jit=jit)
        variables = self.detector.variables
        if [tuple(v.shape) for v in variables] != [tuple(w.shape) for w in weights]:
            raise ModelError(f"{folder}: its weights are not those of its settings")
        for variable, weight in zip(variables, weights, strict=True):
            variable.assign(weight)
        # Converters find the weights that hang on it.
        plain: Any = _Plain(self.detector)  # no whole Detector: what serving asks of one
        self.module = ServingModule(plain, self.config.input, self.categories)

    def graph(self, height: int | None, width: int | None) -> Any:
        """Returns a tf.function of one picture: `images`, `image_sizes` to the usual outputs.

        Args:
            height: height of the padded picture, pixels; None is any.
            width: width of it; None is any.
        """
        module = self.module
        by_label = {c["label"]: c["id"] for c in self.categories}
        ids = np.array([0, *(by_label[n] for n in range(1, len(by_label) + 1))], np.float32)

        @tf.function(
            autograph=False,
            input_signature=[
                tf.TensorSpec([1, height, width, 3], tf.uint8, "images"),
                tf.TensorSpec([1, 2], tf.int32, "image_sizes"),
            ],
        )
        def detect(images: tf.Tensor, image_sizes: tf.Tensor) -> dict[str, tf.Tensor]:
            # A constant of this graph: what lies outside would become an input of it.
            return module.detections(images, image_sizes, tf.constant(ids))

        return detect


def _settings_of(folder: Path) -> TrainingSettings:
    """Returns a model's settings; those of its training only as far as this version knows them.

    Raises:
        ModelError: what shapes the model is not of this version.
    """
    config = read_model_config(folder)
    parts = {key: config.get(key) for key in ("name", "input", "model", "train")}
    try:
        try:
            return TrainingSettings.model_validate(parts)
        except ValidationError:
            return TrainingSettings.model_validate({**parts, "train": {}})
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        line = " ".join(str(error.errors()[0]["msg"]).split())
        raise ModelError(f"{folder / CONFIG_FILE}: {where}: not of this version ({line})") from None


class _Plain:
    """A detector whose `detect` takes the form of few ops."""

    def __init__(self, detector: RcnnDetector) -> None:
        self._detector = detector
        self.variables = detector.variables

    def detect(self, images: tf.Tensor, image_sizes: tf.Tensor) -> Found:
        """Returns what is found in each picture."""
        return self._detector.detect(images, image_sizes, compiled=True)


def prepared(
    rebuilt: Rebuilt, pixels: np.ndarray, side: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture as the graphs take it: uint8 [1, H, W, 3] and its size int32 [1, 2].

    Args:
        rebuilt: whose input settings count.
        pixels: uint8 [height, width, 3], RGB.
        side: side of the padded square; None pads to the multiple.
    """
    from model.input.resize import resize_picture, resized_size

    settings = rebuilt.config.input
    stored = pixels.shape[:2]
    size = resized_size(stored[0], stored[1], settings.short_side_px, settings.long_side_px)
    resized = np.asarray(resize_picture(tf.constant(pixels), *size))
    height, width = resized.shape[:2]
    multiple = settings.size_multiple_px
    sides: Sequence[int] = [side or -(-n // multiple) * multiple for n in (height, width)]
    padded = np.zeros([1, *sides, 3], np.uint8)
    padded[0, :height, :width] = resized
    return padded, np.array([[height, width]], np.int32)

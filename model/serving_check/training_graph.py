"""The detector that was trained, built anew around an exported model's weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from configs.schema import InputConfig
from ground.errors import ModelError
from model.batch import arrays_of, row_of
from model.contract import Detector
from model.detector import build_detector
from model.export import weights_model_id
from model.input.resize import decode_picture, resize_picture
from model.input.sizes import padded_sides, resized_sides
from model.model_folder import read_categories, read_model_config, read_model_id
from model.predict import Detections
from model.training_settings import TrainingSettings


class TrainingGraph:
    """Finds what training's own detector finds, step by step in Python, without the SavedModel.

    Args:
        saved_model: the exported model's folder, for its config, categories and id.
        weights: the values of its variables, in the detector's order.

    Raises:
        ModelError: the weights do not fit the config, or are not those of which the model id was
            made when training exported them.
    """

    def __init__(self, saved_model: Path, weights: Sequence[Any]) -> None:
        config = read_model_config(saved_model)
        categories = read_categories(saved_model)
        settings = _settings(saved_model, config)
        self._input: InputConfig = settings.input
        self._category_ids = np.asarray(
            [0, *(c["id"] for c in sorted(categories, key=lambda c: int(c["label"])))]
        )
        unstarted = settings.model.model_copy(update={"weights": None})
        self._detector: Detector = build_detector(unstarted, len(categories))
        variables = self._detector.variables
        shapes = [tuple(v.shape) for v in variables], [tuple(w.shape) for w in weights]
        if shapes[0] != shapes[1]:
            raise ModelError(
                f"its {len(weights)} weights do not fit the {len(variables)} of its config's "
                "detector"
            )
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
        expected = read_model_id(saved_model)
        found = weights_model_id(
            self._detector.export_weights(), config["input"], config["model"], categories
        )
        if found != expected:
            raise ModelError(
                "its weights are not those that training exported: they make the model id "
                f"{found[:12]}, it says {expected[:12]}"
            )

    def detect(self, encoded: bytes) -> Detections:
        """Returns what is found in a JPEG or PNG file."""
        picture = decode_picture(tf.constant(encoded))
        sides = resized_sides(
            int(picture.shape[0]),
            int(picture.shape[1]),
            self._input.short_side_px,
            self._input.long_side_px,
        )
        height, width = (int(side) for side in sides)
        padded = padded_sides([height, width], self._input.size_multiple_px)
        below, right = int(padded[0]) - height, int(padded[1]) - width
        image = tf.pad(resize_picture(picture, height, width), [[0, below], [0, right], [0, 0]])
        sizes = tf.constant([[height, width]], tf.float32)
        found = row_of(arrays_of(self._detector.detect(image[tf.newaxis], sizes)), 0)
        used = slice(int(found.num))
        return Detections(
            np.clip(found.boxes[used] / np.tile([height, width], 2), 0.0, 1.0).astype(np.float32),
            found.scores[used],
            self._category_ids[found.classes[used]],
            None if found.masks is None else found.masks[used],
        )


def _settings(saved_model: Path, config: dict[str, Any]) -> TrainingSettings:
    known = {name: config[name] for name in TrainingSettings.model_fields if name in config}
    try:
        return TrainingSettings.model_validate(known)
    except ValueError as error:
        line = " ".join(str(error).split())
        raise ModelError(f"its config is not one of this revision's ({line:.200})") from None

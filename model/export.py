"""The exported model: a SavedModel that takes picture files and returns COCO detections.

Signatures (N pictures, D = model.detections.max_detections):

    serving_default   image_bytes string [N]         JPEG or PNG files of any size
    decoded           images uint8 [N, H, W, 3]      RGB pictures of one size

Both return the names of the TensorFlow Object Detection API, all float32:

    detection_boxes    [N, D, 4]       ymin, xmin, ymax, xmax as shares of the picture's sides
    detection_classes  [N, D]          COCO category ids
    detection_scores   [N, D]          falling; rows from num_detections on are zero
    num_detections     [N]
    detection_masks    [N, D, 28, 28]  probabilities within the box; only with a mask head

A picture file that cannot be decoded is an error of that call (InvalidArgumentError). The folder
holds `assets/categories.json`, `assets/config.json` and `assets.extra/model_id.json`.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import tensorflow as tf

from configs.files import atomic_path, json_digest, recover, write_json
from configs.schema import Config, InputConfig
from model.detector import build_detector
from model.input.resize import decode_picture, resize_picture, resized_size
from model.model_folder import CATEGORIES_FILE, CONFIG_FILE, MODEL_ID_FILE


def export_saved_model(
    detector: Any,
    config: Config,
    categories: Sequence[Mapping[str, Any]],
    out_dir: str | os.PathLike[str],
    training: Mapping[str, Any] | None = None,
) -> str:
    """Writes the detector as a SavedModel, in float32 whatever it was trained in.

    Args:
        detector: with `export_weights()`; may live under a distribution strategy.
        config: its `input` and `model` sections shape the exported model.
        categories: `{"id", "name", "label"}`, labels 1..K.
        out_dir: folder of the SavedModel; appears whole or not at all, replaces an old one. No
            other process may export to it meanwhile.
        training: what else to keep about the model (steps, losses, ...), JSON values.

    Returns:
        The model id: equal for equal weights, `input` and `model` settings and categories.
    """
    weights = detector.export_weights()
    model_id = model_digest(weights, config, categories)
    settings = config.model.model_copy(update={"weights": None})
    serving_detector = build_detector(settings, len(categories), precision="float32")
    serving_detector.import_weights(weights)
    module = ServingModule(serving_detector, config.input, categories)
    signatures = {"serving_default": module.detect_files, "decoded": module.detect_decoded}
    recover(out_dir)
    with atomic_path(out_dir) as partial:
        tf.saved_model.save(module, str(partial), signatures=signatures)
        write_json(partial / CATEGORIES_FILE, [dict(c) for c in categories])
        write_json(partial / CONFIG_FILE, config.model_dump(mode="json"))
        description = {
            "model_id": model_id,
            "name": config.name,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "training": dict(training or {}),
        }
        write_json(partial / MODEL_ID_FILE, description)
    return model_id


def model_digest(
    weights: Mapping[str, np.ndarray], config: Config, categories: Sequence[Mapping[str, Any]]
) -> str:
    """Returns 64 hex digits that stand for the weights, the settings and the categories.

    The file that training started from (`model.weights`) is no part of it: the trained weights
    are.
    """
    digest = hashlib.sha256()
    for path in sorted(weights):
        values = np.ascontiguousarray(weights[path])
        digest.update(f"{path} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return json_digest(
        {
            "weights": digest.hexdigest(),
            "input": config.input.model_dump(mode="json"),
            "model": config.model.model_dump(mode="json", exclude={"weights"}),
            "categories": [dict(c) for c in categories],
        }
    )


class ServingModule(tf.Module):
    """The detector with what serving adds: decoding, resizing, category ids.

    Args:
        detector: has `detect(images, image_sizes)` and `variables`.
        input_config: sides to resize to and the multiple to pad to.
        categories: `{"id", "label"}`, labels 1..K.
    """

    def __init__(
        self,
        detector: Any,
        input_config: InputConfig,
        categories: Sequence[Mapping[str, Any]],
    ) -> None:
        super().__init__(name="serving")
        self._detector = detector
        self._input = input_config
        # tf.saved_model.save finds only variables that hang on the module itself.
        self.weights = [variable.value for variable in detector.variables]
        by_label = {c["label"]: c["id"] for c in categories}
        ids = [0, *(by_label[label] for label in range(1, len(by_label) + 1))]
        self._category_ids = tf.constant(ids, tf.float32)  # [K + 1], by label

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def detect_files(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the detections in picture files [N]."""
        pictures = tf.TensorArray(
            tf.uint8, tf.size(image_bytes), element_shape=[None, None, 3], infer_shape=False
        )
        sizes = tf.TensorArray(tf.int32, tf.size(image_bytes), element_shape=[2])

        def read(i: tf.Tensor, pictures: Any, sizes: Any) -> tuple[tf.Tensor, Any, Any]:
            picture = self._resized(decode_picture(image_bytes[i]))
            return i + 1, pictures.write(i, picture), sizes.write(i, tf.shape(picture)[:2])

        _, pictures, sizes = tf.while_loop(
            lambda i, *_: i < tf.size(image_bytes), read, (0, pictures, sizes)
        )
        image_sizes = tf.reshape(sizes.stack(), [-1, 2])
        height, width = self._padded_size(tf.reduce_max(image_sizes, axis=0))
        images = tf.map_fn(
            lambda i: tf.image.pad_to_bounding_box(pictures.read(i), 0, 0, height, width),
            tf.range(tf.size(image_bytes)),
            fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
        )
        return self._detections(images, image_sizes)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def detect_decoded(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the detections in decoded pictures [N, H, W, 3] of one size."""
        resized = self._resized(images)
        size = tf.shape(resized)[1:3]
        height, width = self._padded_size(size)
        padded = tf.image.pad_to_bounding_box(resized, 0, 0, height, width)
        return self._detections(padded, tf.tile(size[tf.newaxis], [tf.shape(images)[0], 1]))

    def _resized(self, images: tf.Tensor) -> tf.Tensor:
        """Returns pictures uint8 [..., H, W, 3] at the size that the model works on."""
        size = tf.shape(images)[-3:-1]
        short, long = self._input.short_side_px, self._input.long_side_px
        return resize_picture(images, *resized_size(size[0], size[1], short, long))

    def _padded_size(self, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns height and width of `size` [2], rounded up to the multiple."""
        multiple = self._input.size_multiple_px
        padded = tf.maximum(-(-size // multiple), 1) * multiple
        return padded[0], padded[1]

    def _detections(self, images: tf.Tensor, image_sizes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the signatures' outputs, [N, D, ...] each (`num_detections` [N]).

        Args:
            images: [N, H, W, 3], padded.
            image_sizes: [N, 2], height and width of the content.
        """
        image_sizes = tf.cast(image_sizes, tf.float32)
        found = self._detector.detect(images, image_sizes)
        sides = tf.tile(image_sizes, [1, 2])[:, tf.newaxis]  # [N, 1, 4]: height, width, twice
        slots = tf.shape(found["scores"])[1]
        used = tf.cast(tf.sequence_mask(found["num"], slots), tf.float32)  # [N, D]
        outputs = {
            "detection_boxes": tf.clip_by_value(found["boxes"] / sides, 0.0, 1.0) * used[..., None],
            "detection_classes": tf.gather(self._category_ids, found["classes"]) * used,
            "detection_scores": found["scores"] * used,
            "num_detections": tf.cast(found["num"], tf.float32),
        }
        if "masks" in found:
            outputs["detection_masks"] = found["masks"] * used[..., None, None]
        return {name: tf.identity(value, name=name) for name, value in outputs.items()}

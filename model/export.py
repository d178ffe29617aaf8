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

An empty batch has no rows. What is found in a picture does not depend on the others in its batch:
only pictures that are padded to the same size go through the detector together.

A picture file that is no JPEG or PNG, has more than `input.max_picture_pixels` pixels or cannot be
decoded is an error of that call (InvalidArgumentError). The folder holds `assets/categories.json`,
`assets/config.json` and `assets.extra/model_id.json`.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import tensorflow as tf

from configs.schema import InputConfig
from ground.files import atomic_path, json_digest, recover, write_json
from model.contract import Detector
from model.detector import build_detector
from model.input.bounded_decode import decode_within
from model.input.resize import resize_picture, resized_size
from model.model_folder import (
    CATEGORIES_FILE,
    CONFIG_FILE,
    MODEL_ID_FILE,
    check_model_place,
)
from model.training_settings import TrainingSettings

_DECODED_AT_ONCE = 4  # pictures at their full size


def export_saved_model(
    detector: Detector,
    config: TrainingSettings,
    categories: Sequence[Mapping[str, Any]],
    out_dir: str | os.PathLike[str],
    training: Mapping[str, Any] | None = None,
    precision: str = "float32",
) -> str:
    """Writes the detector as a SavedModel, in float32 whatever it was trained in.

    Args:
        detector: with `export_weights()`; may live under a distribution strategy.
        config: its `input` and `model` sections shape the exported model.
        categories: `{"id", "name", "label"}`, labels 1..K.
        out_dir: folder of the SavedModel; appears whole or not at all, replaces an old one. No
            other process may export to it meanwhile.
        training: what else to keep about the model (steps, losses, ...), JSON values.
        precision: Keras dtype policy that it computes in.

    Returns:
        The model id: equal for equal weights, `input` and `model` settings and categories.
    """
    check_model_place(out_dir, [])
    weights = detector.export_weights()
    model_id = model_digest(weights, config, categories)
    if precision != "float32":
        model_id = json_digest([model_id, precision])
    settings = config.model.model_copy(update={"weights": None})
    serving_detector = build_detector(settings, len(categories), precision=precision)
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
    weights: Mapping[str, np.ndarray],
    config: TrainingSettings,
    categories: Sequence[Mapping[str, Any]],
) -> str:
    """Returns 64 hex digits that stand for the weights, the settings and the categories."""
    sections = config.model_dump(mode="json")
    return weights_model_id(weights, sections["input"], sections["model"], categories)


def weights_model_id(
    weights: Mapping[str, np.ndarray],
    input_section: Mapping[str, Any],
    model_section: Mapping[str, Any],
    categories: Sequence[Mapping[str, Any]],
) -> str:
    """Returns the model id of weights under the sections of a config, in JSON.

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
            "input": dict(input_section),
            "model": {key: value for key, value in model_section.items() if key != "weights"},
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
        detector: Detector,
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
        # Traced once, for both signatures and all sizes; tells the outputs' shapes beforehand.
        self._detect = tf.function(self._detections, autograph=False).get_concrete_function(
            tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([None, 2], tf.int32)
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def detect_files(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the detections in picture files [N]."""
        pictures, sizes = self._read(image_bytes)
        padded_sizes = self._padded(sizes)
        groups, group_of = tf.raw_ops.UniqueV2(x=padded_sizes, axis=[0])  # [G, 2], [N]

        def detect(g: tf.Tensor, outputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Any]:
            rows = tf.where(tf.equal(group_of, g))  # [n, 1]
            members = rows[:, 0]
            height, width = groups[g, 0], groups[g, 1]
            images = tf.map_fn(
                lambda i: tf.image.pad_to_bounding_box(
                    pictures.read(tf.cast(i, tf.int32)), 0, 0, height, width
                ),
                members,
                fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
            )
            found = self._detect(images, tf.gather(sizes, members))
            return g + 1, {
                name: tf.tensor_scatter_nd_update(values, rows, found[name])
                for name, values in outputs.items()
            }

        start = tf.constant(0), self._empty_outputs(tf.size(image_bytes))
        _, outputs = tf.while_loop(
            lambda g, _: g < tf.shape(groups)[0], detect, start, parallel_iterations=1
        )
        return self._named(outputs)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def detect_decoded(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the detections in decoded pictures [N, H, W, 3] of one size."""
        shape = tf.shape(images)

        def detect() -> dict[str, tf.Tensor]:
            has_pixels = tf.debugging.Assert(
                tf.reduce_min(shape) > 0, ["images have no pixels; their shape is", shape]
            )
            with tf.control_dependencies([has_pixels]):
                resized = self._resized(tf.identity(images))
            size = tf.shape(resized)[1:3]
            padded_size = self._padded(size)
            padded = tf.image.pad_to_bounding_box(resized, 0, 0, padded_size[0], padded_size[1])
            found: dict[str, tf.Tensor] = self._detect(
                padded, tf.tile(size[tf.newaxis], [shape[0], 1])
            )
            return found

        return self._named(tf.cond(shape[0] > 0, detect, lambda: self._empty_outputs(0)))

    def _read(self, image_bytes: tf.Tensor) -> tuple[tf.TensorArray, tf.Tensor]:
        """Returns the pictures, each at the size that the model works on, and the sizes [N, 2]."""
        count = tf.size(image_bytes)
        pictures = tf.TensorArray(
            tf.uint8, count, element_shape=[None, None, 3], infer_shape=False, clear_after_read=True
        )
        sizes = tf.TensorArray(tf.int32, count, element_shape=[2])

        def read(i: tf.Tensor, pictures: Any, sizes: Any) -> tuple[tf.Tensor, Any, Any]:
            decoded = decode_within(image_bytes[i], i, self._input.max_picture_pixels)
            picture = self._resized(decoded)
            return i + 1, pictures.write(i, picture), sizes.write(i, tf.shape(picture)[:2])

        # One after the other would be slow, all at once would hold all at their full size.
        _, pictures, sizes = tf.while_loop(
            lambda i, *_: i < count,
            read,
            (0, pictures, sizes),
            parallel_iterations=_DECODED_AT_ONCE,
        )
        return pictures, tf.reshape(sizes.stack(), [-1, 2])

    def _empty_outputs(self, count: Any) -> dict[str, tf.Tensor]:
        """Returns zeros in the shape of the outputs for so many pictures."""
        return {
            name: tf.zeros([count, *spec.shape[1:]], spec.dtype)
            for name, spec in self._detect.structured_outputs.items()
        }

    @staticmethod
    def _named(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the outputs under the names that the signature gives them."""
        return {name: tf.identity(value, name=name) for name, value in outputs.items()}

    def _resized(self, images: tf.Tensor) -> tf.Tensor:
        """Returns pictures uint8 [..., H, W, 3] at the size that the model works on."""
        size = tf.shape(images)[-3:-1]
        short, long = self._input.short_side_px, self._input.long_side_px
        return resize_picture(images, *resized_size(size[0], size[1], short, long))

    def _padded(self, sizes: tf.Tensor) -> tf.Tensor:
        """Returns sizes int32 [..., 2], rounded up to the multiple."""
        multiple = self._input.size_multiple_px
        return tf.maximum(-(-sizes // multiple), 1) * multiple

    def _detections(self, images: tf.Tensor, image_sizes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the signatures' outputs, [N, D, ...] each (`num_detections` [N]).

        Args:
            images: [N, H, W, 3], padded.
            image_sizes: [N, 2], height and width of the content.
        """
        return self.detections(images, image_sizes, self._category_ids)

    def detections(
        self, images: tf.Tensor, image_sizes: tf.Tensor, category_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns the outputs by the category ids [K + 1] of labels; see `_detections`."""
        image_sizes = tf.cast(image_sizes, tf.float32)
        found = self._detector.detect(images, image_sizes)
        sides = tf.tile(image_sizes, [1, 2])[:, tf.newaxis]  # [N, 1, 4]: height, width, twice
        slots = tf.shape(found.scores)[1]
        used = tf.cast(tf.sequence_mask(found.num, slots), tf.float32)  # [N, D]
        outputs = {
            "detection_boxes": tf.clip_by_value(found.boxes / sides, 0.0, 1.0) * used[..., None],
            "detection_classes": tf.gather(category_ids, found.classes) * used,
            "detection_scores": found.scores * used,
            "num_detections": tf.cast(found.num, tf.float32),
        }
        if found.masks is not None:
            outputs["detection_masks"] = found.masks * used[..., None, None]
        return outputs

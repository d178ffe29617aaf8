"""A loaded model as requests see it: named tensors in, named tensors out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.op_error import reason_of
from model.predict import LoadedModel
from model.prediction.detections import Detections
from model.serving.errors import RequestError
from model.serving.rest import Input


class ServedModel:
    """An exported model by its signatures.

    Args:
        folder: the SavedModel.

    Raises:
        ModelError: it cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        self._loaded = LoadedModel(folder)
        self.categories = self._loaded.categories
        self.max_picture_pixels = self._loaded.max_picture_pixels
        self._signatures = self._loaded.signatures

    def input_of(self, signature: str) -> Input:
        """Returns a signature's input.

        Raises:
            RequestError: there is no such signature.
        """
        if signature not in self._signatures:
            raise RequestError(
                f"no signature {signature!r:.80}: expected {_listed(self._signatures)}"
            )
        (spec,) = self._signatures[signature].structured_input_signature[1].values()
        return Input(spec.name, np.dtype(spec.dtype.as_numpy_dtype), tuple(spec.shape))

    def call(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """Returns a signature's outputs.

        Raises:
            RequestError: the model cannot take the values.
        """
        import tensorflow as tf

        try:
            tensor = tf.constant(values, tf.string if values.dtype == object else None)
            outputs = self._signatures[signature](**{self.input_of(signature).name: tensor})
        except tf.errors.OpError as error:
            raise RequestError(f"the model cannot take it: {reason_of(error.message)}") from None
        return {name: value.numpy() for name, value in outputs.items()}

    def detect(self, encoded: bytes) -> Detections:
        """Returns what is found in a picture file."""
        return self._loaded.detect_bytes([encoded])[0]

    def metadata(self, name: str, version: int) -> dict[str, Any]:
        """Returns TensorFlow Serving's GetModelMetadataResponse as JSON."""
        definitions = {
            key: {
                "inputs": _tensors(function.structured_input_signature[1]),
                "outputs": _tensors(function.structured_outputs),
                "method_name": "tensorflow/serving/predict",
            }
            for key, function in sorted(self._signatures.items())
        }
        kind = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        return {
            "model_spec": {"name": name, "signature_name": "", "version": str(version)},
            "metadata": {"signature_def": {"@type": kind, "signature_def": definitions}},
        }


def _tensors(specs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "dtype": f"DT_{spec.dtype.name.upper()}".replace("FLOAT32", "FLOAT"),
            "tensor_shape": {
                "dim": [
                    {"size": str(-1 if side is None else side), "name": ""}
                    for side in spec.shape.as_list()
                ],
                "unknown_rank": False,
            },
            "name": spec.name,
        }
        for name, spec in sorted(specs.items())
    }


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names))

"""Writes the forms. Each gives a function that runs it, for the comparison."""

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ground.errors import ModelError
from model.export import export_saved_model
from model.exports.rebuilt import Rebuilt

Run = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]

FORMS = ("float16", "onnx", "tflite")
_OPSET = 17  # the newest that tf2onnx 1.16 knows
_OPS_IN_THE_WAY = re.compile(r"error: '(?:tf\.)?(\w+)' op is neither a custom op nor a flex op")


def write_form(form: str, rebuilt: Rebuilt, out: Path) -> Run:
    """Writes a form of a model; returns what runs it.

    Args:
        form: one of `FORMS`.
        rebuilt: the model.
        out: folder that gets `model.onnx`, `model.tflite` or the SavedModel `float16/`.

    Raises:
        ModelError: the form cannot be made: the op, or the package, that is in the way.
    """
    write: dict[str, Callable[[Rebuilt, Path], Run]] = {
        "float16": _write_float16,
        "onnx": _write_onnx,
        "tflite": _write_tflite,
    }
    if form != "float16" and rebuilt.config.model.roi.sampling_ratio == 0:
        raise ModelError(
            f"{form}: the op SparseTensorDenseMatMul is in the way, which RoIAlign needs for "
            "model.roi.sampling_ratio 0: train with 2"
        )
    return write[form](rebuilt, out)


def fixed_side(form: str, rebuilt: Rebuilt) -> int | None:
    """Returns the side of the padded square that a form takes, None for any size."""
    settings = rebuilt.config.input
    multiple = settings.size_multiple_px
    return -(-settings.long_side_px // multiple) * multiple if form == "tflite" else None


def _write_float16(rebuilt: Rebuilt, out: Path) -> Run:
    place = out / "float16"
    export_saved_model(
        rebuilt.detector, rebuilt.config, rebuilt.categories, place, precision="mixed_float16"
    )
    saved = tf.saved_model.load(str(place))

    def run(images: np.ndarray, sizes: np.ndarray) -> Mapping[str, np.ndarray]:
        found = saved._detect(tf.constant(images), tf.constant(sizes))
        return {name: value.numpy() for name, value in found.items()}

    run.saved = saved  # type: ignore[attr-defined]  # its variables live as long as it does
    return run


def _write_onnx(rebuilt: Rebuilt, out: Path) -> Run:
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise ModelError(f"onnx: {error}: install tfx-rcnn[onnx]") from None
    graph = rebuilt.graph(None, None)
    path = out / "model.onnx"
    try:
        tf2onnx.convert.from_function(
            graph, graph.input_signature, opset=_OPSET, output_path=str(path)
        )
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # a converter's own
        raise ModelError(f"onnx: {_line(error)}") from None
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray, sizes: np.ndarray) -> Mapping[str, np.ndarray]:
        values = session.run(None, {"images": images, "image_sizes": sizes})
        return dict(zip(names, values, strict=True))

    return run


def _write_tflite(rebuilt: Rebuilt, out: Path) -> Run:
    if not hasattr(tf, "lite") or not hasattr(tf.lite, "TFLiteConverter"):
        raise ModelError(f"tflite: TensorFlow {tf.__version__} has no converter to TFLite")
    side = fixed_side("tflite", rebuilt)
    graph = rebuilt.graph(side, side)
    path = out / "model.tflite"
    try:
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [graph.get_concrete_function()], rebuilt.module
        )
        # Its own ops alone: newer TensorFlow's runtime, and most phones, have no others (Flex).
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        path.write_bytes(converter.convert())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its coming home, another package
            interpreter = tf.lite.Interpreter(str(path))
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
    except Exception as error:  # the converter's and the runtime's own
        ops = _OPS_IN_THE_WAY.findall(str(error))
        why = f"TFLite has no {', '.join(dict.fromkeys(ops))}" if ops else _line(error)
        raise ModelError(f"tflite: {why}") from None

    def run(images: np.ndarray, sizes: np.ndarray) -> Mapping[str, np.ndarray]:
        found: Mapping[str, Any] = runner(images=images, image_sizes=sizes)
        return found

    return run


def _line(error: Exception) -> str:
    """Returns what a converter says, in one line, without the rest of its log."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"

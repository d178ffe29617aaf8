"""Files with weights: what they hold, whose they are, and how a detector starts from them.

A module a kind knows the names. Kinds that come from PyTorch are first given torchvision's names,
then ours (model/weights/torchvision.py); those with TensorFlow's axes go straight in.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from absl import logging

from configs.loader import read_preset
from configs.model_schema import BackboneConfig
from ground.addresses import is_address, shown_address
from ground.errors import ModelError
from ground.files import file_digest
from ground.progress import Progress, say_or_log
from model.weights import (
    arrays_only,
    detectron2,
    efficientnet_lite,
    heads,
    keras_applications,
    keras_files,
    mobilenet_v2,
    tensorpack,
)
from model.weights.named import is_name, named, weights_path, where_to_put
from model.weights.tensors import Tensor
from model.weights.torchvision import counterparts, current_names, in_our_axes

if TYPE_CHECKING:
    from model.detector import RcnnDetector

# Kinds whose arrays have our axes; those of the others have torchvision's.
_WITH_OUR_AXES = ("ours", "keras", "efficientnet_lite", "mobilenet_v2")
KINDS = (*_WITH_OUR_AXES, "torchvision", "detectron2", "tensorpack")
_READERS = arrays_only.READERS | keras_files.READERS
SUFFIXES = (".npz", ".safetensors", *_READERS)
# Layers whose shape depends on the number of classes: where it differs, they start anew.
CLASS_LAYERS = re.compile(r"box_head(_\d+)?/(class_logits|deltas)/|mask_head/mask_")
_CONVENTIONS = (
    "channel_order",
    "pixel_mean",
    "pixel_std",
    "stride_in_1x1",
    "symmetric_padding",
)
_CLASS_LOGITS = "box_head/class_logits/bias"
_SHOWN = 3  # names in a line of the report


@dataclass(frozen=True)
class WeightReport:
    """What became of a file's arrays and of a detector's weights.

    Attributes:
        path: the file.
        kind: one of `KINDS`.
        loaded: our weights that the file gave.
        initial: those that it lacks, left as they were.
        restarted: those that it has for another number of classes, left as they were.
        left_over: names in the file that nothing took.
        stored_classes: K of the file, if it has a class layer.
        num_classes: K of the model.
        differences: settings that are not those the file was made with, in words.
    """

    path: str
    kind: str
    loaded: list[str]
    initial: list[str]
    restarted: list[str]
    left_over: list[str]
    stored_classes: int | None
    num_classes: int
    differences: list[str]

    def lines(self) -> list[str]:
        """Returns the report for the screen."""
        total = len(self.loaded) + len(self.initial) + len(self.restarted)
        lines = [f"loaded    {len(self.loaded)} of {total} weights from {self.path} ({self.kind})"]
        if self.restarted:
            lines.append(
                f"new       {_some(self.restarted)}: the file has {self.stored_classes} classes, "
                f"the model {self.num_classes}, so what predicts them starts from initial values"
            )
        lines.append(f"initial   {_some(self.initial)}")
        lines.append(f"left over {_some(self.left_over)}")
        lines += [f"warning   {difference}" for difference in self.differences]
        return lines


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns {name: array} of a file; of a pickle only arrays are read (arrays_only.py).

    Args:
        path: the file, or a name of one in the cache folder (named.py).

    Raises:
        ModelError: the file is absent, unreadable, of another kind, or asks for more than arrays.
    """
    check_weights_file(path)
    path = weights_path(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        if path.suffix in _READERS:
            return _READERS[path.suffix](path)
        from safetensors.numpy import load_file

        return load_file(path)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"weights: cannot read {path}: {error}") from error


def check_weights_file(path: str | os.PathLike[str], hint: str = "") -> None:
    """Checks that weights could be read from `path`.

    Args:
        path: path of the file, or a name.
        hint: what to do where there is none.

    Raises:
        ModelError: there is no such file or name, it is an address, or its suffix is unknown.
    """
    if is_address(os.fspath(path)):
        raise ModelError(
            f"weights: {shown_address(os.fspath(path))}: is an address: fetch the file, and give "
            "its path"
        )
    if is_name(os.fspath(path)):
        hint = f" of {path}: {where_to_put(os.fspath(path))}"
    path = weights_path(path)
    if path.suffix not in SUFFIXES:
        raise ModelError(
            f"weights: {path} must be a file of {', '.join(SUFFIXES)}, "
            f"or a name such as imagenet/torchvision-resnet18 (docs/weights.md)"
        )
    if not path.is_file():
        raise ModelError(f"weights: there is no file {path.absolute()}{hint}")


def check_start_weights(weights: str | None) -> None:
    """Checks what `model.weights` says, as `check_weights_file`.

    A name whose file can be fetched passes.
    """
    if weights is not None and is_name(weights) and named(weights).url:
        return
    if weights is not None and weights != keras_applications.PUBLISHED:
        hint = (
            "; name yours with model.weights=PATH, or start from random weights with "
            "model.weights=null"
        )
        check_weights_file(weights, hint)


def weights_digest(weights: str | None) -> str:
    """Returns the digest of the file that `model.weights` names, "" where there is none."""
    path = weights_path(weights) if weights else None
    return file_digest(path) if path and path.is_file() else ""


def recognise(names: set[str], ours: set[str]) -> str | None:
    """Returns whose names these are, one of `KINDS`, or None.

    Args:
        names: in the file.
        ours: paths of the model's variables.
    """
    if any(name.removeprefix("weights/") in ours for name in names):
        return "ours"
    if detectron2.is_detectron2(names):
        return "detectron2"
    if tensorpack.is_tensorpack(names):
        return "tensorpack"
    if efficientnet_lite.is_efficientnet_lite(names):
        return "efficientnet_lite"
    if mobilenet_v2.is_mobilenet_v2(names):
        return "mobilenet_v2"
    if set(counterparts(ours).values()).intersection(current_names(names).values()):
        return "torchvision"
    return None


def load_start_weights(
    detector: "RcnnDetector", path: str | os.PathLike[str], kind: str | None = None
) -> WeightReport:
    """Sets the weights that a file holds, logs and returns what became of all others.

    Predictors of another number of classes are left as they are. Nothing is changed where the file
    does not fit.

    Args:
        detector: with its initial weights.
        path: file of a detector or a classifier; "imagenet" is what keras.applications fetches.
        kind: one of `KINDS`; None recognises it by the names.

    Raises:
        ModelError: the file is unreadable, of no known kind, holds nothing for this model, or a
            shape differs.
    """
    variables = {variable.path: variable for variable in detector.variables}
    stored, recognised = _read(detector, path, set(variables))
    kind = kind or recognised
    if kind is None:
        raise ModelError(
            f"weights: nothing in {path} has the name of a weight of the model, as we, "
            f"{', '.join(KINDS[1:])} call it (first: {sorted(stored)[:2]})"
        )
    found = _by_path(stored, kind, set(variables), detector)
    stored_classes = _stored_classes(stored, kind, detector)
    has_other_classes = stored_classes not in (None, detector.num_classes)
    shapes = {name: tuple(variables[name].shape) for name in found}
    start, restarted = _fitting(found, shapes, kind, has_other_classes, path)
    if not start:
        raise ModelError(f"weights: nothing in {path} is, by {kind}'s names, a weight of the model")
    progress = Progress("setting weights", len(start), say_or_log, "array", says_end=False)
    for name, array in start.items():
        variables[name].assign(array)
        progress.advance()
    report = WeightReport(
        path=str(path),
        kind=kind,
        loaded=sorted(start),
        initial=sorted(variables.keys() - found.keys()),
        restarted=sorted(restarted),
        left_over=sorted(_countable(stored) - {tensor.name for tensor in found.values()}),
        stored_classes=stored_classes,
        num_classes=detector.num_classes,
        differences=_differences(stored, kind, detector),
    )
    for line in report.lines():
        (logging.warning if line.startswith("warning") else logging.info)("weights: %s", line)
    return report


def _fitting(
    found: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    kind: str,
    has_other_classes: bool,
    path: str | os.PathLike[str],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the arrays that fit, in our axes, and the predictors that are for other classes.

    Args:
        found: what the file holds, by our paths.
        shapes: shapes of the model's variables, by the same paths.
        kind: one of `KINDS`.
        has_other_classes: whether the file is for another number of classes.
        path: path of the file, for errors.

    Raises:
        ModelError: a shape differs, other than by the number of classes.
    """
    start: dict[str, np.ndarray] = {}
    restarted = []
    for name, tensor in found.items():
        array = _in_our_axes(name, tensor, shapes[name], kind)
        if array is not None:
            start[name] = array
        elif CLASS_LAYERS.match(name) and has_other_classes:
            restarted.append(name)
        else:
            raise ModelError(
                f"weights: {tensor.name} in {path} has shape {list(tensor.array.shape)}, which "
                f"does not fit {name} of shape {list(shapes[name])}"
            )
    return start, restarted


def _read(
    detector: "RcnnDetector", path: str | os.PathLike[str], ours: set[str]
) -> tuple[dict[str, np.ndarray], str | None]:
    """Returns the arrays and whose they are."""
    if str(path) == keras_applications.PUBLISHED:
        name = detector.config.backbone.name
        return keras_applications.fetch_published(detector.backbone, name), "keras"
    stored = read_weights(path)
    is_keras = weights_path(path).suffix in keras_files.READERS
    return stored, "keras" if is_keras else recognise(set(stored), ours)


def _by_path(
    stored: Mapping[str, np.ndarray], kind: str, ours: set[str], detector: "RcnnDetector"
) -> dict[str, Tensor]:
    """Returns by our paths what the file holds; the axes are ours or torchvision's."""
    if kind in _WITH_OUR_AXES:
        if kind == "keras":
            name = detector.config.backbone.name
            found = keras_applications.by_our_paths(stored, detector.backbone, name)
        elif kind == "efficientnet_lite":
            found = efficientnet_lite.by_our_paths(stored)
        elif kind == "mobilenet_v2":
            found = mobilenet_v2.by_our_paths(stored)
        else:
            found = {name.removeprefix("weights/"): Tensor(name, stored[name]) for name in stored}
        return {path: found[path] for path in found if path in ours}
    theirs = _by_torchvision_names(stored, kind, detector.config.backbone)
    return {path: theirs[name] for path, name in counterparts(ours).items() if name in theirs}


def _by_torchvision_names(
    stored: Mapping[str, np.ndarray], kind: str, config: BackboneConfig
) -> dict[str, Tensor]:
    """Returns what the file of a kind with torchvision's axes holds, by today's names."""
    if kind == "detectron2":
        return detectron2.by_torchvision_names(stored, config.norm_epsilon)
    if kind == "tensorpack":
        return tensorpack.by_torchvision_names(stored)
    names = current_names(stored)
    return {names[name]: Tensor(name, array) for name, array in stored.items()}


def _in_our_axes(path: str, tensor: Tensor, shape: tuple[int, ...], kind: str) -> np.ndarray | None:
    """Returns the array as our variable wants it, None where it does not fit."""
    if kind in _WITH_OUR_AXES:
        return tensor.array if tensor.array.shape == shape else None
    return in_our_axes(path, tensor.array, shape)


def _stored_classes(
    stored: Mapping[str, np.ndarray], kind: str, detector: "RcnnDetector"
) -> int | None:
    """Returns K of the file, None without a class layer."""
    found = _by_path(stored, kind, {_CLASS_LOGITS}, detector)
    return len(found[_CLASS_LOGITS].array) - 1 if found else None


def _countable(stored: Mapping[str, np.ndarray]) -> set[str]:
    """Returns the names of weights: no counters of batches (PyTorch), no slots of a checkpoint."""
    is_checkpoint = any(name.startswith("weights/") for name in stored)
    return {
        name
        for name in stored
        if not name.endswith("num_batches_tracked")
        and (not is_checkpoint or name.startswith("weights/"))
    }


def _differences(
    stored: Mapping[str, np.ndarray], kind: str, detector: "RcnnDetector"
) -> list[str]:
    """Returns in words which settings are not those that the file was made with.

    Of a ResNet these are the kind's conventions, of a detector the layers it has.
    """
    config = detector.config
    if kind in _WITH_OUR_AXES:
        return []
    found = heads.left_out(_by_torchvision_names(stored, kind, config.backbone), config)
    if not config.backbone.name.startswith("resnet"):
        return found
    expected, given = read_preset(kind)["backbone"], config.backbone.model_dump(mode="json")
    return found + [
        f"{kind}'s published weights were made with model.backbone.{key} {expected[key]}, the "
        f"config has {given[key]} (model.preset: {kind} would set it)"
        for key in _CONVENTIONS
        if expected[key] != given[key]
    ]


def _some(names: list[str]) -> str:
    """Returns the number of names and the first few."""
    if not names:
        return "none"
    shown = ", ".join(names[:_SHOWN])
    return f"{len(names)} ({shown}{', ...' if len(names) > _SHOWN else ''})"

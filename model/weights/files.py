"""Files with weights: what they hold, and how a detector starts from them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from configs.errors import ModelError
from model.weights.torchvision import from_torchvision

# Layers whose shape depends on the number of classes: where it differs, they start anew.
CLASS_LAYERS = ("box_head/class_logits/", "box_head/deltas/", "mask_head/mask_")


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns {name: array} of a .npz or .safetensors file.

    Raises:
        ModelError: the file is absent, unreadable or of another kind.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise ModelError(f"model.weights: {path} must be a .npz or .safetensors file")
    if not path.is_file():
        raise ModelError(f"model.weights: there is no file {path}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        from safetensors.numpy import load_file

        return load_file(path)
    except Exception as error:
        raise ModelError(f"model.weights: cannot read {path}: {error}") from error


def load_start_weights(detector: Any, path: str | os.PathLike[str]) -> None:
    """Sets the weights that a file holds; the others keep their initial values, and are logged.

    The file has our names (`Detector.export_weights`, a checkpoint) or torchvision's, of a whole
    detector or of a classifier. Layers that depend on the classes are left out where the number of
    classes differs.

    Raises:
        ModelError: the file is unreadable, holds nothing for this model, or a shape differs.
    """
    stored = read_weights(path)
    variables = {variable.path: variable for variable in detector.variables}
    wanted = {name: tuple(variable.shape) for name, variable in variables.items()}
    start = {name.removeprefix("weights/"): array for name, array in stored.items()}
    start = {name: array for name, array in start.items() if name in wanted}
    if not start:
        start = _from_torchvision_by_parts(stored, wanted)
    if not start:
        raise ModelError(f"model.weights: nothing in {path} has the name of a weight of the model")
    for name, array in start.items():
        if array.shape == wanted[name]:
            variables[name].assign(array)
        elif not name.startswith(CLASS_LAYERS):
            raise ModelError(
                f"model.weights: {name} in {path} has shape {list(array.shape)}, "
                f"the model needs {list(wanted[name])}"
            )
    left = sorted(n for n in wanted if n not in start or start[n].shape != wanted[n])
    logging.info(
        "%d of %d weights start from %s; the others (%s) from random values",
        len(wanted) - len(left),
        len(wanted),
        path,
        ", ".join(left[:3]) + ", ..." if len(left) > 3 else ", ".join(left) or "none",
    )


def _from_torchvision_by_parts(
    state: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Returns what a torchvision state dict has, without class layers of another size."""
    weights: dict[str, np.ndarray] = {}
    for name, shape in wanted.items():
        try:
            weights |= from_torchvision(state, {name: shape})
        except ModelError:
            if not name.startswith(CLASS_LAYERS):
                raise
    return weights

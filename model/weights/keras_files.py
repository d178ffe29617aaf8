"""Arrays out of Keras's files: .h5, .weights.h5 and .keras. No layer is made from what they say.

A `.keras` file is a zip whose `config.json` may hold code; only its `model.weights.h5` is read.
HDF5 can refer to other files; datasets that do are refused.

Three layouts: Keras 3 stores `layers/conv2d_3/vars/0`, by the count of a class; older `.h5` files
store `block_1_expand/block_1_expand/kernel:0`, by layer name, in the order of attributes, at the
root or, where the whole model was saved, under `model_weights`.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ground.errors import ModelError

_ZIPPED = "model.weights.h5"


def read_h5(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a .h5 file by their place in it; layer names have no "/" in these.

    Raises:
        ModelError: the file refers to another one, or holds something else than numbers.
    """
    with h5py.File(path, "r") as file:
        return _arrays(file, path)


def read_keras_zip(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a .keras file, as `read_h5` does.

    Raises:
        ModelError: what `read_h5` raises; or the zip has no weights.
    """
    with zipfile.ZipFile(path) as archive:
        if _ZIPPED not in archive.namelist():
            raise ModelError(f"weights: {path} has no {_ZIPPED}, so it is no .keras file")
        content = io.BytesIO(archive.read(_ZIPPED))
    with h5py.File(content, "r") as file:
        return _arrays(file, path)


def _arrays(file: h5py.File, path: Path) -> dict[str, np.ndarray]:
    """Returns the weights in a file by name, without the optimizer's; `path` is for errors."""
    root = file.get("model_weights", file)
    datasets: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: Any) -> None:  # follows no link to another file
        if isinstance(item, h5py.Dataset):
            datasets[name] = item

    root.visititems(collect)
    names = _names_in_order(root) if "layer_names" in root.attrs else {n: n for n in datasets}
    arrays = {}
    for name, place in names.items():
        if name.startswith("optimizer"):
            continue
        dataset = datasets.get(place)
        if dataset is None:
            raise ModelError(f"weights: {path} names {place}, which it does not hold")
        if dataset.external or dataset.is_virtual or dataset.dtype.kind not in "fiub":
            raise ModelError(f"weights: {place} in {path} is no array of numbers in this file")
        arrays[name] = dataset[()]
    return arrays


def _names_in_order(root: h5py.Group) -> dict[str, str]:
    """Returns the places of an older file's weights, by names whose layer is the first part."""
    names = {}
    for layer in map(_text, root.attrs["layer_names"]):
        for weight in map(_text, root[layer].attrs["weight_names"]):
            names[f"{layer.replace('/', '_')}/{weight}"] = f"{layer}/{weight}"
    return names


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".h5": read_h5,
    ".keras": read_keras_zip,
}

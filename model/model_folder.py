"""What lies in an exported model's folder, read without TensorFlow."""

import os
from pathlib import Path
from typing import Any

from configs.console import read_json
from configs.errors import ModelError

CATEGORIES_FILE = "assets/categories.json"
CONFIG_FILE = "assets/config.json"
MODEL_ID_FILE = "assets.extra/model_id.json"
_GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")


def find_saved_model(folder: str | os.PathLike[str]) -> Path:
    """Returns the SavedModel in `folder`: itself, TFX's `Format-Serving`, or the newest version.

    Raises:
        ModelError: there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder")
    versions = [d for d in folder.iterdir() if d.is_dir() and d.name.isdecimal()]
    newest = sorted(versions, key=lambda d: int(d.name), reverse=True)
    for candidate in (folder, folder / "Format-Serving", folder / "model", *newest):
        if any((candidate / name).is_file() for name in _GRAPH_FILES):
            return candidate
    raise ModelError(f"{folder}: holds no SavedModel (no saved_model.pb); expected an exported one")


def read_model_id(saved_model: str | os.PathLike[str]) -> str:
    """Returns the model id of an exported model.

    Raises:
        ModelError: the folder was not written by `model.export`.
    """
    path = Path(saved_model) / MODEL_ID_FILE
    content = read_json(path, ModelError)
    if not isinstance(content, dict) or not isinstance(content.get("model_id"), str):
        raise ModelError(f"{path}: has no model_id; the model was not exported by this library")
    return content["model_id"]


def read_categories(saved_model: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns `{"id", "name", "label"}` of each category that the model knows."""
    return read_json(Path(saved_model) / CATEGORIES_FILE, ModelError)

"""What lies in an exported model's folder, read without TensorFlow."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ground.console import read_json
from ground.errors import ModelError
from ground.files import file_digest, json_digest
from ground.outputs import Paths, check_folder, check_pattern

CATEGORIES_FILE = "assets/categories.json"
CONFIG_FILE = "assets/config.json"
MODEL_ID_FILE = "assets.extra/model_id.json"
PUSH_FILE = "assets.extra/push.json"  # only in a pushed copy
_LARGEST_VERSION = 2**63 - 1  # TensorFlow Serving's
_MODEL_FILE = re.compile(
    r"(saved_model|fingerprint|keras_metadata)\.pb|variables/variables\.(index|data-[-\w]+)|"
    + "|".join(map(re.escape, (CATEGORIES_FILE, CONFIG_FILE, MODEL_ID_FILE)))
)
_GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")


def version_number(name: str) -> int | None:
    """Returns the version that a folder's name stands for to TensorFlow Serving, None for none.

    >>> version_number("12"), version_number("withdrawn-3"), version_number("9" * 30)
    (12, None, None)
    """
    if not (name.isascii() and name.isdecimal()) or len(name) > len(str(_LARGEST_VERSION)):
        return None
    return int(name) if int(name) <= _LARGEST_VERSION else None


def find_saved_model(folder: str | os.PathLike[str]) -> Path:
    """Returns the SavedModel in `folder`: itself, TFX's `Format-Serving`, or the newest version.

    Raises:
        ModelError: there is none, or the newest version is none: an older one is not what
            TensorFlow Serving would load.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder")
    for candidate in (folder, folder / "Format-Serving", folder / "model"):
        if _has_graph(candidate):
            return candidate
    try:
        versions = [path for path in folder.iterdir() if version_number(path.name) is not None]
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read ({error.strerror})") from None
    if versions:
        newest = max(versions, key=lambda path: int(path.name))
        if _has_graph(newest):
            return newest
        raise ModelError(f"{newest}: the newest version holds no SavedModel (no saved_model.pb)")
    served = sorted(path.parent.parent for path in folder.glob("serving/*/*/saved_model.pb"))
    advice = f"it serves some from {served[0]}" if served else "expected an exported one"
    raise ModelError(f"{folder}: holds no SavedModel (no saved_model.pb); {advice}")


def _has_graph(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _GRAPH_FILES)


def check_model_place(folder: str | os.PathLike[str], inputs: Paths) -> None:
    """Checks that a model may be exported to a folder, in place of another one; writes nothing.

    Raises:
        OutputError: it is or lies in an input, or holds anything but an exported model, or
            TensorFlow takes its path for a pattern.
    """
    check_pattern(folder, "--out")
    check_folder(folder, "model.export", [], inputs, is_earlier=_is_exported_model)


def _is_exported_model(folder: Path) -> bool:
    if not (folder / MODEL_ID_FILE).is_file():
        return False
    files = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return all(_MODEL_FILE.fullmatch(path.as_posix()) for path in files)


def read_model_id(saved_model: str | os.PathLike[str]) -> str:
    """Returns the model id of an exported model.

    Raises:
        ModelError: the folder was not written by `model.export`, or its file is damaged.
    """
    path = Path(saved_model) / MODEL_ID_FILE
    model_id = read_model_description(saved_model).get("model_id")
    if not isinstance(model_id, str) or not model_id:
        raise ModelError(f"{path}: has no model_id; the model was not exported by this library")
    return model_id


def read_model_description(saved_model: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns `model_id`, `name`, `created` and `training` of an exported model.

    Raises:
        ModelError: the file is missing or damaged.
    """
    return _read_object(Path(saved_model) / MODEL_ID_FILE)


def read_categories(saved_model: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns `{"id", "name", "label"}` of each category that the model knows.

    Raises:
        ModelError: the file is missing or damaged.
    """
    path = Path(saved_model) / CATEGORIES_FILE
    categories = read_json(path, ModelError)
    kinds = {"id": int, "name": str, "label": int}
    for category in categories if isinstance(categories, list) else [None]:
        if not isinstance(category, dict) or any(
            type(category.get(key)) is not kind for key, kind in kinds.items()
        ):
            raise ModelError(f"{path}: expected a list of id, name, label, got {category!r:.80}")
    return categories


def read_model_config(saved_model: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the config that a model was exported with, its sections `input` and `model` at least.

    Raises:
        ModelError: the file is missing or damaged.
    """
    path = Path(saved_model) / CONFIG_FILE
    config = _read_object(path)
    for section in ("input", "model"):
        if not isinstance(config.get(section), dict):
            raise ModelError(f"{path}: has no section {section!r}, so it is no exported config")
    return config


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path, ModelError)
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a JSON object, got {content!r:.80}")
    return content


def files_digest(saved_model: str | os.PathLike[str], below: str = "") -> str:
    """Returns 64 hex digits that stand for the files of an exported model: names and bytes.

    What a push adds (`assets.extra/push.json`) is no part of it, and neither are modes, times and
    empty folders. Unlike the model id, which the export wrote down once, it says what lies there.

    Args:
        saved_model: the SavedModel.
        below: only the files of this folder in it; none where it is not there.

    Raises:
        ModelError: a file cannot be read, or something is neither a file nor a folder.
    """
    root = Path(saved_model)
    try:
        digests = [
            [path.relative_to(root).as_posix(), file_digest(path)]
            for path in sorted(_files_below(root / below))
            if path != root / PUSH_FILE
        ]
    except OSError as error:
        raise ModelError(f"{error.filename or root}: cannot be read ({error.strerror})") from None
    return json_digest(digests)


def _files_below(folder: Path) -> Iterator[Path]:
    """Yields the files of a folder and its folders; a linked file counts as what it leads to."""
    if not folder.exists():
        return
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from _files_below(path)
        else:
            raise ModelError(f"{path}: is neither a file nor a folder: a model holds nothing else")

"""The pushed versions of a model, read from the folders that serve them.

    <folder>/<name>/<version>/                      a SavedModel, as TensorFlow Serving wants it
    <folder>/<name>/<version>/assets.extra/push.json
    <folder>/<name>/withdrawn-<version>/            taken out of service, its number stays used

Versions are 1, 2, 3, ...; a version appears whole, under a lock, and its number is never used
again. There is no other book-keeping: what lies there is what is served.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from configs.errors import ModelError, OutputError
from configs.files import LOCK_FILE, atomic_path, remove, write_json
from configs.output_record import SUMMARY_FILE
from configs.outputs import Paths, check_folder, growing_folder
from model.model_folder import find_saved_model, read_model_id

PUSH_FILE = "assets.extra/push.json"
_WITHDRAWN = "withdrawn-"
_LEFTOVER = re.compile(r"\.\d+\.[0-9a-f]{8}\.partial")
_WRITER = "components.model_pusher"


@dataclass(frozen=True)
class PushedVersion:
    """One version in service.

    Attributes:
        version: its number.
        path: its folder.
        model_id: of the model in it; None for a model of another origin.
    """

    version: int
    path: Path
    model_id: str | None


def pushed_versions(folder: str | os.PathLike[str], name: str) -> list[PushedVersion]:
    """Returns the versions of `name` in service, oldest first."""
    found = []
    for path in _entries(Path(folder) / name):
        if path.name.isdecimal() and path.is_dir():
            found.append(PushedVersion(int(path.name), path, model_id_or_none(path)))
    return sorted(found, key=lambda pushed: pushed.version)


def newest_pushed_model(folder: str | os.PathLike[str], name: str) -> PushedVersion | None:
    """Returns the version of `name` that TensorFlow Serving would serve, None without any."""
    versions = pushed_versions(folder, name)
    return versions[-1] if versions else None


def push(
    model: str | os.PathLike[str], folder: str | os.PathLike[str], name: str
) -> tuple[PushedVersion, bool]:
    """Copies a model into service as the next version, unless it is the newest already.

    Args:
        model: an exported model's folder.
        folder: base of all served models.
        name: of the model.

    Returns:
        The version that holds the model, and whether it is new.

    Raises:
        ModelError: `model` is no exported model.
    """
    source = find_saved_model(model)
    model_id = read_model_id(source)
    base = Path(folder) / name
    check_push_folder(folder, name, [source])
    growing_folder(base, _WRITER, [], [source], is_earlier=_is_earlier)
    with _locked(base):
        newest = newest_pushed_model(folder, name)
        if newest is not None and newest.model_id == model_id:
            return newest, False
        _remove_leftovers(base)
        version = _next_version(base)
        with atomic_path(base / str(version), replaces=False) as partial:
            shutil.copytree(source, partial)
            moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
            push_note = {"version": version, "model_id": model_id, "pushed": moment}
            write_json(partial / PUSH_FILE, push_note)
    return PushedVersion(version, base / str(version), model_id), True


def check_push_folder(
    folder: str | os.PathLike[str], name: str, inputs: Paths, option: str = "--folder"
) -> None:
    """Checks that versions of a model may be pushed to `<folder>/<name>`; writes nothing.

    Args:
        folder: base of all served models.
        name: of the model.
        inputs: files and folders that are read.
        option: for messages.

    Raises:
        OutputError: the place lies in an input, or holds something else than versions of a model.
    """
    base = Path(folder) / name
    check_folder(base, _WRITER, [], inputs, option, _is_earlier)
    if (base / SUMMARY_FILE).exists() and not _is_our_summary(base / SUMMARY_FILE):
        raise OutputError(
            f"{base / SUMMARY_FILE}: is not of ours: move it away, or give another {option}"
        )


def _is_earlier(base: Path) -> bool:
    """Returns whether a folder without a record holds nothing but versions and our summary."""
    names = {path.name.removeprefix(_WITHDRAWN) for path in _entries(base)}
    return all(n.isdecimal() or n.startswith(".") or n == SUMMARY_FILE for n in names)


def _is_our_summary(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"pushed_model", "version", "model_id"} <= content.keys()


def model_id_or_none(saved_model: Path) -> str | None:
    """Returns the model id in a folder, None where there is none (another origin, or gone)."""
    try:
        return read_model_id(saved_model)
    except ModelError:
        return None


def _entries(base: Path) -> list[Path]:
    return list(base.iterdir()) if base.is_dir() else []


def _next_version(base: Path) -> int:
    names = [path.name.removeprefix(_WITHDRAWN) for path in _entries(base)]
    return max((int(name) for name in names if name.isdecimal()), default=0) + 1


def _remove_leftovers(base: Path) -> None:
    """Removes what pushes left that were killed while copying; to be called under the lock."""
    for path in _entries(base):
        if _LEFTOVER.fullmatch(path.name):
            remove(path)


@contextlib.contextmanager
def _locked(base: Path) -> Iterator[None]:
    """Keeps two pushes of one model apart; the lock ends with the process."""
    with open(base / LOCK_FILE, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from components.model_pusher.push_note import PushNote, read_push_note
from ground.console import read_json
from ground.errors import ModelError, OutputError, RefusedError
from ground.files import LOCK_FILE, atomic_path, remove, write_json
from ground.output_record import SUMMARY_FILE
from ground.outputs import Paths, check_folder, check_pattern, growing_folder
from model.model_folder import (
    PUSH_FILE,
    files_digest,
    find_saved_model,
    read_categories,
    read_model_config,
    read_model_id,
    version_number,
)

WITHDRAWN = "withdrawn-"
_LEFTOVER = re.compile(r"\.\d+\.[0-9a-f]{8}\.partial")
_WRITER = "components.model_pusher"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VARIABLES = "variables"  # folder of a SavedModel's weights


@dataclass(frozen=True)
class PushedVersion:
    """One version in service.

    Attributes:
        version: its number.
        path: its folder.
        model_id: id of the model in it; None for a model of another origin.
    """

    version: int
    path: Path
    model_id: str | None

    @property
    def problem(self) -> str | None:
        """What keeps it from being taken for what was pushed; None for nothing. Reads it all."""
        return problem_of_pushed(self.path)

    @property
    def note(self) -> PushNote | None:
        """What it says of itself; None for a model of another origin. Reads it."""
        return read_push_note(self.path)


def check_model_name(name: str) -> None:
    """Checks that a model's name is a plain folder name: it must not lead out of its base.

    Raises:
        ModelError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"model name {name!r:.140}: expected up to 128 letters, digits, '.', '_' and '-', "
            "a letter or digit first"
        )


def pushed_versions(folder: str | os.PathLike[str], name: str) -> list[PushedVersion]:
    """Returns the versions of `name` in service, oldest first.

    Whatever is named like a version is one, also a file or a link that leads nowhere, for
    TensorFlow Serving takes it for one.

    Raises:
        ModelError: what lies there cannot be read.
    """
    found = []
    for path in _entries(Path(folder) / name):
        version = version_number(path.name)
        if version is not None:
            found.append(PushedVersion(version, path, model_id_or_none(path)))
    return sorted(found, key=lambda pushed: pushed.version)


def newest_pushed_model(folder: str | os.PathLike[str], name: str) -> PushedVersion | None:
    """Returns the version of `name` that TensorFlow Serving would serve, None without any.

    Raises:
        ModelError: what lies there cannot be read.
    """
    versions = pushed_versions(folder, name)
    return versions[-1] if versions else None


def in_line(versions: Sequence[PushedVersion]) -> list[PushedVersion]:
    """Returns the versions that led to the newest, newest first.

    Those that were rolled back from are left out: a person took them out of service.

    Args:
        versions: all, as `pushed_versions` returns them.
    """
    found: list[PushedVersion] = []
    newest_left = None
    for version in reversed(versions):
        if newest_left is not None and version.version > newest_left:
            continue
        found.append(version)
        note = version.note
        newest_left = note.rollback.to if note and note.rollback else None
    return found


def rolled_back(versions: Sequence[PushedVersion], model_id: str) -> PushNote | None:
    """Returns the note of the rollback that took a model out of service; None if it is not out.

    Args:
        versions: all, as `pushed_versions` returns them.
        model_id: id of the model.
    """
    line = in_line(versions)
    theirs = [v.version for v in versions if v.model_id == model_id]
    if not theirs or any(v.model_id == model_id for v in line):
        return None
    notes = [v.note for v in line if v.version > max(theirs)]
    return next((n for n in reversed(notes) if n and n.rollback), None)


def push(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    name: str,
    expected_digest: str,
    note: Mapping[str, Any] | None = None,
) -> tuple[PushedVersion, bool]:
    """Copies a model into service as the next version, unless it is the newest already.

    Args:
        model: an exported model's folder.
        folder: base of all served models.
        name: name of the model.
        expected_digest: `files_digest` of the model that was evaluated: nothing else is pushed.
        note: what else the version says of itself (`PushNote`).

    Returns:
        The version that holds the model, and whether it is new.

    Raises:
        ModelError: `model` is no exported model, `name` no plain name, or what is served cannot be
            read.
        RefusedError: the model's files are not those that were evaluated.
    """
    check_model_name(name)
    source = find_saved_model(model)
    check_digest(source, expected_digest)
    model_id = read_model_id(source)
    base = Path(folder) / name
    check_push_folder(folder, name, [source])
    growing_folder(base, _WRITER, [], [source], is_earlier=_is_earlier)
    with locked(base):
        newest = newest_pushed_model(folder, name)
        if newest is not None and is_the_same(newest, source, model_id):
            return newest, False
        return put_in_service(base, source, model_id, expected_digest, note or {}), True


def put_in_service(
    base: Path, source: Path, model_id: str, expected_digest: str, note: Mapping[str, Any]
) -> PushedVersion:
    """Copies a SavedModel to the next version, which appears whole; to be called under the lock.

    Args:
        base: folder of the model's versions.
        source: the SavedModel.
        model_id: id of the model in it.
        expected_digest: digest of its files; a copy of others is not kept.
        note: what else the version says of itself (`PushNote`).

    Raises:
        RefusedError: the files are others.
    """
    _remove_leftovers(base)
    version = _next_version(base)
    with atomic_path(base / str(version), replaces=False) as partial:
        shutil.copytree(source, partial, ignore=_ignore_push_note(source))
        check_digest(partial, expected_digest, of=source)
        own = {
            "version": version,
            "model_id": model_id,
            "files_digest": expected_digest,
            "pushed": now(),
        }
        write_json(partial / PUSH_FILE, own | dict(note))
    return PushedVersion(version, base / str(version), model_id)


def now() -> str:
    """Returns the time in ISO form, UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def check_push_folder(
    folder: str | os.PathLike[str], name: str, inputs: Paths, option: str = "--folder"
) -> None:
    """Checks that versions of a model may be pushed to `<folder>/<name>`; writes nothing.

    Args:
        folder: base of all served models.
        name: name of the model.
        inputs: files and folders that are read.
        option: for messages.

    Raises:
        OutputError: the place lies in an input, or holds something else than versions of a model.
    """
    base = Path(folder) / name
    check_pattern(base, option)
    check_folder(base, _WRITER, [], inputs, option, _is_earlier)
    if (base / SUMMARY_FILE).exists() and not _is_our_summary(base / SUMMARY_FILE):
        raise OutputError(
            f"{base / SUMMARY_FILE}: is not of ours: move it away, or give another {option}"
        )


def _is_earlier(base: Path) -> bool:
    """Returns whether a folder without a record holds nothing but versions and our summary."""
    names = {path.name.removeprefix(WITHDRAWN) for path in _entries(base)}
    return all(n.isdecimal() or n.startswith(".") or n == SUMMARY_FILE for n in names)


def _is_our_summary(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"pushed_model", "version", "model_id"} <= content.keys()


def check_digest(saved_model: Path, expected_digest: str, of: Path | None = None) -> None:
    """Checks that a folder holds the files that were evaluated.

    Args:
        saved_model: the folder.
        expected_digest: `files_digest` of what was evaluated.
        of: what to name in the message, where the folder is a copy of it.

    Raises:
        RefusedError: it does not.
    """
    found = files_digest(saved_model)
    if found != expected_digest:
        raise RefusedError(
            f"{of or saved_model}: its files are not those that were evaluated (digest "
            f"{found[:12]}, evaluated {expected_digest[:12]}): evaluate this model first"
        )


def problem_of_pushed(version: Path) -> str | None:
    """Returns what keeps a version's folder from being taken for what was pushed; None for nothing.

    A model of another origin, a damaged one and one whose files have changed since the push cannot
    be compared with.
    """
    if not version.is_dir():
        return f"{version}: is no folder"
    try:
        if find_saved_model(version) != version:
            raise ModelError(f"{version}: holds no SavedModel (no saved_model.pb)")
        digest = files_digest(version)
        read_model_id(version)
        read_categories(version)
        read_model_config(version)
        note = read_json(version / PUSH_FILE, ModelError) if _has_push_note(version) else {}
    except ModelError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or version}: cannot be read ({error.strerror})"
    pushed_digest = note.get("files_digest", digest) if isinstance(note, dict) else None
    if pushed_digest != digest:
        return f"{version}: its files have changed since it was pushed"
    return None


def model_id_or_none(saved_model: Path) -> str | None:
    """Returns the model id in a folder, None where there is none (another origin, or gone)."""
    try:
        return read_model_id(saved_model)
    except ModelError:
        return None


def _has_push_note(version: Path) -> bool:
    return (version / PUSH_FILE).exists()


def _ignore_push_note(source: Path) -> Callable[[str, list[str]], list[str]]:
    """Returns what keeps the note of an earlier push out of a copy of a pushed version."""
    note = source / PUSH_FILE

    def ignored(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(folder) / name == note]

    return ignored


def is_the_same(newest: PushedVersion, source: Path, model_id: str) -> bool:
    """Returns whether the newest version is whole and is the model in `source`.

    Exporting the same model again gives another graph file, but the same id and the same weights.
    """
    return (
        newest.model_id == model_id
        and newest.problem is None
        and files_digest(newest.path, _VARIABLES) == files_digest(source, _VARIABLES)
    )


def _entries(base: Path) -> list[Path]:
    """Returns what lies in the folder of a model's versions; nothing where there is no folder.

    Raises:
        ModelError: it is there and cannot be read.
    """
    try:
        return list(base.iterdir())
    except FileNotFoundError:
        if not base.is_symlink():
            return []
        raise ModelError(f"{base}: is a link that leads nowhere") from None
    except OSError as error:
        raise ModelError(f"{base}: cannot be read ({error.strerror})") from None


def _next_version(base: Path) -> int:
    """Returns a number that no version has and none had.

    Raises:
        ModelError: there is none.
    """
    names = [path.name.removeprefix(WITHDRAWN) for path in _entries(base)]
    used = [version for name in names if (version := version_number(name)) is not None]
    following = max(used, default=0) + 1
    if version_number(str(following)) is None:
        raise ModelError(f"{base}: version {max(used)} has the last number that can be served")
    return following


def _remove_leftovers(base: Path) -> None:
    """Removes what pushes left that were killed while copying; to be called under the lock."""
    for path in _entries(base):
        if _LEFTOVER.fullmatch(path.name):
            remove(path)


@contextlib.contextmanager
def locked(base: Path) -> Iterator[None]:
    """Keeps two writers of one model's versions apart; the lock ends with the process."""
    with open(base / LOCK_FILE, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield

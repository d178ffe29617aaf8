"""Puts an older pushed version back into service, as a new version that is the newest."""

import os
from pathlib import Path

from components.model_pusher.push_note import PushNote
from components.model_pusher.registry import (
    WITHDRAWN,
    PushedVersion,
    check_model_name,
    check_push_folder,
    is_the_same,
    locked,
    now,
    pushed_versions,
    put_in_service,
)
from ground.errors import ModelError, RefusedError


def roll_back(
    folder: str | os.PathLike[str],
    name: str,
    to: int,
    by: str | None = None,
    because: str | None = None,
) -> tuple[PushedVersion, bool]:
    """Copies an older version into service as the newest; what is served already stays as it is.

    TensorFlow Serving serves the highest number, and a number is never used again, so going back
    is a step forward: a copy, which appears by one rename.

    Args:
        folder: base of all served models.
        name: name of the model.
        to: number of the version that is wanted.
        by: who wants it.
        because: why.

    Returns:
        The version that holds the wanted model, and whether it is new.

    Raises:
        ModelError: there is no such version, or what is served cannot be read.
        RefusedError: nothing says that the version was blessed, or its files have changed.
        OutputError: the folder holds something else than versions.
    """
    check_model_name(name)
    check_push_folder(folder, name, [])
    base = Path(folder) / name
    if not base.is_dir():
        raise ModelError(f"{base}: no such folder, so there is no version to go back to")
    _chosen(pushed_versions(folder, name), base, to)  # what is refused leaves not even a lock
    with locked(base):
        versions = pushed_versions(folder, name)
        chosen, note = _chosen(versions, base, to)
        newest = versions[-1]
        if newest == chosen or is_the_same(newest, chosen.path, note.model_id):
            return newest, False
        word = {"to": to, "instead_of": newest.version, "by": by, "because": because, "when": now()}
        kept = note.model_dump(mode="json", include={"decision_digest", "override"})
        pushed = put_in_service(
            base, chosen.path, note.model_id, note.files_digest, kept | {"rollback": word}
        )
    return pushed, True


def _chosen(
    versions: list[PushedVersion], base: Path, number: int
) -> tuple[PushedVersion, PushNote]:
    """Returns the version of a number and its note.

    Raises:
        ModelError: there is none.
        RefusedError: it may not be served.
    """
    chosen = next((v for v in versions if v.version == number), None)
    if chosen is None:
        if (base / f"{WITHDRAWN}{number}").exists():
            raise RefusedError(
                f"{base}: version {number} is withdrawn: rename its folder {number} first, if it "
                "is to be served again"
            )
        known = ", ".join(str(v.version) for v in versions) or "none"
        raise ModelError(f"{base}: there is no version {number}, only {known}")
    note = chosen.note
    if note is None or note.version != number:
        raise RefusedError(
            f"{chosen.path}: was never blessed (no push note of its own in it): evaluate it and "
            "push it as a model"
        )
    if problem := chosen.problem:
        raise RefusedError(f"not rolled back: {problem}")
    return chosen, note

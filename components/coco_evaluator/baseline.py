"""The pushed model that a candidate is compared with, and what there is that cannot be used.

A version that is gone or withdrawn is nobody's baseline. One that is there and cannot be read is
another matter: it is what people are served, or would be, and a gate that steps over it compares
with nothing and says so to nobody.
"""

from dataclasses import dataclass
from pathlib import Path

from components.model_pusher.push_note import PushNote
from components.model_pusher.registry import (
    PushedVersion,
    in_line,
    model_id_or_none,
    newest_pushed_model,
    problem_of_pushed,
    pushed_versions,
    rolled_back,
)
from ground.errors import ModelError
from model.model_folder import find_saved_model, version_number


@dataclass(frozen=True)
class Baseline:
    """What to compare with.

    Attributes:
        folder: the pushed model's SavedModel; None where there is none that can be used.
        problems: problems of what is there and cannot be used, in words.
    """

    folder: Path | None = None
    problems: tuple[str, ...] = ()


def named_baseline(folder: str | Path) -> Baseline:
    """Returns the baseline in a folder that a person has named.

    Raises:
        ModelError: there is no such folder.
    """
    if not Path(folder).exists():
        raise ModelError(f"{folder}: no such model folder")
    try:
        saved_model = find_saved_model(folder)
    except ModelError as error:
        return Baseline(problems=(str(error),))
    problem = problem_of_pushed(saved_model)
    return Baseline(problems=(problem,)) if problem else Baseline(saved_model)


def newest_other_model(push_folder: str, name: str, model_id: str, skip_unusable: bool) -> Baseline:
    """Returns the newest pushed version of `name` that is not the model `model_id`.

    Versions that were rolled back from are left out.

    Args:
        push_folder: base folder of the served models.
        name: name of the model.
        model_id: id of the candidate, which may have been pushed meanwhile.
        skip_unusable: step over a version that cannot be used and take an older one; else such a
            version ends the search.
    """
    problems: list[str] = []
    try:
        versions = pushed_versions(push_folder, name)
    except ModelError as error:
        return Baseline(problems=(str(error),))
    for version in in_line(versions):
        problem = version.problem
        if problem:
            problems.append(problem)
            if not skip_unusable:
                break
        elif version.model_id != model_id:
            return Baseline(version.path, tuple(problems))
    return Baseline(problems=tuple(problems))


def older_versions(newest: Path, count: int, model_id: str | None) -> list[Path]:
    """Returns the folders of versions that led to one, newest first.

    Args:
        newest: a version's folder; of a model elsewhere nothing is older.
        count: how many at most. One that cannot be used counts for nothing, nor does a model that
            is another's again.
        model_id: id of the candidate, which is left out.
    """
    number = version_number(newest.name)
    if number is None or count < 1:
        return []
    versions, newest_id = _beside(newest), model_id_or_none(newest)
    seen = {model_id, newest_id}
    found: list[Path] = []
    number = _last_of(newest_id, number, versions, model_id)
    for version in in_line([v for v in versions if v.version <= number]):
        is_new = version.model_id not in seen
        if len(found) < count and is_new and version.problem is None:
            seen.add(version.model_id)
            found.append(version.path)
    return found


def _last_of(
    newest_id: str | None, number: int, versions: list[PushedVersion], model_id: str | None
) -> int:
    """Returns the last version of the model in version `number`, before the candidate's first.

    A model that was pushed again is named by its first push, and others lie between.
    """
    later = [v for v in versions if v.version >= number and v.model_id is not None]
    end = min((v.version for v in later if v.model_id == model_id), default=None)
    theirs = [v.version for v in later if v.model_id == newest_id]
    return max((n for n in theirs if end is None or n < end), default=number)


def pushed_note(baseline: Path) -> PushNote | None:
    """Returns what the newest version with a baseline's model says of itself; None for nothing.

    Args:
        baseline: folder of a version, or of a model elsewhere.
    """
    model_id = model_id_or_none(baseline)
    same = [v for v in _beside(baseline) if v.model_id == model_id]
    return same[-1].note if same else None


def rollback_of(baseline: Path, model_id: str | None) -> PushNote | None:
    """Returns the note of the rollback that took a candidate's model out of service, if one did.

    Args:
        baseline: folder of a version of the same name; of a model elsewhere nothing is known.
        model_id: id of the candidate.
    """
    return None if model_id is None else rolled_back(_beside(baseline), model_id)


def _beside(version: Path) -> list[PushedVersion]:
    """Returns all versions of the model that a version is of; none of a model elsewhere."""
    if version_number(version.name) is None:
        return []
    return pushed_versions(version.parent.parent, version.parent.name)


def resolved_baseline(destination: str | None, push_folder: str | None, name: str) -> Baseline:
    """Returns the baseline that a Resolver found, and whether what is served now can be read.

    Args:
        destination: the version's folder; None where the Resolver found none.
        push_folder: base folder of the served models, whose newest version may be of another
            origin and thus unknown to the Resolver; None does not look.
        name: name of the model.
    """
    found = Baseline()
    if destination is not None:
        problem = problem_of_pushed(Path(destination))
        found = Baseline(problems=(problem,)) if problem else Baseline(Path(destination))
    try:
        newest = newest_pushed_model(push_folder, name) if push_folder else None
        problem = newest.problem if newest else None
    except ModelError as error:
        problem = str(error)
    if problem is None or problem in found.problems:
        return found
    return Baseline(found.folder, (*found.problems, problem))

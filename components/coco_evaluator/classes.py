"""Which classes two models, or a model and the data, have in common: by name and id. Pure.

A class is its id and its name together. An id alone proves nothing: with two names swapped, a model
finds cats where the other found dogs, and no id has changed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from components.coco_evaluator.gate import (
    CLASS_GONE,
    CLASS_MOVED,
    CLASS_NEW,
    CLASS_NOT_OF_DATA,
    CLASS_RENAMED,
    CLASS_UNKNOWN_TO_MODEL,
    Finding,
)

Categories = Iterable[Mapping[str, Any]]  # `id` and `name` of each


def shared_category_ids(one: Categories, other: Categories) -> set[int]:
    """Returns the ids of the classes that both know by the same name.

    >>> shared_category_ids([{"id": 1, "name": "cat"}], [{"id": 1, "name": "dog"}])
    set()
    """
    return {number for number, _ in _pairs(one) & _pairs(other)}


def classes_against_baseline(
    candidate: Categories, baseline: Categories, is_allowed: bool
) -> list[Finding]:
    """Returns a finding for each class that is not the same in the pushed model and the candidate.

    A class that the pushed model knows and the candidate does not, or knows under another id or
    name, closes the gate: what is served would answer otherwise, or no more, where no number shows
    it. A class that only the candidate knows is said.

    Args:
        candidate: its classes.
        baseline: the pushed model's.
        is_allowed: changed classes are meant, and close nothing.
    """
    new_only = _pairs(candidate) - _pairs(baseline)
    old_only = _pairs(baseline) - _pairs(candidate)
    old_names = {name for _, name in old_only}
    explained: set[tuple[int, str]] = set()
    findings = []
    for number, name in sorted(old_only):
        moved = sorted(new_id for new_id, new_name in new_only if new_name == name)
        renamed = sorted(
            new_name
            for new_id, new_name in new_only
            if new_id == number and new_name not in old_names
        )
        if moved:
            explained |= {(new_id, name) for new_id in moved}
            kind, note = CLASS_MOVED, f"has moved to id {', '.join(map(str, moved))}"
        elif renamed:
            explained |= {(number, new_name) for new_name in renamed}
            kind, note = CLASS_RENAMED, f"is named {renamed[0]!r} now"
        else:
            kind, note = CLASS_GONE, "is not known to this one"
        text = f"class {number} {name!r} of the pushed model {note}"
        findings.append(_with_setting(kind, text, is_allowed))
    findings += [
        Finding(CLASS_NEW, False, f"class {number} {name!r} is new: the pushed model lacks it")
        for number, name in sorted(new_only - explained)
    ]
    return findings


def classes_against_data(
    model: Categories, data: Categories, is_allowed: bool, of_whom: str = "the model"
) -> list[Finding]:
    """Returns a finding for each class that is not the same in a model and in the data.

    A name that differs closes the gate, for then objects of one class are measured by detections
    of another. A class that the model does not know is said: its objects count as missed.

    Args:
        model: the classes it was trained on.
        data: those that it is measured on.
        is_allowed: other names are meant, and close nothing.
        of_whom: the model, for the text.
    """
    names: dict[int, str] = {number: name for number, name in _pairs(model)}
    findings = []
    for number, name in sorted(_pairs(data)):
        if number not in names:
            note = f"class {number} {name!r} of the data is not known to {of_whom}"
            findings.append(
                Finding(CLASS_UNKNOWN_TO_MODEL, False, f"{note}: its objects are missed")
            )
        elif names[number] != name:
            text = f"class {number} is {names[number]!r} in {of_whom} and {name!r} in the data"
            findings.append(_with_setting(CLASS_NOT_OF_DATA, text, is_allowed))
    return findings


def _with_setting(kind: str, text: str, is_allowed: bool) -> Finding:
    hint = "" if is_allowed else " (evaluate.on_changed_classes: accept, if it is meant)"
    return Finding(kind, not is_allowed, text + hint)


def _pairs(categories: Categories) -> set[tuple[int, str]]:
    return {(category["id"], category["name"]) for category in categories}

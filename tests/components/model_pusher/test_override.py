"""A person blesses what the gate refused: recorded as theirs, and not where it is not theirs."""

import json

import pytest

from components.model_pusher.override import bless
from components.model_pusher.push_note import read_push_note
from components.model_pusher.registry import pushed_versions
from ground.errors import ModelError, RefusedError
from ground.files import json_digest
from model.model_folder import files_digest
from tests.components.model_pusher.fake_model import write_fake_model

FALLS_SHORT = {
    "metric": "box/AP",
    "rule": "min",
    "setting": 0.5,
    "candidate": 0.4,
    "baseline": None,
    "limit": 0.5,
    "passed": False,
    "note": "box/AP 0.4000 is below the minimum 0.5000",
}


@pytest.fixture
def model(tmp_path):
    return write_fake_model(tmp_path / "model")


@pytest.fixture
def bless_with(tmp_path, model):
    """Blesses the model on a decision with the given changes."""

    def run(edited=None, **changes):
        content = {
            "blessed": False,
            "reason": FALLS_SHORT["note"],
            "comparisons": [FALLS_SHORT],
            "findings": [],
            "narrowing": None,
            "model_id": "aa",
            "model_digest": files_digest(model),
        } | changes
        content |= {"digest": json_digest(content)} | (edited or {})
        path = tmp_path / "decision.json"
        path.write_text(json.dumps(content))
        return bless(model, path, tmp_path / "serving", "cells", "Ada", "rare classes")

    return run


def test_what_a_person_says_goes_with_the_version(bless_with):
    pushed, is_new, refused = bless_with()

    assert (pushed.version, is_new) == (1, True)
    note = read_push_note(pushed.path)
    assert (note.override.by, note.override.because) == ("Ada", "rare classes")
    assert note.override.reason == FALLS_SHORT["note"]
    assert note.decision_digest == refused.decision_digest
    assert pushed.problem is None


def finding(kind):
    return {"findings": [{"kind": kind, "closes_gate": True, "note": f"so it is: {kind}"}]}


@pytest.mark.parametrize("kind", ["class_gone", "unusable_baseline", "failed_pictures"])
def test_a_finding_may_be_judged_otherwise(bless_with, kind):
    assert bless_with(**finding(kind))[1]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (finding("narrowed"), RefusedError, "not for a person to bless: so it is: narrowed"),
        (finding("no_model"), RefusedError, "not for a person to bless"),
        (finding("unservable"), RefusedError, "not for a person to bless"),
        ({"blessed": True}, RefusedError, "the gate has blessed this model"),
        ({"model_id": "bb"}, ModelError, "is not about this model"),
        ({"model_digest": "0" * 64}, RefusedError, "its files are not those that were evaluated"),
        ({"edited": {"reason": "none"}}, RefusedError, "has been changed since the evaluation"),
        ({"comparisons": "none"}, ModelError, "it is no decision of this version"),
        ({"blessed": None}, ModelError, "blessed: .* it is no decision of this version"),
    ],
)
def test_what_no_person_may_bless(tmp_path, bless_with, changes, kind, message):
    with pytest.raises(kind, match=message):
        bless_with(**changes)
    assert pushed_versions(tmp_path / "serving", "cells") == []

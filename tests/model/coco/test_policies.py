"""Reason codes: documented, with sound defaults, and changed only as allowed."""

import re

import pytest

from ground.errors import ConfigError
from model.coco.policies import DROP, MEND, REASONS, Reason, resolve_policies


def test_defaults_are_allowed_and_mending_says_how():
    for reason in REASONS.values():
        assert reason.default in reason.allowed
        assert (MEND in reason.allowed) == bool(reason.repair), reason.code


def test_reason_that_can_be_mended_says_what_that_loses():
    with pytest.raises(ValueError, match="half_a_mask: a reason that can be mended says what"):
        Reason("half_a_mask", "half is gone", MEND, (MEND, DROP), "the rest is kept")
    with pytest.raises(ValueError, match="no_mask"):
        Reason("no_mask", "all is gone", DROP, (DROP,), loss="mask")
    assert REASONS["bad_segmentation"].loss == "mask"
    assert REASONS["bad_area"].loss == "none"
    assert REASONS["picture_missing"].concerns == "picture"


def test_each_reason_is_documented_as_it_is(repo):
    page = (repo / "docs" / "data.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| \*\*(\w+)\*\*(.*?) \|", page, re.MULTILINE)
    documented = {
        code: (meaning, {default, *re.findall(r"\w+", others)}, default)
        for code, meaning, default, others in rows
    }
    assert documented == {
        code: (r.meaning, set(r.allowed), r.default) for code, r in REASONS.items()
    }


def test_config_changes_one_policy_only():
    policies = resolve_policies({"picture_missing": "drop"})
    changed = {code for code, policy in policies.items() if policy != REASONS[code].default}
    assert changed == {"picture_missing"}


def test_unknown_code_names_the_nearest():
    with pytest.raises(ConfigError, match=r"'picture_mising': did you mean 'picture_missing'\?"):
        resolve_policies({"picture_mising": "drop"})
    with pytest.raises(ConfigError, match=r"'xyz': docs/data.md lists them"):
        resolve_policies({"xyz": "drop"})


def test_policy_that_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match=r"picture_missing: expected one of drop, refuse, got"):
        resolve_policies({"picture_missing": "accept"})

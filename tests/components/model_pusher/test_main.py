import json

import pytest
from click.testing import CliRunner

from components.model_pusher.__main__ import main
from ground.files import json_digest
from model.model_folder import files_digest
from tests.components.model_pusher.fake_model import write_fake_model

HOLDS = {
    "metric": "box/AP",
    "rule": "min",
    "setting": 0.5,
    "candidate": 0.6,
    "baseline": None,
    "limit": 0.5,
    "passed": True,
    "note": "box/AP 0.6000 reaches the minimum 0.5000",
}
CLOSES = {"kind": "class_gone", "closes_gate": True, "note": "class 3 'cat' is not known"}


@pytest.fixture
def model(tmp_path):
    return write_fake_model(tmp_path / "model")


def sealed(content):
    rest = {key: value for key, value in content.items() if key != "digest"}
    return rest | {"digest": json_digest(rest)}


@pytest.fixture
def decision(model):
    """A decision that blesses the model."""
    return sealed(
        {
            "blessed": True,
            "reason": "1 condition holds",
            "comparisons": [HOLDS],
            "findings": [],
            "narrowing": None,
            "model_id": "aa",
            "model_digest": files_digest(model),
        }
    )


@pytest.fixture
def run(tmp_path, model):
    """Runs the command on a decision, or on the text of one."""

    def run_with(decision, name="cells", more=()):
        path = tmp_path / "decision.json"
        path.write_text(decision if isinstance(decision, str) else json.dumps(decision))
        arguments = ["--model", model, "--decision", path, "--folder", tmp_path, "--name", name]
        return CliRunner().invoke(main, list(map(str, [*arguments, *more])))

    return run_with


def assert_refused(result, tmp_path, status, message):
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "cells").exists()


def test_a_blessed_model_is_pushed_once(tmp_path, run, decision):
    first, again = run(decision), run(decision)

    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.output == f"pushed to {tmp_path}/cells/1\n"
    assert again.output.startswith("not copied again")
    summary = json.loads((tmp_path / "cells/summary.json").read_text())
    assert summary["pushed_model"] == str(tmp_path / "cells/1")


def test_what_is_not_blessed_is_refused(tmp_path, run):
    result = run({"blessed": False, "reason": "box/AP is missing", "model_id": "aa"})

    assert result.exit_code == 3
    assert result.output == "not pushed: not blessed (box/AP is missing)\n"
    assert not (tmp_path / "cells").exists()


@pytest.mark.parametrize("blessed", [True, False])
def test_the_outcome_is_said_in_every_manner(tmp_path, run, decision, blessed):
    decision = decision if blessed else {"blessed": False, "reason": "odd", "model_id": "aa"}
    run(decision)
    plain, quiet, told = (
        run(decision),
        run(decision, more=["--quiet"]),
        run(decision, more=["--json-logs"]),
    )
    assert quiet.output == plain.output and quiet.exit_code == told.exit_code == plain.exit_code
    objects = [json.loads(line) for line in told.stdout.splitlines()]
    assert [one["event"] for one in objects] == ["summary"] * blessed + ["result"]
    assert objects[-1]["text"] == plain.output.rstrip()


def test_a_reason_is_one_line_whatever_it_holds(run):
    result = run({"blessed": False, "reason": "\ud800\n" + "x" * 10**6, "model_id": "aa"})

    assert result.exit_code == 3
    assert result.output.startswith("not pushed: not blessed (\\ud800 xxx")
    assert len(result.output) < 1000
    assert result.output.count("\n") == 1


def test_a_decision_about_another_model_is_refused(tmp_path, run, decision):
    result = run(sealed(decision | {"model_id": "bb"}))

    assert_refused(result, tmp_path, 1, "is not about")


@pytest.mark.parametrize("change", ["weights", "graph", "categories", "a file more", "a file less"])
def test_a_model_that_changed_after_the_evaluation_is_refused(
    tmp_path, run, decision, model, change
):
    if change == "weights":
        (model / "variables/variables.data-00000-of-00001").write_bytes(b"Weights")
    elif change == "graph":
        (model / "saved_model.pb").write_bytes(b"another graph")
    elif change == "categories":
        path = model / "assets/categories.json"
        path.write_text(path.read_text().replace("cat", "cow"))
    elif change == "a file more":
        (model / "assets.extra/tf_serving_warmup_requests").write_bytes(b"")
    else:
        (model / "variables/variables.data-00000-of-00001").unlink()

    assert_refused(run(decision), tmp_path, 3, "its files are not those that were evaluated")


def test_another_model_of_the_same_id_is_refused(tmp_path, run, decision):
    result = run(sealed(decision | {"model_digest": "0" * 64}))

    assert_refused(result, tmp_path, 3, "its files are not those that were evaluated")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"comparisons": [HOLDS | {"passed": False}]}, "says blessed, but box/AP does not hold"),
        ({"comparisons": [HOLDS | {"candidate": 0.4}]}, "says blessed, but box/AP does not hold"),
        ({"comparisons": [HOLDS | {"candidate": None}]}, "says blessed, but box/AP does not hold"),
        ({"comparisons": [HOLDS | {"limit": None}]}, "says blessed, but it compares nothing"),
        ({"comparisons": []}, "says blessed, but it compares nothing"),
        ({"findings": [CLOSES]}, "says blessed, but class 3 'cat' is not known"),
        ({"narrowing": {"image_ids": [1]}}, "says blessed, but the evaluation was narrowed"),
    ],
)
def test_a_decision_that_speaks_against_itself_is_refused(tmp_path, run, decision, change, message):
    assert_refused(run(sealed(decision | change)), tmp_path, 3, message)


def test_an_edited_decision_is_refused(tmp_path, run, decision):
    result = run(decision | {"reason": "2 conditions hold"})

    assert_refused(result, tmp_path, 3, "has been changed since the evaluation")


@pytest.mark.parametrize("key", ["comparisons", "findings", "narrowing", "model_digest", "digest"])
def test_a_decision_that_lacks_something_is_refused(tmp_path, run, decision, key):
    del decision[key]

    assert_refused(run(decision), tmp_path, 1, f"{key}: Field required")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "expected a decision, got []"),
        ("null", "expected a decision, got None"),
        ('{"model_id": "aa", "blessed": NaN}', "NaN is no number"),
        ("[" * 100_000, "nested too deeply"),
        ('{"model_id": 1' + "0" * 10_000 + "}", "not JSON"),
        ('{"model_id": "aa", "blessed": true, "more": 1e999}', "1e999 is no number"),
        ('{"model_id": "aa", "blessed": true, "comparisons": 1}', "it is no decision"),
        ('{"model_id": "aa", "blessed": true, "comparisons": [{}]}', "it is no decision"),
    ],
)
def test_a_file_that_is_no_decision_is_one_line(tmp_path, run, text, message):
    assert_refused(run(text), tmp_path, 1, message)


def test_blessed_must_be_true_and_nothing_like_it(run, decision):
    for value in (1, "true", [True], None):
        assert run(sealed(decision | {"blessed": value})).exit_code == 3


def test_a_huge_file_is_not_read(tmp_path, run, model):
    path = tmp_path / "decision.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse
    arguments = ["--model", model, "--decision", path, "--folder", tmp_path, "--name", "cells"]

    result = CliRunner().invoke(main, list(map(str, arguments)))

    assert_refused(result, tmp_path, 1, "is too large to be a decision")


@pytest.mark.parametrize("name", ["..", "../up", "a/b", "", ".x"])
def test_a_name_that_leads_elsewhere_is_wrong_usage(tmp_path, run, decision, name):
    assert_refused(run(decision, name), tmp_path, 2, "model name")


def test_a_base_that_is_a_file_is_one_line(tmp_path, run, decision):
    (tmp_path / "cells").write_text("mine")

    result = run(decision)

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert (tmp_path / "cells").read_text() == "mine"

"""History, rollback and a person's blessing: what is served, and what MLMD says of it."""

import json
import re
import shutil
import sqlite3

import pytest
from click.testing import CliRunner

from components.model_pusher.registry import push, pushed_versions
from ground.errors import RcnnError
from model.model_folder import files_digest
from pipeline.local.history import History, chosen_entry
from pipeline.local.version_commands import bless, history, rollback
from pipeline.local.versions_record import record_versions
from tests.components.model_pusher.fake_model import write_fake_model
from tests.pipeline.local.fake_root import SETTINGS, FakeRoot, three_runs


@pytest.fixture
def root(tmp_path):
    """A root with aa pushed as version 1, bb as version 2, and cc refused."""
    return three_runs(tmp_path / "R")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """The same, for calls that change nothing."""
    root = three_runs(tmp_path_factory.mktemp("untouched") / "R")
    yield root
    assert served(root) == ["aa", "bb"]


def call(command, *arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


def said(command, *arguments):
    result = call(command, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def served(root):
    return [v.model_id for v in pushed_versions(root.serving, root.name)]


def kinds(root):
    return [(e.kind, e.version) for e in History(root.metadata).entries()]


def test_history_lists_runs_with_what_came_of_them(root):
    root.run("dd", failed_in="CocoEvaluator")

    found = said(history, "--root", root.root)["entries"]

    assert [e["version"] for e in found] == [1, 2, None, None]
    assert [e["blessed"] for e in found] == [True, True, False, None]
    assert [e["state"] for e in found] == ["done"] * 3 + ["failed in CocoEvaluator"]
    assert found[1]["metrics"]["box"]["AP"] == 0.6
    assert found[1]["classes"]["box"] == {"cat": 0.6}
    assert found[0]["data"]["splits"]["train"] == {"pictures": 400, "objects": 9}
    assert found[0]["settings"]["train.epochs"] == "2"
    screen = call(history, "--root", root.root).stdout
    assert "2 run of cells" in screen
    assert "400 + 80" in screen
    assert "3: refused: box/AP 0.2000 is below the minimum" in screen
    assert "4 run of cells, failed in CocoEvaluator" in screen


def test_history_is_told_to_programs_too(root):
    lines = call(history, "--root", root.root, "--json-logs").stdout.splitlines()
    rows = [told["row"] for told in map(json.loads, lines) if "row" in told]
    assert [row["entry"] for row in rows] == [f"{n} run of cells" for n in (1, 2, 3)]
    document = json.loads(call(history, "--root", root.root, "--json", "--json-logs").stdout)
    assert document["document"] == said(history, "--root", root.root)
    for form in ((), ("--json",)):
        plain = call(history, "--root", root.root, *form).stdout
        assert plain and call(history, "--root", root.root, *form, "--quiet").stdout == plain


def test_a_rollback_is_served_and_recorded(root):
    found = said(rollback, "--root", root.root, "--to", 1, "--by", "Ada", "--because", "dogs")

    assert (found["version"], found["is_new"]) == (3, True)
    assert served(root) == ["aa", "bb", "aa"]
    entry = said(history, "--root", root.root)["entries"][-1]
    assert (entry["kind"], entry["version"], entry["model_id"]) == ("rollback", 3, "aa")
    assert entry["said"] == {"by": "Ada", "because": "dogs", "to": 1, "instead_of": 2}
    assert "rollback of cells to version 1 by Ada" in call(history, "--root", root.root).stdout
    pushed = root.store.get_artifacts_by_type("PushedModel")[-1]
    assert pushed.custom_properties["pushed_destination"].string_value == str(
        root.serving / "cells/3"
    )
    [event] = [e for e in root.store.get_events_by_artifact_ids([pushed.id])]
    [used] = [e for e in root.store.get_events_by_execution_ids([event.execution_id])
              if e.path.steps[0].key == "model"]  # fmt: skip
    [model] = root.store.get_artifacts_by_id([used.artifact_id])
    assert model.custom_properties["model_id"].string_value == "aa"

    again = said(rollback, "--root", root.root, "--to", 1)
    assert (again["version"], again["is_new"]) == (3, False)
    assert served(root) == ["aa", "bb", "aa"]


def test_a_person_blesses_what_the_last_run_refused(root):
    found = said(bless, "--root", root.root, "--by", "Ada", "--because", "rare classes")

    assert (found["version"], found["against"]) == (3, "box/AP 0.2000 is below the minimum")
    assert served(root) == ["aa", "bb", "cc"]
    entry = History(root.metadata).entries()[-1]
    assert (entry.kind, entry.version, entry.model_id) == ("blessing", 3, "cc")
    assert entry.said["reason"] == "box/AP 0.2000 is below the minimum"
    blessing = root.store.get_artifacts_by_type("ModelBlessing")[-1].custom_properties
    assert blessing["blessed"].int_value == 1
    assert blessing["blessed_by"].string_value == "Ada"
    screen = call(history, "--root", root.root).stdout
    assert "blessing of cells by Ada" in screen and "because rare classes" in screen
    assert "blessed by Ada on" in call(history, "--folder", root.serving, "--name", "cells").stdout


def test_a_run_is_named_by_number_id_or_version(root):
    entries = History(root.metadata).entries()

    assert chosen_entry(entries, "2") is chosen_entry(entries, "v2") is entries[1]
    assert chosen_entry(entries, entries[2].run_id) is entries[2]
    for word in ("9", "", "v", "vNone", "v9", "x" * 300):
        with pytest.raises(RcnnError, match="no entry"):
            chosen_entry(entries, word)


def test_difference_of_two_runs(root):
    changed = {**SETTINGS, "train": {"epochs": 3}}
    root.run("dd", 0.9, settings=changed)

    found = said(history, "--root", root.root, "--diff", 1, 4)

    assert found["settings"] == {
        "evaluate.batch_size": ["1", "4"],
        "train.epochs": ["2", "3"],
        "train.workers": ["[1, 2]", None],
    }
    assert found["metrics"]["box"]["AP"] == [0.5, 0.9]
    assert found["data"] == {} and found["code"] == []
    assert found["version"] == [1, 3]
    screen = call(history, "--root", root.root, "--diff", "v1", 4).stdout
    assert "setting train.epochs: 2 -> 3" in screen
    assert "setting train.workers: [1, 2] -> none" in screen
    assert "box/AP: 0.5000 -> 0.9000 (+0.4000)" in screen


def test_versions_of_others_are_recorded_once(root, tmp_path):
    other = write_fake_model(tmp_path / "other", "ee")
    push(other, root.serving, "cells", files_digest(other))

    assert record_versions(root.metadata, root.serving, "cells") == [3]
    assert record_versions(root.metadata, root.serving, "cells") == []
    assert kinds(root)[-1] == ("push", 3)


def test_a_rollback_without_a_root_is_recorded_by_the_next_run(root):
    found = said(rollback, "--folder", root.serving, "--name", "cells", "--to", 1)

    assert "records it with its next run" in found["record"]
    assert kinds(root)[-1] == ("run", None)
    assert record_versions(root.metadata, root.serving, "cells") == [3]
    assert kinds(root)[-1] == ("rollback", 3)


def test_a_record_that_cannot_be_written_is_said_and_the_rollback_stands(root, monkeypatch):
    def locked(*arguments):
        raise RcnnError("metadata.sqlite: is being written to")

    monkeypatch.setattr("pipeline.local.versions_record.record_versions", locked)
    result = call(rollback, "--root", root.root, "--to", 1)

    assert result.exit_code == 0
    assert "warning: metadata.sqlite: is being written to; push.json has it" in result.stderr
    assert served(root) == ["aa", "bb", "aa"]


def test_a_root_that_was_moved_keeps_its_versions(root, tmp_path):
    del root.store
    root.root.rename(tmp_path / "moved")

    found = said(rollback, "--root", tmp_path / "moved", "--to", 1)

    assert found["path"] == str(tmp_path / "moved/serving/cells/3")
    entries = said(history, "--root", tmp_path / "moved")["entries"]
    assert entries[0]["missing"][0] == str(root.root / "artifacts/1/evaluation/decision.json")
    assert "1: gone or not readable" in call(history, "--root", tmp_path / "moved").stdout


def test_of_several_models_one_is_named(root, tmp_path):
    other = FakeRoot(root.root, "dogs")
    other.runs = 5
    other.run("dd")

    result = call(rollback, "--root", root.root, "--to", 1)
    assert result.exit_code == 1
    assert "runs of several models are here: --name cells, dogs" in result.stderr
    assert said(rollback, "--root", root.root, "--name", "cells", "--to", 1)["version"] == 3
    entries = said(history, "--root", root.root, "--name", "dogs")["entries"]
    assert [e["name"] for e in entries] == ["dogs"]
    result = call(rollback, "--root", root.root, "--name", "birds", "--to", 1)
    assert "no run of birds here came to its ModelPusher, only of cells, dogs" in result.stderr


def change_schema(path, version):
    with sqlite3.connect(path) as database:
        database.execute("UPDATE MLMDEnv SET schema_version = ?", (version,))
    database.close()


UNREADABLE = {
    "none": (lambda path: path.unlink(), "Runs on Kubeflow are recorded in the cluster's MLMD"),
    "text": (lambda path: path.write_text("no database" * 99), "cannot be read as ML Metadata's"),
    "empty": (lambda path: path.write_text(""), "cannot be read as ML Metadata's file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:9999]), "metadata.sqlite: "),
    "older": (lambda path: change_schema(path, 6), "version 6 is older .*: use the lane"),
    "newer": (lambda path: change_schema(path, 99), "version 99 is greater .*: use the lane"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_root_that_cannot_be_read_is_one_line(untouched, tmp_path, kind):
    damage, message = UNREADABLE[kind]
    shutil.copytree(untouched.root, tmp_path / "R")
    damage(tmp_path / "R/metadata.sqlite")
    who = ["--by", "Ada", "--because", "so"]
    for command, more in ((history, []), (rollback, ["--to", 1]), (bless, who)):
        result = call(command, "--root", tmp_path / "R", *more)

        assert result.exit_code == 1, result.output
        assert result.stderr.count("\n") == 1
        assert re.search(message, result.stderr), result.stderr


@pytest.mark.parametrize(
    ("command", "arguments", "status", "message"),
    [
        (history, [], 2, "give either --root, or --folder and --name"),
        (history, ["--root", "R", "--folder", "R/serving"], 2, "not both"),
        (history, ["--folder", "R/serving"], 2, "--folder needs --name"),
        (history, ["--folder", "R/serving", "--name", "birds"], 1, "holds no version of a model"),
        (history, ["--folder", "R/serving", "--name", "cells", "--diff", "1", "2"], 2, "--root"),
        (history, ["--root", "R", "--diff", "1", "9"], 1, "no entry '9'"),
        (rollback, ["--to", "1"], 2, "give either --root"),
        (rollback, ["--root", "R", "--to", "0"], 2, "0 is not in the range"),
        (rollback, ["--root", "R", "--to", "7"], 1, "there is no version 7, only 1, 2"),
        (rollback, ["--root", "R", "--to", "1", "--by", " "], 2, "--by: expected 1 to 500"),
        (rollback, ["--folder", "R/serving", "--name", "../x", "--to", "1"], 2, "model name"),
        (bless, ["--root", "R", "--by", "A"], 2, "--because"),
        (bless, ["--root", "R", "--by", "A", "--because", "\x1b"], 2, "--because: expected text"),
        (bless, ["--by", "A", "--because", "b"], 2, "give --root, or --model"),
        (bless, ["--by", "A", "--because", "b", "--root", "R", "--model", "m"], 2, "not both"),
        (bless, ["--by", "A", "--because", "b", "--root", "R", "--run", "1"], 3, "has blessed"),
        (bless, ["--by", "A", "--because", "b", "--root", "R", "--run", "9"], 1, "no entry '9'"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(root, monkeypatch, command, arguments, status, message):
    monkeypatch.chdir(root.root.parent)

    result = call(command, *arguments)

    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_by_model_and_decision_a_person_blesses_without_a_root(root):
    evaluation = root.root / "artifacts/3"
    found = said(
        bless, "--by", "Ada", "--because", "so", "--model", evaluation / "model",
        "--decision", evaluation / "evaluation/decision.json",
        "--folder", root.serving, "--name", "cells",
    )  # fmt: skip

    assert found["version"] == 3
    assert served(root) == ["aa", "bb", "cc"]

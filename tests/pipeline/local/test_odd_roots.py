"""History, rollback and bless where roots and folders are as people leave them."""

import json
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from ml_metadata import errors
from ml_metadata.metadata_store import MetadataStore

from components.model_pusher.registry import pushed_versions
from ground.files import LOCK_FILE
from pipeline.local.history import History
from pipeline.local.version_commands import bless, history, rollback
from tests.pipeline.local.fake_root import FakeRoot, three_runs

WHO = ["--by", "Ada", "--because", "rare classes"]


@pytest.fixture
def root(tmp_path):
    return three_runs(tmp_path / "R")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A root whose versions and metadata stay as they are; files of its first run do not."""
    root = three_runs(tmp_path_factory.mktemp("shared") / "R")
    yield root
    assert served(root.root) == {1: "aa", 2: "bb"}


def call(command, *arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


def said(command, *arguments):
    """Returns what a command prints with --json, read strictly."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    result = call(command, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout, parse_constant=refuse)


def refused(command, *arguments, status=1):
    """Returns the one line that a command ends in."""
    result = call(command, *arguments)
    assert result.exit_code == status, result.output
    assert result.stderr.count("\n") == 1 and result.stdout == ""
    return result.stderr


def served(folder):
    return {v.version: v.model_id for v in pushed_versions(folder / "serving", "cells")}


# What a person did, and what is compared


def test_only_runs_are_compared(root):
    said(rollback, "--root", root.root, "--to", 1)

    for pair in ((1, 4), (4, 1), (4, 4)):
        line = refused(history, "--root", root.root, "--diff", *pair)
        assert "entry 4 is a rollback, expected a run" in line
    line = refused(bless, "--root", root.root, *WHO, "--run", 4)
    assert "run 4 of cells has no verdict" in line


def test_a_run_compared_with_itself_is_the_same(shared):
    found = said(history, "--root", shared.root, "--diff", 2, "v2")

    assert found["settings"] == found["data"] == {} and found["code"] == []
    assert all(old == new for pairs in found["metrics"].values() for old, new in pairs.values())
    assert found["verdict"][0] == found["verdict"][1]


@pytest.mark.parametrize(
    "word", ["", "0", "-1", "v", "v0", "v3", "1.0", "\u0661", "x" * 500, "a\nb"]
)
def test_a_word_that_stands_for_no_run_is_one_line(shared, word):
    line = refused(history, "--root", shared.root, "--diff", "1", word)
    assert "expected a number from 1 to 3" in line and len(line) < 250


def test_numbers_of_one_model_are_those_of_the_list(root):
    other = FakeRoot(root.root, "dogs")
    other.runs = 5
    other.run("dd")

    line = refused(history, "--root", root.root, "--name", "dogs", "--diff", "4", "1")
    assert "no entry '1': expected a number from 4 to 4" in line
    line = refused(history, "--root", root.root, "--name", "birds")
    assert "no entry of 'birds', only of cells, dogs" in line
    # v1 is a version of both: that of the named model is meant
    line = refused(bless, "--root", root.root, "--name", "dogs", *WHO, "--run", "v1", status=3)
    assert "artifacts/6/evaluation/decision.json: the gate has blessed this model" in line


def test_a_root_where_no_run_began_says_so(tmp_path):
    root = FakeRoot(tmp_path / "R").root

    assert "nothing was run here yet" in call(history, "--root", root).stdout
    assert said(history, "--root", root) == {"root": str(root), "entries": []}
    assert "nothing was run here yet" in refused(history, "--root", root, "--diff", 1, 2)
    assert "no run here came to its ModelPusher" in refused(rollback, "--root", root, "--to", 1)
    assert "no run here came to its ModelPusher" in refused(bless, "--root", root, *WHO)


@pytest.mark.parametrize("node", ["CocoExampleGen", "DetectionTrainer", "CocoEvaluator"])
def test_a_run_that_ended_early_is_listed_with_how_far_it_came(root, node):
    root.run("dd", failed_in=node)

    entry = said(history, "--root", root.root)["entries"][-1]
    assert entry["state"] == f"failed in {node}"
    assert entry["version"] is None and entry["blessed"] is None
    assert f"run of cells, failed in {node}" in call(history, "--root", root.root).stdout
    assert said(history, "--root", root.root, "--diff", 1, 4)["verdict"][1] == [None, None]
    line = refused(bless, "--root", root.root, *WHO, "--run", 4)
    assert "run 4 of cells has no verdict" in line
    assert said(bless, "--root", root.root, *WHO)["model_id"] == "cc"  # the last with a verdict


# A line of versions


def test_back_and_forth_each_step_is_one_version_and_one_entry(root):
    for to, version in ((1, 3), (2, 4), (1, 5)):
        found = said(rollback, "--root", root.root, "--to", to)
        assert (found["version"], found["is_new"]) == (version, True)
        again = said(rollback, "--root", root.root, "--to", to)
        assert (again["version"], again["is_new"]) == (version, False)
    root.run("dd", 0.7)
    assert said(rollback, "--root", root.root, "--to", 4)["version"] == 7

    assert list(served(root.root).values()) == ["aa", "bb", "aa", "bb", "aa", "dd", "bb"]
    entries = History(root.metadata).entries()
    assert [e.version for e in entries if e.kind == "rollback"] == [3, 4, 5, 7]
    assert [e.said["to"] for e in entries if e.kind == "rollback"] == [1, 2, 1, 4]


def test_blessed_twice_it_is_pushed_once(root):
    assert said(bless, "--root", root.root, *WHO)["is_new"]
    again = said(bless, "--root", root.root, *WHO)

    assert (again["version"], again["is_new"]) == (3, False)
    assert again["record"] == "nothing to record"
    assert [e.kind for e in History(root.metadata).entries()].count("blessing") == 1


def test_a_refused_run_of_long_ago_can_be_blessed(root):
    root.run("dd", 0.7)

    assert said(bless, "--root", root.root, *WHO, "--run", 3)["version"] == 4
    assert served(root.root) == {1: "aa", 2: "bb", 3: "dd", 4: "cc"}


def test_a_refused_model_that_is_gone_is_one_line(root):
    shutil.rmtree(root.root / "artifacts/3/model")

    assert "artifacts/3/model: no such model folder" in refused(bless, "--root", root.root, *WHO)
    assert served(root.root) == {1: "aa", 2: "bb"}


PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
REASONS = {
    "a\nb\t c": "a b c",
    PERSIAN: PERSIAN,
    "👩\u200d💻 said so ✅": "👩\u200d💻 said so ✅",
    "क्\u200dष": "क्\u200dष",
    "'quoted' \"twice\" {} %s | <b>": "'quoted' \"twice\" {} %s | <b>",
    "x" * 500: "x" * 500,
}


@pytest.mark.parametrize("given", REASONS, ids=ascii)
def test_reasons_in_any_script_are_kept_to_the_letter(root, given):
    said(rollback, "--root", root.root, "--to", 1, "--by", given, "--because", given)

    entry = said(history, "--root", root.root)["entries"][-1]
    assert entry["said"]["because"] == entry["said"]["by"] == REASONS[given]
    shown = call(history, "--root", root.root)
    assert shown.exit_code == 0 and REASONS[given][:100] in shown.stdout


@pytest.mark.parametrize(
    "words", ["", "\n", "x" * 501, "a\x00b", "\u202egnp", "\x1b[31m", "\ud800"]
)
@pytest.mark.parametrize("option", ["--by", "--because"])
def test_words_that_would_hide_something_are_wrong_usage(shared, option, words):
    refused(rollback, "--root", shared.root, "--to", 1, option, words, status=2)
    assert served(shared.root) == {1: "aa", 2: "bb"}


# What else lies where models are served


def foreign(serving):
    """Puts what people and servers leave beside versions."""
    for name in ("latest", "1.bak", ".nfs0000001"):
        (serving / name).mkdir()
    (serving / "README.md").write_text("mine")
    (serving / "current").symlink_to("2")
    (serving / "9").symlink_to("nowhere")
    (serving / "12").write_text("no folder")


def changed_at(serving):
    return {p.name: p.lstat().st_mtime_ns for p in serving.iterdir() if p.name != LOCK_FILE}


def test_foreign_things_beside_versions_stay_and_their_numbers_are_used(root):
    foreign(root.serving / "cells")
    before = changed_at(root.serving / "cells")

    assert said(rollback, "--root", root.root, "--to", 1)["version"] == 13
    after = changed_at(root.serving / "cells")
    assert after.keys() - before.keys() == {"13"}
    assert {name: after[name] for name in before} == before
    assert "only 1, 2, 9, 12, 13" in refused(rollback, "--root", root.root, "--to", 5)
    for number in (9, 12):
        line = refused(rollback, "--root", root.root, "--to", number, status=3)
        assert f"cells/{number}: was never blessed" in line
    shown = call(history, "--folder", root.serving, "--name", "cells").stdout
    assert "9 of another origin" in shown and "latest" not in shown


def test_versions_named_by_time_go_on_from_there(root):
    serving = root.serving / "cells"
    (serving / "2").rename(serving / "1764478800")

    assert said(rollback, "--root", root.root, "--to", 1)["version"] == 1764478801
    shown = call(history, "--folder", root.serving, "--name", "cells").stdout
    assert "1764478800 a copy of version 2, made by hand" in shown
    line = refused(rollback, "--root", root.root, "--to", 1764478800, status=3)
    assert "no push note of its own" in line


@pytest.mark.parametrize(
    "note", ["", "[]", "{}", '{"version": 1}', '{"version": "x", "model_id": 1}', "[" * 9999]
)
def test_a_damaged_note_is_of_another_origin(root, note):
    (root.serving / "cells/1/assets.extra/push.json").write_text(note)

    found = said(history, "--folder", root.serving, "--name", "cells")["versions"]
    assert [v["push"] and v["push"]["version"] for v in found] == [None, 2]
    assert "never blessed" in refused(rollback, "--root", root.root, "--to", 1, status=3)


# Where the root is


def test_in_a_copied_root_nothing_happens_to_the_first(root, tmp_path):
    del root.store
    shutil.copytree(root.root, tmp_path / "copy")

    found = said(rollback, "--root", tmp_path / "copy", "--to", 1)
    assert found["path"] == str(tmp_path / "copy/serving/cells/3")
    assert said(bless, "--root", tmp_path / "copy", *WHO)["version"] == 4
    assert served(root.root) == {1: "aa", 2: "bb"}
    assert served(tmp_path / "copy") == {1: "aa", 2: "bb", 3: "aa", 4: "cc"}
    assert [e.kind for e in History(root.metadata).entries()] == ["run"] * 3


def test_by_a_link_a_root_is_the_same_root(root, tmp_path):
    (tmp_path / "link").symlink_to(root.root)

    found = said(rollback, "--root", tmp_path / "link", "--to", 1)
    assert found["path"] == str(root.serving / "cells/3")
    assert [e.kind for e in History(root.metadata).entries()] == ["run"] * 3 + ["rollback"]


def test_a_folder_that_several_roots_push_to_is_served_from(root, tmp_path):
    other = FakeRoot(tmp_path / "other")
    other.serving = root.serving  # its config says so; it has none of its own
    other.run("ee", 0.9)

    assert said(rollback, "--root", other.root, "--to", 1)["version"] == 4
    assert served(root.root) == {1: "aa", 2: "bb", 3: "ee", 4: "aa"}


def test_metadata_that_a_run_writes_to_is_one_line(root, monkeypatch):
    def busy(store):
        raise errors.AbortedError("Concurrent writes aborted after max number of retries.")

    monkeypatch.setattr(MetadataStore, "get_executions", busy)
    for command, more in ((history, []), (rollback, ["--to", 1]), (bless, WHO)):
        line = refused(command, "--root", root.root, *more)
        assert "metadata.sqlite: is being written to" in line and "wait for the run" in line
    assert served(root.root) == {1: "aa", 2: "bb"}


def test_history_is_read_while_a_run_holds_the_metadata(root):
    hold = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "db.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(root.metadata)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert len(said(history, "--root", root.root)["entries"]) == 3
        holder.communicate(b"")


# What runs left


ODD_METRICS = [
    "", "[]", "null", '{"box": [1]}', '{"box": "x", "mask": 5, "per_category": [1]}',
    '{"box": {"AP": NaN, "AP50": "0.5", "AP75": null}}', '{"box": {"AP": Infinity}}',
    '{"per_category": {"box": {"3": {"name": "cat", "AP": NaN}, "4": 7}, "mask": "x"}}',
    '{"per_category": {"box": {"3": {"AP": 0.5}}}}', '{"box": null, "mask": {}}',
]  # fmt: skip


@pytest.mark.parametrize("content", ODD_METRICS)
def test_metrics_in_another_form_are_no_numbers(shared, content):
    (shared.root / "artifacts/1/evaluation/metrics.json").write_text(content)

    entries = said(history, "--root", shared.root)["entries"]
    assert entries[0]["metrics"]["box"] is None
    assert entries[1]["metrics"]["box"]["AP"] == 0.6
    row = call(history, "--root", shared.root).stdout.splitlines()[1]
    assert row.split()[-4:] == ["-", "-", "blessed", "1"]
    said(history, "--root", shared.root, "--diff", 1, 2)
    assert "now blessed" in call(history, "--root", shared.root, "--diff", 1, 2).stdout


@pytest.mark.parametrize(
    "content",
    ["", '{"splits": 5}', '{"splits": {"train": 5}}', '{"splits": {"train": {"pictures": null}}}',
     '{"splits": {"train": {"pictures": {"written": "many"}}}}', '{"splits": {"train": null}}'],
)  # fmt: skip
def test_counts_in_another_form_are_no_counts(shared, content):
    (shared.root / "artifacts/1/rejects/counts.json").write_text(content)

    splits = said(history, "--root", shared.root)["entries"][0]["data"]["splits"]
    assert all(split == {"pictures": None, "objects": None} for split in splits.values())
    rows = call(history, "--root", shared.root).stdout.splitlines()
    assert "400 + 80" not in rows[1] and "400 + 80" in rows[2]

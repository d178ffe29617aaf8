"""A process that is killed at any step, or whose disk is full, leaves the old output or the new."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from ground import files, output_record
from ground.files import LOCK_FILE, atomic_path, recover
from ground.output_record import RECORD_FILE
from ground.outputs import output_folder, settle_inputs
from tests.ground.killed import run_to_step

OURS = {RECORD_FILE}
OLD = {
    "examples/manifest.json": "old",
    "examples/Split-train/shard-0": "old",
    "rejects/counts.json": "old",
    "summary.json": "old",
    "only-in-old.json": "old",
}
NEW = {
    "examples/manifest.json": "new!",
    "examples/Split-train/shard-0": "new!",
    "examples/Split-val/shard-0": "new!",
    "rejects/counts.json": "new!",
    "summary.json": "new!",
}


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (RECORD_FILE, LOCK_FILE)
    }


def visible(folder):
    """What a reader sees: hidden files are nobody's output."""
    return {name: text for name, text in tree(folder).items() if not name.startswith(".")}


def fill(folder, content):
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def write_pair(out, content):
    with output_folder(out, "the command", {name.partition("/")[0] for name in content}, []) as new:
        fill(new, content)


def write_folder(out, content):
    recover(out / "folder")
    with atomic_path(out / "folder") as partial:
        fill(partial, content)


def write_file(out, content):
    recover(out / "file")
    with atomic_path(out / "file") as partial:
        partial.write_text(content["file"])


FILE_OLD, FILE_NEW = {"file": "old"}, {"file": "new!"}
FOLDER_OLD = {"a": "old", "sub/b": "old", "gone": "old"}
FOLDER_NEW = {"a": "new!", "sub/b": "new!", "more/c": "new!"}


def inside(content):
    return {f"folder/{name}": text for name, text in content.items()}


KINDS = {
    "file": (write_file, FILE_OLD, FILE_NEW, lambda content: content),
    "folder": (write_folder, FOLDER_OLD, FOLDER_NEW, inside),
    "pair": (write_pair, OLD, NEW, lambda content: content),
}


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where there is such a place: a disk takes its time to sync."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(params=["exchange", "two renames"])
def file_system(request, monkeypatch):
    """One that swaps two folders in one step, and one that does not know how."""
    if request.param == "two renames":
        monkeypatch.setattr(files, "exchange", lambda first, second: False)
        monkeypatch.setattr(output_record, "exchange", lambda first, second: False)
    return request.param


def every_step(tmp_path, start, work, disk_full=False):
    """Yields a copy of `start` in which `work` went as far as its 1st, 2nd, ... step."""
    for step in range(1, 1000):
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        if start is not None:
            shutil.copytree(start, out)
        if not run_to_step(lambda out=out: work(out), step, disk_full):
            assert step > 4
            return
        yield out
    raise AssertionError("no end")


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_step_the_old_output_or_the_new_stands(kind, tmp_path, file_system):
    write, old, new, seen = KINDS[kind]
    write(tmp_path / "start", old)
    found = []
    for out in every_step(tmp_path, tmp_path / "start", lambda out: write(out, new)):
        settle(out)
        found.append(visible(out))
        assert found[-1] in (seen(old), seen(new))
        write(out, new)
        assert tree(out) == seen(new)
        assert {path.name for path in out.iterdir()} <= {*OURS, *map(top, seen(new))}
    assert seen(old) in found
    assert seen(new) in found


def settle(out):
    """What a command does to its inputs, before it reads them."""
    for name in ("file", "folder"):
        recover(out / name)
    settle_inputs([out])


def top(name):
    return name.partition("/")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_step_a_first_output_is_whole_or_not_there(kind, tmp_path):
    write, _, new, seen = KINDS[kind]
    for out in every_step(tmp_path, None, lambda out: write(out, new)):
        if out.exists():
            settle(out)
            assert visible(out) in ({}, seen(new))
        write(out, new)
        assert tree(out) == seen(new)
        assert {path.name for path in out.iterdir()} <= {*OURS, *map(top, seen(new))}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_step_of_putting_right(kind, tmp_path, file_system):
    write, old, new, seen = KINDS[kind]
    write(tmp_path / "start", old)
    for number, killed in enumerate(
        every_step(tmp_path / "one", tmp_path / "start", lambda out: write(out, new))
    ):
        if number % (25 if kind == "pair" else 5):  # steps beside each other leave the same
            continue
        for out in every_step(tmp_path / "two", killed, lambda out: write(out, old)):
            settle(out)
            assert visible(out) in (seen(old), seen(new))
            write(out, old)
            assert tree(out) == seen(old)
            assert {path.name for path in out.iterdir()} <= {*OURS, *map(top, seen(old))}


@pytest.mark.parametrize("kind", KINDS)
def test_full_disk_at_any_step_leaves_one_output_whole(kind, tmp_path, file_system):
    write, old, new, seen = KINDS[kind]
    write(tmp_path / "start", old)
    for out in every_step(
        tmp_path, tmp_path / "start", lambda out: write(out, new), disk_full=True
    ):
        settle(out)
        assert visible(out) in (seen(old), seen(new))
        assert {path.name for path in out.iterdir()} <= {
            *OURS,
            *map(top, tree(out)),
        }
        write(out, new)
        assert tree(out) == seen(new)

"""Files appear whole or not at all; a folder is held by one (also tests/pipeline)."""

import errno
import fcntl
import json
import os

import pytest

from ground.files import (
    LOCK_FILE,
    atomic_path,
    file_digest,
    held_folder,
    json_digest,
    recover,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"a": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert json.loads(target.read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    for names in (["x", "y"], ["z"]):
        with atomic_path(tmp_path / "folder") as partial:
            partial.mkdir()
            for name in names:
                (partial / name).write_text(name)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["z"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_nan_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    number = "0123abcd"
    kept = ["model", f".model2.{number}.partial", f".model.json.{number}.partial", ".model.json"]
    for name in [*kept, f".model.{number}.partial", f".model.{number}.old"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").touch()
    (tmp_path / ".model.89abcdef.partial").touch()  # of a file
    recover(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, example B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(tmp_path / "a") == expected
    assert json_digest({"b": 1, "a": 2}) == json_digest({"a": 2, "b": 1})
    assert json_digest({"a": 1}) != json_digest({"a": 1.5})


def test_a_file_system_without_locks_holds_nothing(tmp_path, monkeypatch):
    def flock(stream, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with held_folder(tmp_path, "wait"), held_folder(tmp_path, "wait"):
        assert (tmp_path / LOCK_FILE).read_text() == str(os.getpid())

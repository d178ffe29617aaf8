"""Folders of versions as people copy, remove and damage them while they are served."""

import shutil
from pathlib import Path

import pytest

from ground.errors import ModelError
from model.serving.versions import ServedVersions, is_model_name, model_name
from tests.model.serving.fake_served import FakeServed, add_version, serving


def served(folder, load=FakeServed):
    lines = []
    return ServedVersions(folder, load, lines.append), lines


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such model folder"),
        (lambda folder: folder.mkdir(), "holds no SavedModel"),
        (lambda folder: folder.touch(), "no such model folder"),
        (lambda folder: (folder / "7").mkdir(parents=True), "7: the newest version holds no"),
        (lambda folder: (folder / "v1").mkdir(parents=True), "holds no SavedModel"),
        (lambda folder: add_version(folder, 1) / "2" and (folder / "2").touch(), "2: the newest"),
    ],
    ids=["absent", "empty", "a file", "empty version", "no number", "a file as version"],
)
def test_a_folder_without_a_version_is_one_line(tmp_path, make, message):
    make(tmp_path / "cells")
    with pytest.raises(ModelError, match=message) as error:
        served(tmp_path / "cells")
    assert str(tmp_path / "cells") in str(error.value)


def test_what_else_lies_in_the_folder_is_no_version(tmp_path):
    folder = add_version(tmp_path / "cells", 2)
    versions, lines = served(folder)
    for name in ("3.partial", ".4", "-5", "6 ", "withdrawn-9", "\u0663", "9" * 25, "latest"):
        (folder / name).mkdir()
    (folder / "8").touch()
    (folder / "11").symlink_to("nowhere")
    versions.look()
    assert (versions.current.number, lines) == (2, [])


def test_a_linked_version_is_one(tmp_path):
    folder = add_version(tmp_path / "cells", 2)
    versions, _ = served(folder)
    add_version(tmp_path / "elsewhere", 5)
    (folder / "5").symlink_to(tmp_path / "elsewhere/5")
    versions.look()
    assert versions.current.number == 5


@pytest.mark.parametrize(
    "raised",
    [
        PermissionError(13, "Permission denied"),
        FileNotFoundError(2, "No such file"),
        KeyError("nms_iou"),
        MemoryError(),
        RuntimeError("two\nlines"),
    ],
)
def test_a_version_that_fails_in_any_way_leaves_the_old_one_and_the_watch(tmp_path, raised):
    folder = add_version(tmp_path / "cells", 1)
    failing = {"2"}

    def load(path):
        if path.name in failing:
            raise raised
        return FakeServed(path)

    versions, lines = served(folder, load)
    add_version(folder, 2)
    versions.look()
    assert versions.current.number == 1
    (line,) = lines
    assert line.startswith("version 2 is not served, version 1 stays: ")
    assert "\n" not in line
    failing.clear()
    for _ in range(15):
        versions.look()
    assert versions.current.number == 2
    assert lines[1:] == ["version 2 is served, no longer version 1"]


def test_a_version_half_copied_is_taken_up_when_it_is_whole(tmp_path):
    folder = add_version(tmp_path / "cells", 1)

    def load(path):
        if not (path / "variables").is_dir():
            raise ModelError(f"{path}: cannot be loaded")
        return FakeServed(path)

    (folder / "1/variables").mkdir()
    versions, lines = served(folder, load)
    add_version(folder, 2)
    for _ in range(30):
        versions.look()
    assert versions.current.number == 1
    assert len(lines) == 1  # said once, not each second
    (folder / "2/variables").mkdir()
    for _ in range(15):
        versions.look()
    assert versions.current.number == 2


def test_a_failed_version_that_is_taken_away_is_forgotten(tmp_path):
    folder = add_version(tmp_path / "cells", 1)

    def load(path):
        if path.name == "2":
            raise ModelError("damaged")
        return FakeServed(path)

    versions, _ = served(folder, load)
    add_version(folder, 2)
    versions.look()
    assert len(versions.status()["model_version_status"]) == 2
    shutil.rmtree(folder / "2")
    versions.look()
    assert len(versions.status()["model_version_status"]) == 1


def test_the_status_of_one_version_tells_why_it_is_not_served(tmp_path):
    folder = add_version(tmp_path / "cells", 1)

    def load(path):
        if path.name == "2":
            raise ModelError("variables are missing")
        return FakeServed(path)

    with serving(folder, load) as (client, versions, _):
        add_version(folder, 2)
        versions.look()
        status, content = client.json("GET", "/v1/models/cells/versions/2")
        assert status == 200
        (state,) = content["model_version_status"]
        assert (state["state"], state["status"]["error_message"]) == (
            "END",
            "variables are missing",
        )
        assert client.json("GET", "/v1/models/cells/versions/2/metadata")[0] == 404
        assert client.json("POST", "/v1/models/cells/versions/2:predict", {})[0] == 404
        assert client.json("GET", "/v1/models/dogs/versions/2")[0] == 404


def test_the_whole_folder_may_go_and_come_back(tmp_path):
    folder = add_version(tmp_path / "cells", 1)
    versions, lines = served(folder)
    folder.rename(tmp_path / "away")
    versions.look()
    assert (versions.current.number, lines) == (1, [])
    (tmp_path / "away").rename(folder)
    add_version(folder, 2)
    versions.look()
    assert versions.current.number == 2


def test_a_single_model_is_not_watched(tmp_path):
    folder = add_version(tmp_path / "cells", 7) / "7"
    versions, _ = served(folder)
    assert versions.current.number == 7
    add_version(tmp_path / "cells", 8)
    versions.watch()
    versions.end()
    assert versions.current.number == 7


@pytest.mark.parametrize(
    ("folder", "name"),
    [("serving/cells/", "cells"), ("serving/cells/12", "cells"), ("a/b/..", "a"), ("a b", "a b")],
)
def test_a_model_is_called_as_its_folder_is(folder, name):
    assert model_name(Path(folder)) == name


def test_the_folder_one_stands_in_gives_its_name(tmp_path, monkeypatch):
    (tmp_path / "cells/sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "cells/sub")
    assert model_name(Path(".")) == "sub"
    assert model_name(Path("..")) == "cells"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a:predict", "a\nb", "\udcff"])
def test_what_no_address_can_hold_is_no_name(name):
    assert not is_model_name(name)


def test_a_folder_whose_name_no_address_can_hold_asks_for_one(tmp_path):
    with pytest.raises(ModelError, match="give --name"):
        model_name(tmp_path / "a:b")

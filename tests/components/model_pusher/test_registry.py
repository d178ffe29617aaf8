import json
import os
import shutil
import threading

import pytest

from components.model_pusher import registry
from components.model_pusher.registry import (
    check_model_name,
    newest_pushed_model,
    problem_of_pushed,
    pushed_versions,
)
from ground.errors import ModelError, RefusedError
from model.model_folder import files_digest
from tests.components.model_pusher.fake_model import DAMAGES, damage, write_fake_model


@pytest.fixture
def make_model(tmp_path):
    """Makes the folder of a model with the given id and returns it."""
    return lambda model_id: write_fake_model(tmp_path / "models" / model_id, model_id)


def push(model, folder, name):
    """Pushes a model as it lies there."""
    return registry.push(model, folder, name, files_digest(model))


def test_versions_count_up_and_hold_the_model(tmp_path, make_model):
    serving = tmp_path / "serving"

    _, first_is_new = push(make_model("aa"), serving, "cells")
    second, second_is_new = push(make_model("bb"), serving, "cells")

    assert (first_is_new, second_is_new) == (True, True)
    assert [p.version for p in pushed_versions(serving, "cells")] == [1, 2]
    assert newest_pushed_model(serving, "cells") == second
    assert second.path == serving / "cells" / "2"
    assert (second.path / "saved_model.pb").read_bytes() == b"graph of bb"
    note = json.loads((second.path / "assets.extra/push.json").read_text())
    assert (note["version"], note["model_id"]) == (2, "bb")
    assert note["files_digest"] == files_digest(second.path)
    assert second.problem is None


def test_the_newest_model_is_not_copied_again(tmp_path, make_model):
    model = make_model("aa")
    first, _ = push(model, tmp_path / "serving", "cells")

    again, is_new = push(model, tmp_path / "serving", "cells")

    assert (again, is_new) == (first, False)
    assert len(pushed_versions(tmp_path / "serving", "cells")) == 1


def test_an_older_model_can_come_back_as_a_new_version(tmp_path, make_model):
    model = make_model("aa")
    push(model, tmp_path, "cells")
    push(make_model("bb"), tmp_path, "cells")

    again, is_new = push(model, tmp_path, "cells")

    assert (again.version, is_new) == (3, True)


def test_the_number_of_a_withdrawn_version_stays_used(tmp_path, make_model):
    first, _ = push(make_model("aa"), tmp_path, "cells")
    first.path.rename(first.path.with_name("withdrawn-1"))

    pushed, _ = push(make_model("bb"), tmp_path, "cells")

    assert pushed.version == 2


def test_pushes_at_the_same_time_get_numbers_of_their_own(tmp_path, make_model):
    models = [make_model(f"m{n}") for n in range(8)]
    threads = [
        threading.Thread(target=push, args=(model, tmp_path / "serving", "cells"))
        for model in models
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = pushed_versions(tmp_path / "serving", "cells")
    assert [p.version for p in found] == list(range(1, 9))
    assert {p.model_id for p in found} == {f"m{n}" for n in range(8)}


def test_what_is_no_exported_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no SavedModel"):
        registry.push(tmp_path / "empty", tmp_path / "serving", "cells", "0" * 64)
    assert newest_pushed_model(tmp_path / "serving", "cells") is None


def test_a_version_of_another_origin_has_no_model_id(tmp_path, make_model):
    (tmp_path / "cells" / "7").mkdir(parents=True)

    assert newest_pushed_model(tmp_path, "cells").model_id is None
    assert push(make_model("aa"), tmp_path, "cells")[0].version == 8


def test_what_a_killed_push_left_is_no_version_and_is_removed(tmp_path, make_model):
    leftover = tmp_path / "cells" / ".1.0a1b2c3d.partial"
    leftover.mkdir(parents=True)
    assert pushed_versions(tmp_path, "cells") == []

    push(make_model("aa"), tmp_path, "cells")

    assert not leftover.exists()
    assert [p.version for p in pushed_versions(tmp_path, "cells")] == [1]


def test_other_files_than_the_evaluated_ones_are_not_pushed(tmp_path, make_model):
    model = make_model("aa")
    evaluated = files_digest(model)
    (model / "variables/variables.data-00000-of-00001").write_bytes(b"other weights")

    with pytest.raises(RefusedError, match="its files are not those that were evaluated"):
        registry.push(model, tmp_path / "serving", "cells", evaluated)

    assert not (tmp_path / "serving").exists()


def test_files_that_change_while_they_are_copied_are_not_pushed(tmp_path, make_model, monkeypatch):
    model = make_model("aa")
    copytree = shutil.copytree

    def copy_and_change(source, target, *options, **more):
        copytree(source, target, *options, **more)
        if source == model:
            (target / "saved_model.pb").write_bytes(b"changed between digest and copy")

    monkeypatch.setattr(shutil, "copytree", copy_and_change)
    with pytest.raises(RefusedError, match="models/aa: its files are not those"):
        push(model, tmp_path / "serving", "cells")

    assert pushed_versions(tmp_path / "serving", "cells") == []


def test_modes_times_and_the_note_of_an_earlier_push_do_not_count(tmp_path, make_model):
    first, _ = push(make_model("aa"), tmp_path / "serving", "cells")
    os.utime(first.path / "saved_model.pb", (0, 0))
    (first.path / "saved_model.pb").chmod(0o600)
    push(make_model("bb"), tmp_path / "serving", "cells")

    again, is_new = push(first.path, tmp_path / "serving", "cells")

    assert (again.version, is_new) == (3, True)
    assert json.loads((again.path / "assets.extra/push.json").read_text())["version"] == 3
    assert files_digest(again.path) == files_digest(first.path)


def test_the_same_model_exported_again_is_not_copied_again(tmp_path, make_model):
    model = make_model("aa")
    push(model, tmp_path / "serving", "cells")
    (model / "saved_model.pb").write_bytes(b"the same graph, written at another time")

    assert push(model, tmp_path / "serving", "cells")[1] is False


@pytest.mark.parametrize("name", ["variables/variables.data-00000-of-00001"])
def test_other_weights_under_the_same_id_are_another_version(tmp_path, make_model, name):
    model = make_model("aa")
    push(model, tmp_path / "serving", "cells")
    (model / name).write_bytes(b"other weights")

    assert push(model, tmp_path / "serving", "cells")[1] is True


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_version_is_seen_and_replaced_by_the_next_push(tmp_path, make_model, kind):
    model = make_model("aa")
    pushed, _ = push(model, tmp_path / "serving", "cells")
    assert pushed.problem is None

    damage(kind, pushed.path)

    assert str(pushed.path) in problem_of_pushed(pushed.path)
    assert push(model, tmp_path / "serving", "cells")[0].version == 2


def test_whatever_is_named_like_a_version_is_one(tmp_path, make_model):
    base = tmp_path / "cells"
    elsewhere, _ = push(make_model("aa"), tmp_path / "elsewhere", "cells")
    base.mkdir()
    (base / "2").symlink_to(elsewhere.path)
    (base / "3").write_text("a file")
    (base / "4").symlink_to(tmp_path / "nowhere")
    (base / ("9" * 30)).mkdir()  # no 64-bit number: no version to TensorFlow Serving
    (base / "\u0667").mkdir()  # a digit, but no ASCII one

    versions = pushed_versions(tmp_path, "cells")

    assert [v.version for v in versions] == [2, 3, 4]
    assert [v.problem for v in versions] == [
        None,
        f"{base}/3: is no folder",
        f"{base}/4: is no folder",
    ]
    assert push(make_model("bb"), tmp_path, "cells")[0].version == 5


def test_there_is_no_version_after_the_last(tmp_path, make_model):
    (tmp_path / "cells" / str(2**63 - 1)).mkdir(parents=True)

    with pytest.raises(ModelError, match="has the last number"):
        push(make_model("aa"), tmp_path, "cells")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_base_that_is_no_folder_is_said(tmp_path, kind):
    base = tmp_path / "cells"
    base.write_text("") if kind == "file" else base.symlink_to(tmp_path / "nowhere")

    with pytest.raises(ModelError, match=r"cells: (cannot be read|is a link)"):
        newest_pushed_model(tmp_path, "cells")


@pytest.mark.parametrize("name", ["cells", "a", "Cells_2", "a.b-c", "0" * 128])
def test_plain_names_are_names(name):
    check_model_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/a", ".hidden", "a\\b", "-a", "a\n", "a\0", "0" * 129]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, make_model, name):
    with pytest.raises(ModelError, match="model name"):
        push(make_model("aa"), tmp_path / "serving", name)
    assert not (tmp_path / "serving").exists()

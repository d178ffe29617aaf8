import json
import threading

import pytest

from components.model_pusher.registry import newest_pushed_model, push, pushed_versions
from configs.errors import ModelError


@pytest.fixture
def make_model(tmp_path):
    """Makes the folder of a model with the given id and returns it."""

    def make(model_id):
        folder = tmp_path / "models" / model_id
        (folder / "assets.extra").mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"graph of " + model_id.encode())
        (folder / "assets.extra/model_id.json").write_text(json.dumps({"model_id": model_id}))
        return folder

    return make


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
        push(tmp_path / "empty", tmp_path / "serving", "cells")
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

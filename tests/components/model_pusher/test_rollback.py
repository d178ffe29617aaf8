"""Going back to an older version: what is served is whole at every instant, and says why."""

import json
import shutil
import threading

import pytest

from components.model_pusher.push_note import PushNote, checked_words, read_push_note
from components.model_pusher.registry import (
    in_line,
    newest_pushed_model,
    push,
    pushed_versions,
    rolled_back,
)
from components.model_pusher.rollback import roll_back
from ground.errors import ModelError, RefusedError
from model.model_folder import files_digest
from tests.components.model_pusher.fake_model import DAMAGES, damage, write_fake_model
from tests.ground.killed import run_to_step


@pytest.fixture
def serving(tmp_path):
    """A folder with the models aa, bb and cc as versions 1, 2 and 3."""
    for model_id in ("aa", "bb", "cc"):
        push_model(tmp_path, model_id)
    return tmp_path / "serving"


def push_model(root, model_id, **note):
    folder = root / "models" / model_id
    if not folder.exists():
        write_fake_model(folder, model_id, weights=model_id.encode())
    return push(folder, root / "serving", "cells", files_digest(folder), note)


def served(serving):
    return [v.model_id for v in pushed_versions(serving, "cells")]


def line(serving):
    return [v.version for v in in_line(pushed_versions(serving, "cells"))]


def test_an_older_version_becomes_the_newest_and_says_so(serving):
    pushed, is_new = roll_back(serving, "cells", 1, "Ada", "dogs are lost")

    assert (pushed.version, is_new) == (4, True)
    assert newest_pushed_model(serving, "cells") == pushed
    assert served(serving) == ["aa", "bb", "cc", "aa"]
    assert files_digest(pushed.path) == files_digest(serving / "cells/1")
    note = read_push_note(pushed.path)
    word = note.rollback
    assert (word.to, word.instead_of, word.by, word.because) == (1, 3, "Ada", "dogs are lost")
    assert "version 1 again, rolled back by Ada on " in word.in_words()
    assert note.version == 4
    assert pushed.problem is None


def test_going_back_twice_makes_one_version(serving):
    first, _ = roll_back(serving, "cells", 1)

    assert roll_back(serving, "cells", 1) == (first, False)
    assert roll_back(serving, "cells", 4) == (first, False)
    assert served(serving) == ["aa", "bb", "cc", "aa"]


def test_what_was_rolled_back_from_is_out_of_the_line(serving, tmp_path):
    assert line(serving) == [3, 2, 1]
    roll_back(serving, "cells", 1)
    assert line(serving) == [4, 1]
    push_model(tmp_path, "dd")
    assert line(serving) == [5, 4, 1]
    versions = pushed_versions(serving, "cells")
    assert rolled_back(versions, "bb").version == 4
    assert rolled_back(versions, "cc").version == 4
    assert [rolled_back(versions, name) for name in ("aa", "dd", "unknown")] == [None] * 3

    roll_back(serving, "cells", 3)  # and forth
    assert line(serving) == [6, 3, 2, 1]
    versions = pushed_versions(serving, "cells")
    assert rolled_back(versions, "cc") is None
    assert rolled_back(versions, "dd").version == 6


def test_a_person_can_push_again_what_was_rolled_back_from(serving, tmp_path):
    roll_back(serving, "cells", 2)
    push_model(tmp_path, "cc")

    assert rolled_back(pushed_versions(serving, "cells"), "cc") is None


def test_the_word_of_the_older_version_goes_with_it(serving, tmp_path):
    word = {"by": "Ada", "because": "rare classes", "reason": "box/AP", "when": "2026-11-30"}
    push_model(tmp_path, "dd", override=word, decision_digest="d" * 64)
    push_model(tmp_path, "ee")

    pushed, _ = roll_back(serving, "cells", 4)

    note = read_push_note(pushed.path)
    assert note.override.in_words() == (
        "blessed by Ada on 2026-11-30 against the gate (box/AP): rare classes"
    )
    assert note.decision_digest == "d" * 64


@pytest.mark.parametrize(
    ("to", "kind", "message"),
    [
        (9, ModelError, "there is no version 9, only 1, 2, 3, 7"),
        (7, RefusedError, "cells/7: was never blessed"),
        (0, ModelError, "there is no version 0"),
    ],
)
def test_a_version_that_may_not_be_served_is_refused(serving, to, kind, message):
    shutil.copytree(serving / "cells/1", serving / "cells/7")  # by hand, with the note of another
    before = served(serving)

    with pytest.raises(kind, match=message):
        roll_back(serving, "cells", to)

    assert served(serving) == before


def test_a_version_of_another_origin_was_never_blessed(serving):
    (serving / "cells/1/assets.extra/push.json").unlink()

    with pytest.raises(RefusedError, match="was never blessed"):
        roll_back(serving, "cells", 1)


@pytest.mark.parametrize("to", [1, 9])
def test_a_refusal_leaves_a_folder_that_others_made_as_it_is(tmp_path, to):
    write_fake_model(tmp_path / "theirs/cells/1", "aa")  # no record of ours, no lock
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises((RefusedError, ModelError)):
        roll_back(tmp_path / "theirs", "cells", to)

    assert sorted(tmp_path.rglob("*")) == before


def test_a_withdrawn_version_is_named(serving):
    (serving / "cells/2").rename(serving / "cells/withdrawn-2")

    with pytest.raises(RefusedError, match="version 2 is withdrawn: rename its folder 2 first"):
        roll_back(serving, "cells", 2)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_version_is_refused(serving, kind):
    damage(kind, serving / "cells/1")

    with pytest.raises(RefusedError, match="cells/1"):
        roll_back(serving, "cells", 1)
    assert served(serving)[-1] == "cc"
    assert len(served(serving)) == 3


@pytest.mark.parametrize("kind", ["graph gone", "weights cut", "push note emptied"])
def test_a_damaged_newest_is_what_one_goes_back_from(serving, kind):
    damage(kind, serving / "cells/3")

    pushed, is_new = roll_back(serving, "cells", 2)

    assert (pushed.version, is_new, pushed.problem) == (4, True, None)


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_where_nothing_is_served_there_is_nothing_to_go_back_to(tmp_path, folder):
    (tmp_path / "empty/cells").mkdir(parents=True)

    with pytest.raises(
        ModelError, match=r"no version to go back to|there is no version 1, only no"
    ):
        roll_back(tmp_path / folder, "cells", 1)
    assert not (tmp_path / "nowhere").exists()


def test_rollbacks_and_pushes_at_the_same_time_get_numbers_of_their_own(serving, tmp_path):
    models = [write_fake_model(tmp_path / "models" / f"m{n}", f"m{n}") for n in range(4)]
    work = [
        lambda m=m: push(m, serving, "cells", files_digest(m)) for m in models
    ] + [lambda n=n: roll_back(serving, "cells", n) for n in (1, 2, 1, 2)]  # fmt: skip
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = pushed_versions(serving, "cells")
    assert [v.version for v in found] == list(range(1, len(found) + 1))
    assert len(found) >= 8
    for version in found:
        assert version.problem is None
        assert version.note.version == version.version


def test_killed_at_any_step_the_folder_holds_whole_versions(serving):
    step, states = 0, set()
    while True:
        step += 1
        copy = serving.parent / f"serving-{step}"
        shutil.copytree(serving, copy)
        was_killed = run_to_step(lambda copy=copy: roll_back(copy, "cells", 1), step)
        found = pushed_versions(copy, "cells")
        assert all(version.problem is None for version in found)
        states.add(tuple(v.model_id for v in found))
        # Whoever comes next has nothing to mend.
        pushed, _ = roll_back(copy, "cells", 1)
        assert (pushed.version, pushed.problem) == (4, None)
        names = [p.name for p in (copy / "cells").iterdir() if not p.name.startswith(".tfx-rcnn")]
        assert sorted(names) == ["1", "2", "3", "4"]
        if not was_killed:
            break
    assert step > 10
    assert states == {("aa", "bb", "cc"), ("aa", "bb", "cc", "aa")}


def test_notes_of_before_are_read(serving):
    path = serving / "cells/1/assets.extra/push.json"
    note = json.loads(path.read_text())
    del note["pushed"]
    path.write_text(json.dumps(note))
    assert read_push_note(serving / "cells/1") is None  # no moment: not written by us

    old = {"version": 1, "model_id": "aa", "files_digest": "0", "pushed": "2026-01-01"}
    assert PushNote.model_validate(old).override is None


@pytest.mark.parametrize("words", ["", "  \n", "x" * 501, "a\x1b[31mred", "\ud800"])
def test_words_that_are_no_line_are_refused(words):
    with pytest.raises(ModelError, match="--because: expected"):
        checked_words(words, "--because")


def test_words_become_one_line():
    assert checked_words(" dogs\nare  lost – ünlü ", "--because") == "dogs are lost – ünlü"

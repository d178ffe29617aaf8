"""Where may be written is decided in one place: no input and no file of a user's is harmed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ground.errors import FolderInUseError, OutputError
from ground.files import LOCK_FILE, held_folder
from ground.output_record import RECORD_FILE
from ground.outputs import (
    check_file,
    check_folder,
    check_pattern,
    fresh_folder,
    growing_folder,
    is_marked,
    marked_text,
    output_folder,
)


def write(out, names, inputs=(), writer="predict", text="x"):
    with output_folder(out, writer, names, inputs) as new:
        for name in names:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(text)


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD_FILE
    }


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_text("a photo")
    (folder / "sub" / "b.jpg").write_text("another")
    return folder


# Inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "out",
    ["photos", "photos/", "photos/../photos", "link", "link/sub", "photos/sub", "photos/new/deep"],
)
def test_out_that_is_or_lies_in_an_input_is_refused(photos, tmp_path, out, monkeypatch):
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    for place, read in ((out, "photos"), (tmp_path / out, "link"), (out, tmp_path / "photos")):
        with pytest.raises(OutputError, match="which is read"):
            write(place, ["a.jpg"], [read])
    assert tree(tmp_path) == before
    assert not (photos / "new").exists()


def test_input_that_lies_where_a_folder_would_be_replaced_is_refused(tmp_path):
    out = tmp_path / "o"
    write(out, ["examples/manifest.json", "examples/Split-train/0"])
    before = tree(out)
    (tmp_path / "link").symlink_to(out / "examples" / "Split-train")
    for read in (out / "examples", out / "examples" / "Split-train" / "0", tmp_path / "link"):
        with pytest.raises(OutputError, match=r"would be replaced, and .* is read"):
            write(out, ["examples/manifest.json"], [read])
    assert tree(out) == before


def test_input_file_that_would_be_replaced_is_refused(tmp_path):
    out = tmp_path / "o"
    write(out, ["detections.json"])
    with pytest.raises(OutputError, match="is read"):
        write(out, ["detections.json"], [out / "detections.json"])
    write(out, ["detections.json"], [out / "other.json"], text="new")
    assert tree(out) == {"detections.json": "new"}


def test_input_beside_what_is_written_does_no_harm(tmp_path):
    out = tmp_path / "m"
    write(out, ["model/saved_model.pb"], writer="train")
    write(out, ["metrics.json"], [out / "model"], writer="evaluate")
    assert tree(out) == {"model/saved_model.pb": "x", "metrics.json": "x"}


def test_second_name_of_an_input_folder_is_known(photos, tmp_path, monkeypatch):
    # As a bind mount has it: another path, the same file number.
    other = tmp_path / "mounted"
    other.mkdir()
    stat = Path.stat

    def same_number(path, **options):
        return stat(photos if path == other else path, **options)

    monkeypatch.setattr(Path, "stat", same_number)
    with pytest.raises(OutputError, match="which is read"):
        check_folder(other / "new", "predict", ["a.jpg"], [photos])


# What is not ours ----------------------------------------------------------------------------


def test_folder_with_something_in_it_is_refused(photos):
    before = tree(photos)
    with pytest.raises(OutputError, match=r"holds a\.jpg and 1 more, which is not of ours"):
        write(photos, ["b.jpg"])
    assert tree(photos) == before


@pytest.mark.parametrize("name", [".DS_Store", ".git", "lost+found"])
def test_folder_with_hidden_files_alone_counts_as_empty(tmp_path, name):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / name).write_text("mine")
    write(tmp_path / "o", ["a"])
    assert tree(tmp_path / "o") == {name: "mine", "a": "x"}


def test_rerun_replaces_its_own_output_and_leaves_the_others(tmp_path):
    out = tmp_path / "o"
    write(out, ["a.jpg", "b.jpg", "summary.json"], writer="predict")
    write(out, ["metrics.json", "summary.json"], writer="evaluate", text="e")
    (out / "notes.txt").write_text("mine")
    write(out, ["b.jpg", "c.jpg", "summary.json"], writer="predict", text="2")
    assert tree(out) == {
        "b.jpg": "2",
        "c.jpg": "2",
        "summary.json": "2",
        "metrics.json": "e",
        "notes.txt": "mine",
    }


def test_another_writers_output_is_refused(tmp_path):
    write(tmp_path, ["examples/a"], writer="example_gen")
    with pytest.raises(OutputError, match="examples: was written by example_gen"):
        write(tmp_path, ["examples/b"], writer="transform")
    assert tree(tmp_path) == {"examples/a": "x"}


def test_users_file_of_our_name_is_refused(tmp_path):
    write(tmp_path / "o", ["a"])
    (tmp_path / "o" / "b").write_text("mine")
    with pytest.raises(OutputError, match="b: is not of ours"):
        write(tmp_path / "o", ["a", "b"], text="2")
    assert tree(tmp_path / "o") == {"a": "x", "b": "mine"}


@pytest.mark.parametrize("change", ["edit", "add", "link", "folder"])
def test_what_the_user_changed_in_our_output_is_refused(tmp_path, change):
    out = tmp_path / "o"
    write(out, ["examples/a", "examples/b"])
    if change == "edit":
        (out / "examples" / "a").write_text("y")
    elif change == "add":
        (out / "examples" / "notes.txt").write_text("mine")
    elif change == "link":
        (out / "examples" / "a").unlink()
        (out / "examples" / "a").symlink_to(tmp_path / "elsewhere")
    else:
        (out / "examples" / "a").unlink()
        (out / "examples" / "a").mkdir()
    with pytest.raises(OutputError, match="is not as predict wrote it"):
        write(out, ["examples/a"], text="2")
    assert (out / "examples" / "b").read_text() == "x"


def test_what_the_user_took_away_is_written_again(tmp_path):
    write(tmp_path, ["examples/a", "b"])
    (tmp_path / "b").unlink()
    (tmp_path / "examples" / "a").unlink()
    write(tmp_path, ["examples/a", "b"], text="2")
    assert tree(tmp_path) == {"examples/a": "2", "b": "2"}


def test_file_added_meanwhile_is_not_lost(tmp_path):
    write(tmp_path, ["examples/a"])
    with (
        pytest.raises(OutputError, match=r"notes\.txt"),
        output_folder(tmp_path, "predict", ["examples"], []) as new,
    ):
        (new / "examples").mkdir()
        (tmp_path / "examples" / "notes.txt").write_text("mine")
    assert tree(tmp_path) == {"examples/a": "x", "examples/notes.txt": "mine"}


def test_moved_folder_is_still_ours(tmp_path):
    write(tmp_path / "o", ["examples/a"])
    (tmp_path / "o").rename(tmp_path / "p")
    write(tmp_path / "p", ["examples/a"], text="2")
    assert tree(tmp_path / "p") == {"examples/a": "2"}


def test_damaged_record_is_said(tmp_path):
    for text in ("", "[]", '{"written_by": "another"}', '{"written_by": "tfx-rcnn", "x": 1}'):
        (tmp_path / RECORD_FILE).write_text(text)
        with pytest.raises(OutputError, match="damaged record"):
            write(tmp_path, ["a"])


def test_out_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "o").write_text("mine")
    with pytest.raises(OutputError, match="is no folder"):
        write(tmp_path / "o", ["a"])
    assert (tmp_path / "o").read_text() == "mine"


def test_failure_leaves_the_old_output_and_no_new_folder(tmp_path):
    write(tmp_path / "o", ["a"])
    for out in ("o", "new"):
        with (
            pytest.raises(RuntimeError),
            output_folder(tmp_path / out, "predict", ["a"], []) as new,
        ):
            (new / "a").write_text("half")
            raise RuntimeError
    assert tree(tmp_path) == {"o/a": "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["o"]


def test_error_names_the_place_that_the_user_gave(tmp_path):
    with (
        pytest.raises(FileNotFoundError) as raised,
        output_folder(tmp_path / "o", "predict", ["a"], []) as new,
    ):
        (new / "sub" / "a").write_text("x")
    assert raised.value.filename == str(tmp_path / "o" / "sub" / "a")


def test_process_at_work_is_respected(tmp_path):
    with output_folder(tmp_path / "o", "predict", ["a"], []) as new:
        (new / "a").write_text("of the first")
        with pytest.raises(FolderInUseError, match=rf"process {os.getpid()}\)"):
            write(tmp_path / "o", ["a"])
        assert (new / "a").read_text() == "of the first"
    assert tree(tmp_path / "o") == {"a": "of the first"}


def test_users_lock_file_is_left_alone(tmp_path):
    (tmp_path / ".lock").write_text("mine")
    with held_folder(tmp_path, "wait"):
        assert (tmp_path / LOCK_FILE).exists()
    assert tree(tmp_path) == {".lock": "mine"}


# Folders that grow, and that others made -----------------------------------------------------


def test_growing_folder_takes_a_new_one_and_its_own(tmp_path):
    root = tmp_path / "r"
    for _ in range(2):
        growing_folder(root, "pipeline", ["logs", "summary.json"], [])
        (root / "logs").mkdir(exist_ok=True)
        (root / "summary.json").write_text("x")
    with pytest.raises(OutputError, match="was written by pipeline"):
        write(root, ["logs"])
    write(root, ["a.jpg", "summary.json"])
    growing_folder(root, "pipeline", ["logs", "summary.json"], [])
    (root / "summary.json").write_text("y")
    write(root, ["a.jpg", "summary.json"])


@pytest.mark.parametrize("name", ["summary.json", "metadata.sqlite", "serving"])
def test_growing_folder_refuses_what_is_not_ours(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="not of ours"):
        growing_folder(tmp_path, "pipeline", ["summary.json", "metadata.sqlite", "serving"], [])
    assert tree(tmp_path) == {name: "mine"}
    assert len(list(tmp_path.iterdir())) == 1


def test_fresh_folder_is_empty_or_in_a_folder_that_we_keep(tmp_path):
    fresh_folder(tmp_path / "missing")
    growing_folder(tmp_path / "r", "pipeline", ["artifacts"], [])
    for place in ("r/artifacts/examples/1", "other/examples/1"):
        (tmp_path / place).mkdir(parents=True)
        fresh_folder(tmp_path / place)
        (tmp_path / place / "old").touch()
    fresh_folder(tmp_path / "r/artifacts/examples/1")
    with pytest.raises(OutputError, match="holds old"):
        fresh_folder(tmp_path / "other/examples/1")


# Single files --------------------------------------------------------------------------------


def test_file_of_ours_is_replaced_until_it_is_edited(tmp_path):
    path = tmp_path / "c.yaml"
    check_file(path, [])
    path.write_text(marked_text("train: {epochs: 4}\n"))
    check_file(path, [])
    path.write_text(path.read_text().replace("4", "8"))
    with pytest.raises(OutputError, match="is there already, and not as we wrote it"):
        check_file(path, [])


@pytest.mark.parametrize("content", [b"", b"mine", b"\x89PNG" + bytes(200_000)])
def test_file_of_others_is_refused(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(OutputError, match="f: is there already"):
        check_file(tmp_path / "f", [])
    assert (tmp_path / "f").read_bytes() == content


def test_file_that_is_read_is_refused_though_it_is_ours(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(marked_text("a: 1\n"))
    (tmp_path / "link.yaml").symlink_to(path)
    for out, read in ((path, path), (tmp_path / "link.yaml", path), (path, tmp_path / "link.yaml")):
        with pytest.raises(OutputError, match="is read"):
            check_file(out, [read])


def test_folder_and_dangling_link_in_the_place_of_a_file_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("folder", "link"):
        with pytest.raises(OutputError, match="is there already"):
            check_file(tmp_path / name, [])


@given(st.text())
def test_marked_text_is_known_whatever_it_says(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "marked.yaml"
    path.write_bytes(marked_text(text).encode("utf-8", "surrogatepass"))
    assert is_marked(path)


# Paths that are patterns ---------------------------------------------------------------------


@pytest.mark.parametrize("letter", [*"[]*?\\", "\n", "\t", "\x7f"])
def test_pattern_letters_are_refused(tmp_path, letter):
    with pytest.raises(OutputError, match=r"^--root .*take .* for a pattern"):
        check_pattern(tmp_path / f"a{letter}b" / "c", "--root")


def test_pattern_letters_behind_a_link_or_above_a_relative_path_are_refused(tmp_path, monkeypatch):
    (tmp_path / "try [2]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "try [2]")
    with pytest.raises(OutputError, match="for a pattern"):
        check_pattern(tmp_path / "link" / "r", "--root")
    monkeypatch.chdir(tmp_path / "try [2]")
    with pytest.raises(OutputError, match="for a pattern"):
        check_pattern("r", "--root")


def test_name_that_no_file_can_have_is_refused():
    for check in (
        lambda: check_pattern("a\0b", "push.folder"),
        lambda: check_folder("a\0b", "predict", [], [], "push.folder"),
        lambda: check_file("a\0b", [], "push.folder"),
    ):
        with pytest.raises(OutputError, match=r"^push\.folder .*is no path"):
            check()


def test_other_letters_are_taken(tmp_path):
    check_pattern(tmp_path / "{a} b-ü'\"$&;#%@!~,=+(1)" / "-c", "--root")


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("s3://bucket/x", "s3://bucket/x"),
        (Path("gs://bucket/x"), "gs://bucket/x"),
        (Path("ftp://me:hunter2@host/x"), r"ftp://me:\*\*\*@host/x"),
    ],
)
def test_an_address_is_not_taken_for_a_folder_here(place, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=f"--out {shown}: is an address, and this goes to a"):
        check_folder(place, "w", ["a"], [])
    assert list(tmp_path.iterdir()) == []

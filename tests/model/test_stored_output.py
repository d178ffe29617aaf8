"""Output at an address is whole, or nobody's; what broke off is no matter to the next writer."""

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from ground.errors import FolderInUseError, OutputError, ServiceError
from ground.output_record import RECORD_FILE
from model.fsspec_store import FsspecStore
from model.object_store import download, open_store
from model.stored_output import output_place

OLD = {
    "examples/manifest.json": "old",
    "examples/Split-train/shard-0": "old",
    "examples/Split-train/shard-1": "old",
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


@pytest.fixture
def out(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("model.stored_output._AT_ONCE", 1)  # one order of the files
    yield f"memory://bucket/{tmp_path.name}"
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []


def write(out, content, writer="the command", inputs=()):
    with output_place(out, writer, {name.partition("/")[0] for name in content}, inputs) as new:
        for name, text in content.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(text)


def found(out, tmp_path):
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        download(open_store(out), "", Path(folder))
        return {
            path.relative_to(folder).as_posix(): path.read_text()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file() and path.name != RECORD_FILE
        }


def test_a_path_is_a_folder_as_ever(tmp_path):
    write(tmp_path / "out", NEW)
    assert (tmp_path / "out/examples/manifest.json").read_text() == "new!"


def test_the_former_output_is_replaced_as_a_whole(out, tmp_path):
    for content in (OLD, NEW):
        write(out, content)
        assert found(out, tmp_path) == content


def test_after_an_error_the_former_output_stands(out, tmp_path):
    write(out, OLD)
    with pytest.raises(ZeroDivisionError), output_place(out, "the command", NEW, []):
        raise ZeroDivisionError
    assert found(out, tmp_path) == OLD


@pytest.mark.parametrize("failing", ["put", "remove"])
def test_whatever_step_breaks_off_no_door_opens_to_half_an_output(
    out, tmp_path, failing, monkeypatch
):
    seen = []
    for step in range(1, 100):
        write(out, OLD)
        done = []
        act = getattr(FsspecStore, failing)

        def break_off(self, *arguments, act=act, done=done, step=step):
            done.append(arguments)
            if len(done) == step:
                raise ServiceError("the line is cut")
            act(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(FsspecStore, failing, break_off)
            try:
                write(out, NEW)
            except ServiceError:
                pass
            else:
                break
        left = found(out, tmp_path)
        seen.append(left.get("examples/manifest.json"))
        examples = {n: text for n, text in left.items() if n.startswith("examples/")}
        whole = {n: text for n, text in NEW.items() if n.startswith("examples/")}
        if seen[-1] == "new!":
            assert examples == whole
        elif seen[-1] == "old":
            assert {n: OLD[n] for n in examples} == examples and len(examples) == 3
        write(out, NEW)
        assert found(out, tmp_path) == NEW
    assert len(seen) > 3 and None in seen


@pytest.mark.parametrize(
    ("path", "writer", "said"),
    [
        ("examples/manifest.json", "the command", "manifest.json: is not as it was written"),
        ("rejects/mine.txt", "the command", "mine.txt: is not of ours"),
        ("other.txt", "another", "examples: was written by the command"),
    ],
)
def test_what_is_not_ours_stays(out, tmp_path, path, writer, said):
    write(out, OLD)
    (tmp_path / "x").write_text("mine")
    open_store(out).put(tmp_path / "x", path)
    before = found(out, tmp_path)
    with pytest.raises(OutputError, match=said):
        write(out, NEW, writer)
    assert found(out, tmp_path) == before


def test_a_place_with_files_of_others_is_refused(out, tmp_path):
    (tmp_path / "x").write_text("mine")
    open_store(out).put(tmp_path / "x", "note.txt")
    with pytest.raises(OutputError, match=r"holds note.txt, which is not of ours"):
        write(out, NEW)
    open_store(out).put(tmp_path / "x", RECORD_FILE)
    with pytest.raises(OutputError, match="damaged record"):
        write(out, NEW)
    (tmp_path / "x").write_text('{"written_by": "another"}')
    open_store(out).put(tmp_path / "x", RECORD_FILE)
    with pytest.raises(OutputError, match="of another program"):
        write(out, NEW)


@pytest.mark.parametrize("below", ["", "/data", "/examples/x"])
def test_an_input_is_not_written_over(out, below):
    inputs = [f"{out}{below}"] if below != "/data" else [out.rpartition("/")[0]]
    with pytest.raises(OutputError, match="which is read"):
        write(out, NEW, inputs=inputs)


def test_one_at_a_time_writes_to_a_place_from_here(out):
    with (
        output_place(out, "the command", NEW, []),
        pytest.raises(FolderInUseError, match="another run"),
    ):
        write(out, NEW)


def test_what_a_killed_process_staged_is_removed_by_the_next(out, tmp_path):
    top = tmp_path / "tmp" / f"tfx-rcnn-{os.getuid()}"
    for name in ("0123456789abcdef", "held"):
        (top / name / "new").mkdir(parents=True)
        (top / name / "new/x").write_text("x")
    with open(top / "held/.tfx-rcnn.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write(out, NEW)
        assert (top / "held/new/x").exists()
    assert os.listdir(top) == ["held"]
    write(out, OLD)
    assert os.listdir(top) == []


def test_a_staging_folder_of_another_kind_is_refused(out, tmp_path):
    (tmp_path / "mine").mkdir()
    top = tmp_path / "tmp" / f"tfx-rcnn-{os.getuid()}"
    top.symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError, match="is no folder of this user: set TMPDIR"):
        write(out, NEW)
    top.unlink()

import os
import socket

import pytest

from model.encoded import files
from model.encoded.files import path_inside, read_picture_file
from model.encoded.flaw import PictureFlaw


def flaw_of(function, *arguments):
    with pytest.raises(PictureFlaw) as error:
        function(*arguments)
    assert "\n" not in error.value.detail
    return error.value.code


def test_path_must_stay_in_the_folder(tmp_path):
    folder, outside = tmp_path / "pictures", tmp_path / "other"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    for place in (folder / "a.jpg", folder / "sub" / "b.jpg", outside / "c.jpg"):
        place.write_bytes(b"x")
    (folder / "inward.jpg").symlink_to(folder / "a.jpg")
    (folder / "outward.jpg").symlink_to(outside / "c.jpg")
    (folder / "outward").symlink_to(outside)
    (folder / "loop").symlink_to(folder / "loop")
    (tmp_path / "pictures2").mkdir()
    (tmp_path / "alias").symlink_to(folder)
    for name in ("a.jpg", "sub/b.jpg", "sub/../a.jpg", "inward.jpg", "missing.jpg", "loop"):
        path_inside(folder, name)
        path_inside(tmp_path / "alias", name)
    for name in (
        "outward.jpg",
        "outward/c.jpg",
        "outward/missing.jpg",
        "../other/c.jpg",
        "../pictures2/x.jpg",
        "../secret\n.jpg",
        str(outside / "c.jpg"),
        "/etc/passwd",
        ".",
        "",
    ):
        assert flaw_of(path_inside, folder, name) == "path_outside_folder", name
    for name in ("a\0.jpg", "\ud800.jpg"):
        assert flaw_of(path_inside, folder, name) == "picture_missing", name


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo("pipe.jpg")  # reading it would wait for ever
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "absent")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        for name, code in {
            "pipe.jpg": "picture_unreadable",
            "folder.jpg": "picture_unreadable",
            "socket.jpg": "picture_unreadable",
            "/dev/zero": "picture_unreadable",
            "loop.jpg": "picture_unreadable",
            "n" * 300: "picture_unreadable",
            "missing.jpg": "picture_missing",
            "two\nlines.jpg": "picture_missing",
            "nowhere.jpg": "picture_missing",
            "file/a.jpg": "picture_missing",
            "nul\0.jpg": "picture_missing",
            "\udc00\ud800.jpg": "picture_missing",
        }.items():
            assert flaw_of(read_picture_file, os.path.join(tmp_path, name)) == code, name


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_picture_file(tmp_path / "b") == b"content"


def test_larger_files_are_not_read(tmp_path):
    with open(tmp_path / "large.jpg", "wb") as stream:
        stream.truncate(10 * 2**30)  # takes no room on the disk
    assert flaw_of(read_picture_file, tmp_path / "large.jpg") == "picture_too_large"
    (tmp_path / "small").write_bytes(bytes(10))
    assert flaw_of(read_picture_file, tmp_path / "small", 9) == "picture_too_large"
    assert len(read_picture_file(tmp_path / "small", 10)) == 10


@pytest.mark.parametrize("size", [5, 20])
def test_a_file_that_changes_while_it_is_read_is_named(tmp_path, monkeypatch, size):
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(10))
    check = files._check_regular

    def check_and_change(*arguments):
        check(*arguments)
        if isinstance(arguments[0], type(path)):
            calls.append(1)
            if len(calls) == 2:  # the file is open and measured
                os.truncate(path, size)

    calls = []
    monkeypatch.setattr(files, "_check_regular", check_and_change)
    assert flaw_of(read_picture_file, path) == "picture_unreadable"

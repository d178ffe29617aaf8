"""Folders whose files are whole or not there: on the disk, and in TensorFlow's memory."""

import pytest
import tensorflow as tf

from ground.errors import ConfigError
from model.training.storage import LocalFolder, RemoteFolder, is_remote, joined, open_folder


@pytest.fixture(params=["disk", "remote"])
def folder(request, tmp_path):
    return open_folder(tmp_path / "a" if request.param == "disk" else f"ram://{tmp_path}/a")


def content(folder, name: str) -> bytes:
    with folder.local_copy(name) as path:
        return path.read_bytes()


def test_a_file_is_replaced_as_a_whole(folder):
    assert folder.names() == []
    for text in (b"first", b"second"):
        folder.write("one", lambda path, text=text: path.write_bytes(text))
        assert content(folder, "one") == text
    assert folder.names() == ["one"]
    folder.remove("one")
    folder.remove("one")
    assert folder.names() == []


def test_what_fails_while_it_is_written_is_not_there(folder):
    def fail(path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        folder.write("one", fail)
    assert folder.names() == []


def test_a_killed_writer_leaves_nothing_on_a_disk(tmp_path):
    folder = LocalFolder(tmp_path)
    folder.write("one", lambda path: path.write_bytes(b"1"))
    (tmp_path / ".two.0123abcd.partial").write_bytes(b"half")
    assert folder.names() == ["one"]
    folder.remove_partial_files()
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_killed_writer_leaves_nothing_remotely(tmp_path):
    uri = f"ram://{tmp_path}/b"
    folder = RemoteFolder(uri)
    folder.write("one", lambda path: path.write_bytes(b"1"))
    for name in ("two", "three.complete"):  # killed before the marker, and while removing
        with tf.io.gfile.GFile(f"{uri}/{name}", "w") as stream:
            stream.write("half")
    assert folder.names() == ["one"]
    folder.remove_partial_files()
    assert sorted(tf.io.gfile.listdir(uri)) == ["one", "one.complete"]


@pytest.mark.parametrize(
    ("place", "remote"),
    [("gs://bucket/a", True), ("ram://a", True), ("/a/b", False), ("a:/b", False), ("a", False)],
)
def test_a_scheme_makes_a_folder_remote(place, remote):
    assert is_remote(place) == remote
    assert joined(place + "/", "x") == f"{place}/x"


def test_a_scheme_without_a_file_system_is_named():
    with pytest.raises(ConfigError, match="hdfs://a/b: this TensorFlow has no file system for"):
        open_folder("hdfs://a/b")

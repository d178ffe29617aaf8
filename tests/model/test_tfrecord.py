"""The TFRecord codec against TensorFlow's, and reading by an index."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ground.errors import DatasetError
from model.tfrecord import check_holds, read_payload, read_tfrecord, write_tfrecord

# The record b"abc" as tf.io.TFRecordWriter (TensorFlow 2.16.2) writes it:
#   with tf.io.TFRecordWriter("f") as w: w.write(b"abc")
#   open("f", "rb").read().hex()
GOLDEN = "0300000000000000b099490e6162636e57f121"


def test_record_has_the_bytes_of_tensorflow():
    stream = io.BytesIO()
    assert write_tfrecord(stream, b"abc") == (12, 3)
    assert stream.getvalue().hex() == GOLDEN


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_reading_gives_back_what_was_written_where_it_was_written(tmp_path_factory, payloads):
    path = tmp_path_factory.mktemp("records") / "file"
    with open(path, "wb") as stream:
        places = [write_tfrecord(stream, payload) for payload in payloads]
    assert [payload for _, payload in read_tfrecord(path)] == payloads
    assert [(o, len(p)) for o, p in read_tfrecord(path)] == places
    content = path.read_bytes()
    assert [content[offset : offset + length] for offset, length in places] == payloads


def _file_of(path, payloads):
    with open(path, "wb") as stream:
        return [write_tfrecord(stream, payload) for payload in payloads]


def test_payload_is_read_where_the_index_says(tmp_path):
    path = tmp_path / "file"
    places = _file_of(path, [b"first", b"", b"third"])
    check_holds(path, places)
    with open(path, "rb") as stream:
        read = [read_payload(stream.fileno(), path, *place) for place in places]
    assert read == [b"first", b"", b"third"]


def test_file_that_ends_before_its_index_is_named(tmp_path):
    path = tmp_path / "file"
    places = _file_of(path, [b"first", b"second"])
    os.truncate(path, 40)  # the second record takes bytes 21 to 42
    message = f"{path}: ends at byte 40, within the record at byte 33"
    with pytest.raises(DatasetError, match=message):
        check_holds(path, places)
    with open(path, "rb") as stream, pytest.raises(DatasetError, match=message):
        read_payload(stream.fileno(), path, *places[1])


def test_payload_with_other_bytes_is_named(tmp_path):
    path = tmp_path / "file"
    (place,) = _file_of(path, [b"first"])
    path.write_bytes(path.read_bytes().replace(b"first", b"First"))
    with open(path, "rb") as stream:
        with pytest.raises(DatasetError, match=f"{path}: damaged data of the record at byte 12"):
            read_payload(stream.fileno(), path, *place)

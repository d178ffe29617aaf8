import pytest
import tensorflow as tf

from model.tf_example import decode_example, encode_example

FEATURES = {
    "bytes_lists": {"name": [b"a", b"\xff\x00"], "none": []},
    "float_lists": {"box": [0.5, -1.0, 1 / 3], "no_box": []},
    "int64_lists": {"label": [1, -1, 2**40], "no_label": []},
}


def test_tensorflow_reads_what_is_written_and_writes_the_same_bytes():
    serialized = encode_example(**FEATURES)
    theirs = tf.train.Example.FromString(serialized)
    feature = theirs.features.feature
    assert list(feature["name"].bytes_list.value) == [b"a", b"\xff\x00"]
    assert list(feature["box"].float_list.value) == [0.5, -1.0, pytest.approx(1 / 3, rel=1e-7)]
    assert list(feature["label"].int64_list.value) == [1, -1, 2**40]
    assert feature["none"].WhichOneof("kind") == "bytes_list"
    assert feature["no_box"].WhichOneof("kind") == "float_list"
    assert feature["no_label"].WhichOneof("kind") == "int64_list"
    assert theirs.SerializeToString(deterministic=True) == serialized


def test_decode_inverts_encode():
    assert decode_example(encode_example(**FEATURES)) == {
        "name": [b"a", b"\xff\x00"],
        "none": [],
        "box": [0.5, -1.0, pytest.approx(1 / 3, rel=1e-7)],
        "no_box": [],
        "label": [1, -1, 2**40],
        "no_label": [],
    }


def test_order_of_the_keys_does_not_matter():
    backwards = {
        kind: dict(reversed(list(features.items()))) for kind, features in FEATURES.items()
    }
    assert encode_example(**backwards) == encode_example(**FEATURES)


def test_other_bytes_are_refused():
    with pytest.raises(ValueError, match=r"not a tf\.train\.Example"):
        decode_example(b"\xff\xff\xff")

"""A form that cannot be made says what is in the way."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from ground.errors import ModelError
from model.exports.forms import write_form


def test_tflite_names_the_ops_that_it_has_not(tmp_path):
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([4], tf.float32)])
    def graph(x):
        shifted = tf.bitwise.left_shift(1, tf.cast(x, tf.int32))
        return {"shifted": shifted, "betainc": tf.math.betainc(x, x, x)}

    settings = SimpleNamespace(
        model=SimpleNamespace(roi=SimpleNamespace(sampling_ratio=2)),
        input=SimpleNamespace(long_side_px=64, size_multiple_px=32),
    )
    rebuilt = SimpleNamespace(config=settings, module=tf.Module(), graph=lambda *_: graph)

    with pytest.raises(ModelError) as caught:
        write_form("tflite", rebuilt, tmp_path)

    assert sorted(str(caught.value).removeprefix("tflite: TFLite has no ").split(", ")) == [
        "Betainc",
        "LeftShift",
    ]
    assert not list(tmp_path.iterdir())

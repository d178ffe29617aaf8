"""Batches that were brought to a device are the same batches."""

import numpy as np
import tensorflow as tf

from model.input.on_device import on_device


def test_what_is_brought_to_a_device_is_the_same_in_the_same_order():
    def batch(number):
        pictures = tf.fill([2, 4, 6, 3], tf.cast(number, tf.uint8))
        boxes = tf.random.stateless_uniform([2, 3, 4], [1, 2]) * tf.cast(number, tf.float32)
        return {"images": pictures, "boxes": boxes, "valid": [True, False], "ids": [number, 7]}

    def read(step):
        return tf.ensure_shape(tf.numpy_function(lambda s: s + 1, [step], tf.int64), [])

    options = tf.data.Options()
    options.deterministic = True
    options.threading.private_threadpool_size = 2
    dataset = tf.data.Dataset.range(5).map(read).map(batch).prefetch(2).with_options(options)
    brought = list(on_device(dataset, "/CPU:0"))
    assert len(brought) == 5 and on_device(dataset, "/CPU:0").element_spec == dataset.element_spec
    for ours, theirs in zip(brought, dataset, strict=True):
        for name, values in theirs.items():
            assert "CPU:0" in ours[name].device
            np.testing.assert_array_equal(ours[name], values)

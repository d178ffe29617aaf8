"""Batches that were brought to a device are the same batches."""

import numpy as np
import pytest
import tensorflow as tf

from model.batch import Batch, batch_specs
from model.input.on_device import OnDevice


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
    brought = list(OnDevice(dataset, "/CPU:0"))
    assert len(brought) == 5 and OnDevice(dataset, "/CPU:0").element_spec == dataset.element_spec
    for ours, theirs in zip(brought, dataset, strict=True):
        for name, values in theirs.items():
            assert "CPU:0" in ours[name].device
            np.testing.assert_array_equal(ours[name], values)


@pytest.mark.parametrize("mask_side", [None, 7])
def test_a_batch_stays_a_batch_with_masks_or_without(mask_side):
    specs = batch_specs((8, 12), 2, 3, mask_side)
    batch = tf.nest.map_structure(lambda x: None if x is None else tf.ones(x.shape, x.dtype), specs)
    dataset = tf.data.Dataset.from_tensors(batch).repeat(2)
    brought = list(OnDevice(dataset, "/CPU:0"))
    assert [type(one) for one in brought] == [Batch, Batch]
    for ours in brought:
        tf.nest.assert_same_structure(ours, batch)
        np.testing.assert_array_equal(ours.images, batch.images)

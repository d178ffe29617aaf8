"""What the loop makes of errors below it; whole runs are in test_launcher.py and test_worker.py."""

import pytest
import tensorflow as tf

from configs.errors import DatasetError
from model.training.train_loop import next_batch


def batches(error: Exception):
    def fail(step):
        raise error

    def read(step):
        return {"image_ids": tf.numpy_function(fail, [step], tf.int64)}

    return iter(tf.data.Dataset.range(3).map(read, num_parallel_calls=2).prefetch(1))


def test_an_error_of_the_data_set_keeps_its_one_line():
    with pytest.raises(DatasetError) as caught:
        next_batch(batches(DatasetError("a/shard: damaged data of the record at byte 12")))
    assert str(caught.value) == "a/shard: damaged data of the record at byte 12"


def test_other_errors_stay_as_they_are():
    with pytest.raises(tf.errors.OpError, match="ZeroDivisionError"):
        next_batch(batches(ZeroDivisionError("by zero")))

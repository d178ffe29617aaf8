"""Takes a batch from tf.data, with our own errors as they were raised."""

import re
from collections.abc import Iterator

import tensorflow as tf

from ground.errors import DatasetError
from model.batch import Batch


def next_batch(batches: Iterator[Batch]) -> Batch:
    """Returns the next batch.

    Raises:
        DatasetError: reading it raised one; tf.data wraps it in an error of its own.
    """
    try:
        return next(batches)
    except tf.errors.OpError as error:
        reason = re.search(r"DatasetError: ([^\n]+)", error.message)
        if reason is None:
            raise
        raise DatasetError(reason[1]) from None

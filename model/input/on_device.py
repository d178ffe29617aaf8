"""Brings batches to a device before they are asked for."""

import tensorflow as tf

_BATCHES = 2  # that wait there: one for the next step, one on its way


def on_device(dataset: tf.data.Dataset, device: str) -> tf.data.Dataset:
    """Returns the dataset with its elements on `device`; nothing may be made of it but iterators.

    Without it each step begins with the copy of its pictures, for which the GPU waits.
    """
    return dataset.apply(tf.data.experimental.prefetch_to_device(device, _BATCHES))

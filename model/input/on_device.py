"""Brings batches to a device before they are asked for."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

_BATCHES = 2  # that wait there: one for the next step, one on its way


class OnDevice:
    """The elements of a dataset, on a device.

    Without it each step begins with the copy of its pictures, for which the GPU waits.

    Args:
        dataset: a dataset of any structure, None in it included.
        device: such as "/GPU:0".
    """

    def __init__(self, dataset: tf.data.Dataset, device: str) -> None:
        self.element_spec = dataset.element_spec
        # tf.data's copy knows tensors alone, and nothing may be made of it but iterators.
        leaves = tf.nest.flatten(self.element_spec)
        self._is_tensor = [isinstance(leaf, tf.TensorSpec) for leaf in leaves]
        self._copies = dataset.map(self._tensors).apply(
            tf.data.experimental.prefetch_to_device(device, _BATCHES)
        )

    def _tensors(self, *element: Any) -> tuple[tf.Tensor, ...]:
        leaves = tf.nest.flatten(element)
        return tuple(x for x, there in zip(leaves, self._is_tensor, strict=True) if there)

    def __iter__(self) -> Iterator[Any]:
        for tensors in self._copies:
            left = iter(tensors)
            leaves = [next(left) if there else None for there in self._is_tensor]
            yield tf.nest.pack_sequence_as(self.element_spec, leaves)

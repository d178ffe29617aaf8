"""Adds tensors up over worker processes: one process a GPU, or a CPU share.

Weights are plain variables of each process, made equal once by a broadcast. They stay equal because
every worker applies the same reduced gradients; so nothing depends on how a strategy mirrors
variables, and `MultiWorkerMirroredStrategy` only carries the all-reduce (NCCL between GPUs, a ring
over gRPC between CPUs).
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from model.training.place import worker_place

# Gradients travel in packs of about this size: the first packs are sent while the backward pass
# still computes the rest, and small tensors do not pay one latency each.
BYTES_PER_PACK = 25 << 20


class Distribution:
    """The workers of a run, seen from one of them.

    Attributes:
        workers: number of worker processes.
        index: this one's number; the chief is 0.
    """

    def __init__(self) -> None:
        """Joins the workers named by TF_CONFIG in the environment; without it this is the only one.

        Must be called before TensorFlow has touched a device.
        """
        addresses, self.index = worker_place(os.environ)
        self.workers = len(addresses)
        self._strategy = None
        if self.workers > 1:
            gpus = tf.config.list_physical_devices("GPU")
            implementation = tf.distribute.experimental.CommunicationImplementation
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy(
                communication_options=tf.distribute.experimental.CommunicationOptions(
                    bytes_per_pack=BYTES_PER_PACK,
                    implementation=implementation.NCCL if gpus else implementation.RING,
                )
            )
        # Traced once for tensors of the same shapes, on all workers alike.
        self._sum_in_graph = tf.function(
            lambda values: self.run(lambda *local: self.all_sum(local), values), autograph=False
        )

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes checkpoints and the model."""
        return self.index == 0

    def run(self, function: Callable[..., Any], args: Sequence[Any]) -> Any:
        """Returns `function(*args)`, called where `all_sum` may be used; args are this worker's."""
        if self._strategy is None:
            return function(*args)
        return self._strategy.run(function, args=tuple(args))

    def all_sum(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns each tensor's sum over the workers; the same bits on every worker.

        Only inside a function that `run` calls within a `tf.function`; every worker must call it
        with tensors of the same shapes in the same order.
        """
        if self._strategy is None:
            return list(tensors)
        # The strategy needs each tensor's device, which a function's own arguments do not have.
        placed = [tf.identity(tensor) for tensor in tensors]
        context = tf.distribute.get_replica_context()
        return list(context.all_reduce(tf.distribute.ReduceOp.SUM, placed))

    def broadcast(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the chief's `arrays` on every worker, bit for bit.

        The other workers pass arrays of the same names, shapes and dtypes; their values count for
        nothing.
        """
        if self._strategy is None:
            return arrays
        if not self.is_chief:
            # -0.0 and not 0.0: adding it leaves even the sign of a zero as it is.
            arrays = {
                name: np.full(array.shape, -0.0, array.dtype) for name, array in arrays.items()
            }

        result: dict[str, np.ndarray] = {}
        for dtype in sorted({array.dtype.str for array in arrays.values()}):  # a pack holds one
            names = sorted(name for name, array in arrays.items() if array.dtype.str == dtype)
            values = self._sums([arrays[name] for name in names])
            result |= dict(zip(names, values, strict=True))
        return result

    def gather(self, payload: bytes) -> list[bytes]:
        """Returns every worker's `payload`, by worker, on every worker; all must call it."""
        if self._strategy is None:
            return [payload]
        lengths = self._rows(np.asarray([len(payload)], np.int64))[:, 0]
        # To a power of two, of which there are few: a new shape is a new trace.
        padded = payload.ljust(max(8, 1 << (int(lengths.max()) - 1).bit_length()))
        rows = self._rows(np.frombuffer(padded, np.int64))
        return [row.tobytes()[:length] for row, length in zip(rows, lengths, strict=True)]

    def _rows(self, row: np.ndarray) -> np.ndarray:
        """Returns every worker's `row`, int64 [n], as int64 [workers, n]."""
        rows = np.zeros((self.workers, len(row)), np.int64)
        rows[self.index] = row
        return self._sums([rows])[0]

    def _sums(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the sums over the workers of arrays of one dtype, between two steps."""
        values = self._sum_in_graph([tf.constant(array) for array in arrays])
        return [
            value.numpy().reshape(array.shape) for value, array in zip(values, arrays, strict=True)
        ]

    def leave(self) -> None:
        """Returns when every worker has called it, or was lost: then none needs this one.

        A worker that gets the sum first may be gone before another one has it. That one's error
        means the same as the sum: the others have come this far.
        """
        with contextlib.suppress(tf.errors.OpError):
            self.broadcast({"leaving": np.zeros([], np.float32)})

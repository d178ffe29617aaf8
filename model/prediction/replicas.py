"""One exported model on every GPU here: the pictures are shared out, each is looked at once.

On CPUs there is one, called from several threads: TensorFlow starts a thread for every core by
itself, but has no work for all of them at every moment of a call (benchmarks/evaluation.md).
Meanwhile the next pictures are read and the taker of the results deals with those before, in
threads of their own, or these times would add up with a core or a GPU at rest.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ground.errors import DatasetError
from model.limits import Limits, machine_limits
from model.pictures import Picture
from model.predict import LoadedModel
from model.prediction.detections import Detections
from model.prediction.tiles import Tiling

Found = tuple[Any, Picture, Detections]

_RESULTS_WAITING = 64  # bounds the memory where the taker is slower
_BATCHES_WAITING = 2  # likewise where the models are slower than reading
# A call of 4 pictures of 800 x 1344 pixels takes 1.6 GiB with ResNet-50, another at the same time
# 0.9: no more than have room, and few, as each has threads for all cores.
_MOST_CALLS = 4
_BYTES_A_CALL = 2 << 30


class Replicas:
    """An exported model, once on each device.

    Args:
        folder: the SavedModel, or a folder that `find_saved_model` finds one in.
        devices: where, such as "/GPU:1"; None is every GPU that TensorFlow opens, and the CPU where
            it opens none.
        calls: how many calls are at work at the same time where the model lies on the CPU by None;
            None is as many as cores and memory allow.

    Raises:
        ModelError: there is no such model, or it cannot be loaded.
        OutputError: TensorFlow takes its path for a pattern of several.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        devices: Sequence[str] | None = None,
        calls: int | None = None,
    ) -> None:
        first = LoadedModel(folder, devices[0] if devices else None)
        others = _gpus()[1:] if devices is None else devices[1:]
        self._models = [first, *(LoadedModel(folder, device) for device in others)]
        if devices is None and not _gpus():
            self._models *= calls or calls_at_once(machine_limits())
        self.folder, self.model_id, self.categories = first.folder, first.model_id, first.categories

    @property
    def max_picture_pixels(self) -> int:
        """Largest width x height of a picture that it decodes."""
        return self._models[0].max_picture_pixels

    def detect_all(
        self,
        pictures: Iterable[tuple[Any, Picture]],
        batch_size: int,
        on_failure: Callable[[Any, DatasetError], None],
        tiling: Tiling | None = None,
    ) -> Iterator[Found]:
        """Yields (key, picture, detections), not in order; see `LoadedModel.detect_all`.

        Which pictures share a call does not depend on who is free: what is found does not either.

        Args:
            pictures: (key, picture); read as needed, by one thread.
            batch_size: pictures or tiles a call at most.
            on_failure: called with the key of a picture that the model cannot take, by the thread
                that takes the results.
            tiling: how large pictures are cut; None for not at all.
        """
        shared = _Shared(self._models[0].batches(pictures, batch_size, tiling))
        results: queue.Queue[Any] = queue.Queue(_RESULTS_WAITING)
        threads = [
            threading.Thread(
                target=_work, args=(model, shared, batch_size, tiling, results), daemon=True
            )
            for model in self._models
        ]
        for thread in threads:
            thread.start()
        try:
            at_work = len(threads)
            while at_work:
                result = results.get()
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    at_work -= 1
                elif isinstance(result[1], DatasetError):
                    on_failure(*result)
                else:
                    yield result
        finally:
            shared.stop()
            while any(thread.is_alive() for thread in threads):
                _empty(results)
                for thread in threads:
                    thread.join(0.01)


class _Shared:
    """An iterator that several threads take from, each item once; a thread reads some ahead."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items
        self._read: queue.Queue[Any] = queue.Queue(_BATCHES_WAITING)
        self._lock = threading.Lock()
        self._is_stopped = threading.Event()
        self._reader = threading.Thread(target=self._read_all, daemon=True)
        self._reader.start()

    def _read_all(self) -> None:
        try:
            for item in self._items:
                self._read.put((item, None))
                if self._is_stopped.is_set():
                    return
            self._read.put((None, StopIteration()))
        except BaseException as error:  # raised again by the thread that takes the item
            self._read.put((None, error))

    def __iter__(self) -> "_Shared":
        return self

    def __next__(self) -> Any:
        with self._lock:
            if self._is_stopped.is_set():
                raise StopIteration
            item, end = self._read.get()
            if end is not None:
                self._is_stopped.set()
                raise end
            return item

    def stop(self) -> None:
        """Gives nothing more; returns when nothing more is read."""
        self._is_stopped.set()
        while self._reader.is_alive():
            _empty(self._read)
            self._reader.join(0.01)
        _empty(self._read)
        self._read.put((None, StopIteration()))  # for one who waits for an item


def _work(
    model: LoadedModel, shared: _Shared, batch_size: int, tiling: Tiling | None, results: Any
) -> None:
    """Puts what a model finds, then None; or the error that ended it."""

    def fail(key: Any, error: DatasetError) -> None:
        results.put((key, error))

    try:
        for batch in shared:
            for found in model.detect_batch(batch, batch_size, fail, tiling):
                results.put(found)
        results.put(None)
    except BaseException as error:  # raised again by the thread that takes the results
        results.put(error)


def _empty(results: Any) -> None:
    while True:
        try:
            results.get_nowait()
        except queue.Empty:
            return


def calls_at_once(limits: Limits) -> int:
    """Returns how many calls of a model are at work at the same time on CPUs; at least 1."""
    return max(1, min(_MOST_CALLS, limits.cores, limits.free_bytes // _BYTES_A_CALL))


def _gpus() -> list[str]:
    import tensorflow as tf

    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")]

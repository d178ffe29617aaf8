"""A window of steps that TensorFlow's profiler looks at; shown by TensorBoard's Profile page."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf


class ProfilerWindow:
    """Profiles the steps first ... end - 1 of a run, once.

    Args:
        steps: (first, end) or None for no window.
        folder: TensorBoard's folder.
    """

    def __init__(self, steps: tuple[int, int] | None, folder: str | os.PathLike[str]) -> None:
        self._first, self._end = steps or (0, 0)
        self._folder = str(folder)
        self._is_running = False

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Names what is started inside as a step; a run that is taken up within begins there."""
        if not self._first <= number < self._end:
            yield
            return
        if not self._is_running:
            tf.profiler.experimental.start(self._folder)
            self._is_running = True
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            yield

    def finished(self, number: int) -> None:
        """Ends the window when the device has done its last step."""
        if number >= self._end - 1:
            self.close()

    def close(self) -> None:
        """Writes what was seen; does nothing outside the window."""
        if self._is_running:
            self._is_running = False
            self._end = 0
            tf.profiler.experimental.stop()

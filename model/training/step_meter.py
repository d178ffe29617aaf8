"""Measures the steps of one worker: their time, their wait for input, their FLOP, a profile."""

import contextlib
import time
from pathlib import Path

from model.batch import Batch
from model.contract import Detector
from model.gpu_facts import peak_flops
from model.training.devices import device_name
from model.training.distribution import Distribution
from model.training.flops import FlopCounter
from model.training.profile import ProfilerWindow
from model.training.state import TrainState
from model.training.throughput import Throughput


class StepMeter:
    """The measures of one worker's steps.

    Args:
        detector: that learns.
        state: its weights.
        distribution: the workers; the chief alone profiles and counts FLOP.
        precision: Keras dtype policy that the detector was built with.
        profile_steps: the window that is profiled, None for none.
        folder: TensorBoard's.
    """

    def __init__(
        self,
        detector: Detector,
        state: TrainState,
        distribution: Distribution,
        precision: str,
        profile_steps: tuple[int, int] | None,
        folder: Path,
    ) -> None:
        peak = peak_flops(device_name(), precision)
        self.throughput = Throughput(distribution.workers, peak)
        counts = peak and distribution.is_chief
        self._flop_counter = FlopCounter(detector, state.trainable) if counts else None
        window = profile_steps if distribution.is_chief else None
        self._profiler = ProfilerWindow(window, folder)
        self._last_end = time.monotonic()

    def start_clock(self) -> None:
        """Has the next step's time begin now: what was done before is no part of it."""
        self._last_end = time.monotonic()

    def step(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Names what is started inside as a step."""
        return self._profiler.step(number)

    def flops(self, batch: Batch) -> int:
        """Returns the model's floating-point operations on a batch; 0 where none are counted."""
        return self._flop_counter(batch) if self._flop_counter else 0

    def finished(
        self, number: int, pictures: int, input_seconds: float, traced: bool, flops: int
    ) -> float:
        """Takes up a step whose numbers the device has given.

        Args:
            number: its number, the first is 0.
            pictures: that all workers had.
            input_seconds: that this worker waited for its batch.
            traced: whether TensorFlow traced or compiled it.
            flops: what `flops` gave for its batch.

        Returns:
            The seconds since the step before it, or since `start_clock`.
        """
        self._profiler.finished(number)
        now = time.monotonic()
        seconds, self._last_end = now - self._last_end, now
        self.throughput.record(seconds, pictures, input_seconds, traced, flops)
        return seconds

    def close(self) -> None:
        """Writes a profile that is still open."""
        self._profiler.close()

"""How fast a run is: pictures a second, step times, the wait for input, memory, use of the GPU."""

import resource
from collections import deque
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

_RECENT_STEPS = 20
_MIB = 1 << 20


class _Step(NamedTuple):
    seconds: float
    pictures: int
    input_seconds: float
    flops: int


class Throughput:
    """Collects the times of this process's steps.

    Steps that were traced or compiled are told apart: they count only where there are no others.

    Args:
        workers: how many the run has; `record` is given the pictures of all.
        peak_flops: FLOP/s that one worker's device has at most; None where that is not known.
    """

    def __init__(self, workers: int, peak_flops: float | None = None) -> None:
        self._workers = workers
        self._peak_flops = peak_flops
        self._steps: list[_Step] = []
        self._traced_steps: list[_Step] = []
        self._recent: deque[_Step] = deque(maxlen=_RECENT_STEPS)

    def record(
        self, seconds: float, pictures: int, input_seconds: float, traced: bool, flops: int = 0
    ) -> None:
        """Adds a step.

        Args:
            seconds: that it took.
            pictures: how many all workers had.
            input_seconds: that this worker waited for its batch.
            traced: whether TensorFlow traced or compiled it.
            flops: floating-point operations of the model on this worker's batch.
        """
        step = _Step(seconds, pictures, input_seconds, flops)
        (self._traced_steps if traced else self._steps).append(step)
        if not traced:
            self._recent.append(step)

    def recent_images_per_second(self) -> float:
        """Returns the rate over the last steps; 0 before the first."""
        return _rate(list(self._recent) or self._traced_steps)

    def recent_step_seconds(self) -> float:
        """Returns the mean duration of the last steps; 0 before the first."""
        steps = list(self._recent) or self._traced_steps
        return float(np.mean([step.seconds for step in steps])) if steps else 0.0

    def own_figures(self) -> dict[str, float | None]:
        """Returns what each worker measures for itself.

        `input_wait_share` of its step times; `peak_memory_mib`, the largest resident memory of the
        process; `peak_gpu_memory_mib`, the largest memory of tensors on its GPU, None without one.
        """
        return {
            "input_wait_share": self._input_wait_share(),
            "peak_memory_mib": peak_memory_mib(),
            "peak_gpu_memory_mib": peak_gpu_memory_mib(),
        }

    def summary(self, per_worker: list[dict[str, float | None]]) -> dict[str, Any]:
        """Returns the figures of throughput.json.

        Args:
            per_worker: each worker's `own_figures`.
        """
        steps = self._steps or self._traced_steps
        seconds = [step.seconds for step in steps]
        rate = _rate(steps)
        return {
            "images_per_second": rate,
            "images_per_second_per_worker": rate / self._workers,
            "input_wait_share": self._input_wait_share(),
            "step_seconds_p50": float(np.percentile(seconds, 50)) if steps else None,
            "step_seconds_p99": float(np.percentile(seconds, 99)) if steps else None,
            "steps_measured": len(steps),
            "steps_traced": len(self._traced_steps),
            "seconds_in_traced_steps": sum(step.seconds for step in self._traced_steps),
            "share_of_peak_flops": self._share_of_peak(steps),
            "workers": self._workers,
            "per_worker": [
                {"worker": number, **figures} for number, figures in enumerate(per_worker)
            ],
        }

    def _input_wait_share(self) -> float:
        steps = self._steps or self._traced_steps
        waited = sum(step.input_seconds for step in steps)
        return waited / sum(step.seconds for step in steps) if steps else 0.0

    def _share_of_peak(self, steps: list[_Step]) -> float | None:
        """Returns the model's FLOP/s over the device's (2204.02311, appendix B: MFU)."""
        if self._peak_flops is None or not steps:
            return None
        done = sum(step.flops for step in steps)
        return done / sum(step.seconds for step in steps) / self._peak_flops


def _rate(steps: list[_Step]) -> float:
    seconds = sum(step.seconds for step in steps)
    return sum(step.pictures for step in steps) / seconds if seconds else 0.0


def peak_memory_mib() -> float:
    """Returns the largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def peak_gpu_memory_mib() -> float | None:
    """Returns the most memory that tensors took on this process's GPU so far; None without one."""
    if not tf.config.list_physical_devices("GPU"):
        return None
    return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / _MIB

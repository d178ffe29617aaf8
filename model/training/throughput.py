"""How fast a run is: pictures a second, step times, the share of a step spent on input."""

import resource
from collections import deque
from typing import Any

import numpy as np

_RECENT_STEPS = 20


class Throughput:
    """Collects the times of this process's steps.

    Steps that were traced or compiled are told apart: they count only where there are no others.

    Args:
        workers: of the run; `record` is given the pictures of all.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._steps: list[tuple[float, int, float]] = []
        self._traced_steps: list[tuple[float, int, float]] = []
        self._recent: deque[tuple[float, int, float]] = deque(maxlen=_RECENT_STEPS)

    def record(self, seconds: float, pictures: int, input_seconds: float, traced: bool) -> None:
        """Adds a step: its duration, the pictures of all workers, the wait for input."""
        times = (seconds, pictures, input_seconds)
        (self._traced_steps if traced else self._steps).append(times)
        if not traced:
            self._recent.append(times)

    def recent_images_per_second(self) -> float:
        """Returns the rate over the last steps; 0 before the first."""
        return _rate(list(self._recent) or self._traced_steps)

    def recent_step_seconds(self) -> float:
        """Returns the mean duration of the last steps; 0 before the first."""
        steps = list(self._recent) or self._traced_steps
        return float(np.mean([seconds for seconds, _, _ in steps])) if steps else 0.0

    def summary(self) -> dict[str, Any]:
        """Returns the figures of throughput.json."""
        steps = self._steps or self._traced_steps
        seconds = [step[0] for step in steps]
        rate = _rate(steps)
        return {
            "images_per_second": rate,
            "images_per_second_per_worker": rate / self._workers,
            "input_wait_share": sum(step[2] for step in steps) / sum(seconds) if steps else 0.0,
            "step_seconds_p50": float(np.percentile(seconds, 50)) if steps else None,
            "step_seconds_p99": float(np.percentile(seconds, 99)) if steps else None,
            "steps_measured": len(steps),
            "steps_traced": len(self._traced_steps),
            "seconds_in_traced_steps": sum(step[0] for step in self._traced_steps),
            "peak_memory_mib_chief": peak_memory_mib(),
            "workers": self._workers,
        }


def _rate(steps: list[tuple[float, int, float]]) -> float:
    seconds = sum(step[0] for step in steps)
    return sum(step[1] for step in steps) / seconds if seconds else 0.0


def peak_memory_mib() -> float:
    """Returns the largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0

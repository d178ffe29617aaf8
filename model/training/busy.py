"""A sign of life of a process that computes in one long call, such as XLA's compilation."""

import contextlib
import os
from collections.abc import Callable, Iterator

from ground.periodic import every

_SECONDS = 10.0
_BUSY_SHARE = 0.2  # of one core; a process that waits for another takes next to nothing


def processor_seconds() -> float:
    """Returns the processor's time that this process and its ended children took so far."""
    return sum(os.times()[:4])


@contextlib.contextmanager
def beats_while_busy(
    beat: Callable[[], None],
    seconds: float = _SECONDS,
    used: Callable[[], float] = processor_seconds,
) -> Iterator[None]:
    """Calls `beat` now and then within the block, as long as this process computes.

    One that hangs, or waits for workers that do, takes no processor and gives no sign.

    Args:
        beat: is called in a thread of its own.
        seconds: between two looks.
        used: processor's time so far.
    """
    before = used()

    def look() -> None:
        nonlocal before
        now = used()
        if now - before >= _BUSY_SHARE * seconds:
            beat()
        before = now

    with every(seconds, look, "busy"):
        yield

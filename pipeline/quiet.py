"""Keeps what TFX, Beam and TensorFlow have to say off the screen."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from model.limits import share_machine


@contextlib.contextmanager
def quiet_libraries(log: Path) -> Iterator[None]:
    """Sends what is written to the error stream, also by C++ and child processes, to a file.

    The screen then shows what we print. Besides: Beam's executors would read our command line as
    their own, so `sys.argv` loses it; and TensorFlow in this process must not take a GPU's whole
    memory from the training workers, nor more cores than the container has (`share_machine`).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    share_machine(os.environ)
    arguments, sys.argv = sys.argv, sys.argv[:1]
    sys.stderr.flush()
    screen = os.dup(2)
    with open(log, "wb") as stream:
        os.dup2(stream.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
            sys.argv = arguments

"""Keeps TensorFlow's start-up chatter off the screen of our commands."""

import contextlib
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator

from model.limits import share_machine

# What says nothing to a user: the notes and warnings of TensorFlow's native code, which no
# setting of TF_CPP_MIN_LOG_LEVEL stops in 2.16 before absl is initialised, and three "errors" that
# every start of 2.16 prints (tensorflow issue 62075).
_CHATTER = re.compile(
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ([IW] |E .*Unable to register cu)"
    rb"|[IW]0000 \d\d:"
    rb"|To enable the following instructions:"
    rb"|WARNING: All log messages before absl::InitializeLog"
    # Of the decoders, which name no file: model/encoded/check.py says it by picture and reason.
    rb"|Corrupt JPEG data: |Invalid SOS parameters for |Warning: unknown JFIF |libpng warning: "
)


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Passes on what is written to the error stream, also by native code, without the chatter.

    For commands, not for libraries: file descriptor 2 belongs to the whole process. TensorFlow
    also takes its part of the machine alone (`share_machine`).
    """
    share_machine(os.environ)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    screen = os.dup(2)
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    pump = threading.Thread(target=_pump, args=(reader, screen), daemon=True)
    pump.start()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
            yield
    finally:
        sys.stderr.flush()
        os.dup2(screen, 2)  # closes the last writing end of the pipe, which ends the pump
        pump.join()
        os.close(screen)


def _pump(reader: int, screen: int) -> None:
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            if not _CHATTER.match(line):
                os.write(screen, line)

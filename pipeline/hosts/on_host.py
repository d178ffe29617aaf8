"""Runs a command until it ends, or until standard input does: the far end of an ssh connection.

`python -m pipeline.hosts.on_host COMMAND...` ends with the command's status. sshd tells a program
that its connection is gone by the end of its input alone, so that is what asks the command to stop:
it gets SIGTERM, and SIGKILL with all that it started where it takes too long.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

SECONDS_TO_STOP = 150.0  # the launcher gives a checkpoint 120


def main(command: list[str], seconds_to_stop: float = SECONDS_TO_STOP) -> int:
    """Runs `command`; returns its exit status, 128 + N where signal N ended it.

    What it started and left behind ends with it.
    """
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: child.send_signal(signal.SIGTERM))

    def stop_at_end_of_input() -> None:
        while os.read(0, 4096):
            pass
        child.send_signal(signal.SIGTERM)
        time.sleep(seconds_to_stop)
        end_all()

    def end_all() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    status = child.wait()
    end_all()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

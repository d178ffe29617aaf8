"""A command that works until it is stopped, in the way that its argument names."""

import contextlib
import hashlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click

from ground.console import OneLineCommand, one_line_errors
from ground.files import write_json
from ground.interrupts import end_in_time, say_if_interrupted
from ground.outputs import output_folder
from ground.speech import say, speech_options


class _Swallows:
    """Python drops what is raised while it takes an object apart."""

    def wait(self) -> None:
        """Returns when it is interrupted."""

    def __del__(self) -> None:
        time.sleep(600)


@click.command(cls=OneLineCommand)
@click.argument("way")
@click.argument("out", type=click.Path(path_type=Path))
@speech_options
@one_line_errors
def main(way: str, out: Path) -> None:
    """Writes into OUT until it is stopped."""
    if way == "served":
        threading.Thread(target=time.sleep, args=(600,)).start()
        with contextlib.suppress(KeyboardInterrupt):
            say(f"at work: {way}", "result")
            time.sleep(600)
        say("answered the last one", "result")
        return
    with output_folder(out, "tests.interrupted", ["a"], []) as new:
        (new / "a").write_text("half", encoding="utf-8")
        if way == "advice":
            say_if_interrupted("do that")
        if way == "child":
            subprocess.Popen(["sleep", "600"])
        if way == "thread":  # Python waits for it at its end
            threading.Thread(target=time.sleep, args=(600,)).start()
        say(f"at work: {way}", "result")
        if way == "converted":
            try:
                time.sleep(600)
            except KeyboardInterrupt as interrupt:
                raise ImportError("cannot import name 'core'") from interrupt
        if way == "swallowed":
            _Swallows().wait()
        if way == "minded":
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda number, _: end_in_time(number, 0.2))
        if way == "native":  # as in TensorFlow, Python's main thread minds no signal here
            hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)
        with open(new / "b", "w") as stream:
            while True:
                time.sleep(0.05)
                stream.write("b")
    write_json(out / "never", {})


if __name__ == "__main__":
    main(prog_name=sys.argv[0])

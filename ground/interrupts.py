"""How a command ends on Ctrl-C (SIGINT) and SIGTERM: in seconds, with a line on how to go on.

The first signal becomes an exception in the main thread, so that all is undone as after an error.
Python raises it between two of its own instructions alone: while the main thread is in native code,
or waits for another thread, a thread of ours ends the processes that we started, then this one.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from ground.speech import JSON_OPTION, Manner, json_line, manner, say_stopped, speaking
from ground.unfinished import undo_all

_SECONDS_OF_CHILDREN = 1.0
_SECONDS_TO_UNDO = 2.0  # after them; 1 where they had longer than that
_MINDED = 0x80  # of a byte to the watcher: our own code's handler minds the signal
_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
_START_ANEW = "nothing half-written is left: run the same again"


class Terminated(KeyboardInterrupt):
    """SIGTERM came: who minds Ctrl-C minds this."""


@dataclasses.dataclass
class _Ending:
    """What is known of the end of this process.

    Attributes:
        number: the signal that came; 0 for none.
        advice: how to go on.
        is_said: whether the line was.
        is_forced: whether the process may be ended within its code.
        process: whose it is.
        children: seconds that the processes have that we started.
        writer: descriptor that the watcher reads from at its other end; -1 where there is none.
    """

    number: int = 0
    advice: str = _START_ANEW
    is_said: bool = False
    is_forced: bool = True
    process: int = dataclasses.field(default_factory=os.getpid)
    children: float = _SECONDS_OF_CHILDREN
    writer: int = -1


_ending = _Ending()


def exit_status(number: int) -> int:
    """Returns the exit status of a command that a signal ended, as shells say it."""
    return 128 + number


def say_if_interrupted(advice: str) -> None:
    """Notes what the line of a command that is interrupted from here on says on how to go on."""
    _ending.advice = advice


def leave_to_the_debugger() -> None:
    """Has no process ended within its code: at a debugger's prompt Ctrl-C means something else."""
    _ending.is_forced = False


def is_interrupted() -> bool:
    """Returns whether a signal came: a thread that works for long had better end its work."""
    return bool(_ending.number)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Has SIGINT and SIGTERM end this process in seconds within the block, and after it.

    A signal that is ignored stays so. Within another such block, or another thread than the main
    one, nothing changes.
    """
    global _ending
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is _interrupt:
        yield
        return
    screen = os.dup(2)  # a run sends the error stream to a file
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    _ending = _Ending(writer=writer)
    watcher = threading.Thread(target=_watch, args=(reader, screen), name="signals", daemon=True)
    watcher.start()
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    before = {n: signal.getsignal(n) for n in _SIGNALS}
    show_failure, show_ignored = threading.excepthook, sys.unraisablehook
    threading.excepthook = lambda failure: None if _ending.number else show_failure(failure)
    sys.unraisablehook = lambda ignored: None if _ending.number else show_ignored(ignored)
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        if not _ending.number:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            threading.excepthook, sys.unraisablehook = show_failure, show_ignored
            _ending.writer = -1
            os.write(writer, b"\0")
            watcher.join()
            for descriptor in (reader, writer, screen):
                os.close(descriptor)


def end_in_time(number: int, children: float) -> None:
    """Has a signal that a handler of our own minds end the process in time all the same.

    May be called within the handler. Outside of an `interruptible` block nothing changes.

    Args:
        number: the signal.
        children: seconds until the processes are ended that we started; a second later this one is.
    """
    if _ending.writer >= 0 and not _ending.number:
        _ending.number, _ending.children = number, children
        os.write(_ending.writer, bytes([number | _MINDED]))


def end_if_interrupted() -> None:
    """Ends the program where a signal came: what is raised since then comes of it.

    Libraries turn the exception that we raised within their code into others.
    """
    if _ending.number:
        is_term = _ending.number == signal.SIGTERM
        end_interrupted(Terminated() if is_term else KeyboardInterrupt())


def end_after_a_signal(status: int) -> None:
    """Ends the program with this status where a signal came, and its command ended well upon it."""
    if _ending.number:
        _leave(status)


def end_interrupted(interrupt: KeyboardInterrupt) -> NoReturn:
    """Says how to go on, and ends the program with the signal's status."""
    number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
    _ending.is_said = True
    say_stopped(_line(number), exit_status=exit_status(number))
    if _ending.number:
        _leave(exit_status(number))
    sys.exit(exit_status(number))


def _leave(status: int) -> NoReturn:
    """Ends the program at once: all is undone, and libraries take seconds to be unloaded."""
    end_children()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def end_interrupted_early(interrupt: KeyboardInterrupt) -> NoReturn:
    """Does the same before a command has read its options."""
    with speaking(Manner.JSON if JSON_OPTION in sys.argv else manner()):
        end_interrupted(interrupt)


def end_children() -> None:
    """Kills all processes that this one started, and those that they did."""
    import psutil  # not at the start of every command

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


def _line(number: int) -> str:
    return f"stopped by {_SIGNALS[signal.Signals(number)]}: {_ending.advice}"


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises what the first signal means; the command is ending when another comes."""
    if os.getpid() != _ending.process:  # forked a moment ago
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    if _ending.number:
        return
    _ending.number = number
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _watch(reader: int, screen: int) -> None:
    """Ends the process some seconds after a signal that is ours to handle."""
    while number := os.read(reader, 1)[0]:
        if number & _MINDED:
            break
        if number in _SIGNALS and signal.getsignal(number) is _interrupt:
            break
    if not number:
        return
    number &= ~_MINDED
    time.sleep(_ending.children)
    if not _ending.is_forced:
        return
    end_children()  # what the main thread may be waiting for
    time.sleep(_SECONDS_TO_UNDO if _ending.children <= _SECONDS_OF_CHILDREN else 1.0)
    undo_all()
    end_children()
    if not _ending.is_said:
        fields = {"exit_status": exit_status(number)}
        is_json = manner() is Manner.JSON
        line = json_line(_line(number), "stopped", "error", fields) if is_json else _line(number)
        with contextlib.suppress(OSError):
            os.write(1 if is_json else screen, f"{line}\n".encode())
    os._exit(exit_status(number))


class _Fork:
    """Gives a forked process Python's own handlers: its signals are not its parent's."""

    def __init__(self) -> None:
        self._wakeup = -1
        os.register_at_fork(
            before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
        )

    def _before(self) -> None:
        if _minds_signals():
            self._wakeup = signal.set_wakeup_fd(-1)

    def _in_parent(self) -> None:
        if _minds_signals():
            signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

    def _in_child(self) -> None:
        if _minds_signals():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.set_wakeup_fd(-1)


def _minds_signals() -> bool:
    """Returns whether this is a thread that may ask, and the handlers are ours."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGTERM) is _interrupt


_FORK = _Fork()

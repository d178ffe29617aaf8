"""Ends a process, or fills its disk, at any of its steps that change the file system."""

import errno
import os
import sys
from collections.abc import Callable

from ground import files

_KILLED, _DONE, _FULL = 9, 0, 8
_CHANGES = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
)
_NEED_SPACE = ("open", "os.mkdir", "os.rename", "fsync", "exchange")


def _is_change(event: str, arguments: tuple) -> bool:
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in _CHANGES


def run_to_step(work: Callable[[], None], step: int, disk_full: bool = False) -> bool:
    """Runs `work` in a child that ends before its `step`-th change; returns whether it did.

    Args:
        work: what to do.
        step: from 1.
        disk_full: the step fails with ENOSPC, once, in place of ending the process.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _run(work, step, disk_full)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (_KILLED, _DONE, _FULL), code
    return code != _DONE


def _run(work: Callable[[], None], step: int, disk_full: bool) -> int:
    done = 0

    def count(event: str) -> None:
        nonlocal done
        if disk_full and event not in _NEED_SPACE:
            return
        done += 1
        if done == step and disk_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if done == step:
            os._exit(_KILLED)

    def hook(event: str, arguments: tuple) -> None:
        if _is_change(event, arguments):
            count(event)

    fsync, exchange = os.fsync, files.exchange

    def counted_fsync(descriptor: int) -> None:
        count("fsync")
        fsync(descriptor)

    def counted_exchange(first, second) -> bool:
        count("exchange")
        return exchange(first, second)

    os.fsync = counted_fsync
    for module in list(sys.modules.values()):
        if getattr(module, "exchange", None) is exchange:
            module.exchange = counted_exchange
    sys.addaudithook(hook)
    try:
        work()
    except OSError as error:
        if disk_full and error.errno == errno.ENOSPC:
            return _FULL
        raise
    return _DONE if done < step else _FULL  # some code can do without what failed

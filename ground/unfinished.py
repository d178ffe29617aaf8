"""What has to be removed where a process ends without leaving its blocks (ground/interrupts.py)."""

import contextlib
import threading
from collections.abc import Callable, Iterator

_lock = threading.Lock()
_undo: dict[object, Callable[[], None]] = {}


@contextlib.contextmanager
def undone_at_a_forced_end(undo: Callable[[], None]) -> Iterator[None]:
    """Keeps in mind within the block what undoes its work; the block itself does so otherwise."""
    key = object()
    with _lock:
        _undo[key] = undo
    try:
        yield
    finally:
        with _lock:
            del _undo[key]


def undo_all() -> None:
    """Undoes what has been begun, the newest first; goes on where something cannot be removed."""
    for undo in reversed(list(_undo.values())):
        with contextlib.suppress(OSError):
            undo()

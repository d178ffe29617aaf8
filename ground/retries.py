"""Once more, a little later, where an error is likely to pass."""

import errno
from collections.abc import Callable
from time import sleep
from typing import TypeVar

Answer = TypeVar("Answer")

_ATTEMPTS = 5
_FIRST_WAIT_SECONDS = 0.5  # doubled after each attempt
_PASSING_NUMBERS = (
    errno.EAGAIN,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
)
_PASSING_STATUSES = (408, 425, 429)  # of HTTP, beside those from 500 on
# Of the clients that file systems use; none of these libraries has to be here.
_PASSING_NAMES = (
    "ClientConnectionError",
    "ClientOSError",
    "ClientPayloadError",
    "IncompleteRead",
    "IncompleteReadError",
    "ProtocolError",
    "ReadTimeoutError",
    "ResponseStreamingError",
    "ServerDisconnectedError",
)


def is_passing(error: BaseException) -> bool:
    """Tells whether the same may work a little later: a network's or a busy server's error.

    >>> is_passing(ConnectionResetError()), is_passing(FileNotFoundError())
    (True, False)
    """
    for name in ("code", "status"):
        status = getattr(error, name, None)
        if isinstance(status, int) and (status in _PASSING_STATUSES or 500 <= status < 600):
            return True
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _PASSING_NUMBERS:
        return True
    return any(kind.__name__ in _PASSING_NAMES for kind in type(error).__mro__)


def retried(act: Callable[[], Answer], wait: Callable[[float], None] | None = None) -> Answer:
    """Returns what `act` returns, which is called again after an error that may pass.

    Args:
        act: what to do; doing it twice must do no harm.
        wait: waits for some seconds; `time.sleep` if None.

    Raises:
        Exception: what `act` raises the last time, or what will not pass.
    """
    for attempt in range(_ATTEMPTS - 1):
        try:
            return act()
        except Exception as error:
            if not is_passing(error):
                raise
        (wait or sleep)(_FIRST_WAIT_SECONDS * 2**attempt)
    return act()

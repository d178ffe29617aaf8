"""What may pass is tried again a few times, a little later each time; other errors are not."""

import errno

import pytest

from ground.retries import retried


class ServerError(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


class IncompleteReadError(Exception):
    """As botocore's and urllib3's."""


def failing(error, times):
    calls = []

    def act():
        calls.append(1)
        if len(calls) <= times:
            raise error
        return len(calls)

    return act


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        OSError(errno.EIO, "x"),
        ServerError(503),
        ServerError(429),
        IncompleteReadError(),
    ],
)
def test_what_passes_is_waited_for(error):
    waits = []
    assert retried(failing(error, 4), waits.append) == 5
    assert waits == [0.5, 1, 2, 4]
    with pytest.raises(type(error)):
        retried(failing(error, 5), waits.append)


@pytest.mark.parametrize(
    "error", [FileNotFoundError(), PermissionError(), ServerError(403), ValueError(), KeyError()]
)
def test_what_stays_is_raised_at_once(error):
    waits = []
    with pytest.raises(type(error)):
        retried(failing(error, 1), waits.append)
    assert waits == []

"""What a failed shard tells the driver."""

import errno

import pytest

from components.shard_failure import raise_told


@pytest.mark.parametrize(
    ("text", "number", "file"),
    [
        ("OSError: [Errno 28] No space left on device [while running 'W']", errno.ENOSPC, "O"),
        ("OSError: [Errno 28] No space left on device: '/a/b' [while ...", errno.ENOSPC, "/a/b"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", errno.EACCES, "x"),
    ],
)
def test_an_error_of_the_system_is_found_in_beams_text(text, number, file):
    with pytest.raises(OSError) as error:
        raise_told(RuntimeError(text), "O")
    assert (error.value.errno, error.value.filename) == (number, file)


def test_another_error_is_left_to_the_caller():
    raise_told(RuntimeError("ValueError: no number [while running 'WriteShard']"), "O")

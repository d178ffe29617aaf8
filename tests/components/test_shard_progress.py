"""Lines on shards as they get done."""

import dataclasses
import errno
import threading

import pytest

from components.shard_progress import followed


@dataclasses.dataclass(frozen=True)
class Shard:
    shard: int
    split: str = "train"
    shards: int = 2


def test_each_shard_has_a_line():
    lines = []
    with followed([Shard(0), Shard(1)], lambda shard: 3, lines.append):
        pass
    assert lines == [f"train: shard {n} of 2 written, 3 pictures" for n in (1, 2)]


def test_a_screen_that_is_gone_is_met_by_the_thread_that_can_end_the_command():
    told = threading.Event()

    def tell(line):
        told.set()
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError), followed([Shard(0), Shard(1)], lambda shard: 3, tell):
        assert told.wait(60)

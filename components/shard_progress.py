"""Tells of shards as they are done, whichever of Beam's processes does them."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from ground.wording import plural

_POLL_SECONDS = 0.2


class NumberedShard(Protocol):
    """One shard of a split: the first is 0 of `shards`."""

    split: str
    shard: int
    shards: int


AnyShard = TypeVar("AnyShard", bound=NumberedShard)


@contextlib.contextmanager
def followed(
    shards: Sequence[AnyShard],
    pictures_written: Callable[[AnyShard], int | None],
    on_progress: Callable[[str], None],
) -> Iterator[None]:
    """Calls `on_progress` with a line for each shard that gets done within the block.

    Args:
        shards: what is to be done.
        pictures_written: how many a shard has, None as long as it is not done.
        on_progress: gets the lines, from another thread.
    """
    waiting = list(shards)
    finished = threading.Event()

    def report() -> None:
        for shard in list(waiting):
            pictures = pictures_written(shard)
            if pictures is not None:
                waiting.remove(shard)
                on_progress(
                    f"{shard.split}: shard {shard.shard + 1} of {shard.shards} written, "
                    f"{plural(pictures, 'picture')}"
                )

    def follow() -> None:
        while not finished.wait(_POLL_SECONDS):
            try:
                report()
            except OSError:  # nobody reads the screen any more: the other thread meets it, too
                return

    follower = threading.Thread(target=follow, name="shard-progress", daemon=True)
    follower.start()
    try:
        yield
    finally:
        finished.set()
        follower.join()
        report()

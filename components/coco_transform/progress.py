"""Tells of shards as they are done, whichever process does them."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence

from components.coco_transform.shard import ShardTask

_POLL_SECONDS = 0.5


@contextlib.contextmanager
def followed(tasks: Sequence[ShardTask], on_progress: Callable[[str], None]) -> Iterator[None]:
    """Calls `on_progress` with a line for each shard whose summary appears within the block."""
    waiting = list(tasks)
    finished = threading.Event()

    def report() -> None:
        for task in list(waiting):
            if not task.summary_path.exists():
                continue
            waiting.remove(task)
            summary = json.loads(task.summary_path.read_text("utf-8"))
            if "line" in summary:
                on_progress(
                    f"{task.split}: shard {task.shard + 1} of {task.shards} written, "
                    f"{summary['line']['records']:,} pictures"
                )

    def follow() -> None:
        while not finished.wait(_POLL_SECONDS):
            report()

    follower = threading.Thread(target=follow, name="shard-progress", daemon=True)
    follower.start()
    try:
        yield
    finally:
        finished.set()
        follower.join()
        report()

"""A worker of a short run that only measures: trains, and exports nothing (model/tune.py).

There is nothing to keep of it: asked to stop, it ends at once. It offers itself to the kernel first
when memory runs out, so that the command that started it, and whatever else runs on the machine,
goes on.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from model.launch.job import TrainingJob
from model.launch.worker import Parts, build, main

_FIRST_TO_GO = 1000  # of /proc/self/oom_score_adj
_POLL_SECONDS = 0.1


def end_when_asked(stop_path: Path) -> None:
    """Ends this process when the file is there by which the launcher asks for it."""

    def watch() -> None:
        while not stop_path.exists():
            time.sleep(_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="stop", daemon=True).start()


def build_without_export(job: Any, precision: str, jit: bool) -> Parts:
    """Returns what `model.launch.worker.build` does, with an export that does nothing."""
    return build(job, precision, jit)._replace(export=lambda training: "")


if __name__ == "__main__":
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_GO))
    end_when_asked(TrainingJob.read(sys.argv[1]).stop_path)
    main(sys.argv[1], build_without_export)

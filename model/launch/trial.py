"""A worker of a short run that only measures: trains, and exports nothing (model/tune.py).

It offers itself to the kernel first when memory runs out, so that the command that started it, and
whatever else runs on the machine, goes on.
"""

import sys
from pathlib import Path
from typing import Any

from model.launch.worker import Parts, build, main

_FIRST_TO_GO = 1000  # of /proc/self/oom_score_adj


def build_without_export(job: Any, precision: str, jit: bool) -> Parts:
    """Returns what `model.launch.worker.build` does, with an export that does nothing."""
    return build(job, precision, jit)._replace(export=lambda training: "")


if __name__ == "__main__":
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_GO))
    main(sys.argv[1], build_without_export)

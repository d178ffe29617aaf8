"""A worker's place among the workers: what the launcher tells it by TF_CONFIG; no TensorFlow."""

import json
from collections.abc import Mapping


def worker_place(environ: Mapping[str, str]) -> tuple[list[str], int]:
    """Returns the workers' addresses and a worker's index, from the TF_CONFIG of the launcher.

    Without TF_CONFIG there is one worker, whose address is empty.
    """
    settings = json.loads(environ.get("TF_CONFIG") or "{}")
    workers = settings.get("cluster", {}).get("worker", [""])
    return list(workers), int(settings.get("task", {}).get("index", 0))

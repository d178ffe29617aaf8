"""What an exported model costs: the size of its files and the time of a call; measured if asked."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from components.coco_evaluator.sources import Source
from configs.schema import LimitsConfig
from model.predict import LoadedModel

_TIMED_PICTURES = 50


def model_costs(saved_model: Path, source: Source, limits: LimitsConfig) -> dict[str, float]:
    """Returns what of a model's costs has a limit, by the limits' names.

    The time is that of a call with one picture's file, decoding included, on this machine: of up to
    50 pictures, each measured in a second round, since the first call of a size compiles.

    Args:
        saved_model: the exported model.
        source: source of the pictures.
        limits: what it may cost.
    """
    costs = {}
    if limits.size_mb is not None:
        files = (path for path in saved_model.rglob("*") if path.is_file())
        costs["size_mb"] = sum(path.stat().st_size for path in files) / 1e6
    if limits.latency_p50_ms is None and limits.latency_p99_ms is None:
        return costs
    model = LoadedModel(saved_model)
    encoded = list(islice(_encoded(source, model.max_picture_pixels), _TIMED_PICTURES))
    seconds = []
    for is_timed in (False, True):
        for content in encoded:
            started = time.perf_counter()
            model.detect_bytes([content])
            if is_timed:
                seconds.append(time.perf_counter() - started)
    if seconds:
        costs["latency_p50_ms"] = float(np.percentile(seconds, 50)) * 1000
        costs["latency_p99_ms"] = float(np.percentile(seconds, 99)) * 1000
    return costs


def _encoded(source: Source, max_pixels: int) -> Iterator[bytes]:
    chosen = {image["id"] for image in source.ground_truth.images[: 2 * _TIMED_PICTURES]}
    for _, picture in source.pictures(chosen, max_pixels, lambda image, error: None):
        yield picture.encoded

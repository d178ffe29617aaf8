"""Measures whether the evaluator's inference keeps all cores at work.

    python -m benchmarks.inference --model runs/demo/serving/demo/1 --cores 1 --calls 1
    python -m benchmarks.inference --model runs/demo/serving/demo/1

Drawn JPEG files go through `Replicas.detect_all`, and what is found becomes COCO's results with
pasted masks, as in `components/coco_evaluator/detections.py`. A line for each round: pictures a
second, processor time by wall time, and, looked at a hundred times a second from another process,
how often no, one, or more than one of its threads could go on. Others at work on the machine take
from the first two, and hardly from the last: a thread that waits for a core could go on.
"""

import io
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageDraw

_SECONDS_BETWEEN_LOOKS = 0.01
_BATCH = 4


@click.command(epilog="Example: python -m benchmarks.inference --model M/model")
@click.option("--model", "folder", type=click.Path(exists=True, path_type=Path))
@click.option("--pictures", "count", default=96, show_default=True, type=click.IntRange(1))
@click.option("--size", default="160x128", show_default=True, help="WIDTHxHEIGHT, pixels.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--cores", type=click.IntRange(1), help="Use so many.  [default: all]")
@click.option("--calls", type=click.IntRange(1), help="At once.  [default: as the evaluator]")
@click.option("--watch", type=int, hidden=True)
def main(
    folder: Path | None,
    count: int,
    size: str,
    rounds: int,
    cores: int | None,
    calls: int | None,
    watch: int | None,
) -> None:
    """Prints a line for each round."""
    if watch is not None:
        _watch(watch)
        return
    if folder is None:
        raise click.UsageError("give --model")
    if cores:  # before TensorFlow counts them
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from model.prediction.replicas import Replicas

    width, height = map(int, size.split("x"))
    files = list(_drawn(count, width, height))
    replicas = Replicas(folder, calls=calls)
    for n in range(rounds + 1):
        line = _round(replicas, files, height, width)
        if n:  # the first compiles
            click.echo(line)


def _drawn(count: int, width: int, height: int) -> Iterator[bytes]:
    """Yields JPEG files of shapes on a rough ground."""
    random = np.random.default_rng(0)
    for _ in range(count):
        ground = random.integers(0, 255, (max(1, height // 8), max(1, width // 8), 3), np.uint8)
        picture = Image.fromarray(ground).resize((width, height), Image.Resampling.BICUBIC)
        pen = ImageDraw.Draw(picture)
        for n in range(12):
            x, y, side = (int(random.integers(0, limit)) for limit in (width, height, height // 2))
            colour = tuple(random.integers(0, 255, 3).tolist())
            (pen.ellipse if n % 2 else pen.rectangle)([x, y, x + side, y + side], fill=colour)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=90)
        yield stream.getvalue()


def _round(replicas: Any, files: list[bytes], height: int, width: int) -> str:
    """Returns what one run through all pictures took, in words."""
    from model.evaluation.coco_numbers import results_of_picture
    from model.pictures import servable

    pictures = ((n, servable(encoded, str(n))) for n, encoded in enumerate(files))
    command = [sys.executable, "-m", "benchmarks.inference", "--watch", str(os.getpid())]
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    watcher.stdout.readline()
    wall, processor, found = time.perf_counter(), time.process_time(), 0
    for n, _, d in replicas.detect_all(pictures, _BATCH, print):
        image = {"id": n, "height": height, "width": width}
        found += len(results_of_picture(image, d.boxes_norm, d.scores, d.category_ids, d.masks))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    looks = watcher.communicate("")[0].strip()
    return (
        f"{len(files)} pictures, {found} detections: {len(files) / wall:.1f} a second, "
        f"{processor:.2f} processor s, {processor / wall:.2f} cores; threads {looks}"
    )


def _watch(process: int) -> None:
    """Counts the threads of a process that could go on, until standard input ends."""
    os.set_blocking(0, False)
    counts: Counter[int] = Counter()
    click.echo("ready")
    while sys.stdin.buffer.raw.read(1) is None:
        counts[min(2, sum(map(_could_go_on, Path(f"/proc/{process}/task").iterdir())))] += 1
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    shares = [counts[n] / max(1, counts.total()) for n in range(3)]
    click.echo("none {:.2f}, one {:.2f}, more {:.2f}".format(*shares))


def _could_go_on(thread: Path) -> bool:
    try:
        text = (thread / "stat").read_text()
    except OSError:  # it has ended
        return False
    return text[text.rindex(")") + 2] == "R"


if __name__ == "__main__":
    main()

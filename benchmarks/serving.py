"""Measures what an exported model finds, and how fast, in batches of one and of several sizes.

    python -m benchmarks.serving --model runs/demo/serving/demo/1 --data-dir data/shapes

The evaluation pictures are served as they are and, for batches of mixed sizes, drawn again at other
sizes; each set in ones and in eights. What is found must not depend on the batch: box AP and the
largest difference of a score and of a box are compared with those in ones.

    python -m benchmarks.serving --model runs/demo/serving/demo/1 --large 12000x9000

The peak memory of a process that finds objects in one picture of that size, by its format, against
that of one of 640 x 480 pixels.
"""

import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

_SHARES_OF_SIDES = ((1.0, 1.0), (1.0, 0.5), (0.5, 1.0), (0.8, 0.6))
_BATCH = 8
_SMALL = "640x480"


@click.command(
    epilog="Example: python -m benchmarks.serving --model M/model --data-dir data/shapes"
)
@click.option("--model", "folder", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--data-dir", type=click.Path(exists=True, path_type=Path), help="Shapes as drawn.")
@click.option("--large", help="WIDTHxHEIGHT, pixels: measure memory.")
@click.option("--picture", type=click.Path(path_type=Path), hidden=True)
def main(folder: Path, data_dir: Path | None, large: str | None, picture: Path | None) -> None:
    """Prints a table."""
    if picture:
        click.echo(json.dumps(_predicted(folder, picture)))
    elif large:
        _compare_memory(folder, large)
    elif data_dir:
        _compare_batches(folder, data_dir)
    else:
        raise click.UsageError("give --data-dir or --large")


def _compare_batches(folder: Path, data_dir: Path) -> None:
    from model.evaluation.coco_numbers import measure
    from model.evaluation.ground_truth import ground_truth_from_json
    from model.predict import LoadedModel

    path = data_dir / "annotations" / "instances_val2017.json"
    drawn = json.loads(path.read_text())
    encoded = [(data_dir / "val2017" / i["file_name"]).read_bytes() for i in drawn["images"]]
    sets = {"one size": (drawn, encoded), "mixed": _resized(drawn, encoded)}
    model = LoadedModel(folder)
    click.echo("| pictures | a call | box AP | pictures/s | largest difference: score | box, px |")
    click.echo("|---|---|---|---|---|---|")
    for name, (content, files) in sets.items():
        with tempfile.NamedTemporaryFile("w", suffix=".json") as copy:
            json.dump(content, copy)
            copy.flush()
            truth = ground_truth_from_json(copy.name)
        first: list[Any] = []
        for batch in (1, _BATCH):
            _served(model, files[: 2 * _BATCH], batch)  # warms up
            start = time.perf_counter()
            found = _served(model, files, batch)
            rate = len(files) / (time.perf_counter() - start)
            results = _results(content["images"], found)
            ap = measure(truth, results, ("box",)).metrics.number("box/AP")
            first = first or found
            score, box = _largest_differences(content["images"], first, found)
            click.echo(f"| {name} | {batch} | {ap:.6f} | {rate:.1f} | {score:.1e} | {box:.1e} |")


def _served(model: Any, files: list[bytes], batch: int) -> list[Any]:
    """Returns what is found in each file, served so many a call, in the order given."""
    found = []
    for n in range(0, len(files), batch):
        found += model.detect_bytes(files[n : n + batch])
    return found


def _results(images: list[Any], found: list[Any]) -> list[dict[str, Any]]:
    from model.evaluation.coco_numbers import results_of_picture

    return [
        result
        for image, one in zip(images, found, strict=True)
        for result in results_of_picture(image, one.boxes_norm, one.scores, one.category_ids)
    ]


def _largest_differences(
    images: list[Any], first: list[Any], found: list[Any]
) -> tuple[float, float]:
    """Returns the largest difference of a score, and of a box's side in pixels."""
    score = box = 0.0
    for image, one, other in zip(images, first, found, strict=True):
        if len(one.scores) != len(other.scores):
            return float("inf"), float("inf")
        if len(one.scores):
            sides = np.tile([image["height"], image["width"]], 2)
            score = max(score, float(np.abs(one.scores - other.scores).max()))
            box = max(box, float((np.abs(one.boxes_norm - other.boxes_norm) * sides).max()))
    return score, box


def _resized(content: Any, files: list[bytes]) -> tuple[Any, list[bytes]]:
    """Returns the set with each picture squeezed to another shape, and in another order."""
    images, annotations, others = [], [], []
    by_image: dict[int, list[Any]] = {}
    for annotation in content["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    order = list(range(len(files)))
    random.Random(0).shuffle(order)
    for n in order:
        image = content["images"][n]
        down, across = _SHARES_OF_SIDES[n % len(_SHARES_OF_SIDES)]
        size = max(1, round(image["width"] * across)), max(1, round(image["height"] * down))
        stream = io.BytesIO()
        Image.open(io.BytesIO(files[n])).convert("RGB").resize(size).save(stream, "PNG")
        others.append(stream.getvalue())
        images.append({**image, "width": size[0], "height": size[1]})
        for annotation in by_image.get(image["id"], []):
            x, y, width, height = annotation["bbox"]
            bbox = [x * across, y * down, width * across, height * down]
            area = annotation["area"] * across * down
            kept = {k: v for k, v in annotation.items() if k != "segmentation"}
            annotations.append({**kept, "bbox": bbox, "area": area})
    return {**content, "images": images, "annotations": annotations}, others


def _compare_memory(folder: Path, large: str) -> None:
    click.echo(
        "| picture | file MB | decoded MB | seconds | peak memory MB |\n|---|---|---|---|---|"
    )
    for size, kind in ((_SMALL, "jpg"), (large, "jpg"), (large, "png")):
        width, height = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as top:
            path = Path(top) / f"picture.{kind}"
            ramp = np.add.outer(np.arange(height) // 16, np.arange(width) // 16).astype(np.uint8)
            Image.fromarray(np.dstack([ramp, ramp // 2, 255 - ramp])).save(path)
            arguments = ["--model", str(folder.absolute()), "--picture", str(path)]
            output = subprocess.run(
                [sys.executable, "-m", "benchmarks.serving", *arguments],
                check=True,
                stdout=subprocess.PIPE,
            ).stdout
            found = json.loads(output.splitlines()[-1])
            megabytes = path.stat().st_size / 1e6
        click.echo(
            f"| {size} {kind} | {megabytes:.1f} | {width * height * 3 / 1e6:.0f} "
            f"| {found['seconds']:.1f} | {found['peak_mb']:.0f} |"
        )


def _predicted(folder: Path, picture: Path) -> dict[str, float]:
    from model.pictures import read_picture
    from model.predict import LoadedModel

    model = LoadedModel(folder)
    start = time.perf_counter()
    model.detect_bytes([read_picture(picture, model.max_picture_pixels).encoded])
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak}


if __name__ == "__main__":
    main()

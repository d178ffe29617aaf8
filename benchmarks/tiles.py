"""Measures what a model finds in large pictures, with tiles and without.

    python -m benchmarks.tiles --model M/model --data-dir nuclei --split val

Pictures of a COCO-format data set, drawn by a seed, are put together into square ones of 2048
pixels a side, and so are their objects, shifted so that tiles cut through them. Each row of the
table is one way to look at them.
"""

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

_WAYS: tuple[tuple[int | None, float], ...] = (
    (None, 0.0), (256, 0.0), (256, 0.25), (256, 0.5), (512, 0.0), (512, 0.25), (1024, 0.25)
)  # fmt: skip
_MOST_OBJECTS = 5000  # of a category in a picture that count


@click.command(epilog="Example: python -m benchmarks.tiles --model M/model --data-dir nuclei")
@click.option("--model", "folder", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--data-dir", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--split", default="val")
@click.option("--side", default=2048, help="Of the large pictures, pixels.")
@click.option("--count", default=3, help="Large pictures.")
@click.option("--boxes-only", is_flag=True, help="Masks of thousands of objects take minutes.")
@click.option("--factor", default=1.0, help="Of all tiles' sides, for larger training pictures.")
def main(
    folder: Path,
    data_dir: Path,
    split: str,
    side: int,
    count: int,
    boxes_only: bool,
    factor: float,
) -> None:
    """Prints a table."""
    from model.evaluation.coco_numbers import measure, results_of_picture
    from model.evaluation.ground_truth import ground_truth_from_json
    from model.pictures import servable
    from model.predict import LoadedModel
    from model.prediction.tiles import Tiling

    content, files = _composed(data_dir, split, side, count)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as copy:
        json.dump(content, copy)
        copy.flush()
        truth = ground_truth_from_json(copy.name)
    model = LoadedModel(folder)
    kinds = ("box", "mask") if model.has_masks and not boxes_only else ("box",)
    numbers = [f"{kind} {metric}" for kind in kinds for metric in ("AP", "AP50")]
    click.echo(f"{count} pictures of {side} x {side}, {len(content['annotations'])} objects\n")
    click.echo(f"| tiles, px | overlap | found | {' | '.join(numbers)} | s a picture |")
    click.echo("|---" * (4 + len(numbers)) + "|")
    pictures = list(enumerate(servable(file, "composed") for file in files))
    for tile, overlap in _WAYS:
        tiling = None if tile is None else Tiling(round(tile * factor), overlap)
        start = time.perf_counter()
        results = []
        for n, _, found in model.detect_all(pictures, 4, tiling=tiling):
            boxes = found.boxes_norm, found.scores, found.category_ids, found.masks
            results += results_of_picture(content["images"][n], *boxes)
        seconds = (time.perf_counter() - start) / count
        measured = measure(truth, results, kinds, max_detections=_MOST_OBJECTS).metrics
        cells = [f"{measured.number(f'{k}/{m}'):.3f}" for k in kinds for m in ("AP", "AP50")]
        name = "none" if tiling is None else str(tiling.side_px)
        click.echo(f"| {name} | {overlap} | {len(results)} | {' | '.join(cells)} | {seconds:.1f} |")


def _composed(
    data_dir: Path, split: str, side: int, count: int
) -> tuple[dict[str, Any], list[bytes]]:
    """Returns a COCO dict of large pictures, and their PNG files."""
    import io

    path = data_dir / "annotations" / f"instances_{split}.json"
    content = json.loads(path.read_text())
    images = content["images"]
    height = max(image["height"] for image in images)
    width = max(image["width"] for image in images)
    by_image: dict[int, list[Any]] = {}
    for annotation in content["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    choose = random.Random(0)
    new_images, annotations, files = [], [], []
    for n in range(count):
        canvas = np.zeros([side, side, 3], np.uint8)
        for y in range(height // 3, side - height + 1, height):
            for x in range(width // 3, side - width + 1, width):
                image = choose.choice(images)
                with Image.open(data_dir / split / image["file_name"]) as opened:
                    pixels = np.asarray(opened.convert("RGB"))
                canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
                for annotation in by_image.get(image["id"], []):
                    annotations.append(_moved(annotation, n + 1, len(annotations) + 1, x, y))
        stream = io.BytesIO()
        Image.fromarray(canvas).save(stream, "PNG", compress_level=1)
        files.append(stream.getvalue())
        name = f"{n}.png"
        new_images.append({"id": n + 1, "file_name": name, "height": side, "width": side})
    return {**content, "images": new_images, "annotations": annotations}, files


def _moved(annotation: dict[str, Any], image_id: int, number: int, x: int, y: int) -> Any:
    """Returns an annotation, with polygons or without, moved to its place in the large picture."""
    left, top, width, height = annotation["bbox"]
    moved = {"bbox": [left + x, top + y, width, height], "image_id": image_id, "id": number}
    if rings := annotation.get("segmentation"):
        moved["segmentation"] = [
            [value + (y if i % 2 else x) for i, value in enumerate(ring)] for ring in rings
        ]
    return {**annotation, **moved}


if __name__ == "__main__":
    main()

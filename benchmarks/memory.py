"""Measures the memory of CocoExampleGen and CocoTransform, with N and with 4 N pictures.

    python -m benchmarks.memory [--pictures 10000] [--survey-pictures 118287]

The pictures are links to one small file, so that what grows is what is kept of them: entries,
objects, records. Each command runs as users run it; its processes are looked at every tenth of a
second, and the largest process and the largest sum are printed. `survey` is the first reading of
the JSON alone, of a set of COCO's size.
"""

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from benchmarks.process_tree import cost_of

_HEIGHT, _WIDTH = 48, 64
_OBJECTS = 7  # of a picture, as in COCO
_TIMES = (1, 4)


@click.command(epilog="Example: python -m benchmarks.memory --pictures 10000")
@click.option("--pictures", default=10_000, show_default=True, help="N.")
@click.option("--survey-pictures", default=118_287, show_default=True, help="0: no survey.")
def main(pictures: int, survey_pictures: int) -> None:
    """Prints a table."""
    click.echo("| what | pictures | objects | JSON MB | seconds | largest process MB | all MB |")
    click.echo("|---|---|---|---|---|---|---|")
    for times in _TIMES:
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top)
            count = times * pictures
            _write_set(folder, count)
            for module, arguments in _commands(folder).items():
                _print_row(module, arguments, folder, count)
    if survey_pictures:
        with tempfile.TemporaryDirectory() as top:
            _write_annotations(Path(top) / "instances.json", survey_pictures)
            code = "import sys; from model.coco.survey import survey; survey(sys.argv[1])"
            arguments = ["-c", code, str(Path(top) / "instances.json")]
            _print_row("survey", arguments, Path(top), survey_pictures)


def _commands(folder: Path) -> dict[str, list[str]]:
    convert = ["--data-dir", str(folder), "--split", "train=instances.json:pictures"]
    transform = ["--examples", str(folder / "O" / "examples"), "--config", str(folder / "c.yaml")]
    return {
        "coco_example_gen": [
            *("-m", "components.coco_example_gen", *convert, "--out", str(folder / "O"))
        ],
        "coco_transform": [
            *("-m", "components.coco_transform", *transform, "--out", str(folder / "T"))
        ],
    }


def _print_row(name: str, arguments: list[str], folder: Path, pictures: int) -> None:
    cost = cost_of([sys.executable, *arguments])
    megabytes = (folder / "instances.json").stat().st_size / 1e6
    click.echo(
        f"| {name} | {pictures:,} | {pictures * _OBJECTS:,} | {megabytes:.0f} | {cost.seconds:.0f} "
        f"| {cost.largest_mb:.0f} | {cost.rss_mb:.0f} |"
    )


def _write_set(folder: Path, pictures: int) -> None:
    ramp = np.add.outer(np.arange(_HEIGHT), np.arange(_WIDTH)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.dstack([ramp, 2 * ramp, 255 - ramp])).save(stream, "JPEG")
    first = folder / "picture.jpg"
    first.write_bytes(stream.getvalue())
    (folder / "pictures").mkdir()
    for number in range(pictures):
        (folder / "pictures" / _name(number)).hardlink_to(first)
    (folder / "c.yaml").write_text("name: memory\ninput: {short_side_px: 48, long_side_px: 64}\n")
    _write_annotations(folder / "instances.json", pictures)


def _write_annotations(path: Path, pictures: int) -> None:
    """Writes a COCO file entry by entry: polygons of 20 corners, as COCO's have in the mean."""
    with path.open("w") as stream:
        stream.write('{"categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]')
        for key, count, entry in (
            ("images", pictures, _image),
            ("annotations", pictures * _OBJECTS, _annotation),
        ):
            stream.write(f', "{key}": [')
            for number in range(count):
                stream.write(("," if number else "") + json.dumps(entry(number)))
            stream.write("]")
        stream.write("}")


def _name(number: int) -> str:
    return f"{number:012d}.jpg"


def _image(number: int) -> dict[str, Any]:
    size = {"height": _HEIGHT, "width": _WIDTH}
    return {"id": number, "file_name": _name(number), **size, "license": 1, "date_captured": ""}


def _annotation(number: int) -> dict[str, Any]:
    angles = np.arange(20) * (2 * np.pi / 20)
    middle, radius = (20 + number % 20, 20 + number % 9), 6 + number % 9
    corners = np.stack([middle[0] + radius * np.cos(angles), middle[1] + radius * np.sin(angles)])
    return {
        "id": number + 1,
        "image_id": number // _OBJECTS,
        "category_id": (3, 7)[number % 2],
        "bbox": [middle[0] - radius, middle[1] - radius, 2 * radius, 2 * radius],
        "area": 3.14 * radius**2,
        "iscrowd": 0,
        "segmentation": [[round(float(value), 2) for value in corners.T.ravel()]],
    }


if __name__ == "__main__":
    main()

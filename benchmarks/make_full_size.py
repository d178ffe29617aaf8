"""Makes a data set of COCO's counts and distributions, with small pictures, and measures on it.

    python -m benchmarks.make_full_size OUT [--times 10] [--fraction 0.01] [--measure]

118,287 pictures and 860,001 objects, as train2017 has: how many objects a picture has (none in one
of 116, up to 93), classes of which the commonest has 30 % and the rarest 0.02 %, box sizes (41 %
small, 34 % medium, 25 % large in a picture of 640 x 480), polygons of some 20 corners in the mean
and up to hundreds, more than one for an object in ten, and crowds as run lengths in one of 85.
Pictures are JPEGs of 64 x 48, so that what is measured is what COCO's numbers cost; boxes and
polygons are scaled down with them, to 3 pixels at least, and 4,096 outlines are drawn. Each file
is one of 64 drawn pictures with its own number as a comment, so that no two are the same file:
CocoTransform counts them. Alike to the eye they are.

The JSON is written entry by entry: memory does not grow with `--times`.
"""

import io
import json
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from PIL import Image

from benchmarks.process_tree import Cost, cost_of

PICTURES, OBJECTS = 118_287, 860_001
_HEIGHT, _WIDTH = 48, 64
_SCALE = 0.1  # of lengths, from COCO's 640 x 480
_LEAST_PX = 3.0  # a mask must have a pixel
_CLASSES = 80
_DRAWN = 64
_SHAPES = 4096
_MOST_OBJECTS = 93
_EMPTY_SHARE, _CROWD_SHARE, _PARTED_SHARE = 1 / 116, 1 / 85, 0.1
_MOST_LOADED_MB = 8000
_LOAD = f"""
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_MOST_LOADED_MB}_000_000,) * 2)
json.load(open(sys.argv[1]))
"""
_IN_MEMORY = "pipeline.beam_args=[--direct_running_mode=in_memory]"


class _Size(NamedTuple):
    pictures: int
    objects: int


@click.command(epilog="Example: python -m benchmarks.make_full_size /tmp/full --fraction 0.01")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--times", default=1, show_default=True, help="So many times COCO.")
@click.option("--fraction", default=1.0, show_default=True, help="Share of that.")
@click.option("--shards", default=256, show_default=True, help="Shards of the examples.")
@click.option("--measure", is_flag=True, help="Run both components on it, and remove it all.")
def main(out: Path, times: int, fraction: float, shards: int, measure: bool) -> None:
    """Writes OUT/instances.json and OUT/pictures; prints a table with --measure."""
    size = size_of(times, fraction)
    start = time.monotonic()
    counts = objects_of_pictures(size)
    _write_pictures(out / "pictures", size.pictures)
    _write_json(out / "instances.json", counts)
    made = time.monotonic() - start
    megabytes = (out / "instances.json").stat().st_size / 1e6
    click.echo(
        f"{size.pictures:,} pictures, {counts.sum():,} objects, JSON of {megabytes:.0f} MB, "
        f"made in {made:.0f} s",
        err=True,
    )
    if measure:
        _measure(out, size, shards, megabytes)
        shutil.rmtree(out)


def size_of(times: int, fraction: float) -> _Size:
    """Returns the numbers of a share of so many times COCO."""
    return _Size(round(PICTURES * times * fraction), round(OBJECTS * times * fraction))


def objects_of_pictures(size: _Size) -> np.ndarray:
    """Returns int64 [pictures]: how many objects each has, `size.objects` in all."""
    random = np.random.default_rng(0)
    counts = np.minimum(1 + random.geometric(1 / 6.3, size.pictures), _MOST_OBJECTS) - 1
    counts[random.random(size.pictures) < _EMPTY_SHARE] = 0
    counts[0] = _MOST_OBJECTS
    while (missing := size.objects - int(counts.sum())) != 0:
        chosen = random.integers(0, size.pictures, min(abs(missing), size.pictures))
        changed = counts.copy()
        changed[chosen] += np.sign(missing)
        counts = np.where(
            (changed >= 1) & (changed <= _MOST_OBJECTS) & (counts > 0), changed, counts
        )
    return counts


def _write_pictures(folder: Path, number: int) -> None:
    folder.mkdir(parents=True)
    files = [_jpeg(seed) for seed in range(_DRAWN)]
    for picture in range(number):
        start, rest = files[picture % _DRAWN][:2], files[picture % _DRAWN][2:]
        comment = b"\xff\xfe" + struct.pack(">HQ", 10, picture)
        (folder / _name(picture)).write_bytes(start + comment + rest)


def _jpeg(seed: int) -> bytes:
    """Returns a JPEG of soft shapes that look like no other seed's."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    stream = io.BytesIO()
    picture = Image.fromarray(coarse).resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
    picture.save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _write_json(path: Path, counts: np.ndarray) -> None:
    names = [{"id": n + n // 8, "name": f"class {n}"} for n in range(1, _CLASSES + 1)]
    with path.open("w") as stream:
        stream.write(f'{{"categories": {json.dumps(names)}')
        for key, entries in (("images", _images(len(counts))), ("annotations", _objects(counts))):
            stream.write(f', "{key}": [')
            for number, entry in enumerate(entries):
                stream.write(("," if number else "") + entry)
            stream.write("]")
        stream.write("}")


def _name(number: int) -> str:
    return f"{number:012d}.jpg"


def _images(number: int) -> Iterator[str]:
    """Yields entries of `images` with the keys that COCO's have."""
    for picture in range(number):
        name = _name(picture)
        yield json.dumps(
            {
                "license": 1 + picture % 8,
                "file_name": name,
                "coco_url": f"http://images.cocodataset.org/train2017/{name}",
                "height": _HEIGHT,
                "width": _WIDTH,
                "date_captured": "2013-11-14 16:28:13",
                "flickr_url": f"http://farm4.staticflickr.com/3153/{picture:010d}_cbb0d8b7ec_z.jpg",
                "id": picture,
            }
        )


def _objects(counts: np.ndarray) -> Iterator[str]:
    """Yields entries of `annotations`."""
    random = np.random.default_rng(1)
    shapes = [json.dumps(_shape(random))[:-1] for _ in range(_SHAPES)]
    # Person has 30 %; the others fall from 5 % to 0.02 %.
    shares = np.geomspace(0.05, 2e-4, _CLASSES - 1)
    bounds = np.cumsum([0.3, *(0.7 * shares / shares.sum())])
    number = 0
    for picture, count in enumerate(counts.tolist()):
        classes = np.searchsorted(bounds[:-1], random.random(count), "right") + 1
        chosen = random.integers(0, _SHAPES, count)
        for class_, shape in zip(classes.tolist(), chosen.tolist(), strict=True):
            number += 1
            ids = f'"image_id": {picture}, "category_id": {class_ + class_ // 8}, "id": {number}'
            yield f"{shapes[shape]}, {ids}}}"


def _shape(random: np.random.Generator) -> dict[str, Any]:
    """Returns the box, outline and area of an object."""
    # The square root of the box's area in COCO's pixels: 41 % below 32, 25 % above 96.
    side = float(np.exp(np.clip(random.normal(3.75, 1.18), 0.7, 6.1))) * _SCALE
    ratio = float(np.exp(random.normal(0, 0.5)))
    width = min(max(side * ratio, _LEAST_PX), _WIDTH - 1.0)
    height = min(max(side / ratio, _LEAST_PX), _HEIGHT - 1.0)
    x, y = random.random() * (_WIDTH - width), random.random() * (_HEIGHT - height)
    box = [round(value, 2) for value in (x, y, width, height)]
    if random.random() < _CROWD_SHARE:
        rle = _run_lengths(x, y, width, height)
        return {"segmentation": rle, "area": box[2] * box[3], "iscrowd": 1, "bbox": box}
    most = int(min(4, width // _LEAST_PX))
    parts = 1 if random.random() >= _PARTED_SHARE or most < 2 else int(random.integers(2, most + 1))
    corners = np.clip(random.lognormal(2.9, 0.55, parts), 4, 300).astype(int)
    polygons = [_polygon(random, box, n, part, parts) for part, n in enumerate(corners.tolist())]
    return {"segmentation": polygons, "area": 0.6 * box[2] * box[3], "iscrowd": 0, "bbox": box}


def _polygon(
    random: np.random.Generator, box: list[float], corners: int, part: int, parts: int
) -> list[float]:
    """Returns an ellipse with an uneven edge in its part of the box's width."""
    x, y, width, height = box
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radii = 0.5 - 0.1 * random.random(corners)
    width /= parts
    xs = x + width * (part + 0.5 + radii * np.cos(angles))
    ys = y + height * (0.5 + radii * np.sin(angles))
    return [round(value, 2) for value in np.stack([xs, ys], 1).ravel().tolist()]


def _run_lengths(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    """Returns a rectangle's mask as COCO writes a crowd's: lengths of runs, down the columns."""
    mask = np.zeros((_HEIGHT, _WIDTH), bool)
    mask[int(y) : int(y + height) + 1, int(x) : int(x + width) + 1] = True
    flat = np.concatenate([[False], mask.T.ravel(), [True]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"counts": counts[: len(counts) - (counts[-1] == 0)].tolist(), "size": [_HEIGHT, _WIDTH]}


def _measure(folder: Path, size: _Size, shards: int, json_mb: float) -> None:
    """Prints what both components, and `json.load`, take."""
    (folder / "c.yaml").write_text("name: full\ninput: {short_side_px: 48, long_side_px: 64}\n")
    python = [sys.executable, "-m"]
    commands = {
        "CocoExampleGen": [
            *(*python, "components.coco_example_gen", "--data-dir", str(folder)),
            *("--split", "train=instances.json:pictures", "--out", str(folder / "E")),
            *("--set", f"data.train_shards={shards}", "--set", _IN_MEMORY),
        ],
        "CocoTransform": [
            *(*python, "components.coco_transform", "--examples", str(folder / "E" / "examples")),
            *("--config", str(folder / "c.yaml"), "--out", str(folder / "T"), "--set", _IN_MEMORY),
        ],
    }
    click.echo(
        "| what | seconds | CPU seconds | records/s | MB/s | largest process MB | all MB (RSS) "
        "| all MB (PSS) |\n|---|---|---|---|---|---|---|---|"
    )
    click.echo(_loaded(folder / "instances.json", size, json_mb))
    read_mb = json_mb
    for name, command in commands.items():
        if name == "CocoExampleGen":
            read_mb += _megabytes(folder / "pictures")
        elif name == "CocoTransform":
            read_mb = _megabytes(folder / "E")
        click.echo(_row(name, cost_of(command), size, read_mb))


def _loaded(file: Path, size: _Size, json_mb: float) -> str:
    """Returns the row of a plain `json.load`, which may take so much and no more."""
    try:
        cost = cost_of([sys.executable, "-c", _LOAD, str(file)])
    except RuntimeError as error:
        if "MemoryError" not in str(error):
            raise
        return f"| json.load of the file | | | | | more than {_MOST_LOADED_MB:,} | | |"
    return _row("json.load of the file", cost, size, json_mb)


def _row(name: str, cost: Cost, size: _Size, read_mb: float) -> str:
    return (
        f"| {name} | {cost.seconds:.0f} | {cost.cpu_seconds:.0f} "
        f"| {size.pictures / cost.seconds:.0f} | {read_mb / cost.seconds:.1f} "
        f"| {cost.largest_mb:.0f} | {cost.rss_mb:.0f} | {cost.pss_mb:.0f} |"
    )


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()

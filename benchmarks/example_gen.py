"""Measures CocoExampleGen against the usual way of converting COCO, on repeated real pictures.

    python -m benchmarks.example_gen [--pictures 4000]

Each way runs in a process of its own, on one core, on the same files: `ours`; `plain`, one loop
that loads the JSON whole and writes boxes and file bytes through `tf.train.Example`; and `png`,
the same with a PNG of every mask, as TensorFlow Model Garden's converter stores them. Time is the
process's CPU time without imports.
"""

import collections
import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

WAYS = ("ours", "plain", "png")


@click.command(epilog="Example: python -m benchmarks.example_gen --pictures 4000")
@click.option("--pictures", default=4000, show_default=True, help="Pictures to convert.")
@click.option(
    "--data",
    default=lambda: os.environ.get("TFX_RCNN_DATA", "../shared/data"),
    type=click.Path(exists=True, path_type=Path),
    help="Folder of the shared test data; its coco_tiny is repeated.",
)
@click.option("--way", type=click.Choice(WAYS), hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
def main(pictures: int, data: Path, way: str | None, folder: Path | None) -> None:
    """Prints pictures per second of CPU and peak memory of each way."""
    if way and folder:
        click.echo(json.dumps(_measured(way, folder)))
        return
    with tempfile.TemporaryDirectory(
        dir=data.parent if os.access(data.parent, os.W_OK) else None
    ) as top:
        made = _repeat(data / "coco_tiny", Path(top) / "set", pictures)
        click.echo(
            "| way | pictures/s of one core | peak memory MB | written MB |\n|---|---|---|---|"
        )
        for name in WAYS:
            arguments = ["--way", name, "--folder", str(made), "--data", str(data)]
            output = subprocess.run(
                [sys.executable, "-m", "benchmarks.example_gen", *arguments],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ).stdout
            result = json.loads(output.splitlines()[-1])
            rate = pictures / result["seconds"]
            click.echo(f"| {name} | {rate:.0f} | {result['peak_mb']:.0f} | {result['mb']:.0f} |")


def _repeat(source: Path, folder: Path, count: int) -> Path:
    """Writes a set of `count` pictures from those of `source`, under new names and ids."""
    content = json.loads((source / "annotations" / "instances_train2017.json").read_text())
    by_image = collections.defaultdict(list)
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    (folder / "pictures").mkdir(parents=True)
    images: list[Any] = []
    annotations: list[Any] = []
    for number in range(count):
        image = content["images"][number % len(content["images"])]
        name = f"{number:012d}.jpg"
        shutil.copyfile(source / "train2017" / image["file_name"], folder / "pictures" / name)
        images.append({**image, "id": number, "file_name": name})
        for annotation in by_image[image["id"]]:
            id_ = len(annotations) + 1
            annotations.append({**annotation, "id": id_, "image_id": number})
    content.update(images=images, annotations=annotations)
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


def _measured(way: str, folder: Path) -> dict[str, float]:
    out = folder / f"out-{way}"
    convert = _ours() if way == "ours" else _usual(with_masks=way == "png")
    start = time.process_time()
    convert(folder, out)
    seconds = time.process_time() - start
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak, "mb": size / 1e6}


def _ours() -> Any:
    import apache_beam as beam
    import tensorflow as tf  # noqa: F401  its decoder looks at every picture
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.beam_options import beam_arguments
    from components.coco_example_gen.source import SplitSource
    from components.coco_example_gen.whole import convert
    from configs.schema import DataConfig

    def run(folder: Path, out: Path) -> None:
        source = SplitSource("train", folder / "instances.json", folder / "pictures", 8)
        places = out / "examples", out / "rejects"
        options = PipelineOptions(beam_arguments([]))
        convert(
            [source],
            *places,
            DataConfig(),
            lambda: beam.Pipeline(options=options),
            lambda line: None,
        )

    return run


def _strings(values: list[bytes]) -> Any:
    import tensorflow as tf

    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _integers(values: list[int]) -> Any:
    import tensorflow as tf

    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _floats(values: list[float]) -> Any:
    import tensorflow as tf

    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _mask_png(annotation: Any, height: int, width: int) -> bytes:
    import numpy as np
    from PIL import Image
    from pycocotools import mask as coco_mask

    rle = coco_mask.frPyObjects(annotation["segmentation"], height, width)
    bitmap = coco_mask.decode(rle)
    bitmap = bitmap if annotation["iscrowd"] else np.amax(bitmap, axis=2)
    stream = io.BytesIO()
    Image.fromarray(bitmap).save(stream, "PNG")
    return stream.getvalue()


def _usual(with_masks: bool) -> Any:
    import tensorflow as tf

    def example(image: Any, annotations: list[Any], names: dict[int, str], path: Path) -> bytes:
        encoded = path.read_bytes()
        height, width = image["height"], image["width"]
        features = {
            "image/encoded": _strings([encoded]),
            "image/format": _strings([b"jpg"]),
            "image/height": _integers([height]),
            "image/width": _integers([width]),
            "image/filename": _strings([image["file_name"].encode()]),
            "image/source_id": _strings([str(image["id"]).encode()]),
            "image/key/sha256": _strings([hashlib.sha256(encoded).hexdigest().encode()]),
            "image/object/class/label": _integers([a["category_id"] for a in annotations]),
            "image/object/class/text": _strings(
                [names[a["category_id"]].encode() for a in annotations]
            ),
            "image/object/is_crowd": _integers([a["iscrowd"] for a in annotations]),
            "image/object/area": _floats([a["area"] for a in annotations]),
        }
        corners = {"xmin": [], "ymin": [], "xmax": [], "ymax": []}
        for annotation in annotations:
            x, y, box_width, box_height = annotation["bbox"]
            corners["xmin"].append(x / width)
            corners["ymin"].append(y / height)
            corners["xmax"].append((x + box_width) / width)
            corners["ymax"].append((y + box_height) / height)
        features |= {f"image/object/bbox/{name}": _floats(v) for name, v in corners.items()}
        if with_masks:
            masks = [_mask_png(annotation, height, width) for annotation in annotations]
            features["image/object/mask"] = _strings(masks)
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    def run(folder: Path, out: Path) -> None:
        out.mkdir()
        content = json.loads((folder / "instances.json").read_text())
        by_image = collections.defaultdict(list)
        for annotation in content["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        names = {category["id"]: category["name"] for category in content["categories"]}
        writers = [tf.io.TFRecordWriter(str(out / f"shard-{n}")) for n in range(8)]
        for number, image in enumerate(content["images"]):
            path = folder / "pictures" / image["file_name"]
            record = example(image, by_image[image["id"]], names, path)
            writers[number % 8].write(record)
        for writer in writers:
            writer.close()

    return run


if __name__ == "__main__":
    main()

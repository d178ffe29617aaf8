"""Whole conversions of small data sets, with Beam in this process, and what they wrote."""

import json

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from components.beam_options import beam_arguments
from components.coco_example_gen.source import SplitSource
from components.coco_example_gen.whole import convert
from configs.schema import DataConfig
from ground.files import file_digest
from model import records
from model.examples import iterate_records
from model.tf_example import decode_example
from tests.components.coco_example_gen.small_dataset import (
    annotation,
    image,
    jpeg,
    png,
    write_dataset,
)

OPTIONS = PipelineOptions(beam_arguments(["--direct_running_mode=in_memory"]))


def new_pipeline():
    return beam.Pipeline(options=OPTIONS)


def run(folder, out, shards=2, beam_args=("--direct_running_mode=in_memory",), **data):
    """Converts a data set of `write_dataset` as the split `train`; returns its summary."""
    source = SplitSource("train", folder / "instances.json", folder / "pictures", shards)
    return run_sources([source], out, beam_args, **data)["splits"]["train"]


def run_sources(sources, out, beam_args=("--direct_running_mode=in_memory",), **data):
    options = PipelineOptions(beam_arguments(beam_args))
    return convert(
        sources,
        out / "examples",
        out / "rejects",
        DataConfig(**data),
        lambda: beam.Pipeline(options=options),
        lambda line: None,
    )


def records_of(out, split="train"):
    """Returns the decoded records by image id."""
    decoded = [decode_example(r) for r in iterate_records(out / "examples", split)]
    return {int(record[records.SOURCE_ID][0]): record for record in decoded}


def rejects_of(out, split="train"):
    lines = (out / "rejects" / f"Split-{split}" / "rejects.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def files_of(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_digest(path) for path in paths}


def coco_like(folder, count=30):
    """Writes a data set with several objects, a crowd, empty pictures and a PNG."""
    images = [image(7 * n, height=16 + n % 3, width=24) for n in range(count)]
    images[4]["file_name"] = "28.png"
    annotations = [annotation(n, 7 * (n % (count - 2))) for n in range(2 * count)]
    annotations[5].update(
        iscrowd=1, segmentation={"size": [18, 24], "counts": [3, 4, 425]}, category_id=8
    )
    pictures = {i["file_name"]: jpeg(i["height"], i["width"], i["id"]) for i in images}
    pictures["28.png"] = png(images[4]["height"], 24)
    return write_dataset(folder, images, annotations, pictures=pictures)


def broken(folder):
    """Writes 12 pictures of which 5 are broken, each in its own way, and objects likewise."""
    images = [image(n) for n in range(12)]
    images[3]["height"] = 21
    images[4]["file_name"] = "../instances.json"
    images[5] = {"id": 5, "file_name": "5.jpg"}
    pictures = {f"{n}.jpg": jpeg(seed=n) for n in range(12) if n != 1}
    pictures["2.jpg"] = pictures["2.jpg"][:300]
    annotations = [annotation(n, n) for n in range(12)] + [
        annotation(20, 6, category_id=9),
        annotation(21, 6, bbox=[-5, 3, 8, 8]),
        annotation(22, 99),
        annotation(0, 6),
        "nothing",
    ]
    images += [image(6, "again.jpg"), image("x")]
    return write_dataset(folder, images, annotations, pictures=pictures)

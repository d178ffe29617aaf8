"""Measures CocoExampleGen and CocoTransform from command to end, on one core and on all.

    python -m benchmarks.data [--pictures 4000] [--only WAY] [--model-garden DIR] \
        [--webdataset PYTHON]

On the same pictures (coco_tiny, repeated under new names): our two commands; TensorFlow Model
Garden's `create_coco_tf_record.py` with boxes and masks, where its folder is given (a checkout of
github.com/tensorflow/models, or where the package tf-models-official is unpacked); WebDataset's
writer, where a Python is given that has it. Each runs as its users run it, imports included, in
turn `--repeats` times; the best time of each counts. One core is one that the scheduler gives.
"""

import collections
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from benchmarks.process_tree import Cost, cost_of

_SHARDS = 16
_CONFIG = "configs/mask_rcnn_r50_fpn_1x_coco.yaml"
_IN_MEMORY = "pipeline.beam_args=[--direct_running_mode=in_memory]"
_CONVERTER = Path("official/vision/data")
_HEADER = """\
| way | cores | seconds | CPU seconds | pictures/s | pictures/s of a core's time | MB/s read | \
peak MB (PSS) |
|---|---|---|---|---|---|---|---|"""


class _Way(NamedTuple):
    """A way of converting.

    Attributes:
        name: its name in the table.
        command: gives the command by the number of cores.
        out: what it writes.
    """

    name: str
    command: Callable[[int], list[str]]
    out: Path


@click.command(epilog="Example: python -m benchmarks.data --pictures 4000 --repeats 2")
@click.option("--pictures", default=4000, show_default=True, help="Pictures to convert.")
@click.option("--repeats", default=1, show_default=True, help="Runs of each; the best counts.")
@click.option(
    "--data",
    default=lambda: os.environ.get("TFX_RCNN_DATA", "../shared/data"),
    type=click.Path(exists=True, path_type=Path),
    help="Folder of the shared test data; its coco_tiny is repeated.",
)
@click.option(
    "--model-garden",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with official/vision/data/create_coco_tf_record.py.",
)
@click.option(
    "--webdataset",
    type=click.Path(exists=True, dir_okay=False),
    help="Python interpreter of an environment with the package webdataset.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Gets what is made for a while.  [default: the system's for temporary files]",
)
@click.option("--only", multiple=True, help="Measure only the way of this name; may be repeated.")
def main(
    pictures: int,
    repeats: int,
    data: Path,
    model_garden: Path | None,
    webdataset: str | None,
    folder: Path | None,
    only: tuple[str, ...],
) -> None:
    """Prints a table."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        top = Path(name)
        made = repeat(data / "coco_tiny", top / "set", pictures)
        ways = _ours(made, top)
        if model_garden:
            ways.append(_model_garden(model_garden, made, top))
        if webdataset:
            script = str(Path(__file__).with_name("data_webdataset.py"))
            out = top / "webdataset"
            arguments = [webdataset, script, str(made), str(out), str(_SHARDS)]
            ways.append(_Way("WebDataset", lambda cores: [*arguments, str(cores)], out))
        if unknown := set(only) - {way.name for way in ways}:
            raise click.UsageError(f"--only {unknown.pop()}: not one of what would be measured")
        ways = [way for way in ways if not only or way.name in only]
        all_cores = len(os.sched_getaffinity(0))
        megabytes = sum(path.stat().st_size for path in (made / "pictures").iterdir()) / 1e6
        best: dict[tuple[str, int], Cost] = {}
        for _ in range(repeats):
            for way in ways:
                for cores in sorted({1, all_cores}):
                    cost = _run(way, cores, top)
                    key = way.name, cores
                    best[key] = min(best.get(key, cost), cost)
        click.echo(_HEADER)
        for (name, cores), cost in best.items():
            click.echo(
                f"| {name} | {cores} | {cost.seconds:.1f} | {cost.cpu_seconds:.1f} "
                f"| {pictures / cost.seconds:.0f} | {pictures / cost.cpu_seconds:.0f} "
                f"| {megabytes / cost.seconds:.1f} | {cost.pss_mb:.0f} |"
            )


def _run(way: _Way, cores: int, top: Path) -> Cost:
    shutil.rmtree(way.out, ignore_errors=True)
    environ = {"PYTHONPATH": str(top / "garden")} if way.name == "Model Garden" else {}
    cost = cost_of(way.command(cores), environ, cores)
    click.echo(f"{way.name}, {cores}: {cost}", err=True)
    return cost


def _ours(made: Path, top: Path) -> list[_Way]:
    python = [sys.executable, "-m"]
    examples = [
        *(*python, "components.coco_example_gen", "--data-dir", str(made)),
        *("--split", "train=instances.json:pictures", "--out", str(top / "E")),
        *("--set", f"data.train_shards={_SHARDS}", "--set", _IN_MEMORY),
    ]
    transform = [
        *(*python, "components.coco_transform", "--examples", str(top / "E" / "examples")),
        *("--config", _CONFIG, "--out", str(top / "T"), "--set", _IN_MEMORY),
    ]
    return [
        _Way("CocoExampleGen", lambda cores: examples, top / "E"),
        _Way("CocoTransform", lambda cores: transform, top / "T"),
    ]


def _model_garden(garden: Path, made: Path, top: Path) -> _Way:
    """Returns Model Garden's converter, alone: the rest of its package asks for many others."""
    alone = top / "garden" / _CONVERTER
    alone.mkdir(parents=True)
    for name in ("create_coco_tf_record.py", "tfrecord_lib.py"):
        shutil.copyfile(garden / _CONVERTER / name, alone / name)
    out = top / "garden-out"

    def command(cores: int) -> list[str]:
        out.mkdir(exist_ok=True)
        return [
            *(sys.executable, str(alone / "create_coco_tf_record.py"), "--include_masks"),
            *("--image_dir", str(made / "pictures"), "--output_file_prefix", str(out / "train")),
            *("--object_annotations_file", str(made / "instances.json")),
            *("--num_shards", str(_SHARDS), "--num_processes", str(0 if cores == 1 else cores)),
        ]

    return _Way("Model Garden", command, out)


def repeat(source: Path, folder: Path, count: int) -> Path:
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


if __name__ == "__main__":
    main()

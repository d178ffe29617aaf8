"""Both components ended, or their disk full, at random ones of their steps on the file system.

    python -m tests.components.fault_steps FOLDER SEED TRIALS

in a process of its own: each trial is a fork, which must not have Beam's threads beside it.
"""

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import apache_beam as beam
import tensorflow  # noqa: F401  # once, not in each fork
from apache_beam.options.pipeline_options import PipelineOptions

from components.beam_options import beam_arguments
from components.coco_example_gen.source import SplitSource
from components.coco_example_gen.whole import convert
from components.coco_transform.settings import CocoTransformSettings
from components.coco_transform.whole import transform_examples
from configs.schema import Config
from ground.output_record import RECORD_FILE
from ground.outputs import settle_inputs
from model.examples import verified_digest
from model.stored_output import output_place
from tests.components.coco_example_gen.conversions import coco_like, files_of
from tests.ground.killed import run_to_step

CONFIG = Config.model_validate(
    {"name": "c", "input": {"short_side_px": 64, "long_side_px": 96}, "data": {"train_shards": 3}}
)
OPTIONS = beam_arguments(["--direct_running_mode=in_memory"])


def new_pipeline() -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions(OPTIONS))


def example_gen(place: Path, out: Path, images: str = "set") -> None:
    folder = place / images
    source = SplitSource("train", folder / "instances.json", folder / "pictures", 3)
    with output_place(out, "gen", ["examples", "rejects"], source.read) as new:
        places = new / "examples", new / "rejects"
        convert([source], *places, CONFIG.data, new_pipeline, lambda line: None)


def transform(place: Path, out: Path, images: str = "set") -> None:
    examples = place / f"examples-{images}" / "examples"
    with output_place(out, "transform", ["examples", "report.html"], [examples]) as new:
        settings = CocoTransformSettings.of(CONFIG)
        transform_examples(
            examples, new / "examples", new, settings, new_pipeline, lambda line: None
        )


def contents(out: Path) -> dict[str, str]:
    """Returns the digests of what a reader sees, without the record of what is ours."""
    return {
        name: digest
        for name, digest in (files_of(out) if out.exists() else {}).items()
        if not name.startswith(".")
    }


def whole_or_none(out: Path, allowed: list[dict[str, str]]) -> None:
    """Checks what a reader finds: one of the outputs, or no manifest."""
    found = contents(out)
    if (out / "examples/manifest.json").exists() and RECORD_FILE in os.listdir(out):
        verified_digest(out / "examples", "train")
    assert found in allowed, sorted(found)


def trial(component, place: Path, step: int, disk_full: bool, has_former: bool) -> bool:
    """Returns whether a run came so far; a reader and the next run are content after it."""
    out, expected = place / "out", contents(place / f"expected-{component.__name__}")
    shutil.rmtree(out, ignore_errors=True)
    former = {}
    if has_former:
        shutil.copytree(place / f"former-{component.__name__}", out)
        former = contents(out)
    before = set(os.listdir(place))
    if not run_to_step(lambda: component(place, out), step, disk_full):
        return False
    settle_inputs([out])  # as a reader does
    whole_or_none(out, [former, expected])
    if disk_full:
        left = set(os.listdir(out)) if out.exists() else set()
        assert left <= {RECORD_FILE, "examples", "rejects", "report.html", "report.json"}, left
    component(place, out)
    assert contents(out) == expected, "other bytes"
    assert set(os.listdir(place)) - before <= {"out"}, os.listdir(place)
    hidden = [name for name in os.listdir(out) if name.startswith(".")]
    assert hidden == [RECORD_FILE], hidden
    # Beam makes its folder there and we move it at once; between the two an empty one may be left.
    left = [
        name for _, folders, files in os.walk(tempfile.gettempdir()) for name in folders + files
    ]
    assert all(name.startswith("beam-pipeline-temp") for name in left), left
    return True


def main(folder: str, seed: str, trials: str) -> None:
    place = Path(folder)
    tempfile.tempdir = str(place / "tmp")
    os.mkdir(tempfile.tempdir)
    chance = random.Random(int(seed))
    coco_like(place / "set")
    coco_like(place / "other", count=20)

    def prepare() -> None:
        for images in ("set", "other"):
            example_gen(place, place / f"examples-{images}", images)
        shutil.copytree(place / "examples-set", place / "expected-example_gen")
        shutil.copytree(place / "examples-other", place / "former-example_gen")
        transform(place, place / "expected-transform")
        transform(place, place / "former-transform", "other")

    assert not run_to_step(prepare, 10**9)
    for component in (example_gen, transform):
        steps = {full: 400 for full in (False, True)}
        for number in range(int(trials)):
            disk_full = number % 2 == 1
            step = chance.randrange(1, steps[disk_full])
            if not run_to_step_in_fork(component, place, step, disk_full, chance.random() < 0.5):
                steps[disk_full] = max(2, step)  # it had fewer steps
        assert min(steps.values()) > 20
    print("content")


def run_to_step_in_fork(component, place: Path, step: int, disk_full: bool, has_former: bool):
    """Does a trial in a fork, whose reruns start Beam's threads; returns what it returns."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if trial(component, place, step, disk_full, has_former) else 3
        except BaseException as error:
            print(f"{component.__name__}, step {step}, full {disk_full}: {error!r}", flush=True)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 3), f"{component.__name__}: step {step}, disk full: {disk_full}"
    return code == 0


if __name__ == "__main__":
    main(*sys.argv[1:])

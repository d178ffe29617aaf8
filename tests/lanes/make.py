"""Makes what one lane leaves behind, for tests in the other: `python -m tests.lanes.make`.

Writes tests/lanes/LANE.tar.xz, of the lane that it runs in:

    config.json      the settings, as they travel to components
    generated/       examples of CocoExampleGen
    transformed/     examples of CocoTransform
    checkpoints/     of a training of four steps, the one after the second
    model/           a SavedModel of that checkpoint's weights
    pipeline.yaml    compiled for Kubeflow
    expected.json    what this lane reads in them

Run it in both lanes, on the same code, after a change of a format; `scripts/test_modern.sh` has the
modern one on older systems.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from configs.loader import load_config
from ground.outputs import growing_folder
from model.examples import iterate_records, verified_digest
from model.lanes import LANE
from model.launch.places import WRITER
from model.tf_example import decode_example
from model.training.checkpoints import CheckpointStore, read_metadata

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "small.yaml"
_REPO = HERE.parents[1]
_HALFWAY = 2


def archive(lane: str) -> Path:
    """Returns the file of a lane's artifacts."""
    return HERE / f"{lane}.tar.xz"


def run(*arguments: object) -> None:
    """Runs a module of ours as a command.

    Raises:
        RuntimeError: it failed; says what it said.
    """
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=_REPO, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def train(folder: Path, checkpoints: Path, out: Path) -> dict[str, float]:
    """Trains with the examples in `folder`, and returns the losses of the last step."""
    run(
        "model.train",
        f"--examples={folder}/transformed/examples",
        f"--config={CONFIG}",
        f"--checkpoints={checkpoints}",
        f"--out={out}",
    )
    losses: dict[str, float] = json.loads((out / "summary.json").read_text())["last_losses"]
    return losses


def detections(folder: Path) -> dict[str, list[Any]]:
    """Returns what the model in `folder` finds in the first picture for evaluation."""
    from model.predict import LoadedModel

    record = decode_example(next(iterate_records(folder / "generated/examples", "eval")))
    [found] = LoadedModel(folder / "model").detect_bytes(record["image/encoded"])
    return {
        "scores": found.scores.tolist(),
        "boxes": found.boxes_norm.tolist(),
        "categories": found.category_ids.tolist(),
        "masks": [] if found.masks is None else found.masks.mean((1, 2)).tolist(),
    }


def _round_checkpoint(store: CheckpointStore, run_folder: Path) -> dict[str, np.ndarray]:
    """Leaves only the checkpoint halfway, of 4 bits a number, which packs well; returns it."""
    arrays, history = store.load(_HALFWAY)
    for name, array in arrays.items():
        if array.dtype == np.float32:
            bits = np.bitwise_and(array.view(np.uint32), np.uint32(0xFFF80000))
            arrays[name] = np.asarray(bits).view(np.float32)
    shutil.rmtree(run_folder)
    growing_folder(run_folder, WRITER, ["logs"], [])  # the record that it is a training's
    store.save(_HALFWAY, arrays, history)
    return arrays


def _export(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    from model.detector import build_detector
    from model.examples import read_categories
    from model.export import export_saved_model

    config = load_config(CONFIG)
    categories = read_categories(folder / "transformed/examples")
    detector = build_detector(config.model, len(categories), precision="float32")
    weights = {
        name.removeprefix("weights/"): array
        for name, array in arrays.items()
        if name.startswith("weights/")
    }
    detector.import_weights(weights)
    export_saved_model(detector, config, categories, folder / "model")


def prepare(folder: Path) -> None:
    """Fills an empty folder with data, examples and a training's checkpoints."""
    data = folder / "data"
    run("pipeline", "shapes", f"--out={data}", "--train=4", "--val=2", "--size=96")
    run(
        "components.coco_example_gen",
        f"--data-dir={data}",
        "--split=train=annotations/instances_train2017.json:train2017",
        "--split=eval=annotations/instances_val2017.json:val2017",
        f"--config={CONFIG}",
        f"--out={folder}/generated",
    )
    run(
        "components.coco_transform",
        f"--examples={folder}/generated/examples",
        f"--config={CONFIG}",
        f"--out={folder}/transformed",
    )
    train(folder, folder / "checkpoints", folder / "first")


def finish(folder: Path) -> None:
    """Adds what follows from that, and removes what is not kept."""
    [halfway] = folder.glob(f"checkpoints/*/step-{_HALFWAY:08d}.safetensors")
    key = json.loads(read_metadata(halfway)["run"])["key"]
    store = CheckpointStore(folder / "checkpoints", key, keep=1)
    arrays = _round_checkpoint(store, halfway.parent)
    _export(folder, arrays)
    (folder / "config.json").write_text(load_config(CONFIG).to_json())
    run(
        "pipeline",
        "compile",
        f"--config={CONFIG}",
        "--image=registry.my.org/tfx-rcnn:1",
        "--pipeline-root=minio://mlpipeline/lanes",
        f"--output={folder}/pipeline.yaml",
    )
    shutil.copytree(folder / "checkpoints", folder / "used")
    expected = {
        "checkpoint_key": key,
        "digest": verified_digest(folder / "transformed/examples", "train"),
        "last_losses": train(folder, folder / "used", folder / "second"),
        "detections": detections(folder),
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1))
    for name in ("data", "first", "second", "used"):
        shutil.rmtree(folder / name)
    (folder / "transformed/report.html").unlink()


def pack(folder: Path) -> None:
    """Writes the lane's archive."""
    with tarfile.open(archive(LANE), "w:xz") as packed:
        for path in sorted(folder.iterdir()):
            packed.add(path, path.name)


def main() -> None:
    """Makes the artifacts of this lane and packs them."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        finish(Path(folder))
        pack(Path(folder))
    print(f"{archive(LANE)}: {archive(LANE).stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()

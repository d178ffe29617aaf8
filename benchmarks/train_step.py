"""The training step against torchvision's: pictures a second, both at the same work.

Both train the same detector (ResNet-FPN, torchvision's settings, frozen batch norm, the stem and
the first stage frozen) by SGD from random weights, on the same random pictures with the same boxes,
in processes of their own that take turns. What reads pictures is no part of it. CPU time is of the
whole process, so that other load on the machine matters little.

Command (a Python of its own, with torch and torchvision, is the peer's):
    python -m benchmarks.train_step --peer-python /path/to/python [--masks --height 512 ...]

Results are in train_step.md.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

NUM_CLASSES = 80
WARM_UP_STEPS = 2


def write_case(path: Path, pictures: int, height: int, width: int, objects: int) -> None:
    """Writes random pictures uint8 [N, H, W, 3], boxes [N, M, 4] yxyx, classes [N, M] from 1."""
    rng = np.random.default_rng(0)
    limits = np.array([height, width, height, width])
    corners = rng.uniform(0, 0.7, (pictures, objects, 2))
    far_corners = corners + rng.uniform(0.05, 0.3, corners.shape)
    np.savez(
        path,
        images=rng.integers(0, 256, (pictures, height, width, 3), np.uint8),
        boxes=(np.concatenate([corners, far_corners], axis=-1) * limits).astype(np.float32),
        classes=rng.integers(1, NUM_CLASSES + 1, (pictures, objects), np.int32),
    )


def our_steps(case_path: Path, backbone: str, with_masks: bool, jit: bool, threads: int) -> None:
    """Answers as train_step_torchvision.py does."""
    import tensorflow as tf

    from configs.model_schema import ModelConfig
    from model.batch import Batch, Masks
    from model.detector import build_detector
    from model.training.devices import set_up_device
    from model.training.distribution import Distribution
    from model.training.optimizers import Sgd
    from model.training.state import TrainState
    from model.training.step import TrainStep

    set_up_device(threads)
    case = np.load(case_path)
    boxes, count = case["boxes"], len(case["images"])
    all_rows = tf.fill(boxes.shape[:2], True)
    batch = Batch(
        images=tf.constant(case["images"]),
        image_sizes=tf.constant(np.tile(np.float32(case["images"].shape[1:3]), (count, 1))),
        image_ids=tf.range(count, dtype=tf.int64),
        valid=tf.fill([count], True),
        gt_boxes=tf.constant(boxes),
        gt_classes=tf.constant(case["classes"]),
        gt_valid=all_rows,
        gt_is_crowd=~all_rows,
    )
    settings: dict[str, Any] = {"preset": "torchvision", "backbone": {"name": backbone}}
    if with_masks:
        settings["mask_head"] = {}
        bitmaps = tf.ones([*boxes.shape[:2], 112, 112], tf.uint8)
        batch = batch._replace(gt_masks=Masks(bitmaps, batch.gt_boxes, all_rows))
    detector = build_detector(
        ModelConfig.model_validate(settings), NUM_CLASSES, seed=0, precision="float32", jit=jit
    )
    optimizer = Sgd(0.9, 0.0001)
    step = TrainStep(
        detector,
        TrainState(detector, optimizer, 1.0),
        optimizer,
        Distribution(),
        seed=0,
        jit=jit,
        clip_norm=0.0,
        decay_norms_and_biases=True,
        scales_loss=False,
    )
    number = 0
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(int(line)):
            step.report(step(batch, number, 0.0001, False))
            number += 1
        answer = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        print(json.dumps(answer), flush=True)


class Contestant:
    """A process that does steps when it is told to."""

    def __init__(self, command: list[str]) -> None:
        environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )
        self.steps(WARM_UP_STEPS)

    def steps(self, count: int) -> dict[str, float]:
        """Returns the CPU and wall seconds of so many steps."""
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException(f"{self._process.args[0]} ended; its message is above")
        return json.loads(line)

    def end(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


@click.command()
@click.option("--peer-python", type=click.Path(exists=True), help="Has torch and torchvision.")
@click.option("--backbone", default="resnet50", show_default=True)
@click.option("--masks", is_flag=True, help="Mask R-CNN.")
@click.option("--pictures", default=2, show_default=True)
@click.option("--height", default=512, show_default=True)
@click.option("--width", default=512, show_default=True)
@click.option("--objects", default=8, show_default=True, help="Of each picture.")
@click.option("--steps", default=3, show_default=True, help="Of a turn.")
@click.option("--turns", default=3, show_default=True, help="The median counts.")
@click.option("--threads", default=len(os.sched_getaffinity(0)), show_default=True)
@click.option("--jit", is_flag=True, help="Ours compiled by XLA.")
@click.option("--steps-of", "case_path", type=click.Path(path_type=Path), hidden=True)
def main(
    peer_python: str | None,
    backbone: str,
    masks: bool,
    pictures: int,
    height: int,
    width: int,
    objects: int,
    steps: int,
    turns: int,
    threads: int,
    jit: bool,
    case_path: Path | None,
) -> None:
    """Prints one JSON object: pictures a second of both, and the ratio."""
    if case_path:
        our_steps(case_path, backbone, masks, jit, threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        case_path = Path(folder) / "case.npz"
        write_case(case_path, pictures, height, width, objects)
        shared = ["--backbone", backbone, "--threads", str(threads), *["--masks"] * masks]
        ours = [sys.executable, "-m", "benchmarks.train_step", "--steps-of", str(case_path)]
        contestants = {"ours": Contestant([*ours, *shared, *["--jit"] * jit])}
        if peer_python:
            peer = [peer_python, str(Path(__file__).with_name("train_step_torchvision.py"))]
            peer += ["--case", str(case_path), "--num-classes", str(NUM_CLASSES)]
            contestants["torchvision"] = Contestant([*peer, *shared])
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
        for _ in range(turns):
            for name, contestant in contestants.items():
                runs[name].append(contestant.steps(steps))
        for contestant in contestants.values():
            contestant.end()
    result: dict[str, Any] = {"pictures": pictures, "size": [height, width], "threads": threads}
    for unit in ("cpu", "wall"):
        speeds = {
            name: sorted(pictures * steps / turn[unit] for turn in taken)
            for name, taken in runs.items()
        }
        for name, values in speeds.items():
            result[f"{name}_pictures_per_{unit}_second"] = [round(value, 3) for value in values]
        if peer_python:
            medians = [speeds[name][turns // 2] for name in ("ours", "torchvision")]
            result[f"ratio_{unit}"] = round(medians[0] / medians[1], 3)
    click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

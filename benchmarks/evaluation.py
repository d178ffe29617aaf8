"""Measures evaluation against pycocotools alone, from small cases to one of val2017's size.

    python -m benchmarks.evaluation --case 100 5000 --case 5000 500000

Two models' detections are made; each way evaluates both in a process of its own, ours with the
paired bootstrap between them: of as many resamples as the gate draws of a set of that size, and of
all that are asked for. Time is the processes' own (user and system), memory their peak.
"""

import hashlib
import json
import resource
import subprocess
import sys
import time
from typing import Any

import click
import numpy as np

from components.coco_evaluator.paired import Chance
from configs.metric_names import METRIC_NAMES
from configs.schema import EvaluateConfig
from model.evaluation.coco_numbers import measure
from model.evaluation.ground_truth import GroundTruth

_CLASSES = 80
_SIDES = np.array([640.0, 480.0])
_CASES = ((20, 1_000), (500, 50_000), (5_000, 500_000))
_BOOTSTRAP, _WHOLE = "hotcoco and bootstrap", "hotcoco and every resample"
_WAYS = ("nothing", "pycocotools", "hotcoco", _BOOTSTRAP, _WHOLE)


@click.command(epilog="Example: python -m benchmarks.evaluation --case 500 50000")
@click.option(
    "--case",
    "cases",
    type=(int, int),
    multiple=True,
    default=_CASES,
    show_default=True,
    help="Pictures, and detections of each model; again for more cases.",
)
@click.option("--resamples", default=1000, show_default=True)
@click.option("--way", type=click.Choice(_WAYS), help="Of one process.", hidden=True)
def main(cases: tuple[tuple[int, int], ...], resamples: int, way: str | None) -> None:
    """Prints a table of each way's time and memory."""
    if way is not None:
        click.echo(json.dumps(_measured(way, *cases[0], resamples)))
        return
    click.echo(
        "| pictures | detections | both models by | wall s | share | processor s | share "
        "| peak MB beyond the data | share | equal |"
    )
    click.echo("|---|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        rows = {name: _row_of(name, case, resamples) for name in _WAYS}
        judge, data = rows["pycocotools"], rows["nothing"]["peak_mb"]
        for name in _WAYS[1:]:
            row = rows[name]
            memory = row["peak_mb"] - data
            click.echo(
                f"| {case[0]:,} | {case[1]:,} | {name} "
                f"| {row['seconds']:.2f} | {row['seconds'] / judge['seconds']:.3f} "
                f"| {row['cpu']:.2f} | {row['cpu'] / judge['cpu']:.3f} "
                f"| {memory:.0f} | {memory / (judge['peak_mb'] - data):.2f} "
                f"| {'yes' if row['digest'] == judge['digest'] else 'no'} |"
            )


def _row_of(way: str, case: tuple[int, int], resamples: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.evaluation", "--way", way]
    command += ["--case", *map(str, case), "--resamples", str(resamples)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _measured(way: str, pictures: int, detections: int, resamples: int) -> dict[str, Any]:
    truth, models = _case(pictures, detections)
    started, cpu = time.perf_counter(), time.process_time()
    found: list[Any] = []
    if way != "nothing":
        evaluator: Any = "pycocotools" if way == "pycocotools" else "hotcoco"
        found = [measure(truth, model, evaluator=evaluator) for model in models]
    if way in (_BOOTSTRAP, _WHOLE):
        _bootstrap([one.matches for one in found], truth, resamples, way == _WHOLE)
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "digest": _digest(found),
    }


def _digest(found: list[Any]) -> str:
    """Returns what stands for all numbers and all matches, to the last bit."""
    digest = hashlib.sha256()
    for one in found:
        content = one.metrics.to_dict() | {"evaluators": None}
        digest.update(json.dumps(content, sort_keys=True).encode())
        for matches in one.matches.values():
            for name, column in vars(matches).items():
                digest.update(name.encode() + column.tobytes())
    return digest.hexdigest()


def _bootstrap(matches: list[Any], truth: GroundTruth, resamples: int, is_whole: bool) -> None:
    """Compares the means and every class by the paired bootstrap, as the gate does."""
    chance = Chance(matches[0], EvaluateConfig(resamples=resamples))
    if is_whole:
        chance.counts = dict.fromkeys(chance.counts, resamples)
    classes = sorted(c["id"] for c in truth.categories)
    deviations = chance.against(matches[1], classes)
    for name in METRIC_NAMES:
        for ids in (None, classes):
            if deviations(f"box/{name}", ids) is None:
                raise click.ClickException("too few pictures for resamples")


def _case(pictures: int, detections: int) -> tuple[GroundTruth, list[list[dict[str, Any]]]]:
    """Returns objects as numerous as val2017's, and what two models find of them."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, _CLASSES + 1) ** 0.9
    shares /= shares.sum()
    image = np.repeat(np.arange(pictures), rng.poisson(7.3, pictures))
    present = [rng.choice(_CLASSES, 4, replace=False, p=shares) for _ in range(pictures)]
    category = np.array([rng.choice(present[n]) for n in image])
    sides = np.minimum(np.exp(rng.normal(4, 1, (len(image), 2))), _SIDES - 40)
    corners = rng.uniform(0, 1, sides.shape) * (_SIDES - sides)
    boxes = np.hstack([corners, sides]).round(2)
    crowd = rng.random(len(image)) < 0.012
    objects = [
        {
            "id": n + 1, "image_id": int(image[n]) + 1, "category_id": int(category[n]) + 1,
            "bbox": boxes[n].tolist(), "area": float(boxes[n, 2:].prod()), "iscrowd": int(crowd[n]),
        }
        for n in range(len(image))
    ]  # fmt: skip
    images = [
        {"id": n + 1, "width": 640, "height": 480, "file_name": f"{n}.jpg"} for n in range(pictures)
    ]
    categories = [{"id": k + 1, "name": f"class {k}"} for k in range(_CLASSES)]
    models = [
        _found(seed, image, category, boxes, present, detections // pictures) for seed in (1, 2)
    ]
    return GroundTruth(images, objects, categories), models


def _found(
    seed: int,
    image: np.ndarray,
    category: np.ndarray,
    boxes: np.ndarray,
    present: list[np.ndarray],
    per_picture: int,
) -> list[dict[str, Any]]:
    """Returns detections: some near each object, the better the surer, and many false ones."""
    rng = np.random.default_rng(seed)
    bounds = np.searchsorted(image, np.arange(len(present) + 1))
    result = []
    for n, classes in enumerate(present):
        mine = np.arange(bounds[n], bounds[n + 1])
        near = np.repeat(mine, rng.integers(1, 5, len(mine)))[:per_picture]
        error = rng.gamma(1.2, 0.06, (len(near), 1))
        moved = boxes[near] + rng.normal(size=(len(near), 4)) * error * np.tile(boxes[near, 2:], 2)
        score = np.clip(1 - 3 * error[:, 0] + rng.normal(0, 0.15, len(near)), 0.01, 0.99)
        rest = per_picture - len(near)
        sides = np.minimum(np.exp(rng.normal(4, 1, (rest, 2))), _SIDES - 40)
        others = np.hstack([rng.uniform(0, 1, sides.shape) * (_SIDES - sides), sides])
        all_boxes = np.maximum(np.vstack([moved, others]), [-1e4, -1e4, 1, 1]).round(4)
        kinds = np.concatenate([category[near], rng.choice(classes, rest)])
        scores = np.concatenate([score, rng.beta(1, 12, rest)]).round(6)
        result += [
            {"image_id": n + 1, "category_id": int(k) + 1, "bbox": box.tolist(), "score": float(s)}
            for k, box, s in zip(kinds, all_boxes, scores, strict=True)
        ]
    return result


if __name__ == "__main__":
    main()

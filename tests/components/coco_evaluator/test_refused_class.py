"""A better mean with a worse class is refused, and the first model stays served."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from components.coco_evaluator.evaluation import detected_of_file, evaluate_to_folder
from components.coco_evaluator.judgement import Detected, Pushed
from components.model_pusher.__main__ import main as push_main
from configs.schema import EvaluateConfig
from model.evaluation.ground_truth import GroundTruth
from model.model_folder import files_digest, read_model_id
from tests.components.coco_evaluator.conftest import CATEGORIES

PICTURES = 60
CLASSES = tuple({"id": c["id"], "name": c["name"]} for c in CATEGORIES)
DOG, TOOTHBRUSH = (c["id"] for c in CLASSES)
SETTINGS = EvaluateConfig(
    thresholds=[
        {"metric": "box/AP", "min": 0.2, "max_drop": 0.0},
        {"metric": "box/AP", "classes": "all", "min_objects": 20, "max_drop": 0.02,
         "confidence": 0.95},
    ]
)  # fmt: skip


class SyntheticSource:
    """60 pictures with three objects of each of two classes, and no picture files."""

    name, digest, split, reading, has_pictures = "synthetic", None, None, {}, False

    def __init__(self):
        images = [{"id": n, "file_name": f"{n}.png", "height": 400, "width": 400}
                  for n in range(1, PICTURES + 1)]  # fmt: skip
        objects = [
            {"image_id": image["id"], "category_id": category, "iscrowd": 0, "area": 2500.0,
             "bbox": [130.0 * n, 200.0 * (category == DOG), 50.0, 50.0]}
            for image in images for category in (DOG, TOOTHBRUSH) for n in range(3)
        ]  # fmt: skip
        numbered = [a | {"id": number} for number, a in enumerate(objects, 1)]
        self.ground_truth = GroundTruth(images, numbered, list(CLASSES))


def detections(source, seed, found):
    """Detections that find each class with the chance of `found`, with false ones among them."""
    rng = np.random.default_rng(seed)
    result = []
    for a in source.ground_truth.annotations:
        x, y, width, height = a["bbox"]
        if rng.random() >= found[a["category_id"]]:
            x = x + 60.0
        box = [x + rng.uniform(-2, 2), y + rng.uniform(-2, 2), width, height]
        score = round(float(rng.uniform(0.1, 1)), 4)
        result.append({"image_id": a["image_id"], "category_id": a["category_id"],
                       "bbox": box, "score": score})  # fmt: skip
    return result


def detected(source, seed, found, folder):
    return Detected(
        title="cells",
        model_id=read_model_id(folder),
        detections=detections(source, seed, found),
        kinds=("box",),
        model_digest=files_digest(folder),
        categories=CLASSES,
    )


@pytest.fixture
def pushed(tmp_path, make_model):
    """Evaluates and pushes; returns the decision and the push's result."""

    def run(candidate, baseline, folder, older=()):
        out = tmp_path / "evaluated"
        out.mkdir(exist_ok=True)
        decision = evaluate_to_folder(
            SyntheticSource(), candidate, Pushed(baseline, older=tuple(older)), SETTINGS, out
        ).decision
        arguments = ["--model", folder, "--decision", out / "decision.json",
                     "--folder", tmp_path / "serving", "--name", "cells"]  # fmt: skip
        return decision, CliRunner().invoke(push_main, list(map(str, arguments)))

    return run


def test_a_better_mean_with_a_worse_class_is_refused(tmp_path, make_model, pushed):
    source = SyntheticSource()
    first_model, second_model = make_model("first", 0.5), make_model("second", 0.75)
    first = detected(source, 0, {DOG: 0.7, TOOTHBRUSH: 0.5}, first_model)
    decision, result = pushed(first, None, first_model)
    assert decision.blessed, decision.reason
    assert result.exit_code == 0, result.output
    served = files_digest(tmp_path / "serving")

    second = detected(source, 1, {DOG: 0.35, TOOTHBRUSH: 0.95}, second_model)
    decision, result = pushed(second, first, second_model)

    mean, dog, toothbrush = [c for c in decision.comparisons if c.rule == "max_drop"]
    assert mean.candidate > mean.baseline + 0.05
    assert mean.passed and toothbrush.passed
    assert not dog.passed and dog.by_chance and dog.category == "dog"
    assert dog.interval[1] < -0.02 and dog.chance < 0.05
    assert decision.reason == dog.note
    assert "which is more than chance" in dog.note
    assert result.exit_code == 3
    assert files_digest(tmp_path / "serving") == served
    assert [p.name for p in (tmp_path / "serving/cells").iterdir() if p.name.isdigit()] == ["1"]

    page = (tmp_path / "evaluated/report.html").read_text()
    rows = page[page.index("Changes against the pushed model") :]
    assert rows.index("box, dog") < rows.index("box, toothbrush")  # the most harm first
    written = json.loads((tmp_path / "evaluated/decision.json").read_text())
    assert written["resamples"] == {"box": 1000}
    assert written["comparisons"][2]["interval"] == list(dog.interval)


def test_a_change_within_chance_stands_and_the_older_best_is_counted(tmp_path, make_model, pushed):
    source = SyntheticSource()
    models = [make_model(name, score) for name, score in (("a", 0.5), ("b", 0.6), ("c", 0.7))]
    chances = (
        {DOG: 0.9, TOOTHBRUSH: 0.9},
        {DOG: 0.6, TOOTHBRUSH: 0.6},
        {DOG: 0.61, TOOTHBRUSH: 0.61},
    )
    best, newest, candidate = (
        detected(source, 3, found, folder) for found, folder in zip(chances, models, strict=True)
    )

    decision, _ = pushed(candidate, newest, models[2])
    assert decision.blessed, decision.reason

    decision, result = pushed(candidate, newest, models[2], older=[best])
    assert not decision.blessed
    against = {c.against for c in decision.comparisons if not c.passed}
    assert against == {f"the earlier model {best.model_id[:12]}"}
    assert result.exit_code == 3


def test_detections_of_a_file_are_told_how_far_chance_goes(tmp_path):
    source = SyntheticSource()
    found = detections(source, 0, {DOG: 0.7, TOOTHBRUSH: 0.5})

    evaluate_to_folder(source, detected_of_file("f.json", found), Pushed(), SETTINGS, tmp_path)

    assert "Of other such 60 pictures box AP would lie within" in (
        (tmp_path / "report.html").read_text()
    )

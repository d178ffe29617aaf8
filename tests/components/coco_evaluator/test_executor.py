"""The executor on real artifacts, from examples that CocoExampleGen wrote."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from components.coco_evaluator.settings import CocoEvaluatorSettings
from components.coco_evaluator.sources import AnnotationsSource, ExamplesSource
from configs.schema import Config
from model.evaluation.coco_numbers import evaluate
from model.evaluation.results import read_detections
from model.model_folder import files_digest

pytestmark = pytest.mark.e2e


def make_examples(repo, data_dir, annotations, pictures, out):
    split = f"eval={annotations}:{pictures}"
    command = [sys.executable, "-m", "components.coco_example_gen", "--data-dir", str(data_dir)]
    subprocess.run([*command, "--split", split, "--out", str(out)], cwd=repo, check=True)
    return out / "examples"


def test_records_give_the_numbers_of_the_json(repo, shared_data, tmp_path):
    tiny = shared_data / "coco_tiny"
    annotations = "annotations/instances_val2017.json"
    examples = make_examples(repo, tiny, annotations, "val2017", tmp_path)
    from_records = ExamplesSource(examples, "eval").ground_truth
    from_json = AnnotationsSource(tiny / annotations).ground_truth

    for kind, coco_kind in (("box", "bbox"), ("mask", "segm")):
        detections = read_detections(shared_data / f"evaluator/awkward_{coco_kind}_results.json")
        ours = evaluate(from_records, detections, [kind]).numbers(kind)
        theirs = evaluate(from_json, detections, [kind]).numbers(kind)
        assert ours == pytest.approx(theirs, abs=1e-9)
        assert 0.2 < ours["AP"] < 0.4


@pytest.fixture
def do(tmp_path):
    """Runs the executor with fresh output artifacts; returns them by key."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what TFX imports
        from tfx.dsl.components.base.base_executor import BaseExecutor
        from tfx.types import standard_artifacts

        from components.artifacts import Evaluation
        from components.coco_evaluator.executor import Executor

    def artifact(kind, folder, number):
        made = kind()
        made.uri, made.id = str(folder), number
        return made

    def run(examples, model, baseline=None, **exec_properties):
        inputs = {
            "examples": [artifact(standard_artifacts.Examples, examples, 1)],
            "model": [artifact(standard_artifacts.Model, model, 2)],
        }
        if baseline is not None:
            pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed", 3)
            pushed.set_string_custom_property("pushed_destination", str(baseline))
            inputs["baseline_model"] = [pushed]
        outputs = {
            "evaluation": [artifact(Evaluation, tmp_path / "evaluation", 4)],
            "blessing": [artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing", 5)],
        }
        Executor(BaseExecutor.Context(tmp_dir=str(tmp_path))).Do(inputs, outputs, exec_properties)
        return {key: artifacts[0] for key, artifacts in outputs.items()}

    return run


def settings(*thresholds, **evaluate_section):
    section = {"thresholds": thresholds, **evaluate_section}
    return CocoEvaluatorSettings.of(Config(name="fake", evaluate=section)).to_json()


AT_LEAST = {"metric": "box/AP", "min": 0.9}
NO_DROP = {"metric": "box/AP", "max_drop": 0.0}


def test_a_model_is_blessed_with_tfxs_own_marks(do, repo, data, make_model, tmp_path):
    examples = make_examples(repo, data, "instances.json", "pictures", tmp_path / "o")
    model = tmp_path / "model"
    make_model("model/Format-Serving", 0.75)
    keep = str(tmp_path / "kept")

    made = do(examples, model, settings=settings(AT_LEAST), detections_dir=keep)

    blessing = made["blessing"]
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_string_custom_property("current_model") == str(model)
    assert blessing.get_int_custom_property("current_model_id") == 2
    assert [p.name for p in Path(blessing.uri).iterdir()] == ["BLESSED"]
    files = sorted(path.name for path in Path(made["evaluation"].uri).iterdir())
    assert files == [
        "analysis.json",
        "decision.json",
        "detections.json",
        "label_errors.json",
        "metrics.json",
        "report.html",
    ]
    assert len(list((tmp_path / "kept").rglob("*-eval-*.json"))) == 1
    decision = json.loads((Path(made["evaluation"].uri) / "decision.json").read_text())
    tied = {
        "model_digest": files_digest(model / "Format-Serving"),
        "examples_digest": json.loads((examples / "manifest.json").read_text())["digest"] + "-eval",
        "split": "eval",
        "decision_digest": decision["digest"],
    }
    assert {name: blessing.get_string_custom_property(name) for name in tied} == tied


def test_a_model_below_the_pushed_one_is_not_blessed(do, repo, data, make_model, tmp_path):
    examples = make_examples(repo, data, "instances.json", "pictures", tmp_path / "o")
    # Both models find the same, so nothing has dropped; but there are no small objects to find.
    model, pushed = make_model("model", 0.75), make_model("pushed", 0.5)

    small = {"metric": "box/APs", "min": 0.1}

    made = do(examples, model, pushed, settings=settings(small, NO_DROP), detections_dir="")

    blessing = made["blessing"]
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_int_custom_property("baseline_model_id") == 3
    assert [p.name for p in Path(blessing.uri).iterdir()] == ["NOT_BLESSED"]
    decision = json.loads((Path(made["evaluation"].uri) / "decision.json").read_text())
    assert [(c["rule"], c["passed"]) for c in decision["comparisons"]] == [
        ("min", False),
        ("max_drop", True),
    ]


def test_without_a_resolver_the_newest_other_pushed_model_is_the_baseline(
    do, repo, data, make_model, tmp_path
):
    examples = make_examples(repo, data, "instances.json", "pictures", tmp_path / "o")
    model = make_model("model", 0.75)
    make_model("served/fake/1", 0.5)
    make_model("served/fake/2", 0.75)  # the candidate itself, pushed by an earlier run

    made = do(
        examples,
        model,
        settings=settings(AT_LEAST, NO_DROP),
        detections_dir=str(tmp_path / "kept"),
        push_folder=str(tmp_path / "served"),
    )

    decision = json.loads((Path(made["evaluation"].uri) / "decision.json").read_text())
    [against_pushed] = [c for c in decision["comparisons"] if c["rule"] == "max_drop"]
    assert against_pushed["baseline"] is not None
    assert len(list((tmp_path / "kept").rglob("*-eval-*.json"))) == 2

    # On Vertex an input names what was pushed last, the candidate itself here: it decides nothing.
    for name in ("evaluation", "blessing"):
        shutil.rmtree(tmp_path / name)
    made = do(
        examples,
        model,
        tmp_path / "served/fake/2",
        settings=settings(AT_LEAST, NO_DROP),
        detections_dir=str(tmp_path / "kept"),
        push_folder=str(tmp_path / "served"),
        baseline_from="push_folder",
    )
    again = json.loads((Path(made["evaluation"].uri) / "decision.json").read_text())
    assert again["comparisons"] == decision["comparisons"]
    assert not made["blessing"].get_int_custom_property("baseline_model_id")


@pytest.mark.parametrize("baseline_from", ["push_folder", "resolver"])
def test_a_served_version_that_cannot_be_used_closes_the_gate(
    do, repo, data, make_model, tmp_path, baseline_from
):
    examples = make_examples(repo, data, "instances.json", "pictures", tmp_path / "o")
    model = make_model("model", 0.75)
    make_model("served/fake/1", 0.5)
    (tmp_path / "served/fake/2").mkdir()  # of another origin: no model of ours
    given = {"push_folder": str(tmp_path / "served"), "baseline_from": baseline_from}
    baseline = tmp_path / "served/fake/1" if baseline_from == "resolver" else None

    made = do(examples, model, baseline, settings=settings(AT_LEAST, NO_DROP), **given)

    decision = json.loads((Path(made["evaluation"].uri) / "decision.json").read_text())
    assert made["blessing"].get_int_custom_property("blessed") == 0
    assert [f["kind"] for f in decision["findings"]] == ["unusable_baseline"]
    assert "served/fake/2" in decision["reason"]

    ignoring = settings(AT_LEAST, NO_DROP, on_unusable_baseline="ignore")
    shutil.rmtree(tmp_path / "evaluation")
    shutil.rmtree(tmp_path / "blessing")
    made = do(examples, model, baseline, settings=ignoring, **given)

    decision = json.loads((Path(made["evaluation"].uri) / "decision.json").read_text())
    assert decision["blessed"] is True
    assert decision["comparisons"][1]["baseline"] is not None

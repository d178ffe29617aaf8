"""What blesses no model, through the command: the reason stands in decision, report, screen."""

import json
import re
import shutil

import pytest
from click.testing import CliRunner

from components.coco_evaluator import __main__ as command
from components.coco_evaluator import evaluation
from components.coco_evaluator.__main__ import main
from components.coco_evaluator.serving_check import Served
from components.model_pusher.__main__ import main as push_main
from components.model_pusher.registry import push
from components.model_pusher.rollback import roll_back
from ground.errors import ModelError
from model.model_folder import files_digest
from tests.components.coco_evaluator.conftest import CATEGORIES, COSTS
from tests.components.model_pusher.fake_model import damage

DOG, TOOTHBRUSH = CATEGORIES
SWAPPED = [DOG | {"name": "toothbrush"}, TOOTHBRUSH | {"name": "dog"}]


def run(command, *arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


@pytest.fixture
def evaluate(tmp_path, data):
    """Runs the command with a threshold on the data; returns its result and its decision."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "name: fake\nmodel: {mask_head: {}}\nevaluate:\n  thresholds:\n"
        "    - {metric: box/AP50, min: 0.5, max_drop: 0.1}\n"
    )
    truth = ["--annotations", data / "instances.json", "--pictures", data / "pictures"]

    def evaluate_with(*arguments, out=tmp_path / "out"):
        given = [*truth, "--config", config, "--require-blessed", "--out", out, *arguments]
        result = run(main, *given)
        path = out / "decision.json"
        return result, json.loads(path.read_text()) if path.exists() else None

    return evaluate_with


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def assert_refused(result, decision, kind, words):
    """The verdict, the screen and the report say why, in the same words."""
    assert result.exit_code == 3, result.output
    assert decision["blessed"] is False
    finding = next(f for f in decision["findings"] if f["kind"] == kind)
    assert finding["closes_gate"]
    assert re.search(words, finding["note"])
    assert decision["reason"].startswith(finding["note"])
    assert f"finding: {finding['note']}" in result.stdout


def test_a_sound_evaluation_blesses_and_says_what_it_is_about(tmp_path, make_model, evaluate):
    model, old = make_model("model", 0.75), make_model("old", 0.5)

    result, decision = evaluate("--model", model, "--baseline", old)

    assert result.exit_code == 0, result.output
    assert decision["findings"] == []
    assert decision["model_digest"] == files_digest(model)
    assert decision["baseline"]["model_digest"] == files_digest(old)
    assert decision["baseline"]["category_ids"] == [18, 90]
    assert decision["narrowing"] is None
    assert decision["settings"]["thresholds"][0]["max_drop"] == 0.1
    assert set(decision["data"]) == {"name", "digest", "split", "ground_truth_digest"}
    words = "How far chance alone moves box AP cannot be told: fewer than 10 pictures have objects"
    assert words in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    "narrowing", [["--image-ids", "one.txt"], ["--category-ids", "90"], ["--class-agnostic"]]
)
def test_a_narrowed_evaluation_never_blesses(
    tmp_path, make_model, evaluate, narrowing, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.txt").write_text("1")  # a picture in which the model is right

    result, decision = evaluate("--model", make_model("model", 0.75), *narrowing)

    assert_refused(result, decision, "narrowed", "the evaluation was narrowed")
    assert all(comparison["passed"] for comparison in decision["comparisons"])
    assert decision["narrowing"] is not None
    assert "the evaluation was narrowed" in (tmp_path / "out/report.html").read_text()


def test_detections_of_a_file_bless_no_model(tmp_path, make_model, evaluate):
    evaluate("--model", make_model("model", 0.75), out=tmp_path / "first")

    result, decision = evaluate("--detections", tmp_path / "first/detections.json")

    assert_refused(result, decision, "no_model", "nothing ties them to a model")


@pytest.mark.parametrize(
    "kind",
    [
        "model id emptied",
        "model id gone",
        "categories emptied",
        "config a word",
        "graph gone",
        "graph changed",
        "a link that leads nowhere",
    ],
)
def test_a_baseline_that_cannot_be_used_closes_the_gate(make_model, evaluate, kind):
    model, old = make_model("model", 0.75), make_model("old", 0.5)
    damage(kind, old)
    arguments = ["--model", model, "--baseline", old]

    result, decision = evaluate(*arguments)
    assert_refused(result, decision, "unusable_baseline", "old")
    assert decision["baseline"] is None

    ignored = ["--set", "evaluate.on_unusable_baseline=ignore"]
    result, decision = evaluate(*arguments, *ignored)
    assert result.exit_code == 0, result.output
    assert "it was ignored" in decision["findings"][0]["note"]
    assert "note: the pushed model cannot be compared with" in result.stdout


@pytest.mark.parametrize("part", ["variables", "variables/variables.index", "cut"])
def test_a_baseline_without_its_weights_closes_the_gate(make_model, evaluate, part):
    model, old = make_model("model", 0.75), make_model("old", 0.5)
    if part == "cut":
        weights = old / "variables/variables.data-00000-of-00001"
        weights.write_bytes(weights.read_bytes()[:-1])
    elif (old / part).is_dir():
        shutil.rmtree(old / part)
    else:
        (old / part).unlink()

    result, decision = evaluate("--model", model, "--baseline", old)

    assert_refused(result, decision, "unusable_baseline", "old")


def test_the_newest_version_is_the_baseline_also_where_it_is_none(tmp_path, make_model, evaluate):
    make_model("served/1", 0.5)
    (tmp_path / "served/2").mkdir()

    result, decision = evaluate(
        "--model", make_model("model", 0.75), "--baseline", tmp_path / "served"
    )

    assert_refused(result, decision, "unusable_baseline", "served/2: the newest version holds no")


def test_a_baseline_that_is_not_there_is_an_error(tmp_path, make_model, evaluate):
    result, _ = evaluate("--model", make_model("model", 0.75), "--baseline", tmp_path / "absent")

    assert result.exit_code == 1
    assert "absent: no such model folder" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_is_not_compared_with_itself(make_model, evaluate):
    model = make_model("model", 0.75)

    result, decision = evaluate("--model", model, "--baseline", model)

    assert_refused(result, decision, "own_baseline", "the baseline is this very model")


def test_swapped_names_close_the_gate(make_model, evaluate):
    # The boxes, the ids and so the numbers are the same; only what they are called is not.
    model, old = make_model("model", 0.75), make_model("old", 0.5, SWAPPED)

    result, decision = evaluate("--model", model, "--baseline", old)

    assert_refused(result, decision, "class_moved", "class 18 'toothbrush' .* has moved to id 90")
    kinds = [f["kind"] for f in decision["findings"]]
    assert kinds == ["class_moved", "class_moved", "fewer_classes_compared"]

    result, decision = evaluate(
        "--model", model, "--baseline", old, "--set", "evaluate.on_changed_classes=accept"
    )
    assert result.exit_code == 0, result.output
    assert decision["comparisons"][1]["note"] == "box/AP50 has no baseline to be compared with"


def test_names_that_are_not_the_datas_close_the_gate(make_model, evaluate):
    result, decision = evaluate("--model", make_model("model", 0.75, SWAPPED))

    assert_refused(
        result, decision, "class_not_of_data", "class 18 is 'toothbrush' in the model and 'dog'"
    )


def test_a_new_class_is_said_and_the_others_are_compared(make_model, evaluate, data):
    old = make_model("old", 0.5, [DOG, TOOTHBRUSH | {"id": 90, "label": 2}])
    cow = {"id": 91, "name": "cow", "label": 3}
    rewrite(data / "instances.json", lambda c: c["categories"].append({"id": 91, "name": "cow"}))

    result, decision = evaluate(
        "--model", make_model("model", 0.75, [DOG, TOOTHBRUSH, cow]), "--baseline", old
    )

    assert result.exit_code == 0, result.output
    assert [f["kind"] for f in decision["findings"]] == ["class_new", "fewer_classes_compared"]
    assert decision["baseline"]["category_ids"] == [18, 90]
    assert "class 91 'cow' is new" in result.stdout
    assert "over the 2 of 3 classes that both know" in result.stdout


def test_a_class_that_is_gone_closes_the_gate(make_model, evaluate, data):
    old = make_model("old", 0.5)
    rewrite(data / "instances.json", lambda c: c["categories"].pop(0))
    model = make_model("model", 0.75, [TOOTHBRUSH | {"label": 2}, DOG | {"id": 90, "label": 1}])
    rewrite(model / "assets/categories.json", lambda c: c.pop(1))

    result, decision = evaluate("--model", model, "--baseline", old)

    assert_refused(result, decision, "class_gone", "class 18 'dog' of the pushed model is not kn")


def test_more_objects_than_count_are_said_and_can_be_counted(tmp_path, data, evaluate):
    boxes = [[4 * (n % 20), 4 * (n // 20), 4, 3] for n in range(250)]
    image = {"id": 9, "file_name": "1.png", "height": 50, "width": 80}
    objects = [
        {"id": n, "image_id": 9, "category_id": 90, "bbox": box, "area": 12, "iscrowd": 0}
        for n, box in enumerate(boxes, 1)
    ]
    rewrite(data / "instances.json", lambda c: c.update(images=[image], annotations=objects))
    perfect = [{"image_id": 9, "category_id": 90, "bbox": box, "score": 0.9} for box in boxes]
    (tmp_path / "found.json").write_text(json.dumps(perfect))
    arguments = ["--detections", tmp_path / "found.json"]

    result, _ = evaluate(*arguments)
    numbers = json.loads((tmp_path / "out/metrics.json").read_text())
    assert numbers["box"]["AP"] == pytest.approx(41 / 101)  # recall 0 ... 0.4
    assert "note: 1 picture holds more objects of a class than the 100 detections" in result.stdout
    assert "evaluate.max_detections: 250" in (tmp_path / "out/report.html").read_text()

    result, _ = evaluate(*arguments, "--set", "evaluate.max_detections=250")
    numbers = json.loads((tmp_path / "out/metrics.json").read_text())
    defined = ("AP", "AP50", "AP75", "APs", "AR100", "ARs")
    assert [numbers["box"][name] for name in defined] == [pytest.approx(1.0)] * len(defined)
    assert numbers["box"]["AR1"] == pytest.approx(1 / 250)
    assert numbers["max_detections"] == 250
    assert "more objects of a class" not in result.stdout


def test_what_was_evaluated_is_pushed_and_nothing_else(tmp_path, make_model, evaluate):
    model = make_model("model", 0.75)
    evaluate("--model", model)
    decision = tmp_path / "out/decision.json"
    push = ["--model", model, "--decision", decision, "--folder", tmp_path / "s", "--name", "cells"]
    assert run(push_main, *push).exit_code == 0

    other = make_model("other", 0.5)
    shutil.copytree(other / "variables", model / "variables", dirs_exist_ok=True)
    result = run(push_main, *push)

    assert result.exit_code == 3
    assert "its files are not those that were evaluated" in result.stderr
    assert not (tmp_path / "s/cells/2").exists()


def test_a_version_that_changed_since_its_push_is_no_baseline(tmp_path, make_model, evaluate):
    old = make_model("old", 0.75)
    evaluate("--model", old)
    run(push_main, "--model", old, "--decision", tmp_path / "out/decision.json",
        "--folder", tmp_path / "s", "--name", "cells")  # fmt: skip
    other = make_model("other", 0.25)
    served = tmp_path / "s/cells/1"
    shutil.copytree(other / "variables", served / "variables", dirs_exist_ok=True)

    result, decision = evaluate(
        "--model", make_model("model", 0.5), "--baseline", tmp_path / "s/cells"
    )

    assert_refused(result, decision, "unusable_baseline", "files have changed since it was pushed")


def test_a_picture_that_cannot_be_read_is_named_and_the_others_go_on(
    tmp_path, data, make_model, evaluate
):
    (data / "pictures/2.png").write_bytes(b"no picture")
    model, old = make_model("model", 0.75), make_model("old", 0.5)

    result, decision = evaluate("--model", model, "--baseline", old)

    assert result.exit_code == 1
    notes = [f["note"] for f in decision["findings"] if f["kind"] == "failed_pictures"]
    assert [note.startswith("1 picture could not be measured with the") for note in notes] == [
        True
    ] * 2
    assert decision["blessed"] is False
    assert decision["reason"].startswith(notes[0])
    assert "2.png" in result.stdout
    found = json.loads((tmp_path / "out/detections.json").read_text())
    assert {detection["image_id"] for detection in found} == {1, 3}
    assert "2.png" in (tmp_path / "out/report.html").read_text()


def test_a_picture_that_only_the_report_wants_is_named_there(tmp_path, data, evaluate):
    (data / "pictures/2.png").unlink()
    (tmp_path / "found.json").write_text("[]")

    result, _ = evaluate("--detections", tmp_path / "found.json")

    assert result.exit_code == 3, result.output
    page = (tmp_path / "out/report.html").read_text()
    assert "<dt>Not shown</dt>" in page
    assert 'alt="objects in 1.png"' in page


VERDICT = (
    "analysis.json",
    "decision.json",
    "detections.json",
    "label_errors.json",
    "metrics.json",
    "report.html",
    "summary.json",
)


@pytest.mark.parametrize("failure", ["weights", "annotations", "no model", "baseline"])
def test_a_run_that_fails_leaves_no_older_verdict(tmp_path, data, make_model, evaluate, failure):
    model = make_model("model", 0.75)
    assert evaluate("--model", model)[0].exit_code == 0
    assert all((tmp_path / "out" / name).exists() for name in VERDICT)

    arguments = ["--model", model]
    if failure == "weights":
        (model / "variables").rename(tmp_path / "weights")
    elif failure == "annotations":
        shutil.copy(data / "instances.json", tmp_path / "sound.json")
        (data / "instances.json").write_text("{}")
    elif failure == "no model":
        arguments = ["--model", tmp_path / "absent"]
    else:
        arguments += ["--baseline", tmp_path / "absent"]
    result, _ = evaluate(*arguments)

    assert result.exit_code == 1
    assert [name for name in VERDICT if (tmp_path / "out" / name).exists()] == []

    if failure == "weights":
        (tmp_path / "weights").rename(model / "variables")
    elif failure == "annotations":
        shutil.copy(tmp_path / "sound.json", data / "instances.json")
    assert evaluate("--model", model)[0].exit_code == 0
    assert all((tmp_path / "out" / name).exists() for name in VERDICT)


def test_limits_on_costs_are_kept(make_model, evaluate):
    limits = "evaluate.limits={size_mb: 2, load_s: 2, latency_p50_ms: 5, memory_mb: 699}"

    result, decision = evaluate("--model", make_model("model", 0.75), "--set", limits)

    assert result.exit_code == 3, result.output
    assert decision["costs"] == COSTS
    passed = {c["metric"]: c["passed"] for c in decision["comparisons"] if c["rule"] == "max"}
    assert passed == {"size_mb": True, "load_s": True, "memory_mb": False, "latency_p50_ms": True}
    assert decision["reason"] == "memory_mb 700 exceeds the limit 699"


@pytest.mark.parametrize("is_dead", [False, True])
def test_a_model_that_does_otherwise_where_it_is_served_is_not_blessed(
    tmp_path, make_model, evaluate, monkeypatch, is_dead
):
    words = "crashes in a process of its own, when it is shown a tiny PNG: SIGSEGV"
    served = Served((words,), is_dead, COSTS)
    monkeypatch.setattr(evaluation, "check_served", lambda *a, **k: served)

    result, decision = evaluate("--model", make_model("model", 0.75))

    end = ": nothing was measured with it" if is_dead else ""
    assert decision["reason"].startswith(f"the model {words}{end}")
    assert [f["kind"] for f in decision["findings"]] == ["unservable"]
    assert words in (tmp_path / "out/report.html").read_text()
    assert result.exit_code == (1 if is_dead else 3)
    assert (json.loads((tmp_path / "out/detections.json").read_text()) == []) is is_dead
    where = ["--decision", tmp_path / "out/decision.json", "--folder", tmp_path / "served"]
    assert run(push_main, "--model", tmp_path / "model", *where, "--name", "cells").exit_code == 3


def test_a_candidate_that_was_rolled_back_from_is_refused(tmp_path, make_model, evaluate):
    folders = [make_model(name, score) for name, score in (("a", 0.5), ("b", 0.6))]
    for folder in folders:
        push(folder, tmp_path / "served", "cells", files_digest(folder))
    roll_back(tmp_path / "served", "cells", 1, "Ada", "dogs are lost")

    served = tmp_path / "served/cells"
    result, decision = evaluate("--model", folders[1], "--baseline", served)
    assert_refused(result, decision, "rolled_back", "version 3 took its place .* dogs are lost")
    assert decision["baseline"]["push"]["rollback"]["by"] == "Ada"

    result, decision = evaluate("--model", make_model("c", 0.75), "--baseline", served)
    assert result.exit_code == 0, result.output
    [finding] = decision["findings"]
    assert finding["kind"] == "by_a_person"
    assert "version 3, is version 1 again, rolled back by Ada" in finding["note"]
    assert decision["older"] == []  # version 2 counts no more


def test_a_baseline_that_a_person_blessed_is_said(tmp_path, make_model, evaluate):
    old = make_model("old", 0.5)
    word = {"by": "Ada", "because": "rare classes", "reason": "box/AP", "when": "2026-11-30"}
    push(old, tmp_path / "served", "cells", files_digest(old), {"override": word})

    result, decision = evaluate(
        "--model", make_model("model", 0.75), "--baseline", tmp_path / "served/cells"
    )

    assert result.exit_code == 0, result.output
    words = "is blessed by Ada on 2026-11-30 against the gate (box/AP): rare classes"
    assert words in decision["findings"][0]["note"]
    assert decision["baseline"]["push"]["override"]["by"] == "Ada"
    assert words in (tmp_path / "out/report.html").read_text()


def test_an_older_model_that_cannot_be_measured_is_said(
    tmp_path, make_model, evaluate, monkeypatch
):
    for version, score in enumerate((0.4, 0.5), 1):
        make_model(f"served/{version}", score)
    detect = command.detect_with_model

    def failing(folder, *arguments):
        if folder.name == "1":
            raise ModelError(f"{folder}: cannot be loaded")
        return detect(folder, *arguments)

    monkeypatch.setattr(command, "detect_with_model", failing)
    result, decision = evaluate(
        "--model", make_model("model", 0.75), "--baseline", tmp_path / "served"
    )

    assert result.exit_code == 0, result.output
    [finding] = decision["findings"]
    assert (finding["kind"], finding["closes_gate"]) == ("unmeasured_older", False)
    assert "served/1: cannot be loaded" in finding["note"]
    assert "a drop is not counted against it" in (tmp_path / "out/report.html").read_text()


def test_where_the_newest_cannot_be_measured_the_one_before_it_is_met_if_that_is_asked_for(
    tmp_path, make_model, evaluate, monkeypatch
):
    for version, score in enumerate((0.3, 0.8, 0.5), 1):
        make_model(f"served/{version}", score)
    detect = command.detect_with_model

    def failing(folder, *arguments):
        if folder.name == "3":
            raise ModelError(f"{folder}: cannot be loaded")
        return detect(folder, *arguments)

    monkeypatch.setattr(command, "detect_with_model", failing)
    arguments = ["--model", make_model("model", 0.75), "--baseline", tmp_path / "served"]

    result, decision = evaluate(*arguments)
    assert_refused(result, decision, "unusable_baseline", "served/3: cannot be loaded")
    assert decision["baseline"] is None

    result, decision = evaluate(*arguments, "--set", "evaluate.on_unusable_baseline=ignore")
    before = files_digest(tmp_path / "served/2")
    assert decision["baseline"]["model_digest"] == before, result.output
    assert len(decision["older"]) == 1
    assert "served/3: cannot be loaded; it was ignored" in decision["findings"][0]["note"]


def test_models_pushed_before_the_newest_are_measured_too(tmp_path, make_model, evaluate):
    for version, score in enumerate((0.3, 0.4, 0.5, 0.6), 1):
        make_model(f"served/{version}", score)
    arguments = ["--model", make_model("model", 0.75), "--baseline", tmp_path / "served"]

    result, decision = evaluate(*arguments)
    assert result.exit_code == 0, result.output
    assert len(decision["older"]) == 2  # with the newest, the last 3
    assert decision["older"][0]["box"]["AP50"] == decision["baseline"]["box"]["AP50"]

    result, decision = evaluate(*arguments, "--set", "evaluate.best_of_last=1")
    assert decision["older"] == []

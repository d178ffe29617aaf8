import json
import re

import pytest
from click.testing import CliRunner

from components.coco_evaluator.__main__ import main
from model.examples import Split, write_manifest

NO_RECORDS = Split(records=0, objects=0, shards=[])
BOTH_KINDS = "name: fake\nmodel: {mask_head: {}}\nevaluate:\n  thresholds:\n"


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def read(folder, name):
    return json.loads((folder / name).read_text())


@pytest.fixture
def truth(data):
    return ["--annotations", data / "instances.json", "--pictures", data / "pictures"]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        BOTH_KINDS + "    - {metric: box/AP, min: 0.5}\n    - {metric: mask/AP, max_drop: 0.01}\n"
    )
    return path


def test_a_model_is_measured_and_blessed(tmp_path, make_model, truth, config):
    out = tmp_path / "out"
    model = make_model("model", 0.75)

    result = run("--model", model, *truth, "--config", config, "--out", out)

    assert result.exit_code == 0, result.output
    # Both toothbrushes are found at 0.75, and so is one in picture 3, which has none: precision is
    # 1 at recall 0 ... 1 if the false one ranks last; COCOeval keeps the pictures' order.
    metrics = read(out, "metrics.json")
    assert metrics["box"]["AP50"] == pytest.approx(1.0)
    assert metrics["mask"]["AR100"] == pytest.approx(1.0)
    assert metrics["counts"] == {"pictures": 3, "objects": 2, "crowds": 0, "detections": 6}
    decision = read(out, "decision.json")
    assert decision["blessed"] is True
    assert [c["passed"] for c in decision["comparisons"]] == [True, True]
    assert decision["model_id"] == read(model, "assets.extra/model_id.json")["model_id"]
    detections = read(out, "detections.json")
    assert [d["image_id"] for d in detections] == [1, 1, 2, 2, 3, 3]
    assert read(out, "summary.json")["metrics"]["box"] == metrics["box"]


def test_detections_stand_in_for_the_model_and_give_the_same(tmp_path, make_model, truth, config):
    first, second = tmp_path / "first", tmp_path / "second"
    run("--model", make_model("model", 0.75), *truth, "--out", first)

    result = run("--detections", first / "detections.json", *truth[:2], "--out", second)

    assert result.exit_code == 0, result.output
    assert read(second, "metrics.json") == read(first, "metrics.json")
    assert read(second, "decision.json")["reason"] == "no thresholds are set (evaluate.thresholds)"


def test_a_drop_below_the_baseline_is_refused(tmp_path, make_model, truth, config):
    model, old = tmp_path / "bad.json", make_model("old", 0.75)
    model.write_text(
        json.dumps([{"image_id": 1, "category_id": 90, "bbox": [0, 0, 80, 50], "score": 0.5}])
    )
    arguments = ["--detections", model, *truth, "--config", config, "--baseline", old]

    result = run(*arguments, "--set", "evaluate.thresholds=[{metric: box/AP, max_drop: 0.1}]",
                 "--require-blessed", "--out", tmp_path / "out")  # fmt: skip

    assert result.exit_code == 3
    decision = read(tmp_path / "out", "decision.json")
    (comparison,) = decision["comparisons"]
    assert comparison["candidate"] == pytest.approx(51 / 101)  # recall 0 ... 0.5 of 101 points
    assert comparison["baseline"] == pytest.approx(1.0)
    assert decision["baseline"]["box"]["AP"] == comparison["baseline"]
    assert "0.4950 below the pushed model's 1.0000" in decision["reason"]


def test_narrowing_reaches_the_numbers(tmp_path, make_model, truth):
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n3\n")

    result = run("--model", make_model("model", 0.75), *truth, "--image-ids", ids,
                 "--category-ids", "90", "--out", tmp_path / "out")  # fmt: skip

    assert result.exit_code == 0, result.output
    counts = read(tmp_path / "out", "metrics.json")["counts"]
    assert counts == {"pictures": 2, "objects": 1, "crowds": 0, "detections": 2}


def test_without_objects_nothing_is_defined_and_nothing_blessed(
    tmp_path, make_model, data, truth, config
):
    content = read(data, "instances.json") | {"annotations": []}
    (data / "instances.json").write_text(json.dumps(content))

    result = run("--model", make_model("model", 0.75), *truth, "--config", config,
                 "--require-blessed", "--out", tmp_path / "out")  # fmt: skip

    assert result.exit_code == 3
    assert set(read(tmp_path / "out", "metrics.json")["box"].values()) == {-1}
    assert "no pictures or no objects" in read(tmp_path / "out", "decision.json")["reason"]


def test_the_report_is_one_file_with_pictures_in_it(tmp_path, make_model, truth):
    run("--model", make_model("model", 0.75), *truth, "--out", tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()

    assert "Not blessed" in page
    assert "toothbrush" in page
    assert page.count("data:image/jpeg;base64,") == 2 * 3  # each picture has a wrong "dog"
    addresses = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]{0,30})', page)
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "http" not in page


def test_a_name_cannot_break_out_of_the_report(tmp_path, data, truth):
    content = read(data, "instances.json")
    content["categories"][1]["name"] = "<script>alert(1)</script>"
    content["images"][0]["file_name"] = "<img onerror=x>.png"
    (data / "instances.json").write_text(json.dumps(content))
    found = tmp_path / "found.json"
    found.write_text("[]")

    result = run("--detections", found, *truth[:2], "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    page = (tmp_path / "out/report.html").read_text()
    assert "<script>alert" not in page
    assert "<img onerror" not in page
    assert "No pictures were at hand." in page


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--annotations", "a.json"], 2, "give either --model or --detections"),
        (["--model", "m", "--detections", "d"], 2, "give either --model or --detections"),
        (["--model", "m"], 2, "give either --examples or --annotations"),
        (["--model", "m", "--annotations", "a.json"], 2, "needs --pictures FOLDER"),
        (
            ["--model", "absent", "--annotations", "a.json", "--pictures", "p"],
            1,
            "absent: no such model folder",
        ),
        (["--model", "m", "--examples", "absent"], 1, "absent: not an examples folder"),
        (
            ["--detections", "absent.json", "--annotations", "a.json"],
            1,
            "absent.json: no such file",
        ),
        (["--detections", "d", "--annotations", "a", "--set", "x=1"], 2, "unknown"),
        (["--detections", "d", "--annotations", "a", "--category-ids", "1,x"], 1, "'x'"),
        (["--detections", "d", "--annotations", "a", "--image-ids", "absent"], 1, "absent: cannot"),
        (["--detections", "d", "--annotations", "a", "--config", "absent"], 2, "no such config"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, arguments, status, message):
    result = run(*arguments, "--out", tmp_path / "out")

    assert result.exit_code == status
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_model_of_other_categories_is_refused(tmp_path, make_model, data, truth):
    content = read(data, "instances.json")
    content["categories"] = [{"id": 90, "name": "toothbrush"}]
    (data / "instances.json").write_text(json.dumps(content))

    result = run("--model", make_model("model", 0.75), *truth, "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert "category 18 (dog)" in result.stderr


def test_a_baseline_of_an_older_data_set_is_measured_on_what_is_left(
    tmp_path, make_model, data, truth
):
    content = read(data, "instances.json")
    content["categories"] = [{"id": 90, "name": "toothbrush"}]
    (data / "instances.json").write_text(json.dumps(content))
    found = tmp_path / "found.json"
    found.write_text("[]")

    result = run("--detections", found, *truth, "--baseline", make_model("old", 0.75),
                 "--out", tmp_path / "out")  # fmt: skip

    assert result.exit_code == 0, result.output
    baseline = read(tmp_path / "out", "decision.json")["baseline"]
    assert baseline["box"]["AP50"] == pytest.approx(1.0)


def test_a_split_that_is_not_there_is_said_before_the_model_is_loaded(tmp_path):
    write_manifest(tmp_path / "examples", {"val": NO_RECORDS}, [])
    result = run("--model", "m", "--examples", tmp_path / "examples", "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert "no split named 'eval', only val" in result.stderr


@pytest.fixture
def found(tmp_path):
    path = tmp_path / "found.json"
    path.write_text("[]")
    return path


def test_a_record_that_is_not_coco_is_dropped_and_counted(tmp_path, data, truth, found):
    content = read(data, "instances.json")
    content["annotations"][0]["bbox"] = [1, 2, 3]
    content["annotations"][1]["iscrowd"] = True
    (data / "instances.json").write_text(json.dumps(content))
    arguments = ["--detections", found, *truth, "--out", tmp_path / "out"]

    result = run(*arguments, "--set", "data.max_lost_objects_fraction=0.5")

    assert result.exit_code == 0, result.output
    counts = read(tmp_path / "out", "metrics.json")["counts"]
    assert counts["ground_truth_flaws"] == {"bad_bbox": 1, "flag_in_other_form": 1}
    summary = read(tmp_path / "out", "summary.json")["ground_truth"]
    assert summary["objects"] == {"read": 2, "written": 1, "rejected": 1}
    page = (tmp_path / "out/report.html").read_text()
    for line in (
        "ground truth: bad_bbox 1 (1 object left out)",
        "ground truth: flag_in_other_form 1 (1 mended)",
        "ground truth: nothing but 1 crowd region: it measures nothing",
    ):
        assert line in result.stdout.splitlines()
        assert line in page


def test_more_losses_than_the_limit_are_refused_in_one_line(tmp_path, data, truth, found):
    content = read(data, "instances.json")
    content["annotations"][0]["bbox"] = [1, 2, 3]
    (data / "instances.json").write_text(json.dumps(content))

    result = run("--detections", found, *truth, "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert result.stderr == (
        f"error: {data / 'instances.json'}: 1 of 2 objects is dropped for bad_bbox, more than "
        "data.max_lost_objects_fraction 0.1 allows. For example image id 1, annotation id 1: bbox "
        f"[1, 2, 3]. Mend {data / 'instances.json'}, or raise data.max_lost_objects_fraction. "
        "Note: no objects of 'dog' (id 18)\n"
    )
    assert not (tmp_path / "out/metrics.json").exists()


def test_a_bad_detection_is_named_with_its_file(tmp_path, truth, found):
    found.write_text(json.dumps([{"image_id": 1, "category_id": 90, "bbox": "x", "score": 1}]))

    result = run("--detections", found, *truth, "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {found}: detection 0: bbox is 'x', expected four")

"""Pictures that cannot be measured: named, the others go on, nothing is blessed."""

import json

import pytest
from click.testing import CliRunner

from components.coco_evaluator.__main__ import main
from tests.components.coco_example_gen.small_dataset import jpeg

CONFIG = """name: fake
evaluate:
  thresholds: [{metric: box/AP, min: 0.1}]
"""


def run(tmp_path, model, data):
    (tmp_path / "config.yaml").write_text(CONFIG)
    arguments = ["--model", model, "--annotations", data / "instances.json"]
    arguments += ["--pictures", data / "pictures", "--config", tmp_path / "config.yaml"]
    result = CliRunner().invoke(main, list(map(str, [*arguments, "--out", tmp_path / "out"])))
    content = json.loads((tmp_path / "out/decision.json").read_text())
    return result, content


def renamed(data, name):
    """Lets the file name of picture 3, which shows nothing, be another."""
    content = json.loads((data / "instances.json").read_text())
    content["images"][2]["file_name"] = name
    (data / "instances.json").write_text(json.dumps(content))


def test_whole_pictures_are_blessed(tmp_path, make_model, data):
    result, decision = run(tmp_path, make_model("model", 0.75), data)

    assert result.exit_code == 0, result.output
    assert decision["blessed"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret.jpg", "path_outside_folder"),
        ("link.jpg", "path_outside_folder"),
        ("absent.png", "no such file"),
        ("broken.png", "cannot be decoded"),
        ("half.jpg", "cannot be decoded (Corrupt JPEG data"),
    ],
)
def test_a_picture_that_cannot_be_measured_is_named(tmp_path, make_model, data, name, message):
    file = jpeg(50, 80)
    (data / "secret.jpg").write_bytes(file)
    (data / "pictures/link.jpg").symlink_to(data / "secret.jpg")
    (data / "pictures/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (data / "pictures/half.jpg").write_bytes(file[: len(file) // 2] + b"\xff\xd9")
    renamed(data, name)

    result, decision = run(tmp_path, make_model("model", 0.75), data)

    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: image id 3 ({name}): ")
    assert message in line
    assert not decision["blessed"]
    assert "1 picture could not be measured" in json.dumps(decision)
    detections = json.loads((tmp_path / "out/detections.json").read_text())
    assert {detection["image_id"] for detection in detections} == {1, 2}
    assert json.loads((tmp_path / "out/metrics.json").read_text())["box"]["AP"] > 0.9
    report = (tmp_path / "out/report.html").read_text()
    assert "1 picture could not be measured" in report

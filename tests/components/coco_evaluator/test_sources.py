"""Pictures that cannot be measured: named, the others go on, nothing is blessed."""

import json

import pytest
from click.testing import CliRunner

from components.coco_evaluator.__main__ import main
from components.coco_evaluator.frames import turn_from_upright
from components.coco_evaluator.sources import AnnotationsSource
from components.coco_transform.turn import UPRIGHT
from configs.schema import DataConfig
from tests.components.coco_example_gen.small_dataset import jpeg, png

CONFIG = """name: fake
evaluate:
  thresholds: [{metric: box/AP, min: 0.1}]
"""


def run(tmp_path, model, data, *settings):
    (tmp_path / "config.yaml").write_text(CONFIG)
    arguments = ["--model", model, "--annotations", data / "instances.json"]
    arguments += ["--pictures", data / "pictures", "--config", tmp_path / "config.yaml"]
    for setting in settings:
        arguments += ["--set", setting]
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
        ("other.jpg", "there is 'other.png' (picture_ending_differs)"),
        ("large.png", "the file has 90 x 60 pixels, "),
    ],
)
def test_a_picture_that_cannot_be_measured_is_named(tmp_path, make_model, data, name, message):
    file = jpeg(50, 80)
    (data / "secret.jpg").write_bytes(file)
    (data / "pictures/link.jpg").symlink_to(data / "secret.jpg")
    (data / "pictures/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (data / "pictures/half.jpg").write_bytes(file[: len(file) // 2] + b"\xff\xd9")
    (data / "pictures/other.png").write_bytes(png(50, 80))
    (data / "pictures/large.png").write_bytes(png(60, 90))
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


def change(data, names):
    """Lets the COCO file name the pictures otherwise than the folder does."""
    content = json.loads((data / "instances.json").read_text())
    for entry, name in zip(content["images"], names, strict=True):
        entry["file_name"] = name
    (data / "instances.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (["x\\1.png", "x\\2.png", "x\\3.png"], []),
        (["upload/1.png", "upload/2.png", "3.png"], ["data.picture_prefix=upload/"]),
        (["1.jpg", "2.PNG", "3.png"], ["data.policies.picture_ending_differs=mend"]),
    ],
)
def test_pictures_are_found_as_coco_example_gen_finds_them(
    tmp_path, make_model, data, names, settings
):
    if "\\" in names[0]:
        (data / "pictures/x").mkdir()
        for number in (1, 2, 3):
            (data / f"pictures/{number}.png").rename(data / f"pictures/x/{number}.png")
    change(data, names)

    result, decision = run(tmp_path, make_model("model", 0.75), data, *settings)

    assert result.exit_code == 0, result.output
    assert decision["blessed"]


def test_where_no_picture_is_there_what_fits_is_said_at_once(tmp_path, data):
    change(data, ["upload/1.png", "upload/2.png", "upload/3.png"])
    (tmp_path / "found.json").write_text("[]")
    arguments = ["--detections", tmp_path / "found.json", "--annotations", data / "instances.json"]
    arguments += ["--pictures", data / "pictures", "--out", tmp_path / "out"]

    result = CliRunner().invoke(main, list(map(str, arguments)))

    assert result.exit_code == 1
    assert result.stderr == (
        f"error: {data / 'pictures'}: has none of the 3 pictures of {data / 'instances.json'}: 3 "
        "of 3 looked for are there without 'upload/' in front: set data.picture_prefix=upload/\n"
    )


def test_some_missing_pictures_are_named_with_what_fits(tmp_path, make_model, data):
    change(data, ["1.png", "2.png", "3.jpeg"])

    result, _ = run(tmp_path, make_model("model", 0.75), data)

    assert result.exit_code == 1
    hint = "set data.policies.picture_ending_differs=mend"
    (note,) = [line for line in result.stdout.splitlines() if hint in line]
    assert note.startswith(f"ground truth: 1 picture of 3 not in {data / 'pictures'}: ")
    assert hint in (tmp_path / "out/report.html").read_text()


def test_the_size_of_the_file_holds_where_policy_says_so(tmp_path, data):
    (data / "pictures/1.png").write_bytes(png(100, 160))
    stated = AnnotationsSource(data / "instances.json", data / "pictures")
    meant = AnnotationsSource(
        data / "instances.json",
        data / "pictures",
        DataConfig(policies={"picture_size_differs": "mend"}),
    )
    failures = []
    list(stated.pictures(None, 10**8, lambda image, error: failures.append(str(error))))
    assert len(failures) == 1
    assert "picture_size_differs" in failures[0]
    pictures = {image["id"]: image for image, _ in meant.pictures(None, 10**8, failures.append)}
    assert (pictures[1]["height"], pictures[1]["width"]) == (100, 160)
    assert (pictures[2]["height"], pictures[2]["width"]) == (60, 40)
    assert meant.reading["reasons"] == {"picture_size_differs": 1}


@pytest.mark.parametrize(
    ("policy", "orientation", "turns_back"),
    [
        ("accept", 3, True),
        ("mend", 3, False),
        ("mend", 6, True),  # the size that is stated is that before the turn
        ("accept", 1, False),
    ],
)
def test_a_turn_that_keeps_the_size_is_meant_as_policy_says(
    tmp_path, data, policy, orientation, turns_back
):
    (data / "pictures/1.png").write_bytes(jpeg(50, 80, orientation=orientation))
    policies = DataConfig(policies={"exif_turned": policy})
    source = AnnotationsSource(data / "instances.json", data / "pictures", policies)
    [(image, picture)] = source.pictures({1}, 10**8, pytest.fail)
    assert (turn_from_upright(image, picture) != UPRIGHT) == turns_back

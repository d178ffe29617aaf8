import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from configs.errors import DatasetError, ModelError
from configs.schema import Config
from model import export
from model.pictures import read_picture
from model.predict import LoadedModel, main
from tests.model.fake_detector import FakeDetector

CATEGORIES = [{"id": 18, "name": "dog", "label": 1}, {"id": 90, "name": "toothbrush", "label": 2}]
CONFIG = Config(
    name="fake", input={"short_side_px": 64, "long_side_px": 128, "size_multiple_px": 32}
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """An exported model that finds "toothbrush" on the whole picture and "dog" on its left half."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "build_detector", lambda *args, **kwargs: FakeDetector())
        export.export_saved_model(FakeDetector(weight=0.75), CONFIG, CATEGORIES, folder)
    return folder


def save_picture(path, height, width, value=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)
    return str(path)


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_detections_are_in_coco_results_form(tmp_path, model_folder):
    picture = save_picture(tmp_path / "in/white.png", 50, 80)

    result = run("--model", model_folder, picture, "--out", tmp_path / "out")

    assert result.exit_code == 0, result.stderr
    # The brighter "dog" scores 1.0 and comes as the model ranks it, after "toothbrush".
    toothbrush, dog = json.loads((tmp_path / "out/detections.json").read_text())
    assert toothbrush["bbox"] == pytest.approx([0, 0, 80, 50], abs=1e-3)
    assert (toothbrush["category_id"], toothbrush["score"]) == (90, 0.75)
    assert dog["bbox"] == pytest.approx([0, 0, 40, 50], abs=1e-3)
    assert dog["file_name"] == picture
    assert dog["segmentation"]["size"] == [50, 80]
    with Image.open(tmp_path / "out/white.jpg") as drawn:
        assert drawn.size == (80, 50)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["pictures"] == {"read": 1, "failed": 0}


def test_a_picture_that_cannot_be_read_is_named_and_the_others_go_on(tmp_path, model_folder):
    good = save_picture(tmp_path / "in/good.png", 50, 80)
    bad = tmp_path / "in/bad.jpg"
    bad.write_bytes(b"not a picture")

    result = run("--model", model_folder, bad, good, "--out", tmp_path / "out")

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {bad}: cannot be decoded")
    assert (tmp_path / "out/good.jpg").exists()
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["pictures"] == {"read": 1, "failed": 1}


def test_pictures_of_one_name_from_two_folders_are_both_kept(tmp_path, model_folder):
    for folder in "ab":
        save_picture(tmp_path / folder / "it.png", 50, 80)

    result = run("--model", model_folder, tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out")

    assert result.exit_code == 0, result.stderr
    drawn = sorted(path.name for path in (tmp_path / "out").glob("*.jpg"))
    assert drawn == ["it-2.jpg", "it.jpg"]


def test_only_confident_detections_are_drawn(tmp_path, model_folder):
    picture = save_picture(tmp_path / "black.png", 60, 80, value=0)

    run("--model", model_folder, picture, "--out", tmp_path / "out", "--score-threshold", 0.8)

    with Image.open(tmp_path / "out/black.jpg") as drawn:
        assert np.asarray(drawn).max() < 10
    assert len(json.loads((tmp_path / "out/detections.json").read_text())) == 2


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--model", "absent", "p.jpg", "--out", "o"], 1, "absent: no such model folder"),
        (["p.jpg", "--out", "o"], 2, "Missing option '--model'"),
        (["--model", "absent", "--out", "o"], 2, "Missing argument 'PICTURES"),
    ],
)
def test_wrong_use_is_one_line(arguments, status, message):
    result = run(*arguments)
    assert result.exit_code == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_company_does_not_change_what_is_found(tmp_path, model_folder):
    model = LoadedModel(model_folder)
    sizes = {"wide": (40, 90), "high": (90, 40), "wide too": (40, 90)}
    pictures = [
        (name, read_picture(save_picture(tmp_path / f"{name}.png", *size)))
        for name, size in sizes.items()
    ]

    together = {key: found for key, _, found in model.detect_all(pictures, batch_size=4)}

    assert together.keys() == {"wide", "high", "wide too"}
    for key, picture in pictures:
        (alone,) = model.detect_bytes([picture.encoded])
        np.testing.assert_array_equal(together[key].boxes_norm, alone.boxes_norm)
        np.testing.assert_array_equal(together[key].scores, alone.scores)


def test_bytes_that_are_no_picture_are_an_error_of_the_call(model_folder):
    model = LoadedModel(model_folder)
    with pytest.raises(DatasetError, match="cannot be decoded: Unknown image file format"):
        model.detect_bytes([b"no picture"])


def test_a_damaged_model_is_one_line(tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match=r"model_id\.json: no such file"):
        LoadedModel(tmp_path)

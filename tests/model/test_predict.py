import io
import json
import os
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from configs.schema import Config
from ground.errors import DatasetError, ModelError
from model import export
from model.commands.predict import main
from model.pictures import Picture, read_picture, servable
from model.predict import LoadedModel
from model.training_settings import TrainingSettings
from tests.model.fake_detector import FakeDetector
from tests.picture_zoo import png, zoo

CATEGORIES = [{"id": 18, "name": "dog", "label": 1}, {"id": 90, "name": "toothbrush", "label": 2}]
CONFIG = TrainingSettings.of(
    Config(name="fake", input={"short_side_px": 64, "long_side_px": 128, "size_multiple_px": 32})
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


def encoded_png(height, width):
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(stream, "PNG")
    return stream.getvalue()


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


def test_large_pictures_are_cut_and_what_is_found_lies_at_its_place(tmp_path, model_folder):
    picture = save_picture(tmp_path / "in/large.png", 100, 400)
    arguments = ["--model", model_folder, picture, "--out", tmp_path / "out"]

    result = run(*arguments, "--tile-px", 100, "--tile-overlap", 0)

    assert result.exit_code == 0, result.stderr
    found = json.loads((tmp_path / "out/detections.json").read_text())
    # Each tile is as wide as it is high and wholly "toothbrush", as is the picture: all of them
    # are cut, and lie within that of the picture. The "dog" of the first tile is within that of
    # the picture's left half, and only cut ones give way; the others reach beyond it or not.
    toothbrushes = [d["bbox"] for d in found if d["category_id"] == 90]
    assert toothbrushes == [pytest.approx([0, 0, 400, 100], abs=1e-3)]
    dogs = sorted(d["bbox"][0] for d in found if d["category_id"] == 18)
    assert dogs == pytest.approx([0, 0, 200, 300], abs=1e-3)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["tiling"] == {"side_px": 100, "overlap": 0.0}


@pytest.mark.parametrize("side", ["0", "-5", "x", "1e3"])
def test_a_senseless_tile_is_one_line(side):
    result = run("--model", "m", "p.jpg", "--out", "o", "--tile-px", side)
    assert result.exit_code == 2
    assert f"{side!r}: expected a side in pixels, or auto" in result.stderr


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
    with pytest.raises(
        DatasetError, match="the model cannot take it: picture 0 is no JPEG or PNG file"
    ):
        model.detect_bytes([b"no picture"])


def test_a_damaged_model_is_one_line(tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match=r"model_id\.json: no such file"):
        LoadedModel(tmp_path)


def test_what_is_no_file_is_named_and_the_others_go_on(tmp_path, model_folder):
    good = save_picture(tmp_path / "in/good.png", 50, 80)
    os.mkfifo(tmp_path / "in/pipe.jpg")  # reading it would wait for ever
    (tmp_path / "in/folder.jpg").mkdir()
    (tmp_path / "in/loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "in/two\nlines.jpg").write_bytes(b"no picture")

    result = run("--model", model_folder, tmp_path / "in", "--out", tmp_path / "out")

    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["pictures"] == {"read": 1, "failed": 3}
    assert json.loads((tmp_path / "out/detections.json").read_text())[0]["file_name"] == good


@pytest.mark.parametrize("name", ["n" * 250, "\udcff\udcfe", "é" * 120])
def test_names_of_any_bytes_and_length_are_drawn(tmp_path, model_folder, name):
    save_picture(tmp_path / "in" / f"{name}.png", 50, 80)

    result = run("--model", model_folder, tmp_path / "in", "--out", tmp_path / "out")

    assert result.exit_code == 0, result.stderr
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 1


def test_exif_of_unusual_types_is_no_obstacle(tmp_path, model_folder):
    (tmp_path / "turned.jpg").write_bytes(zoo()["JPEG: EXIF with a tag of another type"][0])

    result = run("--model", model_folder, tmp_path / "turned.jpg", "--out", tmp_path / "out")

    assert result.exit_code == 0, result.stderr
    with Image.open(tmp_path / "out/turned.jpg") as drawn:
        assert drawn.size == (48, 64)


def test_a_larger_picture_than_the_model_takes_is_named(tmp_path, model_folder):
    (tmp_path / "bomb.png").write_bytes(png(b"", size=(20_000, 20_000)))

    result = run("--model", model_folder, tmp_path / "bomb.png", "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert "20000 x 20000 pixels exceed input.max_picture_pixels 100000000" in result.stderr


def test_one_picture_that_the_model_cannot_take_fails_alone(model_folder):
    model = LoadedModel(model_folder)
    good = servable(encoded_png(40, 90), "good")
    broken = Picture(zoo()["PNG: a row short"][0], 40, 90)  # as if it had passed the check
    failed = {}

    found = model.detect_all(
        [(n, broken if n == 2 else good) for n in range(5)], 4, failed.__setitem__
    )

    assert sorted(key for key, _, _ in found) == [0, 1, 3, 4]
    assert list(failed) == [2]
    assert str(failed[2]).startswith("the model cannot take it: Invalid PNG data")
    with pytest.raises(DatasetError, match="the model cannot take it"):
        list(model.detect_all([(2, broken)], 4))


def test_few_pictures_wait_for_others_of_their_size(model_folder, monkeypatch):
    monkeypatch.setattr("model.predict._WAITING_BATCHES", 2)
    model = LoadedModel(model_folder)
    wide, high = servable(encoded_png(40, 90), "wide"), servable(encoded_png(90, 40), "high")
    read, calls = [], []
    detect = model.detect_bytes
    monkeypatch.setattr(model, "detect_bytes", lambda e: calls.append(len(e)) or detect(e))

    def pictures():
        for n in range(12):
            read.append(n)
            yield n, wide if n % 4 == 0 else high

    keys = []
    for key, _, _ in model.detect_all(pictures(), 4):
        assert len(read) - len(keys) <= 8
        keys.append(key)
    assert sorted(keys) == list(range(12))
    assert calls == [4, 4, 3, 1]


@pytest.fixture
def broken_config(tmp_path, model_folder):
    """Returns a copy of the model with its config changed by a function."""

    def copy(change):
        folder = shutil.copytree(model_folder, tmp_path / "changed")
        path = folder / "assets/config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))
        return folder

    return copy


@pytest.mark.parametrize("options", [[], ["--tile-px", "auto"]])
@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["model"].pop("detections"),
        lambda c: c["model"].update(detections={"nms_iou": "half"}),
        lambda c: c["input"].pop("short_side_px"),
        lambda c: c["input"].update(short_side_px=None),
        lambda c: c["input"].update(size_multiple_px="x"),
        lambda c: c["input"].update(max_picture_pixels=[]),
    ],
)
def test_a_config_of_another_make_is_one_line(tmp_path, broken_config, change, options):
    folder = broken_config(change)
    picture = save_picture(tmp_path / "in/a.png", 8, 9)
    result = run("--model", folder, picture, "--out", tmp_path / "out", *options)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "assets/config.json" in line
    assert "--debug" not in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--tile-px", "100", "--tile-overlap", "0.99"], 2, "0.99 is not in the range"),
        (["--tile-px", "100", "--tile-overlap", "nan"], 2, "nan"),
        (["--tile-px", "99999999999999999999"], 2, "expected a side in pixels, or auto"),
        (["--tile-px", "٣"], 2, "expected a side in pixels, or auto"),
        (["--score-threshold", "nan"], 2, "nan"),
        (["--score-threshold", "1.1"], 2, "1.1 is not in the range"),
        (["--batch-size", "0"], 2, "0 is not in the range"),
    ],
)
def test_numbers_that_make_no_sense_are_wrong_usage(
    tmp_path, model_folder, arguments, status, message
):
    picture = save_picture(tmp_path / "in/a.png", 8, 9)
    result = run("--model", model_folder, picture, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == status
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("empty", "a folder without pictures"),
        ("two\nlines", "a folder without pictures"),
        ("no*thing", "as a pattern it fits no picture"),
        ("[", "no file of that name"),
    ],
)
def test_no_pictures_are_one_line(tmp_path, model_folder, argument, message):
    folder = tmp_path / argument
    if "*" not in argument and argument != "[":
        folder.mkdir()
    result = run("--model", model_folder, folder, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert message in result.stderr


@pytest.mark.parametrize("out", ["in", "in/found", "in/a.png", "in/deep/../found"])
def test_an_output_within_the_pictures_is_refused_and_nothing_is_lost(tmp_path, model_folder, out):
    save_picture(tmp_path / "in/a.png", 8, 9)
    before = (tmp_path / "in/a.png").read_bytes()
    result = run("--model", model_folder, tmp_path / "in", "--out", tmp_path / out)
    assert result.exit_code in (1, 2)
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["a.png"]
    assert (tmp_path / "in/a.png").read_bytes() == before


@pytest.mark.parametrize("name", ["two\nlines", "Fund ä", "[1]", "-out"])
def test_an_output_folder_of_any_name_is_written_and_told_in_one_line(tmp_path, model_folder, name):
    picture = save_picture(tmp_path / "in/a.png", 8, 9)
    result = run("--model", model_folder, picture, "--out", tmp_path / name)
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) <= 3
    assert "2 detections in 1 picture, drawn into" in result.stdout
    assert (tmp_path / name / "a.jpg").is_file()


def test_a_picture_named_by_two_patterns_is_one(tmp_path, model_folder):
    save_picture(tmp_path / "in/a.png", 8, 9)
    arguments = [tmp_path / "in", tmp_path / "in/*.png", tmp_path / "in/./a.png"]
    result = run("--model", model_folder, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "out/summary.json").read_text())["pictures"]["read"] == 1


def test_smallest_and_thinnest_pictures_are_looked_at_in_tiles_as_well(tmp_path, model_folder):
    for name, size in {"dot": (1, 1), "row": (1, 700), "column": (700, 1)}.items():
        save_picture(tmp_path / f"in/{name}.png", *size)
    arguments = ["--tile-px", 200, "--tile-overlap", 0.75]
    result = run("--model", model_folder, tmp_path / "in", "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 0, result.stderr
    found = json.loads((tmp_path / "out/detections.json").read_text())
    whole = {
        d["file_name"].rpartition("/")[2]: d["bbox"][2:] for d in found if d["category_id"] == 90
    }
    assert whole == {
        "column.png": pytest.approx([1, 700], abs=1e-3),
        "dot.png": pytest.approx([1, 1], abs=1e-3),
        "row.png": pytest.approx([700, 1], abs=1e-3),
    }

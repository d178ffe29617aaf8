import csv
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ground.errors import ModelError
from ground.outputs import output_folder
from model import pictures
from model.encoded.flaw import PictureFlaw
from model.prediction.journal import remove_journal
from model.prediction.paths import find_pictures
from model.prediction.run import Settings, predict
from model.prediction.tiles import Tiling
from tests.ground.killed import run_to_step
from tests.model.prediction.fake_model import FakeModel

DEFAULTS = Settings()
SIZES = {"a.png": (10, 12), "b.png": (14, 9), "sub/c.png": (20, 20)}


@pytest.fixture
def photos(tmp_path):
    for name, (height, width) in SIZES.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height), "white").save(path)
    return tmp_path / "photos"


def run(model, photos, out, settings=DEFAULTS, **callbacks):
    """Does what the command does around `predict`."""
    found = find_pictures([str(photos)])
    with output_folder(out, "model.predict", ["detections.json"], [photos]) as new:
        summary = predict(model, found, new, out / ".work", settings, **callbacks)
    remove_journal(out / ".work")
    return summary


def content(folder):
    """Returns the bytes of all files that are for the user, by path."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name[0] != ".")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_json_table_and_pictures_tell_the_same(tmp_path, photos):
    summary = run(FakeModel(tmp_path / "M"), photos, tmp_path / "out")

    results = json.loads((tmp_path / "out/detections.json").read_text())
    with open(tmp_path / "out/detections.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["image_id"] for r in results] == [1, 1, 2, 2, 3, 3]
    assert [r["file_name"] for r in results[::2]] == [str(photos / name) for name in SIZES]
    for result, row in zip(results, rows, strict=True):
        assert row["file_name"] == result["file_name"]
        assert int(row["image_id"]) == result["image_id"]
        assert row["category"] == {7: "dot", 9: "line"}[result["category_id"]]
        box = [float(row[key]) for key in ("x", "y", "width", "height")]
        assert (float(row["score"]), box) == (result["score"], result["bbox"])
    assert summary["drawn"] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    with Image.open(tmp_path / "out/sub/c.jpg") as drawn:
        assert drawn.size == (20, 20)


def test_a_picture_that_cannot_be_drawn_fails_alone(tmp_path, photos, monkeypatch):
    rgb = pictures.rgb

    def breaks(picture):
        if picture.size == (9, 14):
            raise PictureFlaw("picture_unreadable", "broken data stream")
        return rgb(picture)

    monkeypatch.setattr(pictures, "rgb", breaks)
    summary = run(FakeModel(tmp_path / "M"), photos, tmp_path / "out")
    assert summary["failures"] == [f"{photos}/b.png: cannot be decoded (broken data stream)"]
    assert summary["drawn"] == ["a.jpg", "sub/c.jpg"]


def test_a_picture_longer_than_a_jpeg_may_be_is_drawn_smaller(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (70_000, 4)).save(tmp_path / "photos" / "long.png")
    model = FakeModel(tmp_path / "M")
    model.max_picture_pixels = 300_000
    summary = run(model, tmp_path / "photos", tmp_path / "out")
    assert summary["failures"] == [] and summary["drawn"] == ["long.jpg"]
    with Image.open(next((tmp_path / "out").rglob("long.jpg"))) as drawn:
        assert drawn.width == 65_500


def test_without_drawing_there_are_no_pictures(tmp_path, photos):
    run(FakeModel(tmp_path / "M"), photos, tmp_path / "out", Settings(is_drawn=False))
    assert set(content(tmp_path / "out")) == {"detections.json", "detections.csv"}


def rerun_after_each_kill(tmp_path, photos, steps):
    """Kills a run at each of the steps, runs it again, and returns at how many it was at work."""
    run(FakeModel(tmp_path / "M"), photos, tmp_path / "whole")
    expected = content(tmp_path / "whole")
    out = tmp_path / "out"
    for count, step in enumerate(steps):
        if not run_to_step(lambda: run(FakeModel(tmp_path / "M"), photos, out), step):
            return count
        visible = (
            {name for name in content(out) if not name.startswith(".")} if out.exists() else set()
        )
        assert visible <= set(expected)
        again = FakeModel(tmp_path / "M")
        summary = run(again, photos, out)
        assert {n: c for n, c in content(out).items() if not n.startswith(".")} == expected, step
        assert not (out / ".work").exists()
        assert len(again.seen) + summary["resumed"] == len(SIZES)
        shutil.rmtree(out)
    raise AssertionError("it never came to an end")


def test_a_run_killed_goes_on_and_ends_with_the_same_files(tmp_path, photos):
    assert rerun_after_each_kill(tmp_path, photos, range(5, 999, 13)) > 3


@pytest.mark.slow
def test_a_run_killed_at_any_step_goes_on_and_ends_with_the_same_files(tmp_path, photos):
    assert rerun_after_each_kill(tmp_path, photos, range(1, 999)) > 40


def test_only_what_is_missing_or_changed_is_looked_at_again(tmp_path, photos):
    class Ending(FakeModel):
        def detect_all(self, *args):
            for n, found in enumerate(super().detect_all(*args)):
                if n == 2:
                    raise KeyboardInterrupt
                yield found

    with pytest.raises(KeyboardInterrupt):
        run(Ending(tmp_path / "M"), photos, tmp_path / "out")
    shutil.copy(photos / "b.png", photos / "a.png")
    os.utime(photos / "a.png", ns=(1, 1))
    told = []

    model = FakeModel(tmp_path / "M")
    summary = run(
        model, photos, tmp_path / "out", on_progress=lambda line, fields: told.append(fields)
    )

    assert model.seen == [0, 2]
    assert summary["resumed"] == 1
    assert told[0] == {"done": 1, "total": 3}
    results = json.loads((tmp_path / "out/detections.json").read_text())
    assert [r["segmentation"]["size"] for r in results[::2]] == [[14, 9], [14, 9], [20, 20]]


@pytest.mark.parametrize(
    ("score", "settings"), [(0.8, Settings()), (0.9, Settings(tiling=Tiling(64)))]
)
def test_another_model_or_setting_begins_anew(tmp_path, photos, score, settings):
    found, work = find_pictures([str(photos)]), tmp_path / "work"
    for folder in ("new", "newer"):
        (tmp_path / folder).mkdir()
    predict(FakeModel(tmp_path / "M"), found, tmp_path / "new", work, Settings())
    again = FakeModel(tmp_path / "M", score)
    predict(again, found, tmp_path / "newer", work, settings)
    assert again.seen == [0, 1, 2]


def test_a_picture_that_failed_is_tried_again(tmp_path, photos):
    good = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(b"no picture")
    failures = []
    model = FakeModel(tmp_path / "M")
    found = find_pictures([str(photos)])
    settings = Settings(is_drawn=False)
    (tmp_path / "new").mkdir()
    first = predict(model, found, tmp_path / "new", tmp_path / "w", settings, failures.append)
    (photos / "b.png").write_bytes(good)
    second = predict(model, found, tmp_path / "new", tmp_path / "w", settings, failures.append)
    assert (first["pictures"], second["pictures"]) == (
        {"read": 2, "failed": 1},
        {"read": 3, "failed": 0},
    )
    assert len(failures) == 1 and str(photos / "b.png") in failures[0]


def test_a_box_that_is_no_number_is_told(tmp_path, photos):
    class Broken(FakeModel):
        def detect_all(self, *args):
            for key, picture, found in super().detect_all(*args):
                found.boxes_norm[0, 0] = np.nan
                yield key, picture, found

    with pytest.raises(ModelError, match="not numbers"):
        run(Broken(tmp_path / "M"), photos, tmp_path / "out")


@pytest.mark.slow
def test_a_hundred_thousand_pictures_stay_within_bounds(tmp_path):
    import tracemalloc

    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos/0.png")
    photo = (tmp_path / "photos/0.png").read_bytes()
    for n in range(1, 100_000):
        (tmp_path / f"photos/{n}.png").write_bytes(photo)
    tracemalloc.start()
    run(FakeModel(tmp_path / "M"), tmp_path / "photos", tmp_path / "out", Settings(is_drawn=False))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6


def interrupted(model_class, after):
    """Returns a model that a person ends with Ctrl-C after so many pictures."""

    class Ending(model_class):
        def detect_all(self, *args):
            for n, found in enumerate(super().detect_all(*args)):
                if n == after:
                    raise KeyboardInterrupt
                yield found

    return Ending


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def found_files(out):
    return [r["file_name"] for r in json.loads((out / "detections.json").read_text())[::2]]


@pytest.mark.parametrize("content", [None, b"no picture", b""], ids=["gone", "damaged", "empty"])
def test_what_was_found_in_a_picture_that_is_no_more_is_not_told(tmp_path, photos, content):
    """Its results from before the kill would be those of another file."""
    with pytest.raises(KeyboardInterrupt):
        run(interrupted(FakeModel, 2)(tmp_path / "M"), photos, tmp_path / "out")
    pictures = find_pictures([str(photos)])
    if content is None:
        (photos / "a.png").unlink()
    else:
        (photos / "a.png").write_bytes(content)
    failures = []
    with output_folder(tmp_path / "out", "model.predict", ["detections.json"], [photos]) as new:
        work = tmp_path / "out/.work"
        model = FakeModel(tmp_path / "M")
        summary = predict(model, pictures, new, work, DEFAULTS, failures.append)
    assert summary["pictures"] == {"read": 2, "failed": 1}
    assert len(failures) == 1 and str(photos / "a.png") in failures[0]
    assert found_files(tmp_path / "out") == [str(photos / "b.png"), str(photos / "sub/c.png")]
    assert summary["drawn"] == ["b.jpg", "sub/c.jpg"]
    assert summary["resumed"] == 1


def test_a_run_goes_on_with_other_pictures_beside(tmp_path, photos):
    """Numbers and names are those of the second run, not of the one that was killed."""
    with pytest.raises(KeyboardInterrupt):
        run(interrupted(FakeModel, 2)(tmp_path / "M"), photos, tmp_path / "out")
    shutil.copy(photos / "a.png", photos / "0.png")
    shutil.copy(photos / "b.png", photos / "a.jpeg")  # takes the name a.jpg before a.png
    model = FakeModel(tmp_path / "M")
    summary = run(model, photos, tmp_path / "out")
    results = json.loads((tmp_path / "out/detections.json").read_text())
    assert [r["image_id"] for r in results[::2]] == [1, 2, 3, 4, 5]
    assert found_files(tmp_path / "out") == [str(p.path) for p in find_pictures([str(photos)])]
    assert summary["drawn"] == ["0.jpg", "a.jpg", "a-2.jpg", "b.jpg", "sub/c.jpg"]
    assert [size_of(tmp_path / "out" / name) for name in summary["drawn"]] == [
        (12, 10),
        (9, 14),
        (12, 10),
        (9, 14),
        (20, 20),
    ]
    assert summary["resumed"] == 2
    fresh = run(FakeModel(tmp_path / "N"), photos, tmp_path / "fresh")
    assert fresh["drawn"] == summary["drawn"]
    assert content(tmp_path / "fresh") == content(tmp_path / "out")


def test_a_run_goes_on_with_fewer_pictures(tmp_path, photos):
    with pytest.raises(KeyboardInterrupt):
        run(interrupted(FakeModel, 2)(tmp_path / "M"), photos, tmp_path / "out")
    summary = run(FakeModel(tmp_path / "M"), photos / "sub", tmp_path / "out")
    assert found_files(tmp_path / "out") == [str(photos / "sub/c.png")]
    assert (summary["pictures"], summary["drawn"]) == ({"read": 1, "failed": 0}, ["c.jpg"])


def test_a_drawn_picture_of_another_threshold_is_not_taken(tmp_path, photos):
    with pytest.raises(KeyboardInterrupt):
        run(interrupted(FakeModel, 2)(tmp_path / "M"), photos, tmp_path / "out")
    model = FakeModel(tmp_path / "M")
    assert run(model, photos, tmp_path / "out", Settings(0.1))["resumed"] == 0
    run(FakeModel(tmp_path / "N"), photos, tmp_path / "fresh", Settings(0.1))
    assert content(tmp_path / "fresh") == content(tmp_path / "out")


def test_files_of_any_name_are_told_and_drawn(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    names = ["two\nlines.png", "\r.png", "\udcff.png", "日本" * 40 + ".png", '"a,b".png', "-x.png"]
    for n, name in enumerate(names):
        Image.new("RGB", (5 + n, 4)).save(photos / name, "PNG")
    summary = run(FakeModel(tmp_path / "M"), photos, tmp_path / "out")
    assert sorted(found_files(tmp_path / "out")) == sorted(str(photos / name) for name in names)
    text = {"newline": "", "errors": "surrogateescape"}
    with open(tmp_path / "out/detections.csv", **text) as stream:
        rows = [row["file_name"] for row in csv.DictReader(stream)]
    assert rows[::2] == found_files(tmp_path / "out")
    assert len(set(summary["drawn"])) == len(names)
    for name in summary["drawn"]:
        assert (tmp_path / "out" / name).is_file()
        assert name == "\udcff.jpg" or name.encode()


def test_pictures_of_all_kinds_are_looked_at_once(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("CMYK", (6, 5)).save(photos / "cmyk.jpg")
    Image.new("I;16", (6, 5)).save(photos / "sixteen.png")
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    Image.new("RGB", (900, 1)).save(photos / "line.png")
    frames = [Image.new("P", (6, 5), n) for n in range(3)]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    turned = Image.new("RGB", (6, 5)).getexif()
    turned[0x0112] = 6
    Image.new("RGB", (6, 5)).save(photos / "turned.jpg", exif=turned)
    summary = run(FakeModel(tmp_path / "M"), photos, tmp_path / "out")
    assert summary["pictures"] == {"read": 6, "failed": 0}
    results = json.loads((tmp_path / "out/detections.json").read_text())[::2]
    sizes = {r["file_name"].rpartition("/")[2]: r["segmentation"]["size"] for r in results}
    assert sizes == {
        "cmyk.jpg": [5, 6],
        "dot.png": [1, 1],
        "line.png": [1, 900],
        "moving.gif": [5, 6],
        "sixteen.png": [5, 6],
        "turned.jpg": [6, 5],
    }
    drawn = {name[:-4]: size_of(tmp_path / "out" / name) for name in summary["drawn"]}
    assert drawn == {name[:-4]: (width, height) for name, (height, width) in sizes.items()}


def test_a_category_that_the_model_does_not_name_is_told(tmp_path, photos):
    (photos / "two\nlines.png").symlink_to(photos / "a.png")
    model = FakeModel(tmp_path / "M")
    model.categories = [{"id": 9, "name": "line", "label": 1}]
    with pytest.raises(ModelError, match=r"finds the category 7 in .*does not name") as error:
        run(model, photos / "two\nlines.png", tmp_path / "out")
    assert "\n" not in str(error.value)


def test_no_picture_that_can_be_read_is_an_empty_list(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"none")
    summary = run(FakeModel(tmp_path / "M"), tmp_path / "photos", tmp_path / "out")
    assert (summary["pictures"], summary["detections"]) == ({"read": 0, "failed": 1}, 0)
    assert json.loads((tmp_path / "out/detections.json").read_text()) == []
    assert summary["drawn"] == []

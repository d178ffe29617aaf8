import csv
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ground.errors import ModelError
from ground.outputs import output_folder
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
    for n in range(1, 100_000):
        os.link(tmp_path / "photos/0.png", tmp_path / f"photos/{n}.png")
    tracemalloc.start()
    run(FakeModel(tmp_path / "M"), tmp_path / "photos", tmp_path / "out", Settings(is_drawn=False))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6

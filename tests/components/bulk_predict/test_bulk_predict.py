import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from components.bulk_predict.__main__ import main
from model.commands.predict import main as predict
from tests.model.test_predict import model_folder

__all__ = ["model_folder"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for n in range(7):
        pixels = random.integers(0, 255, [40 + 20 * (n % 2), 60 + 40 * (n % 3), 3], np.uint8)
        (folder / f"{n % 2}").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{n % 2}/{n}.png")
    (folder / "bad.jpg").write_bytes(b"no picture")
    return folder


def run(command, *arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


@pytest.mark.parametrize("tiles", [[], ["--tile-px", "40"]])
def test_it_finds_what_predict_finds(tmp_path, model_folder, photos, tiles, monkeypatch):
    monkeypatch.chdir(photos.parent)
    common = ["--model", model_folder, photos.name, *tiles]
    one = run(predict, *common, "--out", tmp_path / "one", "--no-drawing")
    bulk = run(main, *common, "--out", tmp_path / "bulk", "--shard-size", 3, "--batch-size", 2)

    assert (one.exit_code, bulk.exit_code) == (1, 1), bulk.stderr
    for name in ("detections.json", "detections.csv"):
        assert (tmp_path / "bulk" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    (error,) = (line for line in bulk.stderr.splitlines() if line.startswith("error"))
    assert one.stderr.splitlines() == [error.replace(f"{photos.parent}/", "")]
    summary = json.loads((tmp_path / "bulk/summary.json").read_text())
    assert summary["pictures"] == {"read": 7, "failed": 1}
    assert not list((tmp_path / "bulk").glob(".tfx-rcnn-bulk*"))


def test_shards_that_are_done_are_not_done_again(tmp_path, model_folder, photos, monkeypatch):
    import apache_beam as beam

    from components.bulk_predict import whole
    from model.prediction.paths import find_pictures

    settings = whole.BulkSettings(pictures_a_shard=3)
    arguments = model_folder, find_pictures([str(photos)]), tmp_path / "new", tmp_path / "w"
    (tmp_path / "new").mkdir()
    lines = []
    whole.bulk_predict(*arguments, settings, beam.Pipeline, lines.append)
    expected = (tmp_path / "new/detections.json").read_bytes()
    results = sorted((tmp_path / "w").rglob("*.json"))
    assert len(results) == 3
    results[1].unlink()
    lines.clear()

    summary = whole.bulk_predict(*arguments, settings, beam.Pipeline, lines.append)

    assert lines[0] == "going on: 2 of 3 shards were done before"
    assert len(lines) == 2
    assert summary["pictures"] == {"read": 7, "failed": 1}
    assert (tmp_path / "new/detections.json").read_bytes() == expected


def test_a_model_that_cannot_be_loaded_is_one_line(tmp_path, model_folder, photos):
    shutil.copytree(model_folder, tmp_path / "M")
    (tmp_path / "M/saved_model.pb").write_bytes(b"rubbish")
    result = run(main, "--model", tmp_path / "M", photos, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "cannot be loaded" in result.stderr
    assert len(result.stderr.splitlines()) == 1

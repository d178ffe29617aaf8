"""A small detector of random weights, in each form, against its SavedModel."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from configs.loader import load_config
from model.commands.export import main
from model.detector import build_detector
from model.export import export_saved_model
from model.predict import LoadedModel
from model.training_settings import TrainingSettings

CATEGORIES = [{"id": 3, "name": "a", "label": 1}, {"id": 8, "name": "b", "label": 2}]


@pytest.fixture(scope="module")
def saved(tmp_path_factory, repo):
    config = load_config(
        repo / "configs" / "tiny.yaml",
        [
            "model.detections.score_threshold=0.0",
            "model.detections.max_detections=8",
            "model.rpn.test_pre_nms_top_k=300",  # more than suppression's tile, and no multiple
        ],
    )
    settings = TrainingSettings.of(config)
    detector = build_detector(settings.model, len(CATEGORIES), seed=1)
    folder = tmp_path_factory.mktemp("saved") / "model"
    export_saved_model(detector, settings, CATEGORIES, folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for n, (height, width) in enumerate([(60, 90), (90, 60), (300, 200)]):
        pixels = random.integers(0, 255, [height, width, 3], np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    return folder


def export(saved, out, pictures, *forms):
    arguments = [f"--form={form}" for form in forms]
    return CliRunner().invoke(
        main, ["--model", str(saved), "--out", str(out), *arguments, str(pictures)]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "bound"),
    # Of the reasons for differences only the order of sums is left; in float16 also the rounding.
    [("onnx", 1e-4), ("tflite", 1e-4), ("float16", 0.2)],
)
def test_each_form_finds_what_the_saved_model_finds(
    tmp_path, saved, pictures, monkeypatch, form, bound
):
    monkeypatch.setattr("model.exports.compare.LEAST_SCORE", 0.01)
    pytest.importorskip("tf2onnx" if form == "onnx" else "tensorflow")

    done = export(saved, tmp_path / "out", pictures, form)

    assert done.exit_code == 0, done.output
    made = json.loads((tmp_path / "out/summary.json").read_text())["forms"][form]
    assert made["pictures"] == 3
    assert made["detections"] >= 8
    if form != "float16":  # of random weights, ranks change by a rounding
        assert made["found_again"] == made["detections"] == made["of_the_other"]
    assert max(made["largest_difference"].values()) <= bound
    if form == "float16":
        half = LoadedModel(tmp_path / "out/float16")
        assert half.model_id != LoadedModel(saved).model_id


def test_the_op_in_the_way_is_named(tmp_path, saved, pictures):
    config = json.loads((saved / "assets/config.json").read_text())
    config["model"]["roi"]["sampling_ratio"] = 0
    config["train"]["jit"] = False
    other = tmp_path / "model"
    other.mkdir()
    for path in saved.iterdir():
        (other / path.name).symlink_to(path)
    (other / "assets").unlink()
    (other / "assets").mkdir()
    (other / "assets/categories.json").write_text((saved / "assets/categories.json").read_text())
    (other / "assets/config.json").write_text(json.dumps(config))

    done = export(other, tmp_path / "out", pictures, "onnx")

    assert done.exit_code == 1
    assert "error: onnx: the op SparseTensorDenseMatMul is in the way" in done.stderr
    assert json.loads((tmp_path / "out/summary.json").read_text())["forms"] == {}

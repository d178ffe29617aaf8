"""The real detector, exported and read back."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs.model_schema import DetectionConfig
from configs.schema import Config
from model.detector import build_detector
from model.export import export_saved_model
from model.predict import LoadedModel
from model.training_settings import TrainingSettings
from tests.model.small_detector import NUM_CLASSES, small_config

pytestmark = pytest.mark.e2e

CATEGORIES = [{"id": 10 * n, "name": f"thing {n}", "label": n} for n in range(1, NUM_CLASSES + 1)]
INPUT = {"short_side_px": 64, "long_side_px": 64, "size_multiple_px": 32}


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def noise():
    """Two pictures of the size that the model works on, so that nothing is resized."""
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_exported_model_detects_what_the_detector_detects(tmp_path, noise, precision):
    config = TrainingSettings.of(Config(name="small", input=INPUT, model=small_config()))
    trained = build_detector(config.model, NUM_CLASSES, seed=1, precision=precision)
    export_saved_model(trained, config, CATEGORIES, tmp_path)
    # The export is in float32 whatever the training was in.
    detector = build_detector(config.model, NUM_CLASSES, seed=1)
    expected = detector.detect(tf.constant(noise), tf.fill([2, 2], 64.0))

    found = LoadedModel(tmp_path).detect_bytes([png(picture) for picture in noise])

    for n, picture in enumerate(found):
        used = slice(int(expected.num[n]))
        assert len(picture.scores) == expected.num[n] > 0
        np.testing.assert_allclose(picture.scores, expected.scores[n, used], atol=1e-5)
        np.testing.assert_allclose(picture.boxes_norm * 64, expected.boxes[n, used], atol=1e-3)
        np.testing.assert_array_equal(picture.category_ids, 10 * expected.classes[n, used])
        np.testing.assert_allclose(picture.masks, expected.masks[n, used], atol=1e-4)


def test_a_model_that_finds_nothing_and_pictures_of_any_size(tmp_path, noise):
    nothing = DetectionConfig(max_detections=6, score_threshold=1.0)
    config = TrainingSettings.of(
        Config(name="small", input=INPUT, model=small_config(detections=nothing))
    )
    export_saved_model(build_detector(config.model, NUM_CLASSES), config, CATEGORIES, tmp_path)
    model = LoadedModel(tmp_path)

    found = model.detect_bytes([png(noise[0, :height, :width]) for height, width in
                                [(64, 64), (1, 64), (5, 3), (33, 64)]])  # fmt: skip

    assert [len(picture.scores) for picture in found] == [0, 0, 0, 0]
    assert found[0].masks.shape == (0, 8, 8)
    assert model.detect_bytes([]) == []


def test_company_in_the_batch_changes_nothing(tmp_path, noise):
    config = TrainingSettings.of(Config(name="small", input=INPUT, model=small_config()))
    export_saved_model(build_detector(config.model, NUM_CLASSES), config, CATEGORIES, tmp_path)
    model = LoadedModel(tmp_path)
    sizes = [(64, 64), (20, 64), (64, 20), (64, 64), (31, 64), (60, 64), (64, 33), (5, 5)]
    files = [png(noise[n % 2, :height, :width]) for n, (height, width) in enumerate(sizes)]

    alone = [model.detect_bytes([file])[0] for file in files]
    together = model.detect_bytes(files)
    reversed_ = model.detect_bytes(files[::-1])[::-1]

    assert all(len(found.scores) for found in alone)
    for found in (together, reversed_):
        for one, other in zip(alone, found, strict=True):
            np.testing.assert_array_equal(one.category_ids, other.category_ids)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
            np.testing.assert_allclose(one.boxes_norm, other.boxes_norm, atol=1e-6)
            np.testing.assert_allclose(one.masks, other.masks, atol=1e-5)

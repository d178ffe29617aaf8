"""docs/backbones.md: its list is whole, and its backbone works in a detector."""

import re

import numpy as np
import pytest
import tensorflow as tf

from configs.backbones import KERAS_BACKBONES, OWN_BACKBONES
from configs.model_schema import BackboneConfig
from model.detector import build_detector
from model.layers.backbones import BACKBONES
from model.weights.files import load_start_weights
from tests.model.small_detector import LOSSES, small_batch, small_config


@pytest.fixture(scope="module")
def page(repo):
    return (repo / "docs/backbones.md").read_text()


@pytest.fixture
def plain(page, monkeypatch):
    """Runs the page's code: the config that names its backbone, and the function's network."""
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    monkeypatch.setitem(BACKBONES, "plain", None)  # taken back after the test
    exec(code, names)
    config = small_config(backbone=BackboneConfig(name="plain", frozen_stages=1))
    yield config, names["plain"](False, None, (None, None, 3))
    KERAS_BACKBONES.discard("plain")


def test_the_page_lists_every_backbone(page):
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(listed) == sorted(BACKBONES) == sorted(OWN_BACKBONES | KERAS_BACKBONES)


def test_the_pages_backbone_trains_and_detects(plain):
    config, _ = plain
    detector = build_detector(config, 3)
    assert detector.backbone.channels == {"c2": 16, "c3": 24, "c4": 32, "c5": 48}
    trained = {variable.path for variable in detector.backbone.trainable_variables}
    assert trained == {f"backbone/c{n}/{part}" for n in range(2, 6) for part in ("kernel", "bias")}
    batch = small_batch(pictures=2)
    with tf.GradientTape() as tape:
        terms = detector.loss_terms(batch, 0, tf.constant(0, tf.int64))
        total = tf.add_n([term.sum for term in terms.values()])
    gradients = tape.gradient(total, [v.value for v in detector.backbone.trainable_variables])
    assert list(terms) == LOSSES
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
    found = detector.detect(batch.images, batch.image_sizes)
    assert found.boxes.shape == (2, config.detections.max_detections, 4)


def test_the_pages_backbone_starts_from_its_own_keras_file(plain, tmp_path):
    config, network = plain
    network.save(tmp_path / "plain.keras")
    detector = build_detector(config, 3)
    report = load_start_weights(detector, tmp_path / "plain.keras")
    assert len(report.loaded) == 10 and report.left_over == []
    for variable, stored in zip(detector.backbone.variables, network.weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), stored.numpy(), err_msg=variable.path)

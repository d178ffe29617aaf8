"""docs/extending.md: each of its examples runs, and does what it says."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()


def code_of(title: str) -> str:
    """Returns the one block of Python below a title of the page."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


def names_of(title: str) -> dict:
    names: dict = {"__name__": "page"}
    exec(code_of(title), names)
    return names


def test_every_block_is_run_here():
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    with_code = [
        title
        for title in titles
        if "```python" in PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    ]
    assert with_code == [
        "A head",
        "A loss",
        "An augmentation",
        "A metric for the gate",
        "A component",
    ]


def test_the_head_is_trained_and_restored():
    from tests.model.small_detector import LOSSES, small_batch, small_config

    with_quality = names_of("A head")["WithQuality"]
    detector, other = (with_quality(small_config(), 3, seed, "float32", False) for seed in (0, 1))
    with tf.GradientTape() as tape:
        terms = detector.loss_terms(small_batch(filler=[3]), 0, tf.constant(0, tf.int64))
    assert list(terms) == [*LOSSES[:-1], "roi_quality", "mask"]
    gradient = tape.gradient(terms["roi_quality"].sum, detector.quality_head.kernel.value)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    assert 0 < float(terms["roi_quality"].denominator) <= 3 * 8
    other.import_weights(detector.export_weights())
    np.testing.assert_array_equal(other.quality_head.kernel, detector.quality_head.kernel)


def test_the_loss_takes_the_place_of_giou(monkeypatch):
    from configs.model_schema import BoxHeadConfig
    from model.layers import losses

    monkeypatch.setattr(losses, "giou_loss", losses.giou_loss)  # Taken back after the test.
    diou = names_of("A loss")["diou_loss"]
    box, shifted = tf.constant([[[0.0, 0, 4, 4]]]), tf.constant([[[0.0, 2, 4, 6]]])
    # IoU 8 / 24; centres 2 apart; the hull is 4 by 6.
    np.testing.assert_allclose(diou(box, shifted), [[1 - 8 / 24 + 4 / (16 + 36)]], rtol=1e-6)
    config = BoxHeadConfig(box_loss="giou", box_loss_weight=1.0)
    no_change = tf.zeros([1, 1, 4])
    found = losses.box_losses(
        no_change, box, shifted, tf.constant([[True]]), config.delta_weights, config
    )
    np.testing.assert_allclose(found, diou(box, shifted), rtol=1e-6)


def test_the_augmentation_hangs_on_seed_step_and_id_alone():
    from tests.model.small_detector import small_batch

    darkened = names_of("An augmentation")["darkened"]
    batch = small_batch(pictures=3)
    found = darkened(batch, 7, 5)
    assert found.images.dtype == tf.uint8 and found.gt_boxes is batch.gt_boxes
    shares = tf.reduce_mean(tf.cast(found.images, tf.float32), [1, 2, 3]) / tf.reduce_mean(
        tf.cast(batch.images, tf.float32), [1, 2, 3]
    )
    assert 0.5 < min(shares) and max(shares) < 1.01 and len(set(shares.numpy())) == 3
    in_a_graph = next(iter(tf.data.Dataset.from_tensors(batch).map(lambda b: darkened(b, 7, 5))))
    np.testing.assert_array_equal(in_a_graph.images, found.images)
    alone = tf.nest.map_structure(lambda rows: rows[1:2], batch)
    np.testing.assert_array_equal(darkened(alone, 7, 5).images, found.images[1:2])
    assert not np.array_equal(darkened(batch, 7, 6).images, found.images)


@pytest.mark.parametrize(
    ("ap90", "reason"),
    [(0.3, "2 conditions hold"), (0.1, "box/AP90 0.1000 is below the minimum 0.2000 (and 1 more)")],
)
def test_the_metric_decides(ap90, reason):
    from model.evaluation.metrics import Counts, KindMetrics, Metrics

    def metrics(number):
        by_kind = {"box": KindMetrics({"AP": 0.5}, by_iou={"0.90": number})}
        return Metrics(by_kind, Counts(pictures=2, objects=5))

    decision = names_of("A metric for the gate")["verdict"](metrics(ap90), metrics(0.3))
    assert (decision.blessed, decision.reason) == (ap90 > 0.2, reason)


@pytest.mark.parametrize(("blessed", "said"), [(1, "blessed"), (0, "not blessed")])
def test_the_component_runs(tmp_path, monkeypatch, blessed, said):
    from tfx.dsl.components.base import base_executor
    from tfx.types import standard_artifacts
    from tfx.types.channel_utils import as_channel

    (tmp_path / "own_component.py").write_text(code_of("A component"))
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("own_component")
    monkeypatch.delitem(sys.modules, "own_component")
    verdict = standard_artifacts.ModelBlessing()
    verdict.set_int_custom_property("blessed", blessed)
    component = own.VerdictNote(blessing=as_channel([verdict]), greeting="So")
    note = standard_artifacts.String()
    note.uri = str(tmp_path / "note")
    executor = component.executor_spec.executor_class(
        base_executor.BaseExecutor.Context(tmp_dir=str(tmp_path), unique_id="1")
    )
    executor.Do({"blessing": [verdict]}, {"note": [note]}, component.exec_properties)
    assert note.read() == f"So: {said}"

"""Anchors that fit: they do fit, better than those before, and are a config."""

import numpy as np
import pytest
import yaml

from components.coco_transform.anchor_coverage import best_anchor_iou
from components.coco_transform.anchor_fit import SHAPE_BINS, count_shapes, fit_anchors
from configs.model_schema import AnchorConfig

DEFAULT = AnchorConfig()


def tall_boxes(number=2000):
    """Heights and widths: narrow and tall, as of bottles, 20 to 60 pixels wide."""
    random = np.random.default_rng(0)
    widths = random.uniform(20, 60, number)
    return np.stack([widths * random.uniform(3.5, 4.5, number), widths], axis=1)


def placed(extents):
    """Boxes of these sizes, anywhere in a picture of 800 x 800."""
    corners = np.random.default_rng(1).uniform(0, 800 - extents)
    return np.concatenate([corners, corners + extents], axis=1)


def test_fitted_anchors_cover_what_the_given_ones_do_not():
    found = fit_anchors(count_shapes(tall_boxes()), DEFAULT)
    assert found is not None
    assert found.is_better
    assert max(found.aspect_ratios) > 3
    assert len(found.aspect_ratios) == len(DEFAULT.aspect_ratios)
    boxes = placed(tall_boxes())
    fitted = AnchorConfig(sizes_px=found.sizes_px, aspect_ratios=found.aspect_ratios)
    before, after = (best_anchor_iou(boxes, 800, 800, one, 32) for one in (DEFAULT, fitted))
    assert after.mean() > before.mean() + 0.15
    # What is estimated without places is what the grid gives.
    assert found.given.mean_iou == pytest.approx(before.mean(), abs=0.03)
    assert found.fitted.mean_iou == pytest.approx(after.mean(), abs=0.03)
    assert found.fitted.covered == pytest.approx((after >= 0.5).mean(), abs=0.05)


def test_anchors_that_fit_stay():
    shapes = [(s * r**0.5, s / r**0.5) for s in DEFAULT.sizes_px for r in DEFAULT.aspect_ratios]
    found = fit_anchors(count_shapes(np.asarray(shapes)), DEFAULT)
    assert found is not None
    assert not found.is_better


def test_fragment_is_a_config():
    found = fit_anchors(count_shapes(tall_boxes()), DEFAULT)
    assert found is not None
    values = yaml.safe_load(found.fragment)["model"]["anchors"]
    assert AnchorConfig.model_validate(values).sizes_px == found.sizes_px
    assert list(found.sizes_px) == sorted(set(found.sizes_px))


@pytest.mark.parametrize("extents", [[[30.0, 30.0]], [[1e-3, 5e4]], [[0.5, 0.5], [4000.0, 4.0]]])
def test_any_shape_gives_anchors_that_a_config_takes(extents):
    found = fit_anchors(count_shapes(np.asarray(extents)), DEFAULT)
    assert found is not None
    AnchorConfig.model_validate(yaml.safe_load(found.fragment)["model"]["anchors"])
    assert found.fitted.mean_iou >= found.given.mean_iou - 0.01


def test_no_boxes_fit_nothing():
    shapes = count_shapes(np.zeros((0, 2)))
    assert shapes.shape == SHAPE_BINS
    assert fit_anchors(shapes, DEFAULT) is None


def test_counts_add_up():
    boxes = tall_boxes(500)
    one, other = count_shapes(boxes[:200]), count_shapes(boxes[200:])
    np.testing.assert_array_equal(one + other, count_shapes(boxes))


@pytest.mark.parametrize(
    "extents",
    [
        [[10.0, 20.0]],
        [[32.0, 32.0]] * 1000,
        [[0.0, 5.0], [5.0, 0.0], [1e-30, 1e30]],
        [[0.0, 0.0]],
        [[1e9, 1e9]],
        [[4000.0, 1.0], [1.0, 4000.0]],
    ],
    ids=["one", "identical", "without an area", "a point", "huge", "lines"],
)
def test_odd_boxes_give_anchors_that_a_config_takes_and_are_no_worse(extents):
    given_ones = AnchorConfig()
    fitted = fit_anchors(count_shapes(np.asarray(extents)), given_ones)
    assert fitted is not None
    anchors = AnchorConfig(sizes_px=fitted.sizes_px, aspect_ratios=fitted.aspect_ratios)
    assert len(anchors.aspect_ratios) == len(given_ones.aspect_ratios)
    assert fitted.fitted.score >= fitted.given.score - 0.02
    for fit in (fitted.given, fitted.fitted):
        assert 0 <= fit.mean_iou <= 1 and 0 <= fit.covered <= 1


def test_one_shape_gives_the_same_anchors_however_often_it_is_there():
    fits = [
        fit_anchors(count_shapes(np.asarray([[40.0, 90.0]] * times)), AnchorConfig())
        for times in (1, 1000)
    ]
    assert fits[0] == fits[1]

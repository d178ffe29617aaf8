"""How well anchors fit by shapes alone: as the grid says of boxes that lie anywhere."""

import numpy as np
import pytest

from components.coco_transform.anchor_coverage import best_anchor_iou
from components.coco_transform.anchor_fit import SHAPE_BINS, count_shapes, fit
from configs.model_schema import AnchorConfig

DEFAULT = AnchorConfig()
TALL = AnchorConfig(sizes_px=(44, 68, 92, 114, 128), aspect_ratios=(3.6, 4.0, 4.4))


def tall_boxes(number=2000):
    """Heights and widths: narrow and tall, as of bottles, 20 to 60 pixels wide."""
    random = np.random.default_rng(0)
    widths = random.uniform(20, 60, number)
    return np.stack([widths * random.uniform(3.5, 4.5, number), widths], axis=1)


def placed(extents):
    """Boxes of these sizes, anywhere in a picture of 800 x 800."""
    corners = np.random.default_rng(1).uniform(0, 800 - extents)
    return np.concatenate([corners, corners + extents], axis=1)


@pytest.mark.parametrize("anchors", [DEFAULT, TALL], ids=["default", "tall"])
def test_what_is_estimated_without_places_is_what_the_grid_gives(anchors):
    found = fit(count_shapes(tall_boxes()), anchors)
    best = best_anchor_iou(placed(tall_boxes()), 800, 800, anchors, 32)
    assert found.mean_iou == pytest.approx(best.mean(), abs=0.03)
    assert found.covered == pytest.approx((best >= 0.5).mean(), abs=0.05)


def test_anchors_of_the_objects_own_shape_fit_better():
    shapes = count_shapes(tall_boxes())
    assert fit(shapes, TALL).mean_iou > fit(shapes, DEFAULT).mean_iou + 0.15


def test_no_boxes_fit_nothing():
    shapes = count_shapes(np.zeros((0, 2)))
    assert shapes.shape == SHAPE_BINS
    assert fit(shapes, DEFAULT) == (0.0, 0.0)


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
def test_odd_boxes_have_a_fit(extents):
    found = fit(count_shapes(np.asarray(extents)), DEFAULT)
    assert 0 <= found.mean_iou <= 1 and 0 <= found.covered <= 1

import numpy as np
import pytest

from components.coco_transform.anchor_coverage import STRIDES, best_anchor_iou
from configs.model_schema import AnchorConfig
from model.ops.anchors import base_anchors, level_anchors
from model.ops.boxes import iou_matrix


@pytest.mark.parametrize(("offset", "rounded"), [(0.0, False), (0.5, False), (0.0, True)])
def test_best_of_the_whole_grid(offset, rounded):
    config = AnchorConfig(sizes_px=(8, 16, 24, 40, 60), offset=offset, rounded=rounded)
    random = np.random.default_rng(0)
    corners = random.uniform(0, [90, 120], (200, 2))
    boxes = np.concatenate([corners, corners + random.exponential(20, (200, 2)) + 0.5], axis=1)
    boxes = np.minimum(boxes, [90, 120, 90, 120])
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    grid = [
        level_anchors(
            -(-96 // stride),
            -(-128 // stride),
            stride,
            base_anchors(size, config.aspect_ratios, rounded),
            offset,
        )
        for size, stride in zip(config.sizes_px, STRIDES, strict=True)
    ]
    expected = iou_matrix(np.concatenate(grid), boxes.astype(np.float32)).numpy().max(axis=0)
    found = best_anchor_iou(boxes, 90, 120, config, 32)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_boxes():
    assert best_anchor_iou(np.zeros((0, 4)), 90, 120, AnchorConfig(), 32).shape == (0,)

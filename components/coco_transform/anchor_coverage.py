"""How well the anchors fit the objects: the best overlap that any anchor of the grid reaches."""

import numpy as np
import numpy.typing as npt

from configs.model_schema import AnchorConfig
from model.anchor_proposal import STRIDES
from model.input.sizes import padded_sides

Floats = npt.NDArray[np.float64]


def best_anchor_iou(
    boxes: Floats, height: int, width: int, anchors: AnchorConfig, multiple_px: int
) -> Floats:
    """Returns float64 [n]: the highest IoU of each box with any anchor.

    Along an axis the overlap of two intervals of given lengths only falls with the distance of
    their centres, so of all anchors of a shape the one nearest to the box is best; the rest of
    the grid need not be looked at.

    Args:
        boxes: [n, 4] float64, yxyx, pixels of the resized picture.
        height: height of the resized picture.
        width: width of the resized picture.
        anchors: sizes, aspects and offset.
        multiple_px: what the padded sides, which the grid covers, are multiples of.
    """
    best = np.zeros(len(boxes))
    sizes = boxes[:, 2:] - boxes[:, :2]
    padded = padded_sides([height, width], multiple_px)
    for size_px, stride in zip(anchors.sizes_px, STRIDES, strict=True):
        cells = -(-padded // stride)
        centers = (boxes[:, 2:] + boxes[:, :2]) / 2
        nearest = np.clip(np.round(centers / stride - anchors.offset), 0, cells - 1)
        grid_centers = (nearest + anchors.offset) * stride
        for ratio in anchors.aspect_ratios:
            half = np.asarray([size_px * ratio**0.5, size_px / ratio**0.5]) / 2
            half = np.round(half) if anchors.rounded else half
            top_left = np.maximum(boxes[:, :2], grid_centers - half)
            bottom_right = np.minimum(boxes[:, 2:], grid_centers + half)
            overlap = np.prod(np.maximum(bottom_right - top_left, 0), axis=1)
            union = np.prod(sizes, axis=1) + np.prod(2 * half) - overlap
            best = np.maximum(best, overlap / union)
    return best

"""Slow NumPy forms of the tensor functions, written from the definitions: one loop a number."""

import math

import numpy as np


def iou(first, second):
    """Intersection over union of two boxes, in float64; 0 for two points."""
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    common = max(height, 0.0) * max(width, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    union = sum(areas) - common
    return common / union if union > 0 else 0.0


def greedy_nms(boxes, scores, iou_threshold):
    """Indices that are kept, best first: the textbook's loop."""
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if iou(boxes[best], boxes[i]) <= iou_threshold]
    return kept


def multiclass_nms(boxes, scores, score_threshold, iou_threshold, max_detections, min_box_size_px):
    """(score, class from 1, RoI) of what is found in one picture, best first."""
    found = []
    for k in range(scores.shape[1]):
        of_class = boxes[:, min(k, boxes.shape[1] - 1)]
        sides = (of_class[:, 2:] - of_class[:, :2]).min(axis=1)
        rois = np.flatnonzero((scores[:, k] > score_threshold) & (sides >= min_box_size_px))
        kept = greedy_nms(of_class[rois], scores[rois, k], iou_threshold)
        found += [(scores[rois[i], k], k + 1, int(rois[i])) for i in kept]
    return sorted(found, key=lambda row: -row[0])[:max_detections]


def soft_nms(boxes, scores, method, iou_threshold, sigma, score_threshold):
    """(score, index) of what is left, best first: 1704.04503, figure 2, for one class.

    A score that falls to the threshold drops out.
    """
    left = {i: float(score) for i, score in enumerate(scores) if score > score_threshold}
    found = []
    while left:
        best = max(left, key=left.get)
        found.append((left.pop(best), best))
        for i in list(left):
            overlap = iou(boxes[best], boxes[i])
            if method == "gaussian":
                left[i] *= math.exp(-(overlap**2) / sigma)
            if method == "linear" and overlap > iou_threshold:
                left[i] *= 1 - overlap
            if method == "greedy" and overlap > iou_threshold:
                left[i] = 0.0
            if left[i] <= score_threshold:
                del left[i]
    return found


def bilinear(feature, y, x):
    """Value [C] of a map [H, W, C] at a point, cells having theirs at whole numbers."""
    height, width = feature.shape[:2]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(feature.shape[2])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = feature[top, left] * (1 - x + left) + feature[top, right] * (x - left)
    lower = feature[bottom, left] * (1 - x + left) + feature[bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


def roi_align(feature, roi, stride, resolution, sampling_ratio, aligned):
    """[S, S, C] of one RoI on one map [H, W, C]; a sampling ratio of 0 is adaptive."""
    top, left, bottom, right = np.asarray(roi, np.float64) / stride - (0.5 if aligned else 0.0)
    height, width = bottom - top, right - left
    if not aligned:
        height, width = max(height, 1.0), max(width, 1.0)
    num_y = sampling_ratio or math.ceil(height / resolution)
    num_x = sampling_ratio or math.ceil(width / resolution)
    pooled = np.zeros([resolution, resolution, feature.shape[2]])
    for row in range(resolution):
        for column in range(resolution):
            for i in range(num_y):
                for j in range(num_x):
                    y = top + (row + (i + 0.5) / num_y) * height / resolution
                    x = left + (column + (j + 0.5) / num_x) * width / resolution
                    pooled[row, column] += bilinear(feature, y, x) / (num_y * num_x)
    return pooled

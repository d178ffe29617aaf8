"""A detector and a batch small enough for unit tests, with every kind of row in it."""

import numpy as np
import tensorflow as tf

from configs.model_schema import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    DetectionConfig,
    FpnConfig,
    MaskHeadConfig,
    ModelConfig,
    RoiConfig,
    RpnConfig,
)
from model.batch import Batch, Masks

NUM_CLASSES = 3
SIDE_PX = 64
LOSSES = ["rpn_objectness", "rpn_box", "roi_class", "roi_box", "mask"]


def small_config(**sections):
    """A Mask R-CNN on resnet18 of 8 channels; `sections` replace whole sections."""
    settings = dict(
        backbone=BackboneConfig(name="resnet18", width=8, norm="group_norm", frozen_stages=0),
        fpn=FpnConfig(channels=8),
        anchors=AnchorConfig(sizes_px=(8, 16, 32, 48, 64)),
        rpn=RpnConfig(
            samples_per_picture=16,
            pre_nms_top_k=16,
            post_nms_top_k=16,
            test_pre_nms_top_k=16,
            test_post_nms_top_k=16,
        ),
        roi=RoiConfig(samples_per_picture=8, box_resolution=3),
        box_head=BoxHeadConfig(hidden_units=16),
        mask_head=MaskHeadConfig(resolution=4, convolutions=1, channels=8),
        detections=DetectionConfig(max_detections=6, score_threshold=0.01),
    )
    return ModelConfig(**(settings | sections))


def small_batch(pictures=4, side_px=SIDE_PX, empty=(), filler=(), crowd=(), seed=0):
    """Noise pictures with three objects each and one row of padding.

    Pictures in `empty` have no object, those in `filler` are not valid, white, with objects, in
    those in `crowd` the last object is a crowd.
    """
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (pictures, side_px, side_px, 3), np.uint8)
    starts = rng.uniform(0, side_px / 2, (pictures, 4, 2))
    sizes = rng.uniform(8, side_px / 2, (pictures, 4, 2))
    boxes = np.concatenate([starts, starts + sizes], axis=-1).astype(np.float32)
    gt_valid = np.tile([True, True, True, False], (pictures, 1))
    gt_valid[list(empty)] = False
    valid = np.ones(pictures, bool)
    valid[list(filler)] = False
    images[list(filler)] = 255
    gt_is_crowd = np.zeros((pictures, 4), bool)
    gt_is_crowd[list(crowd), 2] = True
    classes = rng.integers(1, NUM_CLASSES + 1, (pictures, 4)).astype(np.int32)
    boxes[~gt_valid] = 0
    arrays = Batch(
        images=images,
        image_sizes=np.full((pictures, 2), (side_px, side_px - 8), np.float32),
        image_ids=np.arange(100, 100 + pictures, dtype=np.int64),
        valid=valid,
        gt_boxes=boxes,
        gt_classes=np.where(gt_valid, classes, 0).astype(np.int32),
        gt_valid=gt_valid,
        gt_is_crowd=gt_is_crowd,
        gt_masks=Masks(
            bitmaps=rng.integers(0, 2, (pictures, 4, 8, 8), np.uint8),
            boxes=boxes,
            valid=gt_valid.copy(),
        ),
    )
    return tf.nest.map_structure(tf.constant, arrays)


def ground_truth_batch(gt_boxes, **fields):
    """A batch of black pictures with these boxes [N, M, 4]; other fields have plain defaults."""
    gt_boxes = tf.constant(gt_boxes, tf.float32)
    pictures, rows = gt_boxes.shape[:2]
    defaults = Batch(
        images=tf.zeros([pictures, 32, 32, 3], tf.uint8),
        image_sizes=tf.fill([pictures, 2], 32.0),
        image_ids=tf.range(7, 7 + pictures, dtype=tf.int64),
        valid=tf.fill([pictures], True),
        gt_boxes=gt_boxes,
        gt_classes=tf.ones([pictures, rows], tf.int32),
        gt_valid=tf.fill([pictures, rows], True),
        gt_is_crowd=tf.fill([pictures, rows], False),
    )
    return defaults._replace(**fields)


def rows(batch, index):
    """The pictures `index` of a batch."""
    return tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), batch)


def sums_and_denominators(terms):
    """{name: (sum, denominator)} as numbers."""
    return {name: (float(t.sum), float(t.denominator)) for name, t in terms.items()}

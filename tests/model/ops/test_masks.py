import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from model.ops.masks import mask_targets
from tests import strategies
from tests.reference import detection as reference

MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "jit": lambda function: tf.function(function, jit_compile=True),
}
HEIGHT, WIDTH = 40, 56
WHOLE = np.float32([0, 0, HEIGHT, WIDTH])


def disc(center_y, center_x, radius):
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    return ((ys - center_y) ** 2 + (xs - center_x) ** 2 <= radius**2).astype(np.uint8)


MASKS = np.stack([disc(20, 30, 12), disc(2, 2, 20), np.ones([HEIGHT, WIDTH], np.uint8)])
ROIS = np.float32(
    [
        [8, 18, 32, 42],
        [0, 0, 21, 25],
        [0, 0, 40, 56],
        [31.8, 30.1, 32.3, 30.7],  # less than a pixel, across the edge
        [5, 5, 39, 11],
        [-16.3, -3, 10, 12.1],
        [30, 45, 52.7, 70.3],
        [99, 99, 120, 110],
    ]
)
OBJECTS = np.int32([0, 1, 2, 0, 1, 2, 2, 2])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [5, 28])
def test_whole_pictures_give_roi_align_of_the_mask(mode, size):
    targets = MODES[mode](lambda *arguments: mask_targets(*arguments, size))(
        tf.constant(MASKS[None]),
        tf.constant(np.tile(WHOLE, (1, 3, 1))),
        tf.constant(ROIS[None]),
        tf.constant(OBJECTS[None]),
    )
    assert targets.dtype == tf.float32
    for row, (roi, number) in enumerate(zip(ROIS, OBJECTS, strict=True)):
        mask = MASKS[number].astype(float)[..., None]
        expected = reference.roi_align(mask, roi, 1, size, 0, aligned=False)[..., 0]
        np.testing.assert_allclose(targets[0, row], expected, atol=2e-5)


def test_pictures_and_objects_are_told_apart():
    bitmaps = np.zeros([2, 3, 8, 8], np.uint8)
    bitmaps[1, 2] = 1
    covered = np.tile(np.float32([0, 0, 16, 16]), (2, 3, 1))
    rois = np.tile(np.float32([2, 2, 12, 12]), (2, 2, 1))
    targets = mask_targets(bitmaps, covered, rois, np.int32([[2, 0], [0, 2]]), 4).numpy()
    assert targets.mean(axis=(2, 3)).tolist() == [[0, 0], [0, 1]]


@settings(max_examples=30)
@given(strategies.boxes(points=False))
def test_targets_are_shares(boxes):
    bitmaps = np.random.default_rng(0).integers(0, 2, (1, 1, 16, 16), np.uint8)
    covered = np.float32([[[10, 20, 50, 44]]])
    index = np.zeros([1, len(boxes)], np.int32)
    targets = mask_targets(bitmaps, covered, boxes[None], index, 7).numpy()
    assert (targets >= 0).all() and (targets <= 1 + 1e-6).all()


def test_a_finer_bitmap_of_the_box_gives_the_same_edges():
    # The object is the lower half of its box, rows 20 to 30 of 10 to 30.
    bitmap = np.zeros([1, 1, 112, 112], np.uint8)
    bitmap[:, :, 56:] = 1
    covered = np.float32([[[10, 4, 30, 48]]])
    targets = mask_targets(bitmap, covered, covered, np.int32([[0]]), 20).numpy()[0, 0]
    # One bin a row of pixels, one sample in its middle. As torchvision's, samples lie half a pixel
    # further down than the bins, so the first row of the object is that of bin 9.5.
    np.testing.assert_allclose(targets[:9], 0, atol=1e-5)
    np.testing.assert_allclose(targets[10:], 1, atol=1e-5)


def test_padding_rows_are_zero():
    bitmaps = np.ones([1, 1, 8, 8], np.uint8)
    nowhere = np.zeros([1, 1, 4], np.float32)
    targets = mask_targets(bitmaps, nowhere, nowhere, np.int32([[0]]), 28).numpy()
    assert targets.shape == (1, 1, 28, 28) and not targets.any()

import colorsys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model.input.color import color_maps, recolored

LEVELS = st.tuples(*[st.integers(0, 255)] * 3)
PICTURES = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
)


def color_map(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
    [row] = color_maps(*(np.array([value]) for value in (brightness, contrast, saturation, hue)))
    return row


def changed(picture, **factors):
    return recolored(tf.constant(picture), tf.constant(color_map(**factors))).numpy()


@settings(max_examples=30)
@given(PICTURES)
def test_factors_of_one_and_no_turn_change_no_bit(picture):
    assert (changed(picture) == picture).all()
    assert (changed(picture, hue=1.0) == picture).all()  # all the way round


def test_each_factor_by_hand():
    picture = np.array([[[100, 50, 200]]], np.uint8)
    assert changed(picture, brightness=1.5).tolist() == [[[150, 75, 255]]]  # 300 is cut off
    # The pixel's grey, and the picture's mean: .299 * 100 + .587 * 50 + .114 * 200 = 82.05
    halved = [[[91, 66, 141]]]  # 82.05 + 0.5 * (17.95, -32.05, 117.95)
    assert changed(picture, saturation=0.5).tolist() == halved
    assert changed(picture, contrast=0.5).tolist() == halved
    grey = changed(picture, saturation=0.0)
    assert grey.tolist() == [[[82, 82, 82]]]


def test_contrast_is_about_the_mean_grey_of_all_pixels():
    picture = np.array([[[0, 0, 0], [100, 100, 100]], [[40, 40, 40], [60, 60, 60]]], np.uint8)
    assert changed(picture, contrast=2.0)[..., 0].tolist() == [[0, 150], [30, 70]]  # mean 50


@settings(max_examples=30)
@given(LEVELS, st.floats(-0.5, 0.5))
def test_a_turned_hue_keeps_the_luma(levels, hue):
    picture = np.array([[levels]], np.uint8)
    found = changed(picture, saturation=0.3, hue=hue).astype(float)  # little enough to be cut off
    luma = np.array([0.299, 0.587, 0.114])
    if 0 < found.min() and found.max() < 255:
        assert abs((found - picture)[0, 0] @ luma) <= 1.0


def test_a_third_of_a_turn_brings_red_towards_green_or_blue():
    hues = [
        colorsys.rgb_to_hsv(*changed(np.array([[[150, 90, 90]]], np.uint8), hue=turn)[0, 0] / 255)[
            0
        ]
        for turn in (0.0, 1 / 3, -1 / 3)
    ]
    assert hues[0] == 0
    assert sorted(hues[1:]) == pytest.approx([1 / 3, 2 / 3], abs=0.1)


@settings(max_examples=30)
@given(st.integers(0, 255), st.floats(-0.5, 0.5), st.floats(0, 2))
def test_grey_stays_grey(level, hue, saturation):
    picture = np.full((3, 2, 3), level, np.uint8)
    assert (changed(picture, hue=hue, saturation=saturation) == level).all()


def test_the_same_within_a_data_set():
    picture = np.random.default_rng(0).integers(0, 256, (9, 5, 3), np.uint8)
    maps = np.stack([color_map(1.2, 0.7, 1.3, 0.1), color_map(0.9, 1.4, 0.2, -0.3)])
    inside = tf.data.Dataset.from_tensor_slices(maps).map(lambda row: recolored(picture, row))
    for row, found in zip(maps, inside, strict=True):
        assert (found.numpy() == recolored(tf.constant(picture), row).numpy()).all()

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model.input.rotation import frame_turn, hulls, turned_masks, turned_picture

DEGREES = st.floats(-45, 45)
SPAN = st.tuples(st.floats(0, 60), st.floats(1, 60))


def turn_of(degrees):
    angle = np.deg2rad(degrees)
    return tf.constant([np.cos(angle), np.sin(angle)], tf.float32)


def frame(degrees, height=64.0, width=96.0, stretch=1.0):
    return frame_turn(turn_of(degrees), tf.constant([height, width]), tf.constant(stretch))


def box_of(rows, columns):
    return tf.constant(
        [[rows[0], columns[0], rows[0] + rows[1], columns[0] + columns[1]]], tf.float32
    )


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_no_turn_changes_no_bit(seed, height, width):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert (turned_picture(tf.constant(picture), turn_of(0)).numpy() == picture).all()


def test_a_quarter_turn_by_hand():
    # Clockwise: what was on the left is on top. 45 degrees are the most of the settings, not here.
    picture = np.arange(9, dtype=np.uint8).reshape(3, 3, 1).repeat(3, axis=2)
    found = turned_picture(tf.constant(picture), turn_of(90)).numpy()[..., 0]
    assert found.tolist() == [[6, 3, 0], [7, 4, 1], [8, 5, 2]]
    box = hulls(tf.constant([[0.0, 0.0, 1.0, 3.0]]), frame(90, 3.0, 3.0)).numpy()  # the top row
    np.testing.assert_allclose(box, [[0, 2, 3, 3]], atol=1e-5)


def test_corners_become_black():
    found = turned_picture(tf.constant(np.full((20, 30, 3), 200, np.uint8)), turn_of(30)).numpy()
    assert not found[0, 0].any() and not found[-1, -1].any()
    assert (found[10, 15] == 200).all()


@settings(max_examples=30)
@given(SPAN, SPAN, DEGREES, st.floats(0.5, 2))
def test_a_hull_holds_the_turned_corners_and_touches_them(rows, columns, degrees, stretch):
    turn = frame(degrees, stretch=stretch)
    box = box_of(rows, columns)
    ymin, xmin, ymax, xmax = box[0]
    y, x = turn.moved(tf.stack([ymin, ymin, ymax, ymax]), tf.stack([xmin, xmax, xmin, xmax]))
    tight = [y.numpy().min(), x.numpy().min(), y.numpy().max(), x.numpy().max()]
    np.testing.assert_allclose(hulls(box, turn)[0].numpy(), tight, atol=1e-3)


@settings(max_examples=30)
@given(st.floats(0, 64), st.floats(0, 96), DEGREES, st.floats(0.5, 2))
def test_turning_back_undoes(y, x, degrees, stretch):
    turn = frame(degrees, stretch=stretch)
    there = turn.moved(tf.constant(y, tf.float32), tf.constant(x, tf.float32))
    np.testing.assert_allclose([v.numpy() for v in turn.back.moved(*there)], [y, x], atol=1e-3)


@settings(max_examples=30)
@given(st.floats(0, 40), st.floats(0, 60), DEGREES)
def test_a_picture_of_other_factors_turns_as_it_was_stored(y, x, degrees):
    # Stored 64 x 96, resized to 128 x 144: twice as high, 1.5 times as wide.
    stored = frame(degrees).moved(tf.constant(y, tf.float32), tf.constant(x, tf.float32))
    resized = frame(degrees, 128.0, 144.0, stretch=0.75).moved(
        tf.constant(2 * y, tf.float32), tf.constant(1.5 * x, tf.float32)
    )
    np.testing.assert_allclose(
        [resized[0].numpy(), resized[1].numpy()],
        [2 * stored[0].numpy(), 1.5 * stored[1].numpy()],
        atol=1e-2,
    )


def blob(random, side=48):
    """Returns a random connected bitmap in the middle of [side, side]."""
    rows, columns = np.mgrid[:side, :side] - side / 2
    angle = np.arctan2(rows, columns)
    radius = side / 3 * (1 + 0.3 * np.sin(3 * angle + random.uniform(0, 6)))
    return (np.hypot(rows, columns) < radius).astype(np.uint8)


def looked_up(bitmap, box, points):
    """Returns the cells under points [k, 2] of a bitmap that covers a box."""
    side = len(bitmap)
    cells = np.floor((points - box[:2]) / (box[2:] - box[:2]) * side).astype(int)
    inside = ((cells >= 0) & (cells < side)).all(axis=1)
    cells = cells.clip(0, side - 1)
    return (bitmap[cells[:, 0], cells[:, 1]] > 0) & inside


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), DEGREES, st.floats(0.6, 1.5))
def test_points_of_a_mask_move_with_it(seed, degrees, stretch):
    random = np.random.default_rng(seed)
    bitmap, box = blob(random), np.array([8.0, 20.0, 56.0, 80.0], np.float32)
    turn = frame(degrees, stretch=stretch)
    bitmaps, covered, tight = turned_masks(tf.constant(bitmap[None]), tf.constant(box[None]), turn)
    bitmaps, covered, tight = bitmaps.numpy()[0], covered.numpy()[0], tight.numpy()[0]
    points = random.uniform([0, 0], [64, 96], (400, 2)).astype(np.float32)
    y, x = turn.moved(tf.constant(points[:, 0]), tf.constant(points[:, 1]))
    moved = np.stack([y.numpy(), x.numpy()], axis=1)
    before, after = looked_up(bitmap, box, points), looked_up(bitmaps, covered, moved)
    # Those that differ lie within a cell of the outline.
    assert (before != after).mean() < 0.06
    inside = moved[before]
    assert (inside >= tight[:2] - 1e-2).all() and (inside <= tight[2:] + 1e-2).all()
    cell = np.prod(covered[2:] - covered[:2]) / bitmaps.size
    assert bitmaps.sum() * cell == pytest.approx(bitmap.sum() * 48 * 60 / 48**2, rel=0.06)
    # A cell of zeros all round: who reads beyond a bitmap reads its border.
    assert not bitmaps[[0, -1]].any() and not bitmaps[:, [0, -1]].any()


def test_an_empty_mask_stays_empty():
    bitmaps, covered, tight = turned_masks(
        tf.zeros([1, 32, 32], tf.uint8), tf.zeros([1, 4]), frame(10)
    )
    assert not bitmaps.numpy().any() and not covered.numpy().any() and not tight.numpy().any()

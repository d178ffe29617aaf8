import numpy as np
import pytest
import tensorflow as tf

from model.ops.matcher import IGNORE, NEGATIVE, POSITIVE
from model.ops.sampler import random_priorities, sample_anchors, sample_rois

IDS = tf.constant([3, 139, 2**40 + 3], tf.int64)
MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "jit": lambda function: tf.function(function, jit_compile=True),
}


def test_priorities_depend_on_no_other_picture():
    together = random_priorities(7, 100, IDS, 50, salt=1).numpy()
    for row, image_id in enumerate(IDS):
        alone = random_priorities(7, 100, image_id[None], 50, salt=1).numpy()[0]
        np.testing.assert_array_equal(together[row], alone)
    longer = random_priorities(7, 100, IDS, 80, salt=1).numpy()
    np.testing.assert_array_equal(longer[:, :50], together)


@pytest.mark.parametrize("mode", MODES)
def test_priorities_are_those_of_the_integer_arithmetic(mode):
    # By the same steps in Python's integers, picture 139, position 4.
    def mixed(n):
        n = (n ^ n >> 16) * 0x85EBCA6B % 2**32
        n = (n ^ n >> 13) * 0xC2B2AE35 % 2**32
        return n ^ n >> 16

    picture = 0
    for key in (7, 2**33 + 5, 1, 139):
        for half in (key % 2**32, key >> 32):
            picture = mixed((picture * 5 + half + 0x9E3779B9) % 2**32)
    number = mixed((mixed(4 + 0x9E3779B9) + picture) % 2**32)
    number = mixed(number ^ (picture * 9 + 1) % 2**32)
    wrapped = MODES[mode](lambda step, ids: random_priorities(7, step, ids, 10, salt=1))
    priorities = wrapped(tf.constant(2**33 + 5, tf.int64), IDS).numpy()
    assert priorities[1, 4] == (number >> 8) / 2**24


def test_every_argument_changes_all_numbers():
    rows = [
        random_priorities(seed, step, tf.constant([image_id], tf.int64), 1000, salt).numpy()[0]
        for seed, step, image_id, salt in [
            (0, 0, 0, 0),
            (1, 0, 0, 0),
            (0, 1, 0, 0),
            (0, 0, 1, 0),
            (0, 0, 0, 1),
            (0, 0, 2**32, 0),
            (0, 2**32, 0, 0),
        ]
    ]
    # Two independent rows have 1000 / 2**24 equal numbers; correlation has deviation 0.03.
    for first in range(len(rows)):
        for second in range(first):
            assert np.mean(rows[first] == rows[second]) < 0.005
            assert abs(np.corrcoef(rows[first], rows[second])[0, 1]) < 0.15


def test_priorities_are_uniform():
    numbers = random_priorities(0, 0, tf.range(64, dtype=tf.int64), 4096, salt=0).numpy()
    assert numbers.min() >= 0 and numbers.max() < 1
    counts = np.histogram(numbers, bins=64, range=(0, 1))[0]
    expected = numbers.size / 64
    # Chi-square with 63 degrees of freedom: mean 63, deviation 11.2.
    assert np.sum((counts - expected) ** 2) / expected < 63 + 4 * 11.2
    # Neighbouring positions and neighbouring ids; deviation of each correlation 0.002.
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.008
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.008
    # The order of positions must not be shared either: it decides what is sampled.
    winners = numbers.argmax(axis=1)
    assert len(np.unique(winners)) > 60


def random_case(num, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice([POSITIVE, NEGATIVE, IGNORE], (2, num), p=[0.2, 0.6, 0.2])
    return tf.constant(labels, tf.int32), tf.constant(rng.random((2, num)), tf.float32)


@pytest.mark.parametrize("mode", MODES)
def test_anchors_of_highest_priority_are_taken(mode):
    labels, priorities = random_case(200)
    sample = MODES[mode](lambda labels, priorities: sample_anchors(labels, priorities, 20, 0.5))
    positive, negative = (taken.numpy() for taken in sample(labels, priorities))
    for row in range(2):
        for taken, label in ((positive, POSITIVE), (negative, NEGATIVE)):
            candidates = np.flatnonzero(labels[row] == label)
            best = candidates[np.argsort(-priorities.numpy()[row, candidates])[:10]]
            assert np.flatnonzero(taken[row]).tolist() == sorted(best)


def test_negatives_fill_up_for_few_positives_but_not_the_other_way():
    labels = tf.constant([[POSITIVE] * 1 + [NEGATIVE] * 9, [POSITIVE] * 9 + [NEGATIVE] * 1])
    positive, negative = sample_anchors(labels, tf.zeros([2, 10]), 6, 0.5)
    assert positive.numpy().sum(axis=1).tolist() == [1, 3]
    assert negative.numpy().sum(axis=1).tolist() == [5, 1]


def test_equal_priorities_take_no_more_than_asked():
    positive, negative = sample_anchors(tf.fill([1, 50], POSITIVE), tf.ones([1, 50]) / 2, 8, 0.5)
    assert positive.numpy().sum() == 4 and not negative.numpy().any()


def test_all_are_taken_where_enough_is_asked_for():
    labels, priorities = random_case(40)
    positive, negative = sample_anchors(labels, priorities, 1_000_000, 0.5)
    np.testing.assert_array_equal(positive, labels == POSITIVE)
    np.testing.assert_array_equal(negative, labels == NEGATIVE)


def test_nothing_to_sample_gives_nothing():
    for label in (IGNORE, POSITIVE):
        labels = tf.fill([1, 6], label)
        positive, negative = sample_anchors(labels, tf.zeros([1, 6]), 4, 0.0)
        assert not positive.numpy().any() and not negative.numpy().any()


@pytest.mark.parametrize("mode", MODES)
def test_rois_come_positives_first(mode):
    labels, priorities = random_case(100, seed=1)
    sample = MODES[mode](lambda labels, priorities: sample_rois(labels, priorities, 16, 0.25))
    index, is_positive, is_sampled = (part.numpy() for part in sample(labels, priorities))
    assert is_sampled.all() and index.dtype == np.int32
    np.testing.assert_array_equal(is_positive, [[True] * 4 + [False] * 12] * 2)
    for row in range(2):
        assert len(set(index[row])) == 16
        taken = labels.numpy()[row, index[row]]
        assert (taken[:4] == POSITIVE).all() and (taken[4:] == NEGATIVE).all()
        order = priorities.numpy()[row, index[row]]
        assert (np.diff(order[:4]) < 0).all() and (np.diff(order[4:]) < 0).all()


def test_rows_left_over_are_marked():
    labels = tf.constant([[IGNORE, POSITIVE, NEGATIVE], [IGNORE, IGNORE, IGNORE]])
    index, is_positive, is_sampled = sample_rois(labels, tf.zeros([2, 3]), 5, 0.4)
    np.testing.assert_array_equal(index, [[1, 2, 0, 0, 0], [0] * 5])
    np.testing.assert_array_equal(is_positive, [[True] + [False] * 4, [False] * 5])
    np.testing.assert_array_equal(is_sampled, [[True, True] + [False] * 3, [False] * 5])

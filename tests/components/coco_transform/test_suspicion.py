"""Objects that look wrong are found, and others are not."""

import numpy as np
import pytest

from components.coco_transform.suspicion import (
    BOX_AND_MASK,
    DUPLICATE,
    SHOWN_OF_A_KIND,
    WHOLE_PICTURE,
    Suspicion,
    Suspicions,
    SuspiciousPlace,
    agreement,
    suspicions,
)


def found(boxes, labels=None, crowds=(), agreements=None):
    number = len(boxes)
    is_crowd = np.zeros(number, bool)
    is_crowd[list(crowds)] = True
    return suspicions(
        np.asarray(boxes, np.float64).reshape(-1, 4),
        np.asarray([1] * number if labels is None else labels, np.int64),
        is_crowd,
        [None] * number if agreements is None else agreements,
    )


A = [0.1, 0.1, 0.5, 0.5]
NEAR_A = [0.1, 0.1, 0.502, 0.5]
B = [0.1, 0.1, 0.45, 0.5]


def test_later_one_of_two_alike_is_a_duplicate():
    [one] = found([A, B, NEAR_A])
    assert (one.kind, one.row, one.other_row) == (DUPLICATE, 2, 0)
    assert one.degree == pytest.approx(0.4 / 0.402)


@pytest.mark.parametrize(
    "case", [{"labels": [1, 2]}, {"crowds": [1]}, {"crowds": [0]}, {"crowds": [0, 1]}]
)
def test_other_classes_and_crowds_are_no_duplicates(case):
    assert found([A, NEAR_A], **case) == []


def test_three_alike_are_two_too_many():
    assert [one.row for one in found([A, A, A])] == [1, 2]


def test_duplicates_are_found_across_the_parts_that_are_compared():
    random = np.random.default_rng(0)
    corners = random.uniform(0, 0.9, (700, 2))
    boxes = np.concatenate([corners, corners + 0.02], axis=1)
    boxes[600] = boxes[3]
    boxes[699] = boxes[698]
    pairs = {(one.row, one.other_row) for one in found(boxes)}
    assert {(600, 3), (699, 698)} <= pairs
    # By hand, pair by pair.
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    ious = shared / (2 * 0.02**2 - shared)
    later = {int(i) for i, j in np.argwhere(ious > 0.95) if j < i}
    assert {row for row, _ in pairs} == later


def test_box_over_the_whole_picture_is_told():
    assert found([[0, 0, 1, 1], [0, 0, 0.98, 0.98], [0, 0, 0.9, 1]]) == [
        Suspicion(WHOLE_PICTURE, 1.0, 0),
        Suspicion(WHOLE_PICTURE, 0.98 * 0.98, 1),
        Suspicion(DUPLICATE, 0.98 * 0.98, 1, 0),
    ]


def test_box_that_disagrees_with_its_mask_is_told():
    [one] = found([A, B], agreements=[0.5, 0.7])
    assert one == Suspicion(BOX_AND_MASK, 0.5, 0)


@pytest.mark.parametrize(
    ("box", "bounds", "expected"),
    [
        ([10, 20, 30, 60], (20, 10, 40, 20), 1.0),
        # Rounded outwards by the pixels that a polygon draws: no difference.
        ([10.4, 20.6, 30.2, 59.5], (20, 10, 40, 20), 1.0),
        ([2.0, 3.0, 4.0, 5.0], (2, 1, 4, 4), 1.0),
        # Half as wide, but for a pixel: 20 of 40 wide, 21 of them shared.
        ([0, 0, 10, 40], (0, 0, 20, 10), 21 / 40),
        # x and y are exchanged: nothing in common.
        ([100, 10, 140, 30], (100, 10, 40, 20), 0.0),
        ([10, 10, 10, 10], (0, 0, 0, 0), 0.0),
    ],
)
def test_agreement_forgives_a_pixel(box, bounds, expected):
    assert agreement(np.asarray(box, np.float64), bounds) == pytest.approx(expected)


def place(doubt, id_, other=None):
    return SuspiciousPlace(doubt, id_, id_, other, 0, 0, 0)


def test_surest_are_kept_whatever_the_order_and_all_are_counted():
    places = [place(n / 100, n) for n in range(50)]
    forwards, backwards = Suspicions(), Suspicions()
    for part in (places[:10], places[10:]):
        forwards.add(WHOLE_PICTURE, part)
    other = Suspicions()
    other.add(WHOLE_PICTURE, places[:10])
    backwards.add(WHOLE_PICTURE, places[10:])
    backwards.add(DUPLICATE, [place(0.1, 1, 2)])
    backwards.merge(Suspicions.from_json(other.to_json()))
    assert forwards.counts == {WHOLE_PICTURE: 50}
    assert forwards.places[WHOLE_PICTURE] == places[:SHOWN_OF_A_KIND]
    assert backwards.places[WHOLE_PICTURE] == places[:SHOWN_OF_A_KIND]
    assert backwards.counts == {WHOLE_PICTURE: 50, DUPLICATE: 1}
    assert Suspicions.from_json(backwards.to_json()).to_json() == backwards.to_json()

"""Objects that look wrong are found, and others are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


SIDES = st.floats(0.01, 0.4)
BOXES = st.builds(
    lambda y, x, h, w: [y, x, y + h, x + w], st.floats(0, 0.5), st.floats(0, 0.5), SIDES, SIDES
)


@given(st.lists(BOXES, max_size=12), st.lists(st.integers(0, 11), max_size=6), st.randoms())
def test_copies_are_found_in_any_order_and_as_many(boxes, copied, random):
    boxes = [*boxes, *(boxes[n % len(boxes)] for n in copied if boxes)]
    shuffled = random.sample(range(len(boxes)), len(boxes))
    exact = []
    for order in (range(len(boxes)), shuffled):
        these = [boxes[n] for n in order]
        told = [one for one in found(these) if one.kind == DUPLICATE]
        assert all(one.other_row < one.row for one in told)
        assert len({one.row for one in told}) == len(told)
        exact.append({one.row for one in told if these[one.row] == these[one.other_row]})
        rows = {one.row for one in told}
        assert all(n in rows for n in range(len(these)) if these[n] in these[:n])
    assert len(exact[0]) == len(exact[1])


@given(st.lists(BOXES, max_size=8), st.lists(st.integers(1, 3), min_size=8, max_size=8))
def test_pictures_parts_are_judged_class_by_class(boxes, labels):
    labels = labels[: len(boxes)]
    together = {(one.kind, one.row, one.other_row) for one in found(boxes, labels)}
    apart = set()
    for label in set(labels):
        rows = [n for n, own in enumerate(labels) if own == label]
        for one in found([boxes[n] for n in rows]):
            other = None if one.other_row is None else rows[one.other_row]
            apart.add((one.kind, rows[one.row], other))
    assert together == apart


@given(
    st.tuples(*[st.integers(0, 400)] * 2, *[st.integers(1, 300)] * 2),
    st.tuples(*[st.integers(0, 400)] * 2, *[st.integers(1, 300)] * 2),
    st.tuples(st.integers(-500, 500), st.integers(-500, 500)),
)
def test_agreement_does_not_depend_on_where_both_are(box, bounds, moved):
    """Whole numbers of pixels, so that the sums are exact."""

    def at(dy, dx):
        y, x, height, width = box
        placed = np.asarray([y + dy, x + dx, y + dy + height, x + dx + width], np.float64)
        return agreement(placed, (bounds[0] + dx, bounds[1] + dy, *bounds[2:]))

    assert at(0, 0) == at(*moved)
    assert 0 <= at(0, 0) <= 1


@given(st.tuples(*[st.integers(1, 300)] * 4))
def test_agreement_is_the_same_when_x_and_y_change_places(sides):
    y, x, height, width = sides
    bounds = (7, 5, 90, 60)
    one = agreement(np.asarray([y, x, y + height, x + width], np.float64), bounds)
    turned = agreement(np.asarray([x, y, x + width, y + height], np.float64), (5, 7, 60, 90))
    assert one == pytest.approx(turned)


@pytest.mark.parametrize(
    "box", [[0.2, 0.2, 0.2, 0.2], [0.1, 0.1, 0.1, 0.9], [0, 0, 0, 1], [1, 1, 1, 1]]
)
def test_boxes_without_an_area_are_like_none(box):
    assert found([box, box, A]) == []


def test_picture_without_objects_or_of_crowds_alone_has_nothing_suspicious():
    assert found([]) == []
    whole = [0, 0, 1, 1]
    assert found([whole, whole], crowds=[0, 1], agreements=[0.0, 0.0]) == []


def test_object_can_be_suspicious_for_every_reason_at_once():
    whole = [0, 0, 1, 1]
    told = found([whole, whole], agreements=[None, 0.0])
    assert [(one.kind, one.row) for one in told] == [
        (BOX_AND_MASK, 1), (WHOLE_PICTURE, 0), (WHOLE_PICTURE, 1), (DUPLICATE, 1),
    ]  # fmt: skip


def test_more_objects_than_are_compared_at_once_are_compared_in_parts(monkeypatch):
    monkeypatch.setattr("components.coco_transform.suspicion._MOST_COMPARED", 4)
    monkeypatch.setattr("components.coco_transform.suspicion._ROWS_AT_ONCE", 3)
    corners = np.arange(9)[:, None] * 0.1
    boxes = np.concatenate([corners, corners, corners + 0.05, corners + 0.05], axis=1)
    boxes[3], boxes[4], boxes[7], boxes[8] = boxes[0], boxes[0], boxes[5], boxes[5]
    # 3 is in the part of 0, 7 in that of 5; 4 and 8 are in parts of their own.
    assert [(one.row, one.other_row) for one in found(boxes)] == [(3, 0), (7, 5)]

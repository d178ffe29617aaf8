import numpy as np
import pytest

from model.predict import Detections
from model.serving_check.agreement import difference, flaw


def found(*rows, masks=None):
    """Detections of (score, category, ymin, xmin, ymax, xmax)."""
    rows = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(rows[:, 2:], rows[:, 0], rows[:, 1].astype(np.int64), masks)


BOX = (0.1, 0.1, 0.5, 0.5)
SHIFTED = (0.11, 0.1, 0.51, 0.5)  # IoU 0.39 x 0.4 / (2 x 0.16 - 0.156) = 0.951
FURTHER = (0.14, 0.1, 0.54, 0.5)  # 0.144 / 0.176 = 0.818
CAT, DOG = 3, 18


@pytest.mark.parametrize(
    ("first", "second", "unpaired", "is_allowed"),
    [
        ([], [], 0.0, True),
        ([(0.9, CAT, *BOX)], [(0.9, CAT, *BOX)], 0.0, True),
        ([(0.9, CAT, *BOX)], [(0.885, CAT, *SHIFTED)], 0.0, True),
        ([(0.9, CAT, *BOX)], [(0.87, CAT, *BOX)], 1.77, False),
        ([(0.9, CAT, *BOX)], [(0.9, CAT, *FURTHER)], 1.8, False),
        ([(0.9, CAT, *BOX)], [(0.9, DOG, *BOX)], 1.8, False),
        ([(0.9, CAT, *BOX)], [], 0.9, False),
        ([], [(0.9, CAT, *BOX)], 0.9, False),
        ([(0.25, CAT, *BOX)], [], 0.25, True),  # a guess
        # Each partner once: two equal detections against one.
        ([(0.9, CAT, *BOX), (0.9, CAT, *BOX)], [(0.9, CAT, *BOX)], 0.9, False),
        # A box without an area is like itself, and like one of next to none.
        ([(0.9, CAT, 0.2, 0.2, 0.2, 0.9)], [(0.9, CAT, 0.199999, 0.2, 0.2, 0.9)], 0.0, True),
        ([(0.9, CAT, 0.2, 0.2, 0.2, 0.2)], [(0.9, CAT, 0.2, 0.2, 0.2, 0.2)], 0.0, True),
    ],
)
def test_what_has_no_partner_is_summed_by_score(first, second, unpaired, is_allowed):
    apart = difference(found(*first), found(*second))

    assert apart.unpaired == pytest.approx(unpaired, abs=1e-6)
    assert apart.is_allowed is is_allowed


def test_a_tenth_of_many_may_have_no_partner():
    rows = [(0.9, CAT, 0.05 * n, 0.0, 0.05 * n + 0.04, 0.9) for n in range(20)]

    assert difference(found(*rows), found(*rows[:17])).is_allowed  # 3 of 37
    apart = difference(found(*rows), found(*rows[:16]))  # 4 of 36 are more than a tenth
    assert not apart.is_allowed
    assert apart.in_words() == (
        "11% of the detections, by score, have no counterpart, the strongest of category 3 at 0.900"
    )


def test_other_masks_are_other_detections():
    masks = np.zeros((1, 28, 28), np.float32)
    other = masks.copy()
    other[0, :2] = 1.0  # 2 of 28 rows: 0.071 on average

    rows = [(0.9, CAT, *BOX)]
    assert difference(found(*rows, masks=masks), found(*rows, masks=masks)).is_allowed
    assert not difference(found(*rows, masks=masks), found(*rows, masks=other)).is_allowed
    assert difference(found(*rows, masks=masks), found(*rows)).is_allowed  # not told by both


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((0.9, CAT, *BOX), None),
        ((np.nan, CAT, *BOX), "not numbers"),
        ((0.9, CAT, 0.1, np.inf, 0.5, 0.5), "not numbers"),
        ((0.9, CAT, 0.1, -0.1, 0.5, 0.5), "outside of the picture"),
        ((0.9, CAT, 0.1, 0.1, 0.5, 1.1), "outside of the picture"),
    ],
)
def test_what_is_no_detection(row, words):
    problem = flaw(found(row))

    assert problem is None if words is None else words in problem

import pytest

from components.coco_evaluator.worst_pictures import operating_point, worst_pictures
from model.evaluation.coco_numbers import PictureMatches


def matches(pairs=(), missed=0, wrong=()):
    """Objects found at the scores `pairs`, objects missed, wrong detections at the scores."""
    return PictureMatches(
        pairs=[({"bbox": n}, {"score": score}) for n, score in enumerate(pairs)],
        missed=[{}] * missed,
        wrong=[{"score": score} for score in wrong],
    )


def test_the_best_f1_is_found():
    # By falling score: right, wrong, right, wrong, wrong; 4 objects.
    # F1 after 1, 2, 3, 4, 5 of them: 2/5, 2/6, 4/7, 4/8, 4/9.
    point = operating_point([matches([0.9, 0.5], missed=2, wrong=[0.6, 0.4]), matches(wrong=[0.3])])

    assert point.score == 0.5
    assert point.precision == pytest.approx(2 / 3)
    assert point.recall == pytest.approx(2 / 4)
    assert point.f1 == pytest.approx(4 / 7)


def test_equal_scores_stand_or_fall_together():
    # Taking only the right one of the two at 0.5 is no threshold.
    point = operating_point([matches([0.5], wrong=[0.5, 0.5])])

    assert point.precision == pytest.approx(1 / 3)


@pytest.mark.parametrize("pictures", [[], [matches()], [matches(missed=3)], [matches(wrong=[0.5])]])
def test_nothing_right_has_no_threshold(pictures):
    assert operating_point(pictures).f1 == 0


def test_pictures_with_most_errors_come_first():
    by_id = {
        1: matches([0.9]),
        2: matches([0.9, 0.1], wrong=[0.8]),  # at 0.5: one missed, one wrong
        3: matches(missed=3, wrong=[0.2]),
        4: matches(wrong=[0.3]),
    }

    worst = worst_pictures(by_id, score=0.5, count=5)

    assert [picture.image_id for picture in worst] == [3, 2]
    assert (len(worst[1].found), len(worst[1].missed), len(worst[1].wrong)) == (1, 1, 1)
    assert [picture.image_id for picture in worst_pictures(by_id, 0.5, 1)] == [3]

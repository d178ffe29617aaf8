from components.coco_evaluator.worst_pictures import worst_pictures
from model.evaluation.coco_numbers import PictureMatches


def matches(pairs=(), missed=0, wrong=()):
    """Objects found at the scores `pairs`, objects missed, wrong detections at the scores."""
    return PictureMatches(
        pairs=[({"bbox": n}, {"score": score}) for n, score in enumerate(pairs)],
        missed=[{}] * missed,
        wrong=[{"score": score} for score in wrong],
    )


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

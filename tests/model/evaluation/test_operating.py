import numpy as np
import pytest

from model.evaluation.engine import by_hotcoco
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.operating import NOTHING_RIGHT, calibration, score_curve
from tests.model.evaluation import coco_cases

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
IMAGES = [{"id": n, "width": 200, "height": 200, "file_name": f"{n}.png"} for n in range(1, 5)]
RIGHT, WRONG = [10.0, 10.0, 40.0, 40.0], [100.0, 100.0, 40.0, 40.0]


def matches_of(scored: list[tuple[float, bool]]):
    """Matches of four pictures with a cat each, in which these detections of cats are."""
    objects = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": RIGHT, "area": 1600.0, "iscrowd": 0}
        for n in range(1, 5)
    ]
    found = [
        {"image_id": 1 + n % 4, "category_id": 1, "bbox": RIGHT if right else WRONG, "score": score}
        for n, (score, right) in enumerate(scored)
    ]
    return by_hotcoco(coco_cases.task(GroundTruth(IMAGES, objects, CATEGORIES), found)).matches


SCORED = [(0.9, True), (0.8, True), (0.7, False), (0.6, True)]


def test_the_curve_says_what_each_score_gives() -> None:
    curve = score_curve(matches_of(SCORED), 0)
    assert curve.scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert curve.precision.tolist() == [1, 1, 2 / 3, 3 / 4]
    assert curve.recall.tolist() == [1 / 4, 2 / 4, 2 / 4, 3 / 4]
    best = curve.best()
    assert (best.score, best.f1) == (0.6, pytest.approx(2 * 3 / (4 + 4)))


@pytest.mark.parametrize(
    ("wanted", "score"), [(1.0, 0.8), (0.9, 0.8), (0.75, 0.6), (0.5, 0.6), (0.0, 0.6)]
)
def test_a_wanted_precision_gives_the_most_recall(wanted: float, score: float) -> None:
    point = score_curve(matches_of(SCORED), 0).for_precision(wanted)
    assert point is not None and point.score == score and point.precision >= wanted


@pytest.mark.parametrize(("wanted", "score"), [(0.1, 0.9), (0.5, 0.8), (0.75, 0.6)])
def test_a_wanted_recall_gives_the_highest_score(wanted: float, score: float) -> None:
    point = score_curve(matches_of(SCORED), 0).for_recall(wanted)
    assert point is not None and point.score == score and point.recall >= wanted


def test_what_cannot_be_had_is_none() -> None:
    curve = score_curve(matches_of(SCORED), 0)
    assert curve.for_recall(0.8) is None
    nothing = score_curve(matches_of(SCORED), 1)
    assert nothing.objects == 0 and nothing.best() == NOTHING_RIGHT
    assert nothing.for_precision(0.5) is None and nothing.for_recall(0.0) is None
    assert score_curve(matches_of([(0.9, False)])).best() == NOTHING_RIGHT


def test_equal_scores_count_together() -> None:
    curve = score_curve(matches_of([(0.5, True), (0.5, False), (0.5, True)]))
    assert curve.scores.tolist() == [0.5] and curve.precision.tolist() == [2 / 3]


def test_a_thinned_curve_keeps_both_ends() -> None:
    rng = np.random.default_rng(0)
    curve = score_curve(matches_of([(float(s), bool(s > 0.3)) for s in rng.random(400)]))
    thin = curve.thinned(20)
    assert len(thin.scores) <= 20 and thin.scores[0] == curve.scores[0]
    assert thin.recall[-1] == curve.recall[-1] and curve.thinned(1000) is curve


def test_calibration_is_the_distance_of_score_and_precision() -> None:
    found = calibration(matches_of([(0.95, True), (0.92, False), (0.15, False), (0.11, False)]))
    assert found.count.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found.precision[[1, 9]].tolist() == [0, 0.5]
    # Means 0.13 and 0.935: (0.13 * 2 + 0.435 * 2) / 4.
    assert found.error == pytest.approx(0.2825)
    assert np.isnan(found.precision[0]) and np.isnan(calibration(matches_of([])).error)


def test_a_score_of_one_is_in_the_last_bin() -> None:
    assert calibration(matches_of([(1.0, True)])).count[9] == 1

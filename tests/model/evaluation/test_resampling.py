import numpy as np
import pytest

from configs.metric_names import METRIC_NAMES
from model.evaluation.coco_numbers import evaluate
from model.evaluation.engine import by_hotcoco
from model.evaluation.ground_truth import GroundTruth
from model.evaluation.resampling import Resampler, drawn_counts, resample_count, resampled
from tests.model.evaluation.coco_cases import random_case, task

CLASSES = [10, 20, 30]


def drawn_again(truth, detections, counts):
    """The pictures as often as they were drawn, each time under an id of its own."""
    images, objects, found = [], [], []
    for image, count in zip(truth.images, counts.astype(int), strict=True):
        for _ in range(count):
            new_id = len(images) + 1
            images.append(image | {"id": new_id})
            mine = [a for a in truth.annotations if a["image_id"] == image["id"]]
            objects += [a | {"id": len(objects) + n + 1, "image_id": new_id}
                        for n, a in enumerate(mine)]  # fmt: skip
            found += [d | {"image_id": new_id} for d in detections if d["image_id"] == image["id"]]
    return GroundTruth(images, objects, truth.categories), found


def without_ties(truth, detections):
    # Equal scores of different pictures stand in the order of the pictures, which drawing changes.
    rng = np.random.default_rng(1)
    scores = rng.permutation(len(detections)) / len(detections)
    return truth, [d | {"score": float(s)} for d, s in zip(detections, scores, strict=True)]


@pytest.mark.parametrize("seed", range(6))
def test_numbers_of_a_resample_are_those_of_its_pictures(seed):
    truth, detections = without_ties(*random_case(seed))
    resampler = Resampler(by_hotcoco(task(truth, detections)).matches, CLASSES)
    counts = next(drawn_counts(len(truth.images), 3, seed))

    numbers = resampler.numbers(counts)

    for b in range(3):
        expected = evaluate(*drawn_again(truth, detections, counts[:, b])).classes("box")
        for k, category_id in enumerate(CLASSES):
            ours = np.nan_to_num(numbers[:, k, b], nan=-1.0)
            theirs = [expected[category_id].numbers[name] for name in METRIC_NAMES]
            # Where a recall is met exactly, COCO's float comparison may miss it: one of 101 points.
            np.testing.assert_allclose(ours, theirs, atol=0.011)
            assert np.abs(ours - theirs).mean() < 2e-3


def test_long_curves_are_worked_through_in_blocks(monkeypatch):
    truth, detections = without_ties(*random_case(1, pictures=30))
    matches = by_hotcoco(task(truth, detections)).matches
    counts = next(drawn_counts(30, 20, 0))
    whole = Resampler(matches, CLASSES).numbers(counts)

    monkeypatch.setattr("model.evaluation.resampled_curve._ROWS", 3)

    np.testing.assert_allclose(Resampler(matches, CLASSES).numbers(counts), whole, atol=1e-6)


def test_the_same_seed_draws_the_same_pictures_whatever_the_block():
    first, again = (np.hstack(list(drawn_counts(9, 300, seed=5))) for _ in range(2))

    np.testing.assert_array_equal(first, again)
    assert first.shape == (9, 300)
    assert (first.sum(axis=0) == 9).all()


def test_a_class_without_objects_is_undefined_and_pictures_are_counted():
    truth, detections = random_case(2)
    kept = [a for a in truth.annotations if a["category_id"] != 20]
    few = GroundTruth(truth.images, kept, truth.categories)
    found = resampled(by_hotcoco(task(few, detections)).matches, CLASSES, 50, seed=0)

    assert np.isnan(found.plain[:, 1]).all()
    assert np.isnan(found.drawn[:, 1]).all()
    of_ten = {a["image_id"] for a in kept if a["category_id"] == 10 and not a["iscrowd"]}
    assert found.pictures[0].tolist()[0] == len(of_ten)
    assert found.pictures[0].tolist()[1] == 0
    of_any = {a["image_id"] for a in kept if not a["iscrowd"]}
    assert found.any_pictures[0] == len(of_any)


def test_fewer_resamples_are_drawn_of_long_curves():
    matches = by_hotcoco(task(*random_case(0))).matches

    assert resample_count(matches, 1000) == 1000
    assert resample_count(matches, 50) == 50
    assert resample_count(matches, 10**9) < 10**6

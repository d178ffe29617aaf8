"""The gate where chance decides: tables of cases, pure."""

import numpy as np
import pytest

from components.coco_evaluator.chance import changes_and_chance
from components.coco_evaluator.comparison import NEWEST, Rival
from components.coco_evaluator.gate import contradiction, decide
from configs.schema import LimitsConfig, Threshold
from model.evaluation.metrics import ClassNumbers, Counts, KindMetrics, Metrics

NAMES = {1: "wide", 2: "tall", 3: "rare"}
OBJECTS = {1: 500, 2: 200, 3: 4}


def spread(se, seed=0, rows=1):
    return np.random.default_rng(seed).normal(0, se, (rows, 999))


def numbers(*by_class):
    defined = [value for value in by_class if value >= 0]
    classes = {
        k: ClassNumbers(
            NAMES[k],
            {"AP": value},
            objects=OBJECTS[k],
            objects_of_size={"small": 0, "medium": OBJECTS[k], "large": 0},
        )
        for k, value in enumerate(by_class, 1)
    }
    mean = sum(defined) / len(defined)
    return Metrics({"box": KindMetrics({"AP": mean}, classes)}, Counts(pictures=100, objects=700))


def rival(old, new, se, name=NEWEST):
    """A pushed model; each change has the standard error `se`, that of "rare" is unknown."""

    def deviations(metric, category_ids):
        if se is None:
            return None
        found = spread(se, rows=len(category_ids or [0]))
        for row, category_id in enumerate(category_ids or []):
            found[row] = np.nan if category_id == 3 else found[row]
        return found

    return Rival(name, numbers(*old), numbers(*new), deviations)


@pytest.mark.parametrize(
    ("drop", "se", "rule", "setting", "confidence", "passed"),
    [
        # By the numbers alone, as it always was.
        (0.03, 0.001, "max_drop", 0.01, None, False),
        (0.03, 0.100, "max_drop", 0.01, None, False),
        (0.01, 0.001, "max_drop", 0.01, None, True),
        # A drop is refused where it is more than chance beyond what is allowed ...
        (0.03, 0.001, "max_drop", 0.01, 0.95, False),
        (0.03, 0.009, "max_drop", 0.01, 0.95, False),
        # ... and stands where it is not.
        (0.03, 0.015, "max_drop", 0.01, 0.95, True),
        (0.03, 0.009, "max_drop", 0.01, 0.99, True),
        (0.01, 0.000, "max_drop", 0.01, 0.95, True),
        (-0.03, 0.001, "max_drop", 0.01, 0.95, True),
        # A gain is accepted where it is real.
        (-0.03, 0.001, "min_gain", 0.01, 0.95, True),
        (-0.03, 0.015, "min_gain", 0.01, 0.95, False),
        (-0.03, 0.100, "min_gain", 0.01, None, True),
        (0.00, 0.001, "min_gain", 0.01, 0.95, False),
        # Without resamples the numbers alone judge, and that is said.
        (0.03, None, "max_drop", 0.01, 0.95, False),
        (0.01, None, "max_drop", 0.01, 0.95, True),
    ],
)
def test_changes(drop, se, rule, setting, confidence, passed):
    old, new = (0.5, 0.5), (0.5 - drop, 0.5 - drop)
    threshold = Threshold(metric="box/AP", confidence=confidence, **{rule: setting})

    decision = decide(numbers(*new), rival(old, new, se), [threshold])

    (comparison,) = decision.comparisons
    assert decision.blessed is passed, comparison.note
    assert comparison.by_chance == (se is not None and confidence is not None)
    assert (comparison.interval is None) == (se is None)
    assert ("by the numbers alone" in comparison.note) == (se is None and confidence is not None)
    assert (contradiction(decision.comparisons, []) is None) == passed


EACH = {"metric": "box/AP", "classes": "all"}


@pytest.mark.parametrize(
    ("threshold", "old", "new", "failing"),
    [
        # A better mean with a worse class.
        ({"metric": "box/AP", "max_drop": 0.01}, (0.5, 0.5, 0.5), (0.4, 0.9, 0.5), []),
        ({**EACH, "max_drop": 0.01}, (0.5, 0.5, 0.5), (0.4, 0.9, 0.5), ["wide"]),
        ({**EACH, "max_drop": 0.01, "confidence": 0.95}, (0.5,) * 3, (0.4, 0.9, 0.5), ["wide"]),
        # Within chance (se .01, two classes at once), but not within the numbers.
        ({**EACH, "max_drop": 0.01, "confidence": 0.95}, (0.5,) * 3, (0.475, 0.9, 0.5), []),
        ({**EACH, "max_drop": 0.01}, (0.5,) * 3, (0.475, 0.9, 0.5), ["wide"]),
        # A class with too few pictures is judged by its numbers, or left out by min_objects.
        ({**EACH, "max_drop": 0.01, "confidence": 0.95}, (0.5,) * 3, (0.5, 0.5, 0.3), ["rare"]),
        (
            {**EACH, "max_drop": 0.01, "confidence": 0.95, "min_objects": 50},
            (0.5,) * 3, (0.5, 0.5, 0.3), [],
        ),
        ({**EACH, "min": 0.4, "min_objects": 50}, (0.5,) * 3, (0.5, 0.3, 0.1), ["tall"]),
        ({"metric": "box/AP", "classes": ["tall"], "min": 0.4}, (0.5,) * 3, (0.1, 0.5, 0.1), []),
        ({"metric": "box/AP", "classes": ["tall"], "min_gain": 0.1}, (0.5,) * 3,
         (0.9, 0.55, 0.9), ["tall"]),
        # What is not there cannot be judged.
        ({"metric": "box/AP", "classes": ["cat"], "min": 0.1}, (0.5,) * 3, (0.9,) * 3, [None]),
        ({**EACH, "min": 0.1, "min_objects": 900}, (0.5,) * 3, (0.9,) * 3, [None]),
    ],
)  # fmt: skip
def test_classes(threshold, old, new, failing):
    decision = decide(numbers(*new), rival(old, new, 0.01), [Threshold(**threshold)])

    assert [c.category for c in decision.comparisons if not c.passed] == failing
    assert decision.blessed is not bool(failing)


def test_a_class_that_the_pushed_model_lacks_has_no_baseline():
    newest = rival((0.5,), (0.4,), 0.01)

    decision = decide(numbers(0.4, 0.9), newest, [Threshold(**EACH, max_drop=0.2)])

    assert [c.note for c in decision.comparisons if c.category == "tall"] == [
        "box/AP of 'tall' has no baseline to be compared with"
    ]
    assert decision.blessed


@pytest.mark.parametrize(
    ("new", "newest", "older", "blessed"),
    [
        (0.49, 0.50, [], True),
        (0.49, 0.50, [0.51], False),  # two drops of 0.01 are one of 0.02
        (0.50, 0.50, [0.40, 0.51], True),
        (0.49, 0.50, [0.40, 0.45], True),
        (0.49, 0.50, [0.51, 0.55], False),
    ],
)
def test_a_drop_counts_against_the_best_of_the_last(new, newest, older, blessed):
    thresholds = [Threshold(metric="box/AP", max_drop=0.01)]
    before = [rival((ap,), (new,), None, f"the earlier model {ap}") for ap in older]

    decision = decide(numbers(new), rival((newest,), (new,), None), thresholds, older=before)

    assert decision.blessed is blessed, decision.reason
    best = max([newest, *older])
    assert decision.comparisons[-1].baseline == best
    assert len(decision.comparisons) == 1 + (best > newest)


def test_the_best_is_whom_the_candidate_falls_furthest_below_over_their_own_classes():
    # The older knows "wide" alone, in which it was better; its .5 is less than the newest's mean.
    newest = rival((0.4, 0.8), (0.4, 0.8), None)
    older = rival((0.5,), (0.4,), None, "the earlier model")
    thresholds = [Threshold(metric="box/AP", max_drop=0.05)]

    decision = decide(numbers(0.4, 0.8), newest, thresholds, older=[older])

    assert [(c.against, c.passed) for c in decision.comparisons] == [
        (NEWEST, True),
        ("the earlier model", False),
    ]


@pytest.mark.parametrize("undefined", [-1.0, float("nan")])
def test_an_older_model_without_the_number_is_nobodys_best(undefined):
    older = Rival("the earlier model", Metrics({"box": KindMetrics({"AP": undefined})}), numbers(0))
    thresholds = [Threshold(metric="box/AP", max_drop=0.05)]

    decision = decide(numbers(0.5), rival((0.5,), (0.5,), None), thresholds, older=[older])

    assert decision.blessed
    assert len(decision.comparisons) == 1


def test_a_misspelt_class_is_named_with_what_is_like_it():
    threshold = Threshold(metric="box/AP", classes=["Wide", "tall"], min=0.1)

    decision = decide(numbers(0.5, 0.5), None, [threshold])

    assert decision.reason == "box/AP of classes: the data have no class 'Wide': 'wide'?"


@pytest.mark.parametrize(
    ("limits", "costs", "reason"),
    [
        ({"size_mb": 10}, {"size_mb": 9.5}, "2 conditions hold"),
        ({"size_mb": 10}, {"size_mb": 10.5}, "size_mb 10.5 exceeds the limit 10"),
        ({"latency_p99_ms": 80}, {}, "latency_p99_ms was not measured"),
        ({"latency_p50_ms": 80}, {"latency_p50_ms": 81.5}, "latency_p50_ms 81.5 exceeds"),
    ],
)
def test_limits(limits, costs, reason):
    enough = [Threshold(metric="box/AP", min=0.1)]

    decision = decide(numbers(0.5), None, enough, limits=LimitsConfig(**limits), costs=costs)

    assert decision.reason.startswith(reason)


def test_a_limit_alone_blesses_nothing():
    limits = LimitsConfig(size_mb=10)

    assert not decide(numbers(0.5), None, [], limits=limits, costs={"size_mb": 1}).blessed


def test_equal_models_are_refused_as_seldom_as_is_asked_for():
    # 20 classes at once, 400 data sets of two equal models: about 2.5 % may see a drop.
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        se = rng.uniform(0.005, 0.05, 20)
        values = rng.normal(0, se)
        deviations = rng.normal(0, se[:, None], (20, 999))
        refused += any(c.high < 0 for c in changes_and_chance(values, deviations, 0.95))
    assert refused / 400 < 0.06


def test_a_change_that_is_said_to_show_shows_four_times_of_five():
    rng = np.random.default_rng(0)
    deviations = rng.normal(0, 0.02, (1, 999))
    size = changes_and_chance(np.zeros(1), deviations, 0.95)[0].detectable
    seen = [
        changes_and_chance(np.array([value]), deviations, 0.95)[0].high < 0
        for value in rng.normal(-size, 0.02, 500)
    ]
    assert 0.75 < np.mean(seen) < 0.85

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.coco_evaluator.comparison import NEWEST, Rival
from components.coco_evaluator.gate import (
    CLASS_GONE,
    CLASS_NEW,
    FAILED_PICTURES,
    NARROWED,
    NO_MODEL,
    OWN_BASELINE,
    UNUSABLE_BASELINE,
    Comparison,
    Finding,
    contradiction,
    decide,
)
from configs.schema import Threshold
from model.evaluation.metrics import Counts, KindMetrics, Metrics


def metrics(ap, *, mask=None, pictures=10, objects=50):
    numbers = {"box": {"AP": ap}} | ({"mask": mask} if mask else {})
    return Metrics(
        {kind: KindMetrics(of_kind) for kind, of_kind in numbers.items()},
        Counts(pictures=pictures, objects=objects),
    )


AT_LEAST_HALF = Threshold(metric="box/AP", min=0.5)
SMALL_DROP = Threshold(metric="box/AP", max_drop=0.1)
BOTH = Threshold(metric="box/AP", min=0.5, max_drop=0.1)


@pytest.mark.parametrize(
    ("ap", "baseline", "threshold", "blessed", "reason"),
    [
        (0.6, None, AT_LEAST_HALF, True, "1 condition holds"),
        (0.5, None, AT_LEAST_HALF, True, "1 condition holds"),
        (0.4999, None, AT_LEAST_HALF, False, "box/AP 0.4999 is below the minimum 0.5000"),
        (0.0, None, AT_LEAST_HALF, False, "box/AP 0.0000 is below the minimum 0.5000"),
        (-1.0, None, Threshold(metric="box/AP", min=0.0), False, "box/AP is undefined (-1)"),
        (float("nan"), None, AT_LEAST_HALF, False, "box/AP is not a number"),
        (float("inf"), None, AT_LEAST_HALF, False, "box/AP is not a number"),
        (0.6, None, Threshold(metric="box/AP50", min=0.1), False, "box/AP50 is missing"),
        (0.6, None, Threshold(metric="mask/AP", min=0.1), False, "mask/AP is missing"),
        (0.9, None, SMALL_DROP, False, "there is no baseline yet"),
        (0.9, None, BOTH, True, "2 conditions hold"),
        (0.75, 0.8, SMALL_DROP, True, "1 condition holds"),
        (0.7, 0.8, SMALL_DROP, True, "1 condition holds"),  # 0.8 - 0.1 > 0.7 in floating point
        (0.9, 0.8, SMALL_DROP, True, "1 condition holds"),
        (0.69, 0.8, SMALL_DROP, False, "box/AP 0.6900 is 0.1100 below the pushed model's 0.8000"),
        (0.45, 0.5, BOTH, False, "box/AP 0.4500 is below the minimum 0.5000"),
        (0.75, -1.0, SMALL_DROP, False, "box/AP of the baseline is undefined (-1)"),
        (0.75, float("nan"), SMALL_DROP, False, "box/AP of the baseline is not a number"),
        (float("nan"), 0.8, SMALL_DROP, False, "box/AP is not a number"),
    ],
)
def test_verdicts(ap, baseline, threshold, blessed, reason):
    old = None if baseline is None else metrics(baseline)

    decision = decide(metrics(ap), old, [threshold])

    assert decision.blessed is blessed
    assert decision.reason.startswith(reason)
    asked = (threshold.min is not None) + (threshold.max_drop is not None)
    assert len(decision.comparisons) == asked
    json.dumps(decision.to_dict(), allow_nan=False)


def test_no_thresholds_never_bless():
    decision = decide(metrics(1.0), metrics(0.1), [])

    assert not decision.blessed
    assert decision.reason == "no thresholds are set (evaluate.thresholds)"


@pytest.mark.parametrize("empty", [{"pictures": 0}, {"objects": 0}])
def test_an_empty_evaluation_set_never_blesses(empty):
    decision = decide(metrics(1.0, **empty), None, [AT_LEAST_HALF])

    assert not decision.blessed
    assert "no pictures or no objects" in decision.reason


def test_metrics_without_counts_never_bless():
    assert not decide(Metrics({"box": KindMetrics({"AP": 1.0})}), None, [AT_LEAST_HALF]).blessed


def test_all_comparisons_are_kept_also_after_one_failed():
    decision = decide(
        metrics(0.6, mask={"AP": 0.2}),
        metrics(0.55),
        [AT_LEAST_HALF, Threshold(metric="mask/AP", min=0.3), SMALL_DROP],
    )

    assert [(c.metric, c.rule, c.passed) for c in decision.comparisons] == [
        ("box/AP", "min", True),
        ("mask/AP", "min", False),
        ("box/AP", "max_drop", True),
    ]
    assert decision.reason == "mask/AP 0.2000 is below the minimum 0.3000"


def test_a_baseline_without_masks_does_not_block_a_model_with_masks():
    thresholds = [AT_LEAST_HALF, Threshold(metric="mask/AP", max_drop=0.01)]

    decision = decide(metrics(0.6, mask={"AP": 0.2}), metrics(0.6), thresholds)

    assert decision.blessed
    assert decision.comparisons[1].note == "mask/AP has no baseline to be compared with"


UNIT = st.floats(0, 1)


@given(UNIT, UNIT, st.none() | UNIT, st.none() | UNIT, st.none() | UNIT)
def test_a_better_model_is_never_judged_worse(one, other, baseline, minimum, max_drop):
    assume(minimum is not None or max_drop is not None)
    threshold = Threshold(metric="box/AP", min=minimum, max_drop=max_drop)
    old = None if baseline is None else metrics(baseline)

    worse = decide(metrics(min(one, other)), old, [threshold])
    better = decide(metrics(max(one, other)), old, [threshold])

    assert better.blessed or not worse.blessed


CLOSING = [NARROWED, NO_MODEL, FAILED_PICTURES, UNUSABLE_BASELINE, OWN_BASELINE, CLASS_GONE]


@pytest.mark.parametrize("kind", CLOSING)
def test_a_finding_that_closes_the_gate_never_blesses_and_is_the_reason(kind):
    findings = [Finding(CLASS_NEW, False, "a new class"), Finding(kind, True, "so it is")]

    decision = decide(metrics(0.9), metrics(0.8), [BOTH], findings)

    assert not decision.blessed
    assert decision.reason == "so it is"
    assert all(comparison.passed for comparison in decision.comparisons)
    assert decision.to_dict()["findings"][1] == {
        "kind": kind, "closes_gate": True, "note": "so it is"
    }  # fmt: skip


def test_a_finding_that_closes_nothing_is_kept():
    finding = Finding(CLASS_NEW, False, "a new class")

    decision = decide(metrics(0.9), None, [AT_LEAST_HALF], [finding])

    assert decision.blessed
    assert decision.findings == (finding,)


@pytest.mark.parametrize(
    ("findings", "thresholds", "reason"),
    [
        ([], [], "no thresholds are set"),
        ([Finding(CLASS_GONE, True, "gone")], [], "no thresholds are set"),
        ([Finding(NARROWED, True, "narrowed")], [], "narrowed"),
        ([Finding(CLASS_GONE, True, "gone"), Finding(CLASS_GONE, True, "gone too")],
         [AT_LEAST_HALF], "gone (and 1 more)"),
        ([Finding(NO_MODEL, True, "of a file")], [AT_LEAST_HALF], "box/AP 0.4000 is below"),
        ([Finding(NO_MODEL, True, "of a file")], [], "no thresholds are set"),
        ([Finding(CLASS_GONE, True, "gone")], [AT_LEAST_HALF], "gone"),
    ],
)  # fmt: skip
def test_the_reason_is_what_weighs_most(findings, thresholds, reason):
    decision = decide(metrics(0.4), None, thresholds, findings)

    assert not decision.blessed
    assert decision.reason.startswith(reason)


def test_the_pushed_model_is_compared_over_the_classes_that_both_know():
    # Over all classes the candidate is above both limits; over the shared ones it has dropped.
    decision = decide(metrics(0.9), Rival(NEWEST, metrics(0.8), metrics(0.6)), [BOTH])

    against_minimum, against_pushed = decision.comparisons
    assert (against_minimum.candidate, against_minimum.passed) == (0.9, True)
    assert (against_pushed.candidate, against_pushed.passed) == (0.6, False)
    assert "0.2000 below the pushed model's" in decision.reason


def test_shared_classes_without_objects_prove_nothing():
    decision = decide(metrics(0.9), Rival(NEWEST, metrics(-1.0), metrics(-1.0)), [BOTH])

    assert decision.reason == "box/AP is undefined (-1)"


PASSES = Comparison("box/AP", "min", 0.5, 0.6, None, 0.5, True, "it holds")
FIRST = Comparison("box/AP", "max_drop", 0.1, 0.6, None, None, True, "no baseline")


@pytest.mark.parametrize(
    ("comparisons", "findings", "against"),
    [
        ([PASSES], [], None),
        ([PASSES, FIRST], [Finding(CLASS_NEW, False, "new")], None),
        ([], [], "it compares nothing"),
        ([FIRST], [], "it compares nothing"),
        ([PASSES], [Finding(CLASS_GONE, True, "gone")], "gone"),
        ([Comparison("box/AP", "min", 0.5, 0.6, None, 0.5, False, "no")], [], "does not hold"),
        ([Comparison("box/AP", "min", 0.5, 0.4, None, 0.5, True, "no")], [], "does not hold"),
        ([Comparison("box/AP", "min", 0.5, None, None, 0.5, True, "no")], [], "does not hold"),
        ([Comparison("box/AP", "min", 0.5, float("nan"), None, 0.5, True, "no")], [],
         "does not hold"),
    ],
)  # fmt: skip
def test_what_speaks_against_a_blessing_is_found(comparisons, findings, against):
    found = contradiction(comparisons, findings)

    assert (found is None) if against is None else (against in found)


@given(UNIT, st.none() | UNIT, st.none() | UNIT, st.none() | UNIT)
def test_no_blessing_contradicts_itself(ap, baseline, minimum, max_drop):
    assume(minimum is not None or max_drop is not None)
    old = None if baseline is None else metrics(baseline)
    decision = decide(
        metrics(ap), old, [Threshold(metric="box/AP", min=minimum, max_drop=max_drop)]
    )

    assert not decision.blessed or contradiction(decision.comparisons, decision.findings) is None


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("rule", ["min", "max_drop"])
def test_a_threshold_that_is_not_finite_is_refused(rule, number):
    with pytest.raises(ValueError, match=r"finite|greater"):
        Threshold(metric="box/AP", **{rule: number})

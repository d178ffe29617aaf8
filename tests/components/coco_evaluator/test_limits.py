"""What a model may cost: a limit is one comparison, and what was not measured fails it."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.coco_evaluator.comparison import Comparison
from components.coco_evaluator.gate import contradiction, decide
from configs.schema import LimitsConfig, Threshold
from model.evaluation.metrics import Counts, KindMetrics, Metrics

NAMES = list(LimitsConfig.model_fields)
GOOD = Metrics({"box": KindMetrics({"AP": 0.6})}, Counts(pictures=10, objects=50))
ASKED = [Threshold(metric="box/AP", min=0.5)]
NUMBERS = st.floats(1e-3, 1e5)
COSTS = st.one_of(NUMBERS, st.sampled_from([0.0, math.nan, math.inf, -math.inf]))


@pytest.mark.parametrize(
    ("limit", "cost", "note"),
    [
        (2.0, 2.0, "size_mb 2 keeps the limit 2"),
        (2.0, 0.0, "size_mb 0 keeps the limit 2"),
        (2.0, 2.0000001, "size_mb 2 exceeds the limit 2"),
        (2.0, math.nan, "size_mb was not measured"),
        (2.0, math.inf, "size_mb was not measured"),
        (2.0, None, "size_mb was not measured"),
        (1e6, 1e9, "size_mb 1e+09 exceeds the limit 1e+06"),
    ],
)
def test_a_limit_is_kept_or_not(limit, cost, note):
    costs = {} if cost is None else {"size_mb": cost}
    decision = decide(GOOD, None, ASKED, limits=LimitsConfig(size_mb=limit), costs=costs)

    assert decision.comparisons[-1].note == note
    assert decision.blessed is ("keeps" in note)
    if not decision.blessed:
        assert decision.reason == note


def test_what_nobody_limits_costs_nothing_and_other_names_are_none():
    costs = dict.fromkeys(NAMES, 1e9) | {"price": 1e9}
    decision = decide(GOOD, None, ASKED, costs=costs)
    assert decision.blessed and len(decision.comparisons) == 1


def test_limits_alone_never_bless():
    decision = decide(GOOD, GOOD, [], limits=LimitsConfig(size_mb=9), costs={"size_mb": 1})
    assert decision.reason == "no thresholds are set (evaluate.thresholds)"
    only_drop = [Threshold(metric="box/AP", max_drop=0.1)]
    decision = decide(GOOD, None, only_drop, limits=LimitsConfig(size_mb=9), costs={"size_mb": 1})
    assert not decision.blessed and "there is no baseline yet" in decision.reason


@settings(max_examples=50)
@given(
    limits=st.dictionaries(st.sampled_from(NAMES), NUMBERS),
    costs=st.dictionaries(st.sampled_from(NAMES), COSTS),
)
def test_any_costs_are_judged_and_the_decision_reads_back(limits, costs):
    decision = decide(GOOD, None, ASKED, limits=LimitsConfig(**limits), costs=costs)
    made = {c.metric: c for c in decision.comparisons[1:]}

    assert made.keys() == limits.keys()
    kept = {n: math.isfinite(costs.get(n, math.nan)) and costs[n] <= limits[n] for n in limits}
    assert {name: comparison.passed for name, comparison in made.items()} == kept
    assert decision.blessed is all(kept.values())
    text = json.dumps(decision.to_dict())
    read = [Comparison(**values) for values in json.loads(text)["comparisons"]]
    assert (contradiction(read, decision.findings) is None) == decision.blessed
    json.dumps(decision.to_dict(), allow_nan=False)

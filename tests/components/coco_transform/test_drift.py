"""When two sets of records count as different, and what is done then."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.coco_transform.drift import check_drift, drifts, jensen_shannon, l_infinity
from configs.schema import DriftConfig
from ground.errors import DatasetError

EDGES = {"box_side": [1, 2], "box_side_resized": [1, 2]}


def split(objects, sides=(50, 50, 50), counts=(60, 60), source_sides=None):
    classes = [{"name": name, "objects": number} for name, number in objects.items()]
    histograms = {
        "box_side": list(source_sides or sides),
        "box_side_resized": list(sides),
        "objects_per_picture": list(counts),
    }
    return {"classes": classes, "histograms": histograms}


def content(**splits):
    return {"splits": splits, "edges": EDGES}


SOUND = split({"cat": 100, "dog": 100})


def test_what_is_alike_has_no_distance():
    found = drifts(content(train=SOUND, eval=SOUND), None, DriftConfig())
    assert [(drift.what, drift.distance, drift.is_over) for drift in found] == [
        ("classes", 0.0, False),
        ("box sizes", 0.0, False),
        ("objects a picture", 0.0, False),
    ]


def test_each_change_is_found_and_told():
    other = split({"cat": 180, "dog": 20}, sides=(150, 0, 0), counts=(0, 120))
    found = drifts(content(train=SOUND, eval=other), None, DriftConfig())
    assert all(drift.is_over for drift in found)
    assert found[0].distance == pytest.approx(0.4)
    lines = [drift.line for drift in found]
    assert "train and eval: the classes differ by 0.40" in lines[0]
    assert "class 'cat' has 50.0 %, then 90.0 %" in lines[0]
    assert "the second has smaller ones" in lines[1]
    assert "the second has more ones" in lines[2]


def test_run_before_is_compared_by_the_names_of_classes():
    before = content(train=split({"dog": 100, "fox": 100}), eval=SOUND)
    found = drifts(content(train=SOUND, holdout=SOUND), before, DriftConfig())
    told = [drift for drift in found if drift.between == "train of the last run and train"]
    assert [drift.distance for drift in told] == [0.5, 0.0, 0.0]
    assert len(found) == 6  # and train with holdout; the last run had no holdout


def test_run_before_with_other_bins_is_compared_by_its_classes_alone():
    before = {**content(train=SOUND), "edges": {}}
    found = drifts(content(train=SOUND), before, DriftConfig())
    assert [drift.what for drift in found] == ["classes"]


def test_another_input_size_is_no_drift_of_the_data():
    small, large = (
        split({"cat": 200}, sides=sides, source_sides=(0, 150, 0))
        for sides in ((150, 0, 0), (0, 0, 150))
    )
    told = drifts(content(train=large), content(train=small), DriftConfig(on_drift="fail"))
    assert [(drift.what, drift.distance) for drift in told] == [
        ("classes", 0.0),
        ("box sizes", 0.0),
        ("objects a picture", 0.0),
    ]
    # But other objects are, where the input's size hides them; and between splits it counts.
    other = split({"cat": 200}, sides=(150, 0, 0), source_sides=(0, 0, 150))
    told = drifts(content(train=other), content(train=small), DriftConfig())
    assert [drift.what for drift in told if drift.is_over] == ["box sizes"]
    told = drifts(content(train=small, eval=large), None, DriftConfig())
    assert [drift.what for drift in told if drift.is_over] == ["box sizes"]


def test_few_objects_tell_nothing():
    few = split({"cat": 99}, sides=(99, 0, 0), counts=(99, 0))
    assert drifts(content(train=SOUND, eval=few), None, DriftConfig()) == []


def test_settings_say_whether_drift_fails():
    other = split({"cat": 180, "dog": 20}, sides=(150, 0, 0))
    fail = DriftConfig(on_drift="fail")
    found = drifts(content(train=SOUND, eval=other), None, fail)
    check_drift(found, DriftConfig())
    with pytest.raises(DatasetError, match=r"classes differ.*\(and 1 more difference\).*on_drift"):
        check_drift(found, fail)
    wide = DriftConfig(on_drift="fail", max_class_change=1, max_size_divergence=1)
    check_drift(drifts(content(train=SOUND, eval=other), None, wide), wide)


NOTHING = split({"cat": 0, "dog": 0}, sides=(0, 0, 0), counts=(120, 0))


@pytest.mark.parametrize(
    ("train", "ev"),
    [(SOUND, NOTHING), (NOTHING, SOUND), (split({}, sides=(0, 0, 0), counts=(120, 0)), SOUND)],
)
def test_split_without_objects_is_compared_by_its_pictures_alone(train, ev):
    told = drifts(content(train=train, eval=ev), None, DriftConfig())
    assert [drift.what for drift in told] == ["objects a picture"]
    assert told[0].is_over and np.isfinite(told[0].distance)


@pytest.mark.parametrize("empty", [NOTHING, split({}, sides=(0, 0, 0), counts=(0, 0))])
def test_two_without_objects_are_alike(empty):
    told = drifts(content(train=empty, eval=empty), content(train=empty), DriftConfig())
    assert not any(drift.is_over for drift in told)
    check_drift(told, DriftConfig(on_drift="fail"))


def test_classes_of_one_name_count_together():
    twice = split({"dog": 100})
    twice["classes"] += [{"name": "cat", "objects": 60}, {"name": "cat", "objects": 40}]
    for pair in ((SOUND, twice), (twice, SOUND)):
        told = drifts(content(train=pair[0], eval=pair[1]), None, DriftConfig())
        assert told[0].distance == 0.0


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ((0, 200, 0), (100, 0, 100), "those of the second are spread wider"),
        ((100, 0, 100), (0, 200, 0), "those of the second are spread closer"),
        ((200, 0, 0), (0, 0, 200), "the second has larger ones"),
        ((0, 0, 200), (0, 200, 0), "the second has smaller ones"),
    ],
)
def test_what_happened_to_sizes_is_said_as_it_is(one, other, words):
    pair = (split({"cat": 200}, sides=sides) for sides in (one, other))
    told = drifts(content(train=next(pair), eval=next(pair)), None, DriftConfig())
    (sizes,) = [drift for drift in told if drift.what == "box sizes"]
    assert sizes.is_over and sizes.detail == words


COUNTS = st.lists(st.integers(0, 10**6), min_size=5, max_size=5)


@given(COUNTS, COUNTS, st.integers(1, 50))
def test_distances_are_shares_symmetric_and_blind_to_the_number(one, other, times):
    for distance in (l_infinity, jensen_shannon):
        apart = distance(one, other)
        assert -1e-12 <= apart <= 1 + 1e-12
        assert apart == pytest.approx(distance(other, one), abs=1e-12)
        assert apart == pytest.approx(distance([times * n for n in one], other), abs=1e-9)
        assert distance(one, one) == 0
        order = [3, 0, 4, 2, 1]
        turned = distance([one[n] for n in order], [other[n] for n in order])
        assert apart == pytest.approx(turned, abs=1e-12)


@pytest.mark.slow
def test_distances_are_those_of_tensorflow_data_validation():
    import tensorflow_data_validation as tfdv
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

    random = np.random.default_rng(0)
    one, other = random.integers(0, 100, (2, 8))
    names = [f"class {n}" for n in range(8)]

    def statistics(counts):
        dataset = statistics_pb2.DatasetFeatureStatistics(num_examples=int(counts.sum()))
        words = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
        words.path.step.append("word")
        number = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
        number.path.step.append("number")
        for common in (words.string_stats.common_stats, number.num_stats.common_stats):
            common.num_non_missing = int(counts.sum())
            common.min_num_values = common.max_num_values = 1
            common.tot_num_values = int(counts.sum())
        for name, count in zip(names, counts, strict=True):
            words.string_stats.rank_histogram.buckets.add(label=name, sample_count=int(count))
        words.string_stats.unique = 8
        histogram = number.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
        for n, count in enumerate(counts):
            histogram.buckets.add(low_value=n, high_value=n + 1, sample_count=int(count))
        number.num_stats.min, number.num_stats.max = 0, 8
        return statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])

    schema = text_format.Parse(
        """feature { name: "word" type: BYTES
             drift_comparator { infinity_norm { threshold: 0 } } }
           feature { name: "number" type: FLOAT
             drift_comparator { jensen_shannon_divergence { threshold: 0 } } }""",
        schema_pb2.Schema(),
    )
    found = tfdv.validate_statistics(statistics(other), schema, previous_statistics=statistics(one))
    distances = {
        info.path.step[0]: measurement.value
        for info in found.drift_skew_info
        for measurement in info.drift_measurements
    }
    assert distances["word"] == pytest.approx(l_infinity(one, other), abs=1e-9)
    assert distances["number"] == pytest.approx(jensen_shannon(one, other), abs=1e-6)

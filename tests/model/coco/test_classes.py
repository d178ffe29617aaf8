"""What becomes of a file's classes: merged, renamed, left out, by name."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.data_schema import ClassesConfig
from configs.loader import check_config
from ground.errors import ConfigError
from model.coco.classes import class_map
from model.coco.survey import Survey

FILE = [
    {"id": 2, "name": "car", "label": 1},
    {"id": 5, "name": "truck", "label": 2},
    {"id": 7, "name": "dog", "label": 3},
    {"id": 9, "name": "person", "label": 4},
]


def made(**classes):
    return class_map(FILE, ClassesConfig(**classes))


def label_map(**classes):
    return [(c["id"], c["name"], c["label"]) for c in made(**classes).categories]


def test_without_the_setting_classes_are_those_of_the_file():
    found = class_map(FILE, None)
    assert found.categories == FILE
    assert found.left_out_name({"category_id": 7}) is None


def test_merged_class_has_the_smallest_of_its_ids():
    assert label_map(merge={"vehicle": ("truck", "car")}) == [
        (2, "vehicle", 1),
        (7, "dog", 2),
        (9, "person", 3),
    ]
    assert made(merge={"vehicle": ("truck", "car")}).by_id[5]["id"] == 2


def test_class_joins_one_that_there_is_already():
    assert label_map(merge={"dog": ("truck",)})[1:] == [(5, "dog", 2), (9, "person", 3)]


def test_names_can_be_swapped():
    assert label_map(merge={"car": ("truck",), "truck": ("car",)})[:2] == [
        (2, "truck", 1),
        (5, "car", 2),
    ]


def test_kept_and_dropped_classes_go_by_their_new_names():
    merge = {"vehicle": ("car", "truck")}
    kept = [(2, "vehicle", 1), (9, "person", 2)]
    assert label_map(merge=merge, keep=("vehicle", "person")) == kept
    assert label_map(merge=merge, drop=("dog",)) == kept
    found = made(merge=merge, drop=("dog",))
    assert found.left_out_name({"category_id": "7"}) == "dog"
    assert found.left_out_name({"category_id": 77}) is found.left_out_name(None) is None


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"keep": ("cra",)}, r"data\.classes\.keep: no class is named 'cra': did you mean 'car'"),
        ({"drop": ("zebra",)}, r"no class is named 'zebra': there are 'car', 'dog', 'person'"),
        ({"merge": {"v": ("Car",)}}, r"data\.classes\.merge: .* did you mean 'car'\?"),
        ({"merge": {"v": ("car",)}, "keep": ("car",)}, r"\.keep: no class is named 'car'"),
        ({"drop": ("car", "truck", "dog", "person")}, "keeps none of the classes 'car', 'dog'"),
    ],
)
def test_names_that_there_are_not_are_refused(classes, said):
    with pytest.raises(ConfigError, match=said):
        made(**classes)


def test_names_that_look_the_same_are_shown_by_their_codes():
    file = [{"id": 1, "name": "cafe\u0301", "label": 1}]
    said = r"no class is named 'caf\\xe9': did you mean 'cafe\\u0301'\?"
    with pytest.raises(ConfigError, match=said):
        class_map(file, ClassesConfig(keep=("caf\u00e9",)))


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"keep": ["a"], "drop": ["b"]}, "keep and data.classes.drop exclude each other"),
        ({"merge": {"v": ["a"], "w": ["a"]}}, "has 'a' twice"),
        ({"merge": {"v": []}}, r"merge\.v: expected names of classes"),
        ({"merge": {"v": "a"}}, r"expected a list"),
        ({"rename": {"v": "a"}}, "unknown key"),
    ],
)
def test_settings_that_make_no_sense_are_refused(classes, said):
    with pytest.raises(ConfigError, match=said) as error:
        check_config({"name": "x", "data": {"classes": classes}}, "c.yaml")
    assert "\n" not in str(error.value)


def test_one_file_may_lack_a_class_that_others_have():
    found = class_map(FILE[:2], ClassesConfig(keep=("car", "dog")), knows_all=False)
    assert [c["name"] for c in found.categories] == ["car"]


def test_counts_follow_the_classes():
    found = made(merge={"vehicle": ("car", "truck")}, drop=("dog",))
    objects = Counter({2: 4, 5: 3, 7: 2, 77: 1, None: 1})
    assert found.mapped(Survey("a.json", objects=objects)).objects == {2: 7, 77: 1, None: 1}
    assert found.facts(objects) == {
        "merged": {"vehicle": {"car": 4, "truck": 3}},
        "not_kept": {"dog": 2},
    }


def test_objects_of_two_ids_with_one_name_are_counted_together():
    twice = [*FILE, {"id": 11, "name": "dog", "label": 5}]
    objects = {2: 5, 7: 7, 9: 1, 11: 9}
    assert class_map(twice, ClassesConfig(drop=("dog",))).facts(objects)["not_kept"] == {"dog": 16}
    merged = class_map(twice, ClassesConfig(merge={"animal": ("dog",)})).facts(objects)["merged"]
    assert merged == {"animal": {"dog": 16}}


@given(
    st.sets(st.sampled_from(["car", "truck", "dog", "person"]), max_size=4),
    st.sets(st.sampled_from(["car", "truck", "dog", "person", "it"]), max_size=3),
)
def test_every_class_of_the_file_has_one_fate(merged, dropped):
    try:
        found = made(merge={"it": tuple(merged)} if merged else {}, drop=tuple(dropped))
    except ConfigError:
        return
    ids = {c["id"] for c in FILE}
    assert found.by_id.keys() | found.left_out.keys() == ids
    assert not found.by_id.keys() & found.left_out.keys()
    assert [c["label"] for c in found.categories] == list(range(1, len(found.categories) + 1))
    assert {c["id"] for c in found.categories} <= ids
    assert all(found.by_id[c["id"]] == c for c in found.categories)

import pytest

from components.coco_evaluator.classes import (
    classes_against_baseline,
    classes_against_data,
    shared_category_ids,
)


def classes(**ids):
    return [{"id": number, "name": name} for name, number in ids.items()]


OLD = classes(cat=3, dog=7)


@pytest.mark.parametrize(
    ("candidate", "shared", "found"),
    [
        (OLD, {3, 7}, []),
        (
            classes(cat=7, dog=3),  # swapped
            set(),
            [("class_moved", True, "class 3 'cat'"), ("class_moved", True, "class 7 'dog'")],
        ),
        (classes(cat=3, dog=8), {3}, [("class_moved", True, "class 7 'dog'")]),
        (classes(cat=3, hound=7), {3}, [("class_renamed", True, "class 7 'dog'")]),
        (classes(cat=3, Dog=7), {3}, [("class_renamed", True, "class 7 'dog'")]),
        (classes(cat=3), {3}, [("class_gone", True, "class 7 'dog'")]),
        (classes(cat=3, dog=7, cow=9), {3, 7}, [("class_new", False, "class 9 'cow'")]),
        (
            classes(dog=3, cow=7),  # the dog took the cat's id, and the cow the dog's
            set(),
            [("class_gone", True, "class 3 'cat'"), ("class_moved", True, "class 7 'dog'"),
             ("class_new", False, "class 7 'cow'")],
        ),
        (
            classes(ant=1, bee=2),
            set(),
            [("class_gone", True, "class 3 'cat'"), ("class_gone", True, "class 7 'dog'"),
             ("class_new", False, "class 1 'ant'"), ("class_new", False, "class 2 'bee'")],
        ),
        ([], set(), [("class_gone", True, "class 3 'cat'"), ("class_gone", True, "class 7 'dog'")]),
    ],
)  # fmt: skip
def test_what_changed_is_named_and_what_was_lost_closes_the_gate(candidate, shared, found):
    assert shared_category_ids(candidate, OLD) == shared

    findings = classes_against_baseline(candidate, OLD, is_allowed=False)

    starts = [
        (f.kind, f.closes_gate, f.note[: len(n)])
        for f, (_, _, n) in zip(findings, found, strict=True)
    ]
    assert starts == found
    for finding in findings:
        assert ("evaluate.on_changed_classes" in finding.note) is finding.closes_gate
    allowed = classes_against_baseline(candidate, OLD, is_allowed=True)
    assert [(f.kind, f.closes_gate) for f in allowed] == [(kind, False) for kind, _, _ in found]


def test_two_classes_of_one_name_are_two():
    people = [{"id": 1, "name": "person"}, {"id": 7, "name": "person"}]

    assert shared_category_ids(people, people) == {1, 7}
    assert classes_against_baseline(people, people, is_allowed=False) == []
    [moved] = classes_against_baseline(people[:1], people, is_allowed=False)
    assert (moved.kind, moved.closes_gate) == ("class_gone", True)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (OLD, []),
        (classes(cat=7, dog=3), [("class_not_of_data", True), ("class_not_of_data", True)]),
        (classes(cat=3, hound=7), [("class_not_of_data", True)]),
        (classes(cat=3), [("class_unknown_to_model", False)]),
    ],
)
def test_a_model_that_names_the_datas_classes_otherwise_closes_the_gate(model, found):
    findings = classes_against_data(model, OLD, is_allowed=False)
    assert [(f.kind, f.closes_gate) for f in findings] == found

    findings = classes_against_data(model, OLD, is_allowed=True)
    assert [(f.kind, f.closes_gate) for f in findings] == [(kind, False) for kind, _ in found]

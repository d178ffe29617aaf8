"""The settings of data: what names which file, and what a split can be."""

import pytest

from configs.data_schema import SplitConfig
from configs.loader import check_config
from ground.errors import ConfigError

ONE = {"annotations": "labels.json", "pictures": "images"}
SHARES = {"train": 0.9, "eval": 0.1}


def data(**settings):
    return check_config({"name": "x", "data": settings}, "c.yaml").data


def refused(said, **settings):
    with pytest.raises(ConfigError, match=said) as error:
        data(**settings)
    assert "\n" not in str(error.value)


def test_two_files_are_two_inputs():
    found = data(train_annotations="t.json", eval_pictures="e").inputs()
    assert [(each.annotations, each.pictures, each.split) for each in found] == [
        ("t.json", "train2017", "train"),
        ("annotations/instances_val2017.json", "e", "eval"),
    ]


def test_one_file_that_is_split_is_one_input_whatever_a_base_names():
    (found,) = data(**ONE, split=SHARES, train_annotations="of a base").inputs()
    assert found[:3] == ("labels.json", "images", None)


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"train": 0.9, "eval": 0.2}, r"data\.split: train 0\.9 and eval 0\.2 make 1\.1, not 1"),
        ({"train": 0.5, "eval": 0.1}, "make 0.6, not 1"),
        ({"train": 1.0, "eval": 0.0}, r"data\.split\.train"),
        ({"train": 0.9}, r"data\.split\.eval is missing"),
        ({"train": "0.9", "eval": 0.1}, r"data\.split\.train: expected a number"),
        ({**SHARES, "grop": "(a)"}, r"unknown key 'data\.split\.grop': did you mean 'group'\?"),
    ],
)
def test_shares_that_are_none_are_refused(shares, said):
    refused(said, **ONE, split=shares)


def test_shares_may_be_rounded():
    assert SplitConfig(train=0.1 + 0.2, eval=0.7).eval == 0.7


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"cam(\d+", r"data\.split\.group: 'cam\(\\d\+' is no regular expression"),
        ("[", "is no regular expression"),
        ("cam", r"'cam' has no \(\.\.\.\) around what pictures of one group share"),
        (r"cam(?:\d+)", r"has no \(\.\.\.\)"),
        ("", r"has no \(\.\.\.\)"),
        ("(" * 400 + ")" * 400, "at most 500 letters"),
    ],
)
def test_patterns_that_are_none_are_refused(pattern, said):
    refused(said, **ONE, split={**SHARES, "group": pattern})


def test_what_belongs_together_is_asked_for():
    refused(r"data\.annotations needs data\.split, such as \{train: 0\.9, eval: 0\.1\}", **ONE)
    refused(r"data\.split splits one file: name it by data\.annotations", split=SHARES)
    refused(r"data\.annotations needs data\.pictures", annotations="a.json", split=SHARES)
    refused(r"data\.pictures needs data\.annotations", pictures="images", split=SHARES)


SOURCES = [{"annotations": "a.json", "pictures": "a"}, {"annotations": "b.json", "pictures": "b"}]


def test_sources_are_inputs_whatever_a_base_names():
    found = data(sources=SOURCES, split=SHARES, train_annotations="of a base").inputs()
    assert [(each.annotations, each.pictures, each.split) for each in found] == [
        ("a.json", "a", None),
        ("b.json", "b", None),
    ]
    apart = [{**SOURCES[0], "split": "train"}, {**SOURCES[1], "split": "eval"}]
    assert [each.split for each in data(sources=apart).inputs()] == ["train", "eval"]


@pytest.mark.parametrize(
    ("said", "settings"),
    [
        (r"data\.sources needs data\.split", {"sources": SOURCES}),
        (r"exclude each other: keep one", {"sources": SOURCES, "split": SHARES, **ONE}),
        (
            r"data\.sources has 'a\.json' with 'a' twice",
            {"sources": [SOURCES[0]] * 2, "split": SHARES},
        ),
        (
            "some have a split and some have none",
            {"sources": [SOURCES[0], {**SOURCES[1], "split": "train"}], "split": SHARES},
        ),
        ("none is split 'eval'", {"sources": [{**SOURCES[0], "split": "train"}]}),
        (
            "data.split and a split of each of data.sources exclude each other",
            {
                "sources": [{**one, "split": s} for one, s in zip(SOURCES, SHARES, strict=True)],
                "split": SHARES,
            },
        ),
        (
            r"unknown key 'data\.sources\.0\.picture': did you mean 'pictures'",
            {"sources": [{**SOURCES[0], "picture": "x"}], "split": SHARES},
        ),
        (r"data\.sources\.0\.pictures is missing", {"sources": [{"annotations": "a"}]}),
    ],
)
def test_sources_that_say_too_little_or_too_much_are_refused(said, settings):
    refused(said, **settings)

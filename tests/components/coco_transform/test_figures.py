"""Figures of the data report with any names of classes and splits."""

import re

import pytest

from components.coco_transform.figures import _class_figure


def figure(names, split="train"):
    classes = [{"name": name, "objects": 50 - n} for n, name in enumerate(names)]
    return _class_figure({split: {"classes": classes}, "eval": {"classes": classes}})


@pytest.mark.parametrize(
    "name", ["$_$", "$$", "US$ 1 bill, CA$ 2 bill", "$\\frac$", "漢字", "नमस्ते"]
)
def test_a_name_is_shown_letter_by_letter(name):
    assert f">{name}</text>" in figure([name])


@pytest.mark.parametrize("letter", ["a", "W", "漢"])
def test_many_long_names_leave_room_for_the_bars(letter):  # a warning of matplotlib is an error
    names = [f"{n:02}{letter * 150}{n:02}" for n in range(40)]
    labels = re.findall(r">(\d\d\S*…\S*\d\d)</text>", figure(names, split="$_$" + letter * 150))
    assert [(label[:2], label[-2:]) for label in labels] == [(f"{n:02}",) * 2 for n in range(30)]
    assert {len(label) for label in labels} == {40}


def test_short_names_need_no_more_height():
    assert height(figure(["cat"])) == height(figure(["c" * 20])) < height(figure(["c" * 40]))


def height(svg):
    return float(re.search(r'<svg [^>]*height="([\d.]+)pt"', svg).group(1))

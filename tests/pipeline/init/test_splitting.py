"""How `tfx-rcnn init` splits the pictures of one file."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.init.facts import DataFacts, read_facts
from pipeline.init.splitting import Split, choose_split
from tests.pipeline.init.folders import write


def facts_of(tmp_path, names: list[str], class_of: Callable[[int], int]) -> DataFacts:
    """Returns the facts of pictures with an object each, of the class that its place has."""
    places = range(len(names))
    classes = sorted({class_of(place) for place in places})
    coco = {
        "images": [{"id": n, "file_name": names[n], "width": 64, "height": 48} for n in places],
        "annotations": [
            {"id": n, "image_id": n, "category_id": class_of(n), "bbox": [1, 2, 9, 9]}
            for n in places
        ],
        "categories": [{"id": id_, "name": str(id_)} for id_ in classes],
    }
    return read_facts(write(tmp_path / "l.json", coco))


def classes_in(facts: DataFacts, split: Split, at: int) -> set[int]:
    return set(facts.class_of[split.places[facts.picture_of] == at].tolist())


@pytest.mark.parametrize("form", ["{}_{:03d}.jpg", "{}/{:03d}.jpg"])
def test_pictures_named_by_their_class_are_no_videos(tmp_path, form):
    fruits = ("apple", "banana", "cherry", "date", "elder", "fig", "grape")
    names = [form.format(fruit, n) for fruit in fruits for n in range(12)]
    facts = facts_of(tmp_path, names, lambda place: place // 12)
    split = choose_split(facts)
    assert classes_in(facts, split, 0) == classes_in(facts, split, 1) == set(range(7))
    assert split.config.group is None
    assert "by image id, as groups by " in split.why
    assert split.why.endswith("would leave 7 of 7 classes out of one split")


def test_copies_of_one_picture_are_never_apart(tmp_path):
    names = [f"{n}_jpg.rf.{copy}.jpg" for n in range(30) for copy in "abc"]
    facts = facts_of(tmp_path, names, lambda place: {0: 1, 1: 2}.get(place // 3, 0))
    split = choose_split(facts)
    assert split.config.group is not None
    for n in range(30):
        assert len(np.unique(split.places[3 * n : 3 * n + 3])) == 1


def test_few_classes_of_which_one_is_in_one_video_are_split_by_video(tmp_path):
    names = [f"cam{chr(97 + video)}_{n:03d}.jpg" for video in range(6) for n in range(12)]
    split = choose_split(facts_of(tmp_path, names, lambda place: int(place // 12 == 2)))
    assert split.config.group is not None
    assert split.why.endswith(", which leaves 1 of 2 classes out of one split")


@pytest.mark.parametrize("form", ["cam{}_{:03d}.jpg", "{}/{:03d}.jpg"])
def test_videos_whose_classes_are_spread_stay_together(tmp_path, form):
    names = [form.format(chr(97 + video), n) for video in range(7) for n in range(12)]
    facts = facts_of(tmp_path, names, lambda place: place % 7)
    split = choose_split(facts)
    assert split.config.group is not None and "classes" not in split.why
    for video in range(7):
        assert len(np.unique(split.places[12 * video : 12 * video + 12])) == 1


def test_a_rare_class_of_one_video_costs_no_group_and_is_said(tmp_path):
    names = [f"cam{chr(97 + video)}_{n:03d}.jpg" for video in range(7) for n in range(12)]
    facts = facts_of(tmp_path, names, lambda place: 7 if place in (3, 5, 8) else place % 7)
    split = choose_split(facts)
    assert split.config.group is not None
    assert split.why.endswith(", which leaves 1 of 8 classes out of one split")

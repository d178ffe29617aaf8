"""Which split a picture is in: the same everywhere, and whatever else there is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.data_schema import SplitConfig
from ground.errors import ConfigError, DatasetError
from model.coco.splits import GroupPattern, Portion, holds_of, read_division, split_of_id

IDS = st.integers(-(2**63), 2**63 - 1)
FRAMES = r"cam(\d+)"


def halves(**more):
    return SplitConfig(**({"train": 0.5, "eval": 0.5} | more))


def written(tmp_path, images):
    path = tmp_path / "labels.json"
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def image(id_, name=None):
    return {"id": id_, "file_name": name or f"{id_}.jpg", "height": 5, "width": 5}


def division(tmp_path, images, **more):
    return read_division(written(tmp_path, images), halves(**more))


def test_splits_are_these_on_every_machine():
    # By hand: whether blake2b of b"0/id/1" and so on, of eight bytes, begins with a set bit.
    expected = [0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0]
    assert [split_of_id(n, halves()) for n in range(1, 13)] == expected
    expected = [1, 0, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1]
    assert [split_of_id(n, halves(seed=7)) for n in range(1, 13)] == expected


@given(IDS, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_larger_share_gives_no_picture_away(image_id, one, other):
    smaller, larger = (SplitConfig(train=share, eval=1 - share) for share in sorted((one, other)))
    assert split_of_id(image_id, larger) <= split_of_id(image_id, smaller)


@given(st.sets(IDS, min_size=20, max_size=40), st.sets(IDS, max_size=20))
def test_pictures_stay_where_they_are_when_others_are_added(tmp_path_factory, ids, others):
    folder = tmp_path_factory.mktemp("set")
    try:
        before = division(folder, [image(n) for n in ids])
        after = division(folder, [image(n) for n in [*others, *ids]])
    except DatasetError:  # all on one side: 2 ** -19
        return
    assert [before.split_of(n) for n in ids] == [after.split_of(n) for n in ids]


@given(
    st.lists(st.tuples(IDS, st.integers(0, 30)), min_size=1, max_size=60, unique_by=lambda x: x[0])
)
def test_every_picture_is_in_one_split_and_groups_are_whole(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("set")
    images = [image(n, f"cam{group}/{n}.jpg") for n, group in pairs]
    try:
        found = division(folder, images, group=FRAMES)
    except DatasetError as error:
        assert "without a picture" in str(error)
        return
    assert found.ids_of("train") | found.ids_of("eval") == {n for n, _ in pairs}
    assert not found.ids_of("train") & found.ids_of("eval")
    assert found.pictures.total() == len(pairs)
    of_group = {}
    for n, group in pairs:
        assert of_group.setdefault(group, found.split_of(n)) == found.split_of(n)
    assert found.groups.total() == len(of_group)


def test_shares_come_out_about_as_asked(tmp_path):
    split = SplitConfig(train=0.9, eval=0.1)
    found = read_division(written(tmp_path, [image(n) for n in range(5000)]), split)
    assert 430 < found.pictures["eval"] < 570  # 500 within three deviations of 21
    assert found.notes("train") == found.notes("eval") == []
    assert found.facts("eval") == {
        "asked": 0.1,
        "pictures": found.pictures["eval"],
        "of": 5000,
        "seed": 0,
    }


def test_entries_without_a_picture_belong_to_one_split(tmp_path):
    path = written(tmp_path, [image(n) for n in range(20)])
    train, ev = (holds_of(path, Portion(halves(), name)) for name in ("train", "eval"))
    for image_id in (None, 3, 999, -1):
        assert train(image_id) != ev(image_id)
    assert train(None)


def test_id_that_comes_again_is_where_it_was_first(tmp_path):
    images = [image(n, f"cam{n}.jpg") for n in range(12)]
    alone = division(tmp_path, images, group=FRAMES)
    again = division(
        tmp_path, [*images, *(image(0, f"cam{n}.jpg") for n in range(12))], group=FRAMES
    )
    assert again.split_of(0) == alone.split_of(0)
    assert again.pictures.total() == 24


def test_names_without_a_group_go_by_their_id_and_are_told(tmp_path):
    images = [image(n, f"cam{n % 9}_{n}.jpg") for n in range(30)]
    images += [image(n, f"other{n}.jpg") for n in range(30, 40)]
    found = division(tmp_path, images, group=FRAMES)
    assert [found.split_of(n) for n in range(30, 40)] == [
        ("train", "eval")[split_of_id(n, halves())] for n in range(30, 40)
    ]
    (note,) = found.notes("train")
    assert "finds nothing in 10 of 40 file names (such as other30.jpg)" in note
    assert found.facts("train")["ungrouped"] == 10


def test_group_that_does_not_take_part_is_none(tmp_path):
    pattern = GroupPattern(r"(cam\d+)?")
    assert pattern.group_of("x.jpg") is None
    assert pattern.group_of(None) is None
    assert GroupPattern(r"(a)(\d)?").group_of("a.jpg") != GroupPattern(r"(a)(\d)?").group_of("a1")


def test_pattern_that_finds_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"finds nothing in the file names .*such as 0\.jpg"):
        division(tmp_path, [image(n) for n in range(9)], group=FRAMES)


def test_pattern_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("model.coco.splits._MATCHING_SECONDS", 0.05)
    with pytest.raises(
        ConfigError, match=r"'\(a\|aa\)\+\$' takes too long on file names such as a"
    ):
        division(tmp_path, [image(1, "a" * 60 + "b.jpg")], group="(a|aa)+$")


def test_split_without_a_picture_is_refused_with_what_to_set(tmp_path):
    with pytest.raises(
        DatasetError, match=r"lists 1 picture, of which it asks for 0\.5\. One picture makes no two"
    ):
        division(tmp_path, [image(1)])
    same = [image(n, f"cam1_{n}.jpg") for n in range(9)]
    with pytest.raises(DatasetError, match=r"9 pictures in 1 group, .*never parted: .*or to null"):
        division(tmp_path, same, group=FRAMES)
    seed = next(
        s for s in range(99) if split_of_id(0, halves(seed=s)) == split_of_id(1, halves(seed=s))
    )
    with pytest.raises(
        DatasetError, match=r"lists 2 pictures, of .*Set data\.split\.seed to another"
    ):
        division(tmp_path, [image(0), image(1)], seed=seed)


def test_one_file_name_in_both_splits_is_told(tmp_path):
    images = [image(n, "same.jpg") for n in range(20)]
    (note,) = division(tmp_path, images).notes("train")
    assert "have one file name (such as same.jpg)" in note
    assert "data.split.group='(.+)'" in note


def test_share_that_is_far_off_is_told(tmp_path):
    images = [image(n, f"cam{n % 2}_{n}.jpg") for n in range(40)]
    seed = next(s for s in range(99) if _is_divided(tmp_path, images, s))
    split = SplitConfig(train=0.9, eval=0.1, group=FRAMES, seed=seed)
    (note,) = read_division(written(tmp_path, images), split).notes("eval")
    assert note.startswith("data.split gives it 20 of 40 pictures (2 groups), 0.50 in place of 0.1")


def _is_divided(tmp_path, images, seed):
    try:
        split = SplitConfig(train=0.9, eval=0.1, group=FRAMES, seed=seed)
        return bool(read_division(written(tmp_path, images), split))
    except DatasetError:
        return False

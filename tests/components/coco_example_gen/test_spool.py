"""Spool files: everything of a picture in one file, in order, whatever the JSON's order."""

import array
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.coco_example_gen import spool
from components.coco_example_gen.spread import even_spread
from ground.errors import DatasetError


def write(folder, content, shards=3, seed=0):
    path = folder / "a.json"
    path.write_text(json.dumps({"categories": [{"id": 1, "name": "a"}], **content}))
    homeless = []
    (folder / "spool").mkdir()
    spread = even_spread(range(9), seed, shards)
    counts = spool.write_spool(path, folder / "spool", spread, lambda *flaw: homeless.append(flaw))
    return counts, homeless


def passed(spooled):
    """Returns the numbers of pictures and objects that are listed, homeless and in spool files."""
    in_files = sum(spooled.shards, spool.Accounts())
    return [
        (accounts.pictures.number, accounts.objects.number)
        for accounts in (spooled.listed, spooled.homeless, in_files)
    ]


def entries_of(folder, shards=3):
    """Returns what the spool files hold: images, repeated images and annotations by image id."""
    images, repeated, annotations = {}, [], {}
    for shard in range(shards):
        index = spool.read_index(folder / "spool", shard)
        with open(spool.spool_path(folder / "spool", shard), "rb") as stream:
            for id_, entry in index.images.items():
                images[id_] = spool.read_entry(stream, entry)
            repeated += [spool.read_entry(stream, entry) for _, entry in index.repeated_images]
            for id_, entries in index.annotations.items():
                annotations[id_] = list(spool.iterate_entries(stream, entries))
    return images, repeated, annotations


def test_each_entry_comes_back_with_its_picture(tmp_path):
    annotations = [{"id": n, "image_id": n % 4, "x": n / 7} for n in range(12)]
    images = [{"id": n, "name": f"é{n}"} for n in range(4)]
    counts, homeless = write(tmp_path, {"annotations": annotations, "images": images})
    assert passed(counts) == [(4, 12), (0, 0), (4, 12)]
    assert homeless == []
    found, repeated, by_picture = entries_of(tmp_path)
    assert found == {n: images[n] for n in range(4)}
    assert repeated == []
    for n in range(4):
        assert by_picture[n] == [(k, annotations[k]) for k in range(n, 12, 4)]


def test_first_of_two_entries_with_one_id_counts(tmp_path):
    images = [{"id": 5, "name": "first"}, {"id": 5, "name": "second"}]
    write(tmp_path, {"images": images, "annotations": []})
    found, repeated, _ = entries_of(tmp_path)
    assert found[5]["name"] == "first"
    assert [entry["name"] for entry in repeated] == ["second"]


def test_what_belongs_to_no_shard_is_reported(tmp_path):
    images = [{"id": "a"}, 3, {"id": 1}]
    annotations = [7, {"id": 1}, {"id": 2, "image_id": "x"}, {"id": 3, "image_id": 1.0}]
    counts, homeless = write(tmp_path, {"images": images, "annotations": annotations})
    assert passed(counts) == [(3, 4), (2, 3), (1, 1)]
    assert [(code, entry) for code, _, entry in homeless] == [
        ("bad_picture_record", {"id": "a"}),
        ("bad_picture_record", 3),
        ("bad_annotation", 7),
        ("unknown_image", {"id": 1}),
        ("unknown_image", {"id": 2, "image_id": "x"}),
    ]
    assert entries_of(tmp_path)[2] == {1: [(3, {"id": 3, "image_id": 1.0})]}


def test_repeated_annotation_ids_are_known_to_every_shard(tmp_path):
    annotations = [{"id": id_, "image_id": n} for n, id_ in enumerate([4, 9, 4, None, 4, 9])]
    write(tmp_path, {"images": [{"id": 0}], "annotations": annotations})
    assert spool.read_repeated_places(tmp_path / "spool").tolist() == [2, 4, 5]


@given(st.lists(st.integers(-3, 3)))
def test_repeated_places_are_all_but_the_first(ids):
    expected = [n for n, id_ in enumerate(ids) if id_ in ids[:n]]
    found = spool.repeated_places(array.array("q", ids), array.array("q", range(len(ids))))
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_file_names_that_come_again_are_counted(tmp_path):
    names = ["a.jpg", "b.jpg", "a.jpg", "a.jpg", 7, 7]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    counts, _ = write(tmp_path, {"images": images, "annotations": []})
    assert (counts.names.number, counts.names.first) == (2, "a.jpg")


def test_entry_that_does_not_reach_a_file_is_noticed(tmp_path, monkeypatch):
    spool_images = spool._spool_images

    def forgetful(path, holds, put, on_homeless, spooled):
        def put_but_one(kind, image_id, place, entry):
            if image_id != 2:
                put(kind, image_id, place, entry)

        spool_images(path, holds, put_but_one, on_homeless, spooled)

    monkeypatch.setattr(spool, "_spool_images", forgetful)
    content = {"images": [{"id": n} for n in range(4)], "annotations": []}
    message = r"a\.json: from the JSON to the spool files: 4 pictures listed, 3 spooled"
    with pytest.raises(DatasetError, match=message):
        write(tmp_path, content)


def test_spool_file_that_is_cut_off_holds_what_is_whole(tmp_path):
    images = [{"id": n} for n in range(5)]
    counts, _ = write(tmp_path, {"images": images, "annotations": []}, shards=1)
    path = spool.spool_path(tmp_path / "spool", 0)
    path.write_bytes(path.read_bytes()[:-3])
    index = spool.read_index(tmp_path / "spool", 0)
    assert list(index.images) == [0, 1, 2, 3]
    assert counts.shards[0].pictures.number == 5
    [whole] = even_spread([], 0, 1).ranges()
    assert spool.missing_from_spool(tmp_path / "a.json", whole, index) == "missing: image id 4"

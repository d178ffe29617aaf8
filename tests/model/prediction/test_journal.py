"""What a journal keeps, and what it gives back after kills, changes and damage."""

import json
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.prediction.journal import Entry, Journal, remove_journal

KEY = {"model": "m", "tiling": None}
RESULT = {"bbox": [0.5, 1.0, 2.0, 3.0], "category_id": 7, "score": 0.25}


def entry(*stamp, results=1):
    return Entry(list(stamp), 10, 12, [RESULT] * results)


def filled(folder, key=KEY, **entries):
    journal = Journal(folder, key)
    for file, one in entries.items():
        journal.add(file, one)
    journal.close()
    return folder / "journal.jsonl"


def kept(folder, *stamped, key=KEY):
    return list(Journal(folder, key).entries(list(stamped)))


def test_what_was_added_comes_back_in_the_order_asked_for(tmp_path):
    filled(tmp_path / "w", a=entry(1, 2), b=entry(3, 4, results=0))
    assert kept(tmp_path / "w", ("b", [3, 4]), ("x", [1, 2]), ("a", [1, 2]), ("b", [3, 4])) == [
        entry(3, 4, results=0), None, entry(1, 2), entry(3, 4, results=0)
    ]  # fmt: skip


def test_the_disk_is_waited_for_once_a_second_and_a_kill_loses_nothing(tmp_path, monkeypatch):
    synced, now = [], [100.0]
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    journal = Journal(tmp_path / "w", KEY)
    journal.open()
    synced.clear()
    for n in range(30):
        journal.add(str(n), entry(n))
        now[0] += 0.1

    assert len(synced) == 3
    assert kept(tmp_path / "w", *((str(n), [n]) for n in range(30))) == [
        entry(n) for n in range(30)
    ]
    journal.close()


@pytest.mark.parametrize("stamp", [[1, 3], [2, 2], [], [1]])
def test_a_file_that_is_another_now_is_not_here(tmp_path, stamp):
    filled(tmp_path / "w", a=entry(1, 2))
    assert kept(tmp_path / "w", ("a", stamp)) == [None]
    assert not Journal(tmp_path / "w", KEY).has("a", stamp)


def test_the_last_of_two_entries_of_a_file_counts(tmp_path):
    path = filled(tmp_path / "w", a=entry(1, 2))
    journal = Journal(tmp_path / "w", KEY)
    journal.add("a", entry(5, 6, results=3))
    journal.close()
    assert len(path.read_text().splitlines()) == 2
    assert kept(tmp_path / "w", ("a", [5, 6])) == [entry(5, 6, results=3)]
    assert kept(tmp_path / "w", ("a", [1, 2])) == [None]


def test_another_key_finds_nothing_and_removes_nothing_until_it_adds(tmp_path):
    path = filled(tmp_path / "w", a=entry(1, 2))
    other = Journal(tmp_path / "w", {**KEY, "model": "n"})
    assert not other.has("a", [1, 2])
    other.close()
    assert kept(tmp_path / "w", ("a", [1, 2])) == [entry(1, 2)]
    other = Journal(tmp_path / "w", {**KEY, "model": "n"})
    other.add("b", entry(1, 2))
    other.close()
    assert [json.loads(line.split("\t")[0])[0] for line in path.read_text().splitlines()] == ["b"]


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "\udcff.png", '"', "é" * 90, "\u2028", " "])
def test_a_file_of_any_name_is_found_again(tmp_path, name):
    journal = Journal(tmp_path / "w", KEY)
    journal.add(name, entry(1, 2))
    journal.add("next", entry(3, 4))
    journal.close()
    assert kept(tmp_path / "w", (name, [1, 2]), ("next", [3, 4])) == [entry(1, 2), entry(3, 4)]


def test_a_journal_cut_anywhere_keeps_its_whole_lines_and_goes_on(tmp_path):
    whole = filled(tmp_path / "whole", a=entry(1, 2), b=entry(3, 4, results=2)).read_bytes()
    key = (tmp_path / "whole/key.json").read_bytes()
    first = whole.index(b"\n") + 1
    folder = tmp_path / "w"
    for length in (0, 1, first - 1, first, first + 1, len(whole) - 1, len(whole)):
        (folder / "pictures").mkdir(parents=True)
        (folder / "key.json").write_bytes(key)
        (folder / "journal.jsonl").write_bytes(whole[:length])
        journal = Journal(folder, KEY)
        assert journal.has("a", [1, 2]) == (length >= first)
        assert journal.has("b", [3, 4]) == (length == len(whole))
        journal.add("c", entry(5, 6))
        journal.close()
        assert kept(folder, ("c", [5, 6])) == [entry(5, 6)]
        lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
        assert all(line.endswith(b"]\n") for line in lines)
        remove_journal(folder)
        assert not folder.exists()


@pytest.mark.parametrize(
    "damage",
    [b"\x00" * 40 + b"\n", b"[]\t[]\n", b'["a", [1, 2], 3]\t[]\n', b"null\n", b'{"a": 1}\t[]\n',
     b"\xff\xfe\n", b'[["a"], [1, 2], 3, 4]\t[]\n', b'["a", [1, 2], 10, 12]\n',
     b'["a", [1, 2], 10, 12]\t[\0\0\0]\n'],
)  # fmt: skip
def test_a_damaged_line_ends_what_is_known_without_harm(tmp_path, damage):
    path = filled(tmp_path / "w", a=entry(1, 2))
    path.write_bytes(path.read_bytes() + damage)
    journal = Journal(tmp_path / "w", KEY)
    journal.add("c", entry(5, 6))
    journal.close()
    assert kept(tmp_path / "w", ("a", [1, 2]), ("c", [5, 6])) == [entry(1, 2), entry(5, 6)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"model": "m"}'])
def test_a_damaged_key_is_another_key(tmp_path, content):
    filled(tmp_path / "w", a=entry(1, 2))
    (tmp_path / "w/key.json").write_bytes(content)
    assert kept(tmp_path / "w", ("a", [1, 2])) == [None]


def test_nothing_is_written_where_nothing_was_found(tmp_path):
    journal = Journal(tmp_path / "w", KEY)
    assert list(journal.entries([("a", [1, 2])])) == [None]
    journal.close()
    assert not (tmp_path / "w").exists()


def test_a_number_that_is_none_is_not_kept(tmp_path):
    journal = Journal(tmp_path / "w", KEY)
    broken = entry(1, 2)._replace(results=[{**RESULT, "score": float("nan")}])
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.add("a", broken)
    journal.close()
    assert kept(tmp_path / "w", ("a", [1, 2])) == [None]


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=8))
def test_it_has_the_last_entry_of_each_file_and_no_other(tmp_path_factory, added):
    folder = tmp_path_factory.mktemp("journal") / "w"
    last = {}
    for file, stamp in added:
        journal = Journal(folder, KEY)  # as many runs as entries
        journal.add(file, entry(stamp, stamp, results=stamp))
        journal.close()
        last[file] = stamp
    for file in "abc":
        for stamp in range(3):
            (got,) = kept(folder, (file, [stamp, stamp]))
            is_last = last.get(file) == stamp
            assert got == (entry(stamp, stamp, results=stamp) if is_last else None)

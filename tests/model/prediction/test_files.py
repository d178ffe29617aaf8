"""The table and the list, read back by the readers that people use."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.prediction.files import write_detections

NAMES = {7: "dot", 9: 'a "wide", line'}


def result(file, category=7, score=0.5):
    return {
        "file_name": file,
        "image_id": 3,
        "category_id": category,
        "score": score,
        "bbox": [1.5, 0.0, 2.25, 1e-9],
    }


def read_back(folder):
    with open(folder / "detections.csv", newline="", errors="surrogateescape") as stream:
        rows = list(csv.DictReader(stream))
    return json.loads((folder / "detections.json").read_text()), rows


@pytest.mark.parametrize(
    "name",
    [
        "plain.png",
        "a,b.png",
        'say "cheese".png',
        "two\nlines.png",
        "old\rmac.png",
        "dos\r\n.png",
        "\r",
        "=HYPERLINK(1).png",
        "日本/é.png",
        "\udcff\udcfe.png",
        " blank .png",
        "'",
        "tab\t.png",
        "\u2028.png",
    ],
)
def test_a_name_comes_back_as_it_is_from_both_files(tmp_path, name):
    count = write_detections(tmp_path, [result(name), result("next.png", 9)], NAMES)
    results, rows = read_back(tmp_path)
    assert count == len(results) == len(rows) == 2
    assert [r["file_name"] for r in results] == [name, "next.png"]
    assert [row["file_name"] for row in rows] == [name, "next.png"]
    assert [row["category"] for row in rows] == ["dot", 'a "wide", line']
    assert float(rows[0]["height"]) == 1e-9


def test_a_category_of_any_name_comes_back_as_it_is(tmp_path):
    names = {7: "a\rb", 9: "=1+1\n"}
    write_detections(tmp_path, [result("a.png"), result("b.png", 9)], names)
    _, rows = read_back(tmp_path)
    assert [row["category"] for row in rows] == ["a\rb", "=1+1\n"]


def test_an_ordinary_table_has_no_quotes(tmp_path):
    write_detections(tmp_path, [result("a.png")], NAMES)
    lines = (tmp_path / "detections.csv").read_bytes().split(b"\n")
    assert lines[1:] == [b"a.png,3,7,dot,0.5,1.5,0.0,2.25,1e-09", b""]


def test_nothing_found_is_an_empty_list_and_a_head(tmp_path):
    assert write_detections(tmp_path, [], NAMES) == 0
    assert read_back(tmp_path) == ([], [])
    assert (tmp_path / "detections.csv").read_text().startswith("file_name,image_id,")


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_not_written(tmp_path, score):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_detections(tmp_path, [result("a.png", score=score)], NAMES)


def test_each_detection_is_a_line_of_its_own(tmp_path):
    write_detections(tmp_path, (result(f"{n}\n.png") for n in range(5)), NAMES)
    lines = (tmp_path / "detections.json").read_text().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("[", "]", 7)
    assert [json.loads(line.rstrip(","))["file_name"] for line in lines[1:-1]] == [
        f"{n}\n.png" for n in range(5)
    ]


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), max_size=4))
def test_any_names_come_back_from_the_table(tmp_path_factory, names):
    names = [name.encode("utf-8", "ignore").decode() for name in names]
    folder = tmp_path_factory.mktemp("table")
    write_detections(folder, map(result, names), NAMES)
    results, rows = read_back(folder)
    assert [r["file_name"] for r in results] == [row["file_name"] for row in rows] == names

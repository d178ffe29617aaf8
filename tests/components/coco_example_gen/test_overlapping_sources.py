"""Sources as people have them: overlapping, nested, linked, empty, of other ids and other words."""

import json
import os
import shutil
import unicodedata

import pytest
import yaml
from click.testing import CliRunner

from components.coco_example_gen.__main__ import main
from configs.data_schema import SPLIT_NAMES
from model import records
from model.coco.merge import SOURCE_STRIDE as STRIDE
from model.examples import iterate_records, read_categories
from model.tf_example import decode_example
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset

pytestmark = pytest.mark.usefixtures("without_beam")

NUMBER = 12
HALVES = {"train": 0.5, "eval": 0.5, "seed": 3}


@pytest.fixture
def top(tmp_path):
    """A folder with one set of twelve pictures, a cat in each."""
    add(tmp_path / "data", "a")
    return tmp_path / "data"


def add(top, name, images=None, annotations=None, categories=None):
    images = [image(n) for n in range(NUMBER)] if images is None else images
    if annotations is None:
        annotations = [annotation(n, entry["id"]) for n, entry in enumerate(images)]
    write_dataset(top / name, images, annotations, categories)
    return source(name)


def source(name, pictures=None, **split):
    return {"annotations": f"{name}/instances.json", "pictures": pictures or f"{name}/pictures"} | (
        split
    )


A = source("a")


def run(top, sources, split=HALVES, **data):
    """Returns the command's exit status, what it said, and its output folder."""
    out = top.parent / "out"
    content = {"sources": sources, "train_shards": 1, "eval_shards": 1, "split": split, **data}
    config = top.parent / "c.yaml"
    config.write_text(json.dumps({"name": "x", "data": content}))
    arguments = ["--data-dir", str(top), "--config", str(config), "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output, out


def refused(top, sources, status=1, **data):
    """Returns the one line that a run ends with; nothing of it is left."""
    exit_code, said, out = run(top, sources, **data)
    assert exit_code == status, said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert said.endswith(f"{line}\n")
    assert not out.exists() or not any(out.iterdir())
    return line.removeprefix("error: ")


def written(out, split):
    found = {}
    for serialized in iterate_records(out / "examples", split):
        record = decode_example(serialized)
        found[int(record[records.SOURCE_ID][0])] = record
    return found


def taken(top, sources, **data):
    """Returns the summary and all records by id, where a run succeeds."""
    exit_code, said, out = run(top, sources, **data)
    assert exit_code == 0, said
    everything = {}
    for name in SPLIT_NAMES:
        part = written(out, name)
        assert not set(part) & set(everything)
        everything |= part
    return json.loads((out / "summary.json").read_text())["splits"], everything


def linked(top):
    os.symlink(top / "a", top / "link")
    return source("link")


def copied_json(top):
    shutil.copy(top / "a/instances.json", top / "copy.json")
    return {"annotations": "copy.json", "pictures": "a/pictures"}


@pytest.mark.parametrize(
    "again",
    [
        lambda top: {"annotations": "./a/instances.json", "pictures": "a/pictures/"},
        lambda top: {"annotations": "a/../a/instances.json", "pictures": "a/./pictures"},
        lambda top: {"annotations": str(top / "a/instances.json"), "pictures": "a/pictures"},
        lambda top: source("a", pictures=str(top / "a/pictures")),
        linked,
        copied_json,
    ],
)
@pytest.mark.parametrize("own_splits", [False, True])
def test_source_that_is_there_twice_is_refused_whatever_its_path(top, again, own_splits):
    sources, split = [A, again(top)], HALVES
    if own_splits:  # both learnt; another one is measured
        sources = [{**each, "split": "train"} for each in sources]
        other = [image(n) for n in range(100, 103)]
        sources.append({**add(top, "other", other), "split": "eval"})
        split = None
    line = refused(top, sources, split=split)
    assert line.startswith("data.sources has the same annotations of the same pictures twice (")
    assert f"({top}/a/instances.json, " in line and "leave one out" in line


def test_source_that_is_written_twice_alike_is_wrong_use(top):
    line = refused(top, [A, A], status=2)
    assert line.endswith("data.sources has 'a/instances.json' with 'a/pictures' twice")


def test_one_json_may_describe_two_folders(top):
    """Such as pictures by day and infrared ones of the same scenes."""
    shutil.copytree(top / "a/pictures", top / "infrared")
    splits, found = taken(top, [A, source("a", pictures="infrared")])
    assert set(found) == {k * STRIDE + n for k in (1, 2) for n in range(NUMBER)}
    assert set(splits["train"]["sources"]) == {
        "a/instances.json (a/pictures)",
        "a/instances.json (infrared)",
    }


@pytest.mark.parametrize(
    ("annotations", "pictures", "front"),
    [
        ("a/instances.json", "a/pictures", "a/pictures/"),
        ("./a/instances.json", "./a//pictures/", "a/pictures/"),
        ("a/../a/instances.json", "a/x/../pictures/.", "a/pictures/"),
        ("../data/a/instances.json", "../data/a/pictures", "../data/a/pictures/"),
        ("{top}/a/instances.json", "{top}/a/pictures", "{top}/a/pictures/"),
        ("link/instances.json", "link/pictures", "link/pictures/"),
    ],
)
def test_folder_is_found_however_it_is_written(top, annotations, pictures, front):
    linked(top)
    (top / "a/x").mkdir()
    places = {"annotations": annotations, "pictures": pictures}
    _, found = taken(top, [{key: text.format(top=top) for key, text in places.items()}])
    assert set(found) == {STRIDE + n for n in range(NUMBER)}
    for n in range(NUMBER):
        record = found[STRIDE + n]
        assert record[records.FILENAME] == [f"{front.format(top=top)}{n}.jpg".encode()]
        assert record[records.ENCODED] == [(top / f"a/pictures/{n}.jpg").read_bytes()]


@pytest.mark.parametrize("pictures", ["a", ".", "./"])
def test_pictures_of_a_folder_within_another_are_told_to_be_the_same(top, pictures):
    front = "pictures" if pictures == "a" else "a/pictures"
    images = [image(n, f"{front}/{n}.jpg") for n in range(NUMBER)]
    objects = [annotation(n, n, category_id=8) for n in range(NUMBER)]
    content = {"images": images, "annotations": objects}
    content["categories"] = [{"id": 8, "name": "dog"}]
    (top / "dogs.json").write_text(json.dumps(content))
    sources = [A, {"annotations": "dogs.json", "pictures": pictures}]
    splits, found = taken(top, sources)
    for n in range(NUMBER):
        one, other = found[STRIDE + n], found[2 * STRIDE + n]
        assert one[records.ENCODED] == other[records.ENCODED]
        assert one[records.FILENAME] == other[records.FILENAME] == [f"a/pictures/{n}.jpg".encode()]
    notes = " ".join(note for name in SPLIT_NAMES for note in splits[name]["notes"])
    assert "an earlier one of the other split have one file name (such as a/pictures/" in notes
    assert "share their files with an earlier one" in notes
    # With what the note says, a picture is learnt or measured, never both.
    shutil.rmtree(top.parent / "out")
    splits, _ = taken(top, sources, split={**HALVES, "group": "(.+)"})
    names = [
        {record[records.FILENAME][0] for record in written(top.parent / "out", name).values()}
        for name in SPLIT_NAMES
    ]
    assert not names[0] & names[1] and len(names[0] | names[1]) == NUMBER


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"images": []}, "`images` is empty: it lists no picture"),
        ({"categories": []}, "`categories` is empty: a detector needs at least one class"),
        ({"categories": [{"id": "x", "name": "cat"}]}, "category 0 has no integer `id` and `name`"),
        ({"categories": [{"id": 1, "name": " "}]}, "category 0 has no integer `id` and `name`"),
        ({"images": None}, "`images` is no list: expected a COCO instances file"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_source_that_lacks_something_is_named(top, lists, said, place):
    path = top / "bad/instances.json"
    add(top, "bad")
    path.write_text(json.dumps(json.loads(path.read_text()) | lists))
    sources = [A]
    sources.insert(place, source("bad"))
    line = refused(top, sources)
    assert line.startswith(f"{path}: ") and said in line


def test_source_without_objects_gives_pictures_to_learn_background_from(top):
    add(top, "empty", annotations=[])
    splits, found = taken(top, [A, source("empty")])
    own = [splits[name]["sources"]["empty/instances.json"] for name in SPLIT_NAMES]
    assert sum(of["pictures"] for of in own) == NUMBER
    assert all(of["objects"] == 0 for of in own)
    assert all(not found[2 * STRIDE + n][records.CLASS_TEXT] for n in range(NUMBER))


def test_ids_are_taken_in_every_form_and_stay_apart(top):
    ids = ["1", 2.0, 3, "004", -5, 2**62, 2.0**60, 10**12]
    images = [image(id_, f"p{n}.jpg") for n, id_ in enumerate(ids)]
    # Each object says its picture's id in another form than the picture does.
    forms = [1, "2", 3.0, 4, "-5", str(2**62), 2**60, "1000000000000"]
    objects = [annotation([None, 2**70, "x", 4.5][n % 4], form) for n, form in enumerate(forms)]
    add(top, "ids", images, objects)
    splits, found = taken(top, [A, source("ids")])
    own = {id_: record for id_, record in found.items() if id_ // STRIDE == 2}
    assert len(own) == len(ids) and {1, 2, 3, 4} <= {id_ - 2 * STRIDE for id_ in own}
    names = sorted(record[records.FILENAME][0] for record in own.values())
    assert names == [f"ids/pictures/p{n}.jpg".encode() for n in range(len(ids))]
    assert all(len(record[records.CLASS_TEXT]) == 1 for record in own.values())
    assert sum(splits[name]["objects"]["rejected"] for name in SPLIT_NAMES) == 0


@pytest.mark.parametrize("id_", ["frame-7", None, {"$oid": "5f"}])
def test_picture_whose_id_is_no_number_is_counted_as_in_a_file_alone(top, id_):
    loose = {"max_rejected_fraction": 1.0, "max_lost_objects_fraction": 1.0}
    images = [image(n) for n in range(NUMBER)] + [image(id_, "odd.jpg")]
    add(top, "odd", images, [annotation(n, n) for n in range(NUMBER)])
    reasons = []
    alone = {"annotations": "odd/instances.json", "pictures": "odd/pictures", "sources": []}
    for more in (alone, {"sources": [A, source("odd")]}):
        sources = more.pop("sources")
        splits, _ = taken(top, sources, **loose, **more)
        reasons.append([dict(splits[name]["reasons"]) for name in SPLIT_NAMES])
        shutil.rmtree(top.parent / "out")
    assert reasons[0] == reasons[1] and any(reasons[0])


SPELT = {
    "case": ("cat", "Cat"),
    "blank behind": ("cat", "cat "),
    "two forms of one letter": ("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")),
    "signs of YAML": ("a: b", "a, b"),
    "a word of YAML": ("no", "No"),
    "a number": ("7", "7."),
}


@pytest.mark.parametrize("case", SPELT)
def test_hint_on_names_that_are_alike_can_be_followed_letter_by_letter(top, case):
    one, other = SPELT[case]
    shutil.rmtree(top / "a")
    add(top, "a", categories=[{"id": 3, "name": one}])
    add(top, "b", categories=[{"id": 3, "name": other}])
    sources = [A, source("b")]
    splits, _ = taken(top, sources)
    (note,) = [note for note in splits["train"]["notes"] if "set data.classes.merge=" in note]
    assert "are two: if they are meant to be one" in note
    classes = yaml.safe_load(f"merge: {note.partition('data.classes.merge=')[2]}")
    assert classes == {"merge": {one: [other]}}
    shutil.rmtree(top.parent / "out")
    splits, found = taken(top, sources, classes=classes)
    assert [c["name"] for c in read_categories(top.parent / "out/examples")] == [one]
    assert {record[records.CLASS_TEXT][0] for record in found.values()} == {one.encode()}
    assert not any("merge=" in note for note in splits["train"]["notes"])


def test_names_that_look_the_same_are_told_apart_in_the_note(top):
    shutil.rmtree(top / "a")
    composed, decomposed = SPELT["two forms of one letter"]
    add(top, "a", categories=[{"id": 3, "name": composed}])
    add(top, "b", categories=[{"id": 3, "name": decomposed}])
    splits, _ = taken(top, [A, source("b")])
    (note,) = [note for note in splits["train"]["notes"] if "merge=" in note]
    assert r"'caf\xe9' and 'cafe\u0301'" in note


def test_names_of_other_scripts_are_written_as_they_are(top):
    add(
        top,
        "größe",
        [image(1, "日本 1.jpg"), image(2, "e\u0301 #2?.jpg"), image(3, "%20.jpg")],
        categories=[{"id": 3, "name": "猫"}],
    )
    _, found = taken(top, [A, source("größe")])
    names = {found[2 * STRIDE + n][records.FILENAME][0].decode() for n in (1, 2, 3)}
    assert names == {
        "größe/pictures/日本 1.jpg",
        "größe/pictures/e\u0301 #2?.jpg",
        "größe/pictures/%20.jpg",
    }
    assert found[2 * STRIDE + 1][records.CLASS_TEXT] == ["猫".encode()]


def test_supercategories_that_differ_are_a_question_no_end(top):
    shutil.rmtree(top / "a")
    for name, above in (("a", "animal"), ("b", "toy"), ("c", "animal")):
        add(top, name, categories=[{"id": 3, "name": "cat", "supercategory": above}])
    splits, _ = taken(top, [A, source("b"), source("c")])
    (note,) = [note for note in splits["train"]["notes"] if "supercategory" in note]
    assert f"'animal' in {top}/a/instances.json, 'toy' in {top}/b/instances.json" in note
    assert note.endswith("is it the same class?")


def test_split_classes_and_sources_work_together(top):
    objects = [annotation(n, n, category_id=(1, 2, 3)[n % 3]) for n in range(NUMBER)]
    names = [{"id": i, "name": name} for i, name in ((1, "Kitty"), (2, "fox"), (3, "rock"))]
    add(top, "b", annotations=objects, categories=names)
    classes = {"merge": {"cat": ["Kitty"]}, "drop": ["rock"]}
    splits, found = taken(top, [A, source("b")], classes=classes)
    names_learnt = {c["name"] for c in read_categories(top.parent / "out/examples")}
    assert names_learnt == {"fox", "dog", "cat"}
    of_class = [text for record in found.values() for text in record[records.CLASS_TEXT]]
    assert (of_class.count(b"cat"), of_class.count(b"fox")) == (NUMBER + 4, 4)
    assert len(of_class) == NUMBER + 8 and len(found) == 2 * NUMBER
    dropped = [splits[name]["classes"]["not_kept"]["rock"] for name in SPLIT_NAMES]
    assert sum(dropped) == 4
    # What is told of one source alone is told in the names that are learnt.
    alone = [note for note in splits["train"]["notes"] if " alone has " in note]
    assert [note.partition(" alone has ")[2].partition(":")[0] for note in alone] == [
        "'dog'",
        "'fox'",
    ]


@pytest.mark.parametrize(
    ("group", "status", "said"),
    [
        ("(a)", 1, r"12 pictures in 1 group, of which it asks for 0.5. A group is never parted"),
        (
            "()",
            2,
            "'()' finds nothing in the file names of data.sources (such as a/pictures/0.jpg)",
        ),
        ("(?:0)|(zzz)?", 2, "finds nothing in the file names"),
        ("^(\\d)", 2, "'^(\\d)' finds nothing in the file names"),
        ("cam", 2, "'cam' has no (...) around what pictures of one group share"),
        ("(?:cam)", 2, "has no (...) around"),
        ("(cam", 2, "'(cam' is no regular expression ("),
        ("(?P<a>x)(?P<a>y)", 2, "is no regular expression ("),
        ("(x)" + "?" * 500, 2, "expected at most 500 letters"),
        ("", 2, "has no (...) around"),
    ],
)
def test_pattern_that_groups_nothing_ends_in_one_line(top, group, status, said):
    assert said in refused(top, [A], status=status, split={**HALVES, "group": group})


@pytest.mark.parametrize("group", [r"(?P<number>\d+)\.", r"(?<=/)(\d+)", r"(?i)(\d+)\.JPG$"])
def test_pattern_with_a_name_or_a_look_behind_groups_by_what_it_finds(top, group):
    splits, found = taken(top, [A], split={**HALVES, "group": group})
    assert len(found) == NUMBER
    assert splits["eval"]["part"]["of_groups"] == NUMBER and not splits["eval"]["part"]["ungrouped"]


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_share_that_leaves_a_split_empty_says_what_to_set(top, share):
    line = refused(top, [A], split={"train": share, "eval": 1 - share, "seed": 0})
    assert "without a picture: the file lists 12 pictures, of which it asks for 0.001" in line
    assert line.endswith("Set data.split.seed to another number, or another share")


def test_one_picture_is_told_to_make_no_two_splits(top):
    shutil.rmtree(top / "a")
    add(top, "a", [image(1)])
    assert refused(top, [A]).endswith("One picture makes no two splits: add others")


@pytest.mark.parametrize(
    ("sources", "split", "said"),
    [
        ([A], None, "data.sources needs data.split, such as {train: 0.9, eval: 0.1}"),
        ([{**A, "split": "train"}], None, "data.sources: none is split 'eval'"),
        ([{**A, "split": "eval"}], None, "data.sources: none is split 'train'"),
        ([{**A, "split": "train"}, source("b", split="eval")], HALVES, "exclude each other"),
        ([{**A, "split": "train"}, source("b")], None, "some have a split and some have none"),
        ([{**A, "split": "test"}], None, "split: Input should be 'train' or 'eval', got"),
        ([{**A, "annotations": ""}], HALVES, "annotations"),
        ([{"annotations": "a/instances.json"}], HALVES, "pictures"),
        ([{**A, "pictures": 5}], HALVES, "pictures"),
        ("a/instances.json", HALVES, "sources"),
    ],
)
def test_settings_that_do_not_fit_are_wrong_use(top, sources, split, said):
    assert said in refused(top, sources, status=2, split=split)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": "a"}, "no such annotation file"),
        ({"annotations": "none.json"}, "no such annotation file"),
        ({"pictures": "none"}, "no such picture folder"),
        ({"pictures": "a/instances.json"}, "no such picture folder"),
    ],
)
def test_place_that_is_not_there_is_named_with_its_split(top, change, said):
    line = refused(top, [A, {**A, **change}])
    assert line.startswith(f"{top}/{next(iter(change.values()))}: {said} for split 'train'")

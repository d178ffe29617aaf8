"""Several COCO files as one: ids apart, classes by name, flaws as they were."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.data_schema import ClassesConfig
from ground.errors import DatasetError
from model.coco.json_text import RepeatedKeys
from model.coco.merge import SOURCE_STRIDE as STRIDE
from model.coco.merge import Merge, SourceFile, in_own_ids, source_of
from model.coco.stream import iterate_annotations, iterate_images
from tests.components.coco_example_gen.small_dataset import annotation, image


def source(folder, number, images, annotations, categories):
    path = folder / f"{number}.json"
    content = {"annotations": annotations, "categories": categories, "images": images}
    path.write_text(json.dumps(content))
    name = f"set{number}"
    return SourceFile(number, path.name, path, folder / name, f"{name}/")


def cats(**ids):
    return [{"id": id_, "name": name} for name, id_ in ids.items()]


def merged(folder, *files):
    merge = Merge(files)
    target = folder / "merged.json"
    merge.write(target, files)
    return json.loads(target.read_text()), merge


def test_ids_are_apart_and_classes_go_by_name(tmp_path):
    one = source(tmp_path, 1, [image(7)], [annotation(4, 7, category_id=1)], cats(cat=1, dog=2))
    two = source(tmp_path, 2, [image(7)], [annotation(4, 7, category_id=1)], cats(dog=1, cow=2))
    found, _ = merged(tmp_path, one, two)
    assert [(i["id"], i["file_name"]) for i in found["images"]] == [
        (STRIDE + 7, "set1/7.jpg"),
        (2 * STRIDE + 7, "set2/7.jpg"),
    ]
    assert [(a["id"], a["image_id"], a["category_id"]) for a in found["annotations"]] == [
        (STRIDE + 4, STRIDE + 7, 1),
        (2 * STRIDE + 4, 2 * STRIDE + 7, 2),
    ]
    # 2 is the dog's already.
    assert found["categories"] == cats(cat=1, dog=2, cow=3)
    rest = {k: v for k, v in found["annotations"][0].items() if k not in ("id", "image_id")}
    assert rest == {k: v for k, v in annotation(4, 7, category_id=1).items() if k in rest}


@pytest.mark.parametrize("id_", [-5, 10**12, 2**63 - 1, "0099", "-3"])
def test_ids_of_any_size_are_kept_apart(tmp_path, id_):
    images = [image(0), image(id_, "far.jpg"), image(999_999_999_990)]
    one = source(tmp_path, 1, images, [annotation(1, id_), annotation(id_, 0)], cats(cat=3))
    found, _ = merged(tmp_path, one)
    ids = [int(i["id"]) for i in found["images"]]
    assert len(set(ids)) == 3
    assert all(STRIDE <= i < 2 * STRIDE for i in ids)
    assert int(found["annotations"][0]["image_id"]) == ids[1]
    assert isinstance(found["images"][1]["id"], type(id_))


def test_ids_that_leave_no_room_are_refused(tmp_path):
    one = source(tmp_path, 1, [image(-1), image(STRIDE - 1)], [], cats(cat=3))
    with pytest.raises(DatasetError, match=r"1\.json: its image ids .* number them anew"):
        merged(tmp_path, one)


def test_flaws_are_as_they_were(tmp_path):
    images = [image("7"), image(8.0), image(None), 5, {"id": 9, "file_name": " "}, image(True)]
    annotations = [
        annotation("x", "7", category_id="3"),
        annotation(1, 8.0, category_id=99),
        annotation(2, 8, category_id=None, bbox=[float("nan"), 1, 2, 3]),
        [1],
        {},
    ]
    one = source(tmp_path, 1, images, annotations, cats(cat=3))
    two = source(tmp_path, 2, [image(1)], [], cats(dog=99))
    merged(tmp_path, one, two)
    target = tmp_path / "merged.json"
    found = list(iterate_images(target))
    assert [i["id"] if isinstance(i, dict) else i for i in found] == [
        str(STRIDE + 7), float(STRIDE + 8), None, 5, STRIDE + 9, True, 2 * STRIDE + 1,
    ]  # fmt: skip
    assert found[4]["file_name"] == " "
    objects = list(iterate_annotations(target))
    assert (objects[0]["id"], objects[0]["image_id"]) == ("x", str(STRIDE + 7))
    assert objects[0]["category_id"] == "3"
    # Unknown in its own file, and not the dog of the other.
    assert objects[1]["category_id"] not in (3, 99)
    assert objects[2]["category_id"] is None
    assert objects[2]["bbox"][0] != objects[2]["bbox"][0]
    assert objects[3:] == [[1], {}]


def test_entry_with_a_key_twice_is_one_again(tmp_path):
    path = tmp_path / "1.json"
    path.write_text(
        '{"images": [{"id": 1, "file_name": "a", "file_name": "b", "height": 2, "width": 2}],'
        '"annotations": [{"id": 1, "id": 2, "image_id": 1}],'
        '"categories": [{"id": 1, "name": "c"}]}'
    )
    merged(tmp_path, SourceFile(1, "1.json", path, tmp_path, ""))
    [picture] = iterate_images(tmp_path / "merged.json")
    [found] = iterate_annotations(tmp_path / "merged.json")
    assert isinstance(picture, RepeatedKeys)
    assert isinstance(found, RepeatedKeys)
    assert (picture["file_name"], found["id"]) == ("b", STRIDE + 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cut off or not JSON"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "no picture"),
        ('{"images": [{"id": 1}], "annotations": []}', "has no `categories`"),
        ("[]", "expected a COCO instances file"),
    ],
)
def test_faulty_source_is_named(tmp_path, content, said):
    good = source(tmp_path, 1, [image(1)], [], cats(cat=3))
    bad = source(tmp_path, 2, [], [], [])
    bad.annotations.write_text(content)
    with pytest.raises(DatasetError, match=rf"2\.json: .*{said}"):
        merged(tmp_path, good, bad)


def test_what_is_odd_about_classes_is_said(tmp_path):
    above = [{"id": 1, "name": "bat", "supercategory": "animal"}, {"id": 2, "name": "Cat"}]
    other = [{"id": 1, "name": "bat", "supercategory": "sports"}, *cats(cat=2, dog=3, x=8)]
    one = source(tmp_path, 1, [image(1)], [], above)
    two = source(tmp_path, 2, [image(1)], [], [*other, {"id": 9, "name": "x"}])
    notes = "\n".join(Merge([one, two]).notes())
    assert "class 'bat' has the supercategory 'animal' in " in notes
    assert "'sports' in " in notes
    assert "the classes 'Cat' and 'cat' are two" in notes
    assert "data.classes.merge={Cat: [cat]}" in notes
    assert "2.json alone has 'cat', 'dog', 'x': objects of it" in notes
    assert "2.json: 2 categories are named 'x', which are one class here" in notes
    same = source(tmp_path, 3, [image(1)], [], above)
    assert Merge([one, same]).notes() == []


def test_messages_have_the_ids_of_the_source():
    files = [SourceFile(n, f"{n}.json", Path(f"{n}.json"), Path("p"), "p/") for n in (1, 2)]
    said = f"image id {2 * STRIDE + 3} (p/3.jpg), annotation id {STRIDE}: id {9 * STRIDE} in 10 px"
    assert in_own_ids(said, files) == (
        f"image id 3 of 2.json (p/3.jpg), annotation id 0 of 1.json: id {9 * STRIDE} in 10 px"
    )


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 50)


@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=6, unique=True), min_size=2, max_size=3))
def test_no_two_pictures_get_one_id_and_each_keeps_its_objects(tmp_path_factory, ids_by_source):
    folder = tmp_path_factory.mktemp("sets")
    files = []
    for number, ids in enumerate(ids_by_source, 1):
        images = [image(id_, f"{n}.jpg") for n, id_ in enumerate(ids)]
        # The name of the picture stands in each of its objects, to know them again.
        objects = [annotation(n, id_, of=f"set{number}/{n}.jpg") for n, id_ in enumerate(ids)]
        files.append(source(folder, number, images, objects, cats(cat=1)))
    content, _ = merged(folder, *files)
    names = {entry["id"]: entry["file_name"] for entry in content["images"]}
    assert len(names) == sum(map(len, ids_by_source))
    for entry in content["annotations"]:
        assert names[entry["image_id"]] == entry["of"]
    for id_, name in names.items():
        file = source_of(id_, files)
        assert name.startswith(file.front) and not file.own_name(name).startswith(file.front)
    ids = [entry["id"] for entry in content["annotations"]]
    assert len(set(ids)) == len(ids)


NAMES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True)


@given(st.lists(st.tuples(NAMES, st.randoms()), min_size=1, max_size=4))
def test_classes_of_any_sources_keep_their_names_and_have_one_id(tmp_path_factory, sets):
    folder = tmp_path_factory.mktemp("sets")
    files = []
    for number, (names, random) in enumerate(sets, 1):
        ids = random.sample(range(1, 9), len(names))
        objects = [annotation(n, 1, category_id=id_, of=names[n]) for n, id_ in enumerate(ids)]
        categories = cats(**dict(zip(names, ids, strict=True)))
        files.append(source(folder, number, [image(1)], objects, categories))
    content, _ = merged(folder, *files)
    names_by_id = {entry["id"]: entry["name"] for entry in content["categories"]}
    assert sorted(names_by_id.values()) == sorted({name for names, _ in sets for name in names})
    assert all(names_by_id[a["category_id"]] == a["of"] for a in content["annotations"])


def test_ids_that_leave_no_room_are_refused_with_what_to_do(tmp_path):
    images = [image(-1, "a.jpg"), image(STRIDE - 1, "b.jpg")]
    file = source(tmp_path, 1, images, [], cats(cat=1))
    with pytest.raises(DatasetError, match=r"1\.json: its image ids .*no room.*number them anew"):
        merged(tmp_path, file)


@pytest.mark.parametrize(
    ("classes", "alike", "alone"),
    [
        (None, 1, {"1.json": "'cat'", "2.json": "'Cat', 'fox'"}),
        ({"merge": {"cat": ["Cat"]}}, 0, {"2.json": "'fox'"}),
        ({"merge": {"pet": ["cat", "Cat", "fox"]}}, 0, {}),
        ({"drop": ["Cat"]}, 0, {"1.json": "'cat'", "2.json": "'fox'"}),
        ({"keep": ["dog"]}, 0, {}),
        ({"merge": {"CAT": ["fox"]}, "drop": ["cat"]}, 1, {"2.json": "'Cat', 'CAT'"}),
    ],
)
def test_notes_are_on_the_classes_as_they_are_learnt(tmp_path, classes, alike, alone):
    one = source(tmp_path, 1, [image(1)], [], cats(cat=1, dog=2))
    other = source(tmp_path, 2, [image(1)], [], cats(Cat=1, dog=2, fox=3))
    settings = None if classes is None else ClassesConfig.model_validate(classes)
    notes = merged(tmp_path, one, other)[1].notes(settings)
    assert sum("data.classes.merge=" in note for note in notes) == alike
    told = dict(note.split(" alone has ") for note in notes if " alone has " in note)
    assert {
        Path(path).name: names.partition(": objects")[0] for path, names in told.items()
    } == alone


def test_three_names_that_are_alike_are_one_note(tmp_path):
    file = source(tmp_path, 1, [image(1)], [], cats(cat=1, Cat=2, CAT=3))
    (note,) = merged(tmp_path, file)[1].notes()
    assert "the classes 'cat' and 'Cat' and 'CAT' are 3: " in note
    assert note.endswith("set data.classes.merge={cat: [Cat, CAT]}")

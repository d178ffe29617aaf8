"""YOLO's folders as Ultralytics, Roboflow and darknet leave them: names, splits, label files."""

import pytest

from ground.errors import DatasetError
from model.foreign.convert import find_form, folder_of
from tests.model.foreign.forms import boxes, converted, picture, write

LINE = "0 0.5 0.5 0.2 0.5\n"


def set_of(root, split, names):
    for name in names:
        picture(root / split / "images" / f"{name}.jpg")
        write(root / split / "labels" / f"{name}.txt", LINE)


def classes(coco):
    return [category["name"] for category in coco["categories"]]


def files(coco):
    return [image["file_name"] for image in coco["images"]]


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("names: [yes, null, 010, 1e3]", ["yes", "null", "010", "1e3"]),
        ("names:\n  0: person\n  1: no\n  2: 'a: b'\n  3: 人\n", ["person", "no", "a: b", "人"]),
        ("names: {'0': a, 1: b, '2': c, 3: d}", ["a", "b", "c", "d"]),
        ("names:\n- a\n- ' b '\n- c\n- d\ndownload: |\n  import x\n", ["a", "b", "c", "d"]),
        ("names: {0: a, ²: b, x: c, 2: }", ["a", "class 1", "class 2", "class 3"]),
        ("names: !!python/tuple [a, b, c, d]", ["a", "b", "c", "d"]),
    ],
)
def test_names_are_what_is_written(tmp_path, yaml, expected):
    picture(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "".join(f"{n} 0.5 0.5 0.2 0.5\n" for n in range(4)))
    write(tmp_path / "data.yaml", yaml)
    done, coco = converted(tmp_path, "YOLO")
    assert classes(coco["all"]) == expected
    unnamed = sum(name.startswith("class ") for name in expected)
    assert sum(done.lost.values()) == unnamed


@pytest.mark.parametrize("content", ["names: [a", "a: *x", "[" * 600, "x: \0", "\xff"])
def test_a_yaml_that_is_none_is_counted(tmp_path, content):
    picture(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", LINE)
    (tmp_path / "data.yaml").write_bytes(content.encode("latin-1"))
    write(tmp_path / "classes.txt", "\ufeffgrün\r\n\r\nx\r\n")
    done, coco = converted(tmp_path, "YOLO")
    assert classes(coco["all"]) == ["grün"]
    assert done.lost == {"YAML files that cannot be read": 1}


@pytest.mark.parametrize(
    "paths",
    [
        ("a/images", "b/images", ""),
        ("../a/images", "../b/images", ""),
        ("./a", "b/", "path: /content/set"),
        ("/people/me/set/a/images", "/people/me/set/b/images", ""),
        ("'C:\\set\\a\\images'", "'C:\\set\\b\\images'", ""),
        ("[a/images]", "[b/images]", "path: ."),
    ],
)
def test_splits_are_those_that_the_yaml_names(tmp_path, paths):
    set_of(tmp_path, "a", ["1", "2"])
    set_of(tmp_path, "b", ["3"])
    train, val, more = paths
    write(tmp_path / "data.yaml", f"train: {train}\nval: {val}\ntest:\n{more}\nnames: [x]\n")
    _, coco = converted(tmp_path, "YOLO")
    assert {split: len(files(c)) for split, c in coco.items()} == {"train": 2, "eval": 1}
    assert files(coco["eval"]) == ["b/images/3.jpg"]


@pytest.mark.parametrize(
    ("at", "path", "train", "val"),
    [
        ("data.yaml", "dataset", "images/a", "images/b"),
        ("data.yaml", "./dataset/", "./images/a", "images/b/"),
        ("data.yaml", "dataset/images", "../images/a", "b"),
        ("data.yaml", "/content/x/dataset", "images/a", "images/b"),
        ("data.yaml", "C:\\x\\dataset", "images\\a", "images\\b"),
        ("data.yaml", "dataset", "lists/a.txt", "lists/b.txt"),
        ("cfg/data.yaml", "../dataset", "images/a", "images/b"),
        ("cfg/data.yaml", "dataset", "images/a", "images/b"),
        ("dataset/data.yaml", ".", "images/a", "images/b"),
        ("dataset/data.yaml", "null", "images/a", "images/b"),
        ("data.yaml", "../../dataset", "images/a", "images/b"),
    ],
)
def test_paths_of_splits_count_from_the_yamls_path(tmp_path, at, path, train, val):
    root = tmp_path / "data"
    picture(tmp_path / "dataset" / "images" / "a" / "outside.jpg")
    for folder in ("images/a", "dataset/images/a", "dataset/images/b"):
        picture(root / folder / f"{folder[-1]}.jpg")
    for name in "ab":
        write(root / "dataset" / "labels" / name / f"{name}.txt", LINE)
        write(root / "dataset" / "lists" / f"{name}.txt", f"dataset/images/{name}/{name}.jpg")
    write(root / at, f"path: {path}\ntrain: {train}\nval: {val}\ntest: ~\nnames: [x]\n")
    done, coco = converted(root, "YOLO")
    assert {split: files(c) for split, c in coco.items()} == {
        "train": ["dataset/images/a/a.jpg"],
        "eval": ["dataset/images/b/b.jpg"],
    }
    assert done.lost == {"pictures of no split": 1}


def test_a_split_may_be_the_whole_folder(tmp_path):
    set_of(tmp_path, "b", ["1", "2"])
    write(tmp_path / "data.yaml", "train: .\nnames: [x]\n")
    done, coco = converted(tmp_path, "YOLO")
    assert files(coco["all"]) == ["b/images/1.jpg", "b/images/2.jpg"] and not done.lost


@pytest.mark.parametrize("given", ["images/absent", "../../b", "absent.txt", "lines.txt", r"b\nz"])
def test_a_split_that_names_nothing_is_counted(tmp_path, given):
    set_of(tmp_path, "a", ["1"])
    set_of(tmp_path, "c", ["2"])
    picture(tmp_path.parent / "b" / "outside.jpg")
    write(tmp_path / "lines.txt", "x.jpg\ny.jpg\n")
    yaml = f'path: .\ntrain: a\nval: "{given}"\ntest:\nnames: [x]\n'
    write(tmp_path / "data.yaml", yaml)
    done, coco = converted(tmp_path, "YOLO")
    assert sorted(files(coco["all"])) == ["a/images/1.jpg", "c/images/2.jpg"]
    said = repr("b\nz") if given == r"b\nz" else given  # a line stays one
    assert done.lost == {f"splits without a picture here (`val: {said}`)": 1}


@pytest.mark.parametrize("with_yaml", [True, False])
def test_splits_are_those_of_lists(tmp_path, with_yaml):
    for name in "abc":
        picture(tmp_path / "obj" / f"{name}.png")
        write(tmp_path / "obj" / f"{name}.txt", LINE)
    write(tmp_path / "train.txt", "/darknet/data/obj/a.png\r\nobj/c.png\r\n\r\nobj/absent.png\r\n")
    write(tmp_path / "val.txt", "./obj/b.png")
    if with_yaml:
        write(tmp_path / "set.yaml", "train: train.txt\nval: ../set/val.txt\nnames: {0: x}\n")
    done, coco = converted(tmp_path, "YOLO")
    assert {split: files(c) for split, c in coco.items()} == {
        "train": ["obj/a.png", "obj/c.png"],
        "eval": ["obj/b.png"],
    }
    assert done.lost == {"lines of lists without a picture here": 1}


def test_the_yaml_comes_before_the_names_of_folders(tmp_path):
    for split in ("train", "val"):
        set_of(tmp_path, split, [f"of {split}"])
    write(tmp_path / "data.yaml", "train: val/images\nval: train/images\nnames: [x]\n")
    _, coco = converted(tmp_path, "YOLO")
    assert files(coco["train"]) == ["val/images/of val.jpg"]


def test_pictures_to_test_on_are_left_alone(tmp_path):
    set_of(tmp_path, "train", ["1", "2", "3"])
    set_of(tmp_path, "test", ["4"])
    done, coco = converted(tmp_path, "YOLO")
    assert list(coco) == ["all", "test"] and len(files(coco["all"])) == 3
    assert files(coco["test"]) == ["test/images/4.jpg"]
    assert done.lost == {"pictures to test on (left alone)": 1}


def test_a_folder_of_tests_alone_is_all_there_is(tmp_path):
    set_of(tmp_path, "test", ["1", "2"])
    done, coco = converted(tmp_path, "YOLO")
    assert list(coco) == ["all"] and len(files(coco["all"])) == 2 and not done.lost


def test_endings_may_be_in_capitals(tmp_path):
    picture(tmp_path / "images" / "A.JPG")
    write(tmp_path / "labels" / "A.TXT", LINE)
    _, coco = converted(tmp_path, "YOLO")
    assert boxes(coco["all"]) == [("images/A.JPG", "class 0", 40, 20, 20, 40)]


@pytest.mark.parametrize("ending", [".bmp", ".webp", ".tif", ".TIFF", ".gif"])
@pytest.mark.parametrize("beside", [True, False])
def test_pictures_of_other_formats_are_said_to_be_that(tmp_path, ending, beside):
    images, labels = ("p", "p") if beside else ("images", "labels")
    picture(tmp_path / images / "a.jpg")
    picture(tmp_path / images / f"b{ending}")
    picture(tmp_path / images / f"empty{ending}")
    for name in "ab":
        write(tmp_path / labels / f"{name}.txt", LINE)
    done, coco = converted(tmp_path, "YOLO")
    form = {".bmp": "BMP", ".webp": "WebP", ".gif": "GIF"}.get(ending, "TIFF")
    assert files(coco["all"]) == [f"{images}/a.jpg"]
    assert done.lost == {f"pictures that are {form} (convert them to JPEG or PNG)": 2}
    (tmp_path / images / "a.jpg").unlink()
    (tmp_path / labels / "a.txt").unlink()
    with pytest.raises(DatasetError, match=rf"no object .*\(2 pictures that are {form} \([^,]*$"):
        converted(tmp_path, "YOLO")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("Images", "Labels"),
        ("IMAGES/train", "LABELS/train"),
        ("Images", "labels"),
        ("JPEGImages", "labels"),
        ("img", "labels"),
        ("a", "Labels/a"),
        ("Labels", "Labels"),
    ],
)
def test_folders_may_be_in_capitals(tmp_path, images, labels):
    for name in ("a.jpg", "empty.jpg"):
        picture(tmp_path / images / name)
    write(tmp_path / labels / "a.txt", LINE)
    done, coco = converted(tmp_path, "YOLO")
    name, *box = boxes(coco["all"])[0]
    assert (name, box) == (f"{images}/a.jpg", ["class 0", 40, 20, 20, 40])
    # A folder without labels of its own is not looked into, whatever it is called.
    assert len(files(coco["all"])) == 1 + (images != "a") and bool(done.lost) == (images == "a")


def test_what_has_no_partner_is_counted(tmp_path):
    set_of(tmp_path, "train", ["1"])
    write(tmp_path / "train" / "labels" / "lonely.txt", LINE)
    write(tmp_path / "train" / "labels" / "classes.txt", "x\n")
    write(tmp_path / "README.roboflow.txt", "Exported\n")
    picture(tmp_path / "other" / "x.jpg")
    (tmp_path / "train" / "images" / "broken.jpg").write_bytes(b"no picture")
    done, coco = converted(tmp_path, "YOLO")
    assert files(coco["all"]) == ["train/images/1.jpg"] and classes(coco["all"]) == ["x"]
    assert done.lost == {
        "label files without their picture": 1,
        "pictures of folders without labels": 1,
        "pictures that cannot be read": 1,
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0.5 0.5 0.2 0.5", (40, 20, 20, 40)),
        ("\ufeff0\t0.5  0.5 0.2 0.5 \r", (40, 20, 20, 40)),
        ("0.0 5e-1 .5 0.2 0.5", (40, 20, 20, 40)),
        ("0 0.5 0.5 0.2 0.5 0.93", (40, 20, 20, 40)),
        ("0 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5", (10, 8, 20, 32)),  # turned boxes: four corners
        ("0 0 0 1 0 1 1", (0, 0, 100, 80)),
        ("", None),
        ("0 0.5 0.5 0.2", None),
        ("0 0.5 0.5 0.2 nan", None),
        ("0 0.5 0.5 0.2 inf", None),
        ("0 0.5 0.5 0.2 1e99", None),
        ("0.5 0.5 0.5 0.2 0.5", None),
        ("cat 0.5 0.5 0.2 0.5", None),
        ("0,0.5,0.5,0.2,0.5", None),
        ("0 1 2 3 4 5 6 7", None),  # seven numbers are neither
    ],
)
def test_lines(tmp_path, line, expected):
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")
    write(tmp_path / "a.txt", line)
    write(tmp_path / "b.txt", LINE)
    done, coco = converted(tmp_path, "YOLO")
    found = [row[2:] for row in boxes(coco["all"]) if row[0] == "a.jpg"]
    assert found == ([expected] if expected else [])
    assert files(coco["all"]) == ["a.jpg", "b.jpg"]  # without objects is a statement
    assert done.lost["lines that are no object"] == int(expected is None and bool(line))


def test_key_points_are_cut_off_where_the_yaml_says_so(tmp_path):
    picture(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "0 0.5 0.5 0.2 0.5 0.1 0.1 2 0.4 0.4\n")
    write(tmp_path / "pose.yaml", "kpt_shape: [2, 3]\nnames: {0: x}\n")
    done, coco = converted(tmp_path, "YOLO")
    assert boxes(coco["all"]) == [("a.jpg", "x", 40, 20, 20, 40)]
    assert coco["all"]["annotations"][0]["segmentation"] == [] and done.lost == {"key points": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_texts_of_windows_are_read(tmp_path, encoding):
    picture(tmp_path / "b.jpg")
    write(tmp_path / "b.txt", LINE)
    (tmp_path / "classes.txt").write_bytes("café\ncow\n".encode(encoding))
    (tmp_path / "train.txt").write_bytes("b.jpg\n".encode(encoding))
    done, coco = converted(tmp_path, "YOLO")
    known = encoding != "cp1252"
    assert [row[:2] for row in boxes(coco["all"])] == [("b.jpg", "café")]
    told = "texts taken for Windows-1252, as they are no UTF-8 (`classes.txt`)"
    assert done.lost == ({} if known else {told: 1})


def test_a_text_beside_a_tiff_is_no_label_where_there_is_a_table(tmp_path):
    picture(tmp_path / "a.tif")
    picture(tmp_path / "b.jpg")
    write(tmp_path / "a.txt", "camera: x\n")
    write(tmp_path / "l.csv", "filename,xmin,ymin,xmax,ymax,class\nb.jpg,1,2,30,40,car\n")
    _, coco = converted(tmp_path, "a table of boxes (CSV)")
    assert [row[:2] for row in boxes(coco["all"])] == [("b.jpg", "car")]


def test_texts_without_pictures_are_no_yolo(tmp_path):
    picture(tmp_path / "a.jpg")
    for name in ("notes.txt", "classes.txt", "b.txt", "train.txt"):
        write(tmp_path / name, LINE)
    names = ["a.jpg", "notes.txt", "classes.txt", "b.txt", "train.txt"]
    assert find_form(folder_of(tmp_path, names)) is None

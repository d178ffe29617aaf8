"""`tfx-rcnn init` where strangers use it: odd names, links and files."""

import json
import os

import pytest
from click.testing import CliRunner
from PIL import Image

from configs.loader import load_config
from pipeline.__main__ import main as tfx_rcnn
from pipeline.data_folder import check_data_folder
from pipeline.init.machine import Machine
from tests.pipeline.init.folders import draw, numbered, write


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Two cores, no GPU, an empty cache."""
    monkeypatch.setenv("TFX_RCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pipeline.init.machine.this_machine", lambda warn: Machine(0, 2, 16.0))


def init(*arguments, status=0):
    done = CliRunner().invoke(tfx_rcnn, ["init", *map(str, arguments)], prog_name="tfx-rcnn")
    assert "--debug" not in done.output and "Traceback" not in done.output, done.output
    assert done.exit_code == status, done.output
    if status:
        last = done.output.rstrip().splitlines()[-1]
        assert last.startswith("error: ")
        return last
    return done.output


def written(folder):
    """Returns the config that was written, which a run would take for the folder."""
    config = load_config(folder / "tfx-rcnn.yaml")
    check_data_folder(config.data, folder)
    return config


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("1e3", "1e3"), ("null", "null"), ("yes", "yes"), ("0x1F", "0x1f"),
        ("2020-01-01", "2020-01-01"), ("1_000", "1-000"), ("~", "my-data"), ("=", "my-data"),
        ("a: b #c", "a-b-c"), ("007", "007"), ("it's \"x\"", "it-s-x"), ("${HOME}", "home"),
        ("{{x}}", "x"), ("%s %(a)s", "s-a-s"), ("- a", "a"), ("é\u2028x", "ex"),
        ("new\nline", "new-line"), ("名前", "my-data"), ("1.5", "1-5"), (" blank ", "blank"),
        ("[a, b]", "a-b"), ("true", "true"), ("!x", "x"), ("&a *b", "a-b"),
        ("a\x07b\x1b", "a-b"),
    ],
)  # fmt: skip
def test_folders_of_any_name_are_meant_as_they_are_called(tmp_path, name, slug):
    root = tmp_path / name
    write(root / name / "l.json", draw(root / name, numbered(5), objects=1))
    init(root)
    config = written(root)
    assert config.name == slug
    assert (config.data.annotations, config.data.pictures) == (f"{name}/l.json", name)


def test_names_that_are_no_text_are_named(tmp_path):
    odd = os.fsdecode(b"p\xff")
    write(tmp_path / "a" / "l.json", draw(tmp_path / "a" / odd, numbered(5)))
    assert r"the name 'p\udcff' in it is not text in UTF-8" in init(tmp_path / "a", status=1)
    write(tmp_path / "b" / f"{odd}.json", draw(tmp_path / "b", numbered(5)))
    assert "rename it" in init(tmp_path / "b", status=1)
    assert not list(tmp_path.glob("*/tfx-rcnn.yaml"))


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["l.json"], 1, "l.json: is a file: give its folder"),
        (["absent"], 1, "absent: no such folder"),
        ([".", "--annotations", "images"], 1, "--annotations images: no such file"),
        ([".", "--annotations", "absent.json"], 1, "no such file, in . or from here"),
        ([".", "--annotations", "l.json", "--annotations", "./l.json"], 2, "l.json twice"),
        ([".", *["--annotations", "l.json"] * 3], 2, "give one file, or two"),
        ([".", "--annotations", "images/img0000.jpg"], 1, "img0000.jpg"),
        ([".", "--out", "images"], 2, "images: is there already"),
        ([".", "--out", "l.json"], 2, "l.json: is there already"),
        ([".", "--out", "images/img0000.jpg"], 2, "img0000.jpg: is there already"),
        ([".", "--out", "l.json/x.yaml"], 1, "l.json"),
        ([".", "--weights", ""], 1, "must be a file of"),
        ([".", "--weights", "images"], 1, "images must be a file of"),
        ([".", "--weights", "l.json"], 1, "l.json must be a file of"),
        ([".", "--weights", "imagenet/"], 1, "none named 'imagenet/'"),
        ([".", "--nothing"], 2, "--nothing"),
        ([], 2, "DATA_DIR"),
    ],
)
def test_what_is_said_wrongly_ends_in_one_line(tmp_path, monkeypatch, arguments, status, said):
    write(tmp_path / "l.json", draw(tmp_path / "images", numbered(5), objects=1))
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert said in init(*arguments, status=status)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_files_of_other_tasks_are_left_out_beside_instances_alone(tmp_path):
    coco = draw(tmp_path / "images", numbered(6))
    captions = {**coco, "annotations": [{"id": 1, "image_id": 1, "caption": "x"}]}
    write(tmp_path / "captions_train.json", captions)
    assert "one of captions" in init(tmp_path, status=1)
    write(tmp_path / "panoptic_train.json", {**coco, "annotations": []})
    write(tmp_path / "car_detections.json", coco)  # looks like another task, as all of them do
    init(tmp_path, status=1)
    write(tmp_path / "labels.json", coco)
    init(tmp_path)
    assert written(tmp_path).data.annotations == "labels.json"


@pytest.mark.parametrize("name", ["detections.json", "predators.json", "person_keypoints.json"])
def test_a_file_alone_may_be_called_as_it_likes(tmp_path, name):
    write(tmp_path / name, draw(tmp_path / "images", numbered(6)))
    init(tmp_path)
    assert written(tmp_path).data.annotations == name


@pytest.mark.parametrize(
    ("names", "used"),
    [
        (["a_test.json", "labels.json"], ["labels.json"]),
        (["test.json", "val.json"], ["val.json"]),
        (["test.json", "train.json"], ["train.json"]),
        (["test.json"], ["test.json"]),
        (["all.json", "train.json", "val.json"], ["train.json", "val.json"]),
        (["dev/x.json", "test/x.json", "training/x.json"], ["training/x.json", "dev/x.json"]),
    ],
)
def test_test_files_are_left_alone(tmp_path, names, used):
    coco = draw(tmp_path / "images", numbered(6))
    for name in names:
        write(tmp_path / name, coco)
    init(tmp_path)
    data = written(tmp_path).data
    assert (data.annotations and [data.annotations]) or [
        data.train_annotations,
        data.eval_annotations,
    ] == used


def test_all_beside_that_of_evaluation_could_be_either(tmp_path):
    coco = draw(tmp_path / "images", numbered(6))
    for name in ("labels.json", "val.json"):
        write(tmp_path / name, coco)
    assert "several COCO files could be meant (labels.json, val.json)" in init(tmp_path, status=1)


def test_an_entry_that_comes_twice_is_no_surprise_to_the_run(tmp_path):
    coco = draw(tmp_path / "images", numbered(10))
    coco["images"].append(dict(coco["images"][0]))
    write(tmp_path / "l.json", coco)
    assert "duplicate_image_id 1" in init(tmp_path)
    assert written(tmp_path).data.max_rejected_fraction > 1 / 11


def test_numbers_beyond_all_measure_are_counted(tmp_path):
    coco = draw(tmp_path / "images", numbered(10), objects=4)
    coco["images"].append({"id": 2**70, "file_name": "x.jpg", "width": 2**70, "height": 5})
    for place, box in enumerate([[1e8] * 4, [-1e30, 0, 1e31, 5], [10**400, 1, 2, 3]]):
        coco["annotations"][place]["bbox"] = box
    coco["annotations"].append({"id": 10**30, "image_id": 2**70, "category_id": 2**65})
    write(tmp_path / "l.json", coco)
    output = init(tmp_path)
    assert "box_outside 1" in output and "bad_bbox 2" in output
    assert written(tmp_path).data.max_lost_objects_fraction < 0.2


@pytest.mark.parametrize(
    ("names", "number"), [(["null", "yes", "1"], 3), (["名", "名 ", "a\u0301"], 3), (["x"] * 3, 3)]
)
def test_classes_of_any_name_are_classes(tmp_path, names, number):
    coco = draw(tmp_path / "images", numbered(10), classes=3)
    for category, name in zip(coco["categories"], names, strict=True):
        category["name"] = name
    coco["categories"].append({"id": 99, "name": "unused"})
    write(tmp_path / "l.json", coco)
    assert f"{number + 1} classes" in init(tmp_path)
    written(tmp_path)


@pytest.mark.parametrize("name", [None, True, 1, ["a"]])
def test_a_class_without_a_name_is_named(tmp_path, name):
    coco = draw(tmp_path / "images", numbered(5))
    coco["categories"][0]["name"] = name
    write(tmp_path / "l.json", coco)
    assert "l.json: category 0 has no integer `id` and `name`" in init(tmp_path, status=1)


def test_one_picture_is_too_few_and_two_are_not(tmp_path):
    write(tmp_path / "a" / "l.json", draw(tmp_path / "a", numbered(1)))
    assert "l.json: a split would have no picture" in init(tmp_path / "a", status=1)
    write(tmp_path / "b" / "l.json", draw(tmp_path / "b", numbered(2)))
    init(tmp_path / "b")
    written(tmp_path / "b")


def test_pipes_dangling_links_and_empty_files_do_no_harm(tmp_path):
    for name in ("a.json", "b.xml", "c.csv", "d.txt", "e.yaml"):
        (tmp_path / name).touch()
    for name in ("p.json", "p.xml", "p.txt", "p.yaml", "p.jpg"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "x.json").symlink_to(tmp_path / "nothing")
    assert "no annotations that are known" in init(tmp_path, status=1)
    write(tmp_path / "l.json", draw(tmp_path / "images", numbered(5)))
    init(tmp_path)
    assert written(tmp_path).data.annotations == "l.json"


def test_a_linked_folder_of_pictures_is_used_and_linked_files_are_not(tmp_path):
    coco = draw(tmp_path / "disk", numbered(5))
    for name in "ab":
        write(tmp_path / name / "l.json", coco)
    (tmp_path / "a" / "images").symlink_to(tmp_path / "disk")
    init(tmp_path / "a")
    assert written(tmp_path / "a").data.pictures == "images"
    (tmp_path / "b" / "images").mkdir()
    for name in numbered(5):
        (tmp_path / "b" / "images" / name).symlink_to(tmp_path / "disk" / name)
    assert "path_outside_folder 5" in init(tmp_path / "b", status=1)


def test_endings_in_capitals_are_found_and_said(tmp_path):
    coco = draw(tmp_path / "images", numbered(6))
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_suffix(".JPEG"))
    write(tmp_path / "L.JSON", coco)
    assert "picture_ending_differs 6" in init(tmp_path)
    data = written(tmp_path).data
    assert (data.annotations, data.policies["picture_ending_differs"]) == ("L.JSON", "mend")


def test_boxes_of_other_pictures_are_not_learnt(tmp_path):
    coco = draw(tmp_path / "images", numbered(6))
    for image in coco["images"]:
        rows = [a["bbox"] for a in coco["annotations"] if a["image_id"] == image["id"]]
        objects = "".join(
            f"<object><name>x</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax>"
            f"<ymax>{y + h}</ymax></bndbox></object>"
            for x, y, w, h in rows
        )
        size = "<size><width>64</width><height>48</height></size>"
        path = tmp_path / "images" / image["file_name"]
        path.with_suffix(".xml").write_text(f"<annotation>{size}{objects}</annotation>")
    init(tmp_path)
    written(tmp_path)
    for name in numbered(6):  # made smaller, without their annotations
        with Image.open(tmp_path / "images" / name) as picture:
            small = picture.resize((32, 24))
        small.save(tmp_path / "images" / name)
    assert "picture_size_differs 6" in init(tmp_path, status=1)


def test_a_yolo_set_of_ultralytics_becomes_two_files(tmp_path):
    for split, number in (("train", 8), ("val", 4)):
        coco = draw(tmp_path / "images" / split, numbered(number), classes=2, seed=number)
        for image in coco["images"]:
            rows = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
            lines = [
                f"{a['category_id'] - 1} {(x + w / 2) / 64} {(y + h / 2) / 48} {w / 64} {h / 48}"
                for a in rows
                for x, y, w, h in [a["bbox"]]
            ]
            label = tmp_path / "labels" / split / image["file_name"].replace(".jpg", ".txt")
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("\r\n".join(lines))
    text = (
        "path: ../datasets/cells\ntrain: images/train\nval: images/val\nnames:\n  0: no\n  1: 2\n"
    )
    (tmp_path / "cells.yaml").write_text(text)
    assert "2 classes" in init(tmp_path)
    data = written(tmp_path).data
    made = json.loads((tmp_path / str(data.train_annotations)).read_text())
    assert {category["name"] for category in made["categories"]} == {"no", "2"}
    assert len(json.loads((tmp_path / str(data.eval_annotations)).read_text())["images"]) == 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (None, "(bad_picture_record 6); for example id "),
        (7, "which has no `file_name`"),
        ("", "which has no `file_name`"),
        ("a\0b.jpg", "picture_missing 6"),
        ("x" * 5000, "none of its pictures"),
        ("absent.jpg", "(such as 'absent.jpg') is in"),
        ("../../absent.jpg", "(such as '../../absent.jpg') is in"),
    ],
)
def test_file_names_that_name_nothing_are_said_shortly(tmp_path, name, said):
    coco = draw(tmp_path, numbered(6))
    for image in coco["images"]:
        image["file_name"] = name
    write(tmp_path / "l.json", coco)
    line = init(tmp_path, status=1)
    assert said in line and len(line) < 1000 + len(str(tmp_path)) * 4


@pytest.mark.parametrize(
    "front",
    ["../", "..\\pictures\\", "/people/me/set/", "C:\\me\\", "http://me:80/set/", "./", "%2E/"],
)
def test_names_with_the_folders_of_another_machine_are_found(tmp_path, front):
    coco = draw(tmp_path / "images", numbered(6))
    for image in coco["images"]:
        image["file_name"] = front + image["file_name"]
    write(tmp_path / "l.json", coco)
    assert "all sound" in init(tmp_path) or "picture_name_in_other_form" in init(tmp_path)
    data = written(tmp_path).data
    assert data.max_rejected_fraction == 0.01


def test_a_config_elsewhere_names_what_was_converted(tmp_path):
    root = tmp_path / "data"
    draw(root, numbered(6))
    for name in numbered(6):
        (root / name).with_suffix(".txt").write_text("0 0.5 0.5 0.4 0.4\n")
    init(root, "--out", tmp_path / "deep" / "mine.yaml")
    config = load_config(tmp_path / "deep" / "mine.yaml")
    check_data_folder(config.data, root)
    assert config.data.annotations == str(tmp_path / "deep" / "mine.coco.json")
    assert not list(root.glob("*.json")) and not list(root.glob("*.yaml"))


def test_a_users_file_where_the_converted_one_goes_is_kept(tmp_path):
    draw(tmp_path, numbered(6))
    (tmp_path / "img0000.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (tmp_path / "tfx-rcnn.coco.json").write_text("{}")
    assert "tfx-rcnn.coco.json: is there already" in init(tmp_path, status=2)
    assert (tmp_path / "tfx-rcnn.coco.json").read_text() == "{}"
    assert not (tmp_path / "tfx-rcnn.yaml").exists()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_a_coco_file_that_powershell_wrote_is_found(tmp_path, encoding):
    root = tmp_path / "set"
    path = root / "l.json"
    write(path, draw(root, numbered(5), objects=1))
    path.write_bytes(path.read_text().encode(encoding))
    init(root)
    assert written(root).data.annotations == "l.json"


def test_folders_that_are_too_deep_are_said(tmp_path):
    for place, names in (("", "ab"), ("1/2/3/4/5", "cd"), ("1/2/3/4/6", "ef")):
        draw(tmp_path / place, [f"{name}.jpg" for name in names])
        for name in names:
            (tmp_path / place / f"{name}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    said = "not looked at: 1/2/3/4/5 and 1 more, deeper than 4 folders"
    assert said in init(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.txt").unlink()
    (tmp_path / "tfx-rcnn.yaml").unlink()
    (tmp_path / "tfx-rcnn.coco.json").unlink()
    assert f"or the folders below ({said})" in init(tmp_path, status=1)


def turn(root, orientation):
    """Writes the EXIF orientation into all pictures of a folder."""
    for path in root.rglob("*.jpg"):
        with Image.open(path) as picture:
            exif = picture.getexif()
            exif[0x0112] = orientation
            picture.load()
            picture.save(path, exif=exif)


@pytest.mark.parametrize("orientation", [1, 3])
@pytest.mark.parametrize("form", ["COCO", "YOLO"])
def test_boxes_of_yolo_are_of_pictures_as_exif_turns_them(tmp_path, form, orientation):
    coco = draw(tmp_path, numbered(5), objects=1)
    turn(tmp_path, orientation)
    if form == "COCO":
        write(tmp_path / "l.json", coco)
    for image in coco["images"] if form == "YOLO" else []:
        (tmp_path / image["file_name"]).with_suffix(".txt").write_text("0 0.5 0.5 0.4 0.4\n")
    output = init(tmp_path)
    assert ("pictures: exif_turned 5" in output) == (orientation == 3)
    expected = {"exif_turned": "mend"} if (form, orientation) == ("YOLO", 3) else {}
    assert written(tmp_path).data.policies == expected

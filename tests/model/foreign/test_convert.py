"""Annotations of other tools as COCO: what they mean, which splits they are, and what is lost."""

import json
import os

import pytest
from PIL import Image

from ground.errors import DatasetError, OutputError
from model.foreign.coco_file import is_as_written
from model.foreign.convert import find_form, folder_of
from model.foreign.form import bounds
from tests.model.foreign.forms import boxes, converted, picture, voc, write


def test_voc_counts_pixels_as_its_writer_does(tmp_path):
    for name, database in (("ä 1", "mine"), ("b", "The VOC2007 Database")):
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
        text = voc(f"{name}.jpg", [("cat", 11, 21, 30, 40, False, "")], database)
        write(tmp_path / "Annotations" / f"{name}.xml", text)
    _, coco = converted(tmp_path, "Pascal VOC")
    # From corner 11 to corner 30; the challenge's pixel 11 is the eleventh, and pixel 30 within.
    assert boxes(coco["all"]) == [
        ("JPEGImages/b.jpg", "cat", 10, 20, 20, 20),
        ("JPEGImages/ä 1.jpg", "cat", 11, 21, 19, 19),
    ]


def test_voc_takes_splits_from_its_lists_and_says_what_is_lost(tmp_path):
    of_lists = (("a", "train"), ("b", "val"), ("c", None), ("Bild (1)", "val"), ("d 1", "val"))
    for name, split in of_lists:
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
        polygon = "<polygon><x1>1</x1><y1>2</y1><x2>9</x2><y2>2</y2><x3>9</x3><y3>8</y3></polygon>"
        text = voc(f"{name}.jpg", [("cat", 1, 2, 9, 8, True, polygon), ("", 1, 1, 2, 2, False, "")])
        write(tmp_path / "Annotations" / f"{name}.xml", text)
        if split:
            path = tmp_path / "ImageSets" / "Main" / f"{split}.txt"
            before = path.read_text() if path.exists() else ""
            write(path, f"{before}{name}{'' if ' ' in name else '  1'}\n")
    write(tmp_path / "Annotations" / "d.xml", voc("d.jpg", []))
    write(tmp_path / "Annotations" / "e.xml", "<annotation>")
    done, coco = converted(tmp_path, "Pascal VOC")
    assert {split: len(c["images"]) for split, c in coco.items()} == {"train": 1, "eval": 3}
    assert coco["train"]["annotations"][0]["segmentation"] == [[1, 2, 9, 2, 9, 8]]
    assert done.lost == {
        "marks `difficult` (the objects stay)": 5,
        "objects without a name or a box": 5,
        "annotations without their picture": 1,
        "files that are no XML": 1,
        "pictures of no split": 1,
    }


def test_entities_of_xml_are_not_followed(tmp_path):
    picture(tmp_path / "a.jpg")
    text = voc("a.jpg", [("&xxe;", 1, 1, 5, 5, False, "")])
    write(tmp_path / "a.xml", f'<!DOCTYPE a [<!ENTITY xxe SYSTEM "file:///etc/passwd">]>{text}')
    with pytest.raises(DatasetError, match=r"look like Pascal VOC, but no object.*no XML"):
        converted(tmp_path, "Pascal VOC")


def test_yolo_reads_boxes_polygons_and_pictures_without_labels(tmp_path):
    for split in ("train", "valid"):
        picture(tmp_path / split / "images" / "a.jpg")
        picture(tmp_path / split / "images" / "empty.png")
        lines = "0 0.5 0.5 0.2 0.5\n1 0 0 0.5 0 0.5 0.5\n1 0.1 0.1 0.1 0.1 0.9\nx\n"
        write(tmp_path / split / "labels" / "a.txt", lines)
    write(tmp_path / "data.yaml", "train: ../train/images\nnames: ['red cell', 'Zelle ü']\nnc: 2\n")
    done, coco = converted(tmp_path, "YOLO")
    assert set(coco) == {"train", "eval"}
    assert [i["file_name"] for i in coco["train"]["images"]] == [
        "train/images/a.jpg",
        "train/images/empty.png",
    ]
    assert boxes(coco["eval"]) == [
        ("valid/images/a.jpg", "Zelle ü", 0, 0, 50, 40),
        ("valid/images/a.jpg", "Zelle ü", 5, 4, 10, 8),
        ("valid/images/a.jpg", "red cell", 40, 20, 20, 40),
    ]
    assert done.lost == {"scores behind boxes": 2, "lines that are no object": 2}


def test_yolos_shares_are_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "a.jpg", exif=exif)
    write(tmp_path / "a.txt", "3 0.5 0.5 1 1\n")
    _, coco = converted(tmp_path, "YOLO")
    assert boxes(coco["all"]) == [("a.jpg", "class 3", 0, 0, 80, 100)]
    assert (coco["all"]["images"][0]["width"], coco["all"]["images"][0]["height"]) == (80, 100)


def test_labelme_joins_groups_and_counts_what_has_no_area(tmp_path):
    picture(tmp_path / "imgs" / "a.jpg")

    def shape(label, kind, points, group=None):
        return {"label": label, "shape_type": kind, "points": points, "group_id": group}

    shapes = [
        shape("car", "polygon", [[1, 1], [5, 1], [5, 5]], 7),
        shape("car", "polygon", [[20, 20], [30, 20], [30, 30]], 7),
        shape("box", "rectangle", [[30, 40], [10, 20]]),
        shape("disc", "circle", [[50, 40], [60, 40]]),
        shape("dot", "point", [[1, 1]]),
    ]
    text = json.dumps({"version": "5", "shapes": shapes, "imagePath": "..\\imgs\\a.jpg"})
    write(tmp_path / "json" / "a.json", text)
    write(tmp_path / "json" / "b.json", '{"shapes": [], "imagePath": "b.jpg"}')
    done, coco = converted(tmp_path, "LabelMe")
    found = {row[1]: row[2:] for row in boxes(coco["all"])}
    assert found["car"] == (1, 1, 29, 29) and found["box"] == (10, 20, 20, 20)
    assert found["disc"] == pytest.approx((40, 30, 20, 20), abs=0.01)
    rings = next(a for a in coco["all"]["annotations"] if len(a["segmentation"]) == 2)
    assert rings["segmentation"] == [[1, 1, 5, 1, 5, 5], [20, 20, 30, 20, 30, 30]]
    assert done.lost == {"shapes of the kind point": 1, "annotations without their picture": 1}


def test_cvat_is_read_with_its_kinds_of_shapes(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    write(
        tmp_path / "annotations.xml",
        '<?xml version="1.0"?><annotations><version>1.1</version>'
        '<image id="0" name="a.jpg" width="100" height="80">'
        '<box label="car" xtl="1" ytl="2" xbr="11" ybr="22" rotation="10"/>'
        '<polygon label="tree" points="1,1;9,1;9,9"/>'
        '<ellipse label="disc" cx="20" cy="20" rx="4" ry="2"/>'
        '<mask label="blob" left="5" top="6" width="7" height="8" rle="1,2"/>'
        '<polyline label="way" points="1,1;2,2"/></image>'
        '<image id="1" name="b.jpg" width="9" height="9"/></annotations>',
    )
    done, coco = converted(tmp_path, "CVAT for images")
    found = {row[1]: row[2:] for row in boxes(coco["all"])}
    assert found["car"] == (1, 2, 10, 20) and found["tree"] == (1, 1, 8, 8)
    assert found["blob"] == (5, 6, 7, 8) and found["disc"] == pytest.approx((16, 18, 8, 4), abs=0.1)
    assert done.lost == {
        "turns of boxes (the boxes before the turn stay)": 1,
        "bitmaps (their boxes stay)": 1,
        "shapes of the kind polyline": 1,
        "annotations without their picture": 1,
    }


def test_cvats_videos_are_refused_in_one_line(tmp_path):
    write(tmp_path / "a.xml", "<annotations><track id='0'></track></annotations>")
    with pytest.raises(DatasetError, match=r"form for videos.*export it as `CVAT for images`"):
        converted(tmp_path, "CVAT for images")


def label_studio(rows, image="/data/upload/3/0a1b2c3d-a.jpg", **more):
    return {"data": {"image": image}, "annotations": [{"result": rows, **more}]}


def test_label_studio_is_read_with_turned_boxes_and_both_addresses(tmp_path):
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "sub" / "b.jpg")
    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
    turned = {**box, "rotation": 90, "rectanglelabels": ["turned"]}
    polygon = {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["tree", "wood"]}
    tasks = [
        label_studio(
            [
                {"type": "rectanglelabels", "value": {**box, "rectanglelabels": ["car"]}},
                {"type": "rectanglelabels", "value": turned},
                {"type": "polygonlabels", "value": polygon},
                {"type": "brushlabels", "value": {"format": "rle", "rle": [1]}},
                {"type": "choices", "value": {"choices": ["good"]}},
            ]
        ),
        label_studio([], "/data/local-files/?d=some/sub/b.jpg"),
        {"data": {"image": "s3://bucket/absent.jpg"}, "annotations": []},
    ]
    write(tmp_path / "export.json", json.dumps(tasks))
    done, coco = converted(tmp_path, "Label Studio")
    # 10 % of 100 px, 20 % of 80 px; turned by 90 degrees clockwise around the upper left corner.
    assert boxes(coco["all"]) == [
        ("a.jpg", "car", 10, 16, 30, 32),
        ("a.jpg", "tree", 0, 0, 50, 40),
        ("a.jpg", "turned", -22, 16, 32, 30),
    ]
    assert [i["file_name"] for i in coco["all"]["images"]] == ["a.jpg", "sub/b.jpg"]
    assert done.lost == {
        "further labels of one shape": 1,
        "results of the kind brushlabels": 1,
        "annotations without their picture": 1,
    }


def test_label_studios_short_form_is_read(tmp_path):
    picture(tmp_path / "a.jpg")
    box = {"x": 10, "y": 0, "width": 30, "height": 50, "rectanglelabels": ["car"]}
    write(tmp_path / "min.json", json.dumps([{"image": "a.jpg", "id": 1, "label": [box]}]))
    _, coco = converted(tmp_path, "Label Studio")
    assert boxes(coco["all"]) == [("a.jpg", "car", 10, 0, 30, 40)]


def test_a_table_is_read(tmp_path):
    picture(tmp_path / "train" / "a.jpg")
    rows = ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.jpg,100,80,car,1,2,11,12")
    write(tmp_path / "train" / "_annotations.csv", "\n".join([*rows, "b.jpg,1,1,x,1,1,2,2\n"]))
    done, coco = converted(tmp_path, "a table of boxes (CSV)")
    assert boxes(coco["all"]) == [("train/a.jpg", "car", 1, 2, 10, 10)]
    assert done.lost == {"rows without a picture, a class or a box": 1}


READ_WITH_A_PICTURE = [
    ("Pascal VOC", "b.xml", voc("b.bmp", [("cat", 1, 1, 9, 9, False, "")])),
    ("LabelMe", "b.json", '{"imagePath": "b.bmp", "shapes": []}'),
    ("CVAT for images", "all.xml", "<annotations><image name='b.bmp'></image></annotations>"),
    ("Label Studio", "all.json", json.dumps([label_studio([], "/data/upload/1/b.bmp")])),
    (
        "a table of boxes (CSV)",
        "t.csv",
        "filename,class,xmin,ymin,xmax,ymax\nb.bmp,x,1,1,9,9\nb.bmp,x,1,1,9,9\n",
    ),
]


@pytest.mark.parametrize(("form", "name", "text"), READ_WITH_A_PICTURE)
def test_an_annotation_of_a_bmp_is_said_to_be_that(tmp_path, form, name, text):
    picture(tmp_path / "b.bmp")
    write(tmp_path / name, text)
    said = (
        rf"look like {form}, but no object .* \(1 pictures that are BMP \(convert them to JPEG or"
    )
    with pytest.raises(DatasetError, match=said.replace("(CSV)", r"\(CSV\)")):
        converted(tmp_path, form)


def test_what_leads_out_of_the_folder_is_not_read(tmp_path):
    outside = picture(tmp_path / "outside" / "a.jpg")
    root = tmp_path / "data"
    root.mkdir()
    os.symlink(outside, root / "a.jpg")
    write(root / "a.txt", "0 0.5 0.5 1 1\n")
    assert find_form(folder_of(root, ["a.jpg", "a.txt"])) is None
    picture(root / "b.jpg")
    write(root / "b.xml", voc("../outside/a.jpg", [("x", 1, 1, 2, 2, False, "")]))
    with pytest.raises(DatasetError, match="1 annotations without their picture"):
        os.unlink(root / "b.jpg")
        converted(root, "Pascal VOC")


def test_a_changed_copy_is_not_written_over(tmp_path):
    picture(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "0 0.5 0.5 1 1\n")
    done, _ = converted(tmp_path, "YOLO")
    path = done.files["all"]
    again, _ = converted(tmp_path, "YOLO")
    assert again.files == done.files and is_as_written(path)
    path.write_text(path.read_text().replace("class 0", "my class"))
    assert not is_as_written(path)
    with pytest.raises(OutputError, match="not as we wrote it"):
        converted(tmp_path, "YOLO")


def test_bounds_of_rings():
    assert bounds([[1, 9, 4, 2], [0, 5, 2, 3]]) == (0, 2, 4, 9)

"""Files of other tools as people really have them: renamed, resized, cut off, in old encodings."""

import json

import pytest
from PIL import Image

from ground.errors import DatasetError
from tests.model.foreign.forms import boxes, converted, picture, voc, write

CAT = ("cat", 11, 21, 30, 40, False, "")
HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"


def with_size(text, width, height):
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    return text.replace("</annotation>", f"{size}</annotation>")


def sizes(coco):
    return [(image["width"], image["height"]) for image in coco["images"]]


@pytest.mark.parametrize("named", ["old.jpg", "a.jpg", ""])
def test_voc_files_that_were_renamed_or_copied_are_of_their_own_picture(tmp_path, named):
    for name in "abc":
        picture(tmp_path / f"{name}.jpg")
        write(tmp_path / f"{name}.xml", voc(named, [CAT]))
    done, coco = converted(tmp_path, "Pascal VOC")
    assert [row[0] for row in boxes(coco["all"])] == ["a.jpg", "b.jpg", "c.jpg"]
    assert not done.lost


def test_two_files_of_one_picture_do_not_double_it(tmp_path):
    picture(tmp_path / "a.jpg")
    for folder in ("first", "second"):
        write(tmp_path / folder / "a.xml", voc("a.jpg", [CAT]))
    done, coco = converted(tmp_path, "Pascal VOC")
    assert boxes(coco["all"]) == [("a.jpg", "cat", 11, 21, 19, 19)]
    assert done.lost == {"further annotations of one picture": 1}


def test_voc_keeps_the_size_that_its_boxes_are_of(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, stated in (("a", (100, 80)), ("b", (80, 100)), ("c", (0, 0)), ("d", (50, 40))):
        picture(tmp_path / f"{name}.jpg", exif=exif)
        write(tmp_path / f"{name}.xml", with_size(voc(f"{name}.jpg", [CAT]), *stated))
    _, coco = converted(tmp_path, "Pascal VOC")
    # As stored; turned; not said, so as one sees it; of another picture, which a run then finds.
    assert sizes(coco["all"]) == [(100, 80), (80, 100), (80, 100), (50, 40)]


def test_numbers_with_points_and_parts_of_objects(tmp_path):
    picture(tmp_path / "a.jpg")
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    objects = [("cat", "1.5", "2.25", "1e1", "9.0", False, part)]
    write(tmp_path / "a.xml", voc("a.jpg", objects))
    _, coco = converted(tmp_path, "Pascal VOC")
    assert boxes(coco["all"]) == [("a.jpg", "cat", 1.5, 2.25, 8.5, 6.75)]


@pytest.mark.parametrize(
    "head",
    [
        '<?xml version="1.0" encoding="nonsense"?>',
        '<?xml version="1.0" encoding="gbk"?>',
        '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd" [<!ENTITY % p SYSTEM "file:///x">%p;]>',
        "<annotation></annotation>",
    ],
)
def test_xml_that_is_not_read_is_counted_beside_what_is(tmp_path, head):
    for name in "ab":
        picture(tmp_path / f"{name}.jpg")
        write(tmp_path / f"{name}.xml", (head if name == "b" else "") + voc(f"{name}.jpg", [CAT]))
    done, coco = converted(tmp_path, "Pascal VOC")
    assert [row[0] for row in boxes(coco["all"])] == ["a.jpg"]
    assert done.lost == {"files that are no XML": 1}


def test_latin_letters_in_their_declared_encoding_are_read(tmp_path):
    picture(tmp_path / "ü.jpg")
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + voc("ü.jpg", [("Käfer", *CAT[1:])])
    (tmp_path / "ü.xml").write_bytes(text.encode("latin-1"))
    _, coco = converted(tmp_path, "Pascal VOC")
    assert boxes(coco["all"]) == [("ü.jpg", "Käfer", 11, 21, 19, 19)]


@pytest.mark.parametrize("harm", ["cut", "encoding"])
def test_a_broken_file_of_cvat_is_named(tmp_path, harm):
    picture(tmp_path / "a.jpg")
    text = "<annotations><image name='a.jpg'><box label='x' xtl='1' ytl='1' xbr='5' ybr='5'/>"
    if harm == "encoding":
        text = f'<?xml version="1.0" encoding="nonsense"?>{text}</image></annotations>'
    write(tmp_path / "all.xml", text)
    with pytest.raises(DatasetError, match=r"all\.xml: is no whole XML \("):
        converted(tmp_path, "CVAT for images")


def test_cvats_subsets_are_splits(tmp_path):
    rows = []
    for name, subset in (("a", "Train"), ("b", "Validation"), ("c", "Train"), ("d", "default")):
        picture(tmp_path / f"{name}.jpg")
        box = '<box label="x" xtl="1" ytl="1" xbr="5" ybr="5"/>'
        rows.append(f'<image name="{name}.jpg" subset="{subset}" width="100">{box}</image>')
    write(tmp_path / "all.xml", f"<annotations>{''.join(rows)}</annotations>")
    done, coco = converted(tmp_path, "CVAT for images")
    assert {split: len(c["images"]) for split, c in coco.items()} == {"train": 2, "eval": 1}
    assert done.lost == {"pictures of no split": 1}


@pytest.mark.parametrize(
    ("header", "between", "quote"),
    [
        (HEADER, ",", ""),
        (HEADER, ",", '"'),
        (HEADER.upper(), ";", ""),
        (HEADER, "\t", '"'),
        (HEADER.replace(",", " , "), ",", ""),
        ("id," + HEADER, ",", ""),
        ("\ufeff" + HEADER, ";", ""),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_tables_of_spreadsheets_are_read(tmp_path, header, between, quote, line_end):
    picture(tmp_path / "a b.jpg")
    cells = ["a b.jpg", "100", "80", "red car", "1", "2.5", "11", "12.5"]
    cells = ["7", *cells] if header.startswith("id") else cells
    names = [f"{quote}{name}{quote}" for name in header.split(",")]
    row = [f"{quote}{cell}{quote}" for cell in cells]
    text = line_end.join([between.join(names), between.join(row), "", ""])
    (tmp_path / "t.csv").write_bytes(text.encode())
    done, coco = converted(tmp_path, "a table of boxes (CSV)")
    assert boxes(coco["all"]) == [("a b.jpg", "red car", 1, 2.5, 10, 10)] and not done.lost


@pytest.mark.parametrize(
    "row",
    [
        "a.jpg,100,80,car",
        "a.jpg",
        "a.jpg,100,80,,1,2,3,4",
        ",100,80,car,1,2,3,4",
        "a.jpg,,,x,1,2,3,",
    ],
)
def test_rows_that_lack_something_are_counted(tmp_path, row):
    picture(tmp_path / "a.jpg")
    write(tmp_path / "t.csv", f"{HEADER}\na.jpg,100,80,car,1,2,3,4,more,5\n{row}\n")
    done, coco = converted(tmp_path, "a table of boxes (CSV)")
    assert boxes(coco["all"]) == [("a.jpg", "car", 1, 2, 2, 2)]
    assert done.lost == {"rows without a picture, a class or a box": 1}


@pytest.mark.parametrize("cell", ["c\0r", "c" * 200_000])
def test_a_line_that_is_none_of_a_table_is_named(tmp_path, cell):
    picture(tmp_path / "a.jpg")
    row = "a.jpg,100,80,{},1,2,3,4\n"
    write(tmp_path / "t.csv", f"{HEADER}\n{row.format('car')}{row.format(cell)}")
    with pytest.raises(DatasetError, match=r"t\.csv, line 3: "):
        converted(tmp_path, "a table of boxes (CSV)")


def task(image, value=None, **more):
    box = {"x": 10, "y": 10, "width": 30, "height": 30, "rectanglelabels": [" car "]}
    row = {"type": "rectanglelabels", "value": value or box}
    return {"data": {**more, "image": image}, "annotations": [{"result": [row]}]}


@pytest.mark.parametrize(
    "address",
    [
        "p/a +%251.jpg",
        "/data/upload/1/0a1b2c3d-a%20%2B%251.jpg",
        "/data/local-files/?d=p/a%20%2B%251.jpg",
        "/data/local-files/?d=p/a +%251.jpg",
        "http://me:8080/data/local-files/?user=1&d=deep/p/a%20+%251.jpg",
        "s3://bucket/p/a%20+%251.jpg",
        "https://me/p/a%20+%251.jpg?X-Amz-Date=1#x",
    ],
)
def test_addresses_of_label_studio(tmp_path, address):
    picture(tmp_path / "p" / "a +%1.jpg")
    tasks = [task(address, text="see http://[x. y", note="a.b", n=3)]
    write(tmp_path / "e.json", json.dumps(tasks))
    _, coco = converted(tmp_path, "Label Studio")
    assert boxes(coco["all"]) == [("p/a +%1.jpg", "car", 10, 8, 30, 24)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_tables_of_a_german_excel_are_read(tmp_path, encoding):
    for name in ("Bär.jpg", "Bör.jpg"):
        picture(tmp_path / name)
    rows = "".join(f"{name}.jpg;{name};1,5;2;30,25;40\r\n" for name in ("Bär", "Bör"))
    text = f"filename;class;xmin;ymin;xmax;ymax\r\n{rows}"
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    done, coco = converted(tmp_path, "a table of boxes (CSV)")
    assert boxes(coco["all"]) == [(f"{n}.jpg", n, 1.5, 2, 28.75, 38) for n in ("Bär", "Bör")]
    told = "texts taken for Windows-1252, as they are no UTF-8 (`t.csv`)"
    assert done.lost == ({told: 1} if encoding == "cp1252" else {})


def test_the_first_tasks_of_a_list_may_have_no_annotation_yet(tmp_path):
    picture(tmp_path / "a.jpg")
    empty = {**task("a.jpg"), "annotations": []}
    tasks = [empty] * 2000 + [task("a.jpg")]
    write(tmp_path / "e.json", json.dumps(tasks))
    done, coco = converted(tmp_path, "Label Studio")
    assert [row[:2] for row in boxes(coco["all"])] == [("a.jpg", "car")]
    assert done.lost == {"tasks without an annotation": 2000}


def test_a_text_of_a_task_is_no_picture(tmp_path):
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "cat.jpg")
    write(tmp_path / "e.json", json.dumps([task("a.jpg", note="cat.v2"), task("x/y/", n="cat.")]))
    done, coco = converted(tmp_path, "Label Studio")
    assert [image["file_name"] for image in coco["all"]["images"]] == ["a.jpg"]
    assert done.lost == {"annotations without their picture": 1}


def test_pictures_of_one_name_in_two_folders_are_told_apart_by_their_folders(tmp_path):
    for folder in ("cvat", "studio"):
        for camera in ("cam1", "cam2"):
            picture(tmp_path / folder / "photos" / camera / "0.jpg")
    box = "<box label='{}' xtl='1' ytl='1' xbr='5' ybr='5'/>"
    cameras = ("cam1", "cam2")
    images = [f"<image name='{name}/0.jpg'>{box.format(name)}</image>" for name in cameras]
    write(tmp_path / "cvat" / "all.xml", f"<annotations>{''.join(images)}</annotations>")
    value = {"x": 0, "y": 0, "width": 9, "height": 9}
    tasks = [
        task(f"/data/local-files/?d={name}/0.jpg", {**value, "rectanglelabels": [name]})
        for name in cameras
    ]
    write(tmp_path / "studio" / "all.json", json.dumps(tasks))
    expected = [("photos/cam1/0.jpg", "cam1"), ("photos/cam2/0.jpg", "cam2")]
    for folder, form in (("cvat", "CVAT for images"), ("studio", "Label Studio")):
        done, coco = converted(tmp_path / folder, form)
        assert [row[:2] for row in boxes(coco["all"])] == expected and not done.lost


@pytest.mark.parametrize(
    ("value", "lost"),
    [
        ({"points": [[1], [2, 3], [4, 5], [6, 7]]}, "shapes without corners"),
        ({"points": [[1, 2], [3, 4]]}, "shapes without corners"),
        ({"points": [[1, 2], [3, "x"], [5, 6]]}, "shapes without corners"),
        ({"x": 1, "y": 2, "width": None, "height": 4}, "shapes without numbers"),
        ({"x": 1, "y": 2, "radiusX": "nan", "radiusY": 4}, "shapes without numbers"),
    ],
)
def test_shapes_of_label_studio_that_are_none(tmp_path, value, lost):
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")
    tasks = [task("a.jpg", {**value, "rectanglelabels": ["x"]}), task("b.jpg")]
    write(tmp_path / "e.json", json.dumps(tasks))
    done, coco = converted(tmp_path, "Label Studio")
    assert [row[0] for row in boxes(coco["all"])] == ["b.jpg"] and done.lost == {lost: 1}


def test_the_last_annotation_that_was_not_cancelled_counts(tmp_path):
    picture(tmp_path / "a.jpg")
    made = [task("a.jpg", {"x": n, "y": 0, "width": 10, "height": 10, "labels": [str(n)]})
            for n in range(3)]  # fmt: skip
    annotations = [each["annotations"][0] for each in made]
    annotations[2]["was_cancelled"] = True
    write(tmp_path / "e.json", json.dumps([{**made[0], "annotations": annotations}]))
    done, coco = converted(tmp_path, "Label Studio")
    assert [row[1] for row in boxes(coco["all"])] == ["1"]
    assert done.lost == {"earlier annotations of one picture": 1}


def labelme(path, shapes, **more):
    write(path, json.dumps({"version": "5", "imagePath": "?", "shapes": shapes, **more}))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"label": 0, "shape_type": "rectangle", "points": [[9, 8], [1, 2]]}, ("0", 1, 2, 8, 6)),
        ({"label": " ü ", "points": [[1, 2], [9, 2], [9, 8]]}, ("ü", 1, 2, 8, 6)),
        ({"label": "x\ud800", "points": [[1, 2], [9, 2], [9, 8]]}, ("x?", 1, 2, 8, 6)),
        ({"label": "m", "shape_type": "mask", "mask": "iVBO", "points": [[1, 2], [9, 8]]},
         ("m", 1, 2, 8, 6)),
        ({"label": "", "points": [[1, 2], [9, 2], [9, 8]]}, None),
        ({"label": None, "points": [[1, 2], [9, 2], [9, 8]]}, None),
        ({"label": "l", "shape_type": "line", "points": [[1, 2], [9, 2]]}, None),
        ({"label": "p", "points": [[1, 2], [9, 2]]}, None),
        ({"label": "c", "shape_type": "circle", "points": [[1, 2]]}, None),
        ({"label": "n", "points": [[1, 2], [float("nan"), 2], [3, 4]]}, None),
        ({"label": "s", "points": "1 2 3"}, None),
    ],
)  # fmt: skip
def test_shapes_of_labelme(tmp_path, shape, expected):
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")
    labelme(tmp_path / "a.json", [shape, 7, None], imageData="A" * 20_000)
    labelme(tmp_path / "b.json", [{"label": "b", "points": [[0, 0], [9, 0], [9, 9]]}])
    done, coco = converted(tmp_path, "LabelMe")
    found = [row[1:] for row in boxes(coco["all"]) if row[0] == "a.jpg"]
    assert found == ([expected] if expected else [])
    assert bool(done.lost) == (expected is None or shape.get("shape_type") == "mask")


def test_rectangles_of_a_group_are_one_box(tmp_path):
    picture(tmp_path / "a.jpg")
    rectangle = {"label": "x", "shape_type": "rectangle", "group_id": 3}
    shapes = [{**rectangle, "points": [[1, 1], [5, 5]]}, {**rectangle, "points": [[9, 9], [4, 4]]}]
    labelme(tmp_path / "a.json", [*shapes, {**shapes[0], "label": "y"}])
    _, coco = converted(tmp_path, "LabelMe")
    assert boxes(coco["all"]) == [("a.jpg", "x", 1, 1, 8, 8), ("a.jpg", "y", 1, 1, 4, 4)]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": ', '{"a": 1} x'])
def test_labelmes_files_that_are_no_json_are_counted(tmp_path, content):
    picture(tmp_path / "a.jpg")
    labelme(tmp_path / "a.json", [{"label": "b", "points": [[0, 0], [9, 0], [9, 9]]}])
    write(tmp_path / "b.json", f'{content}"shapes" "imagePath"')
    done, _ = converted(tmp_path, "LabelMe")
    assert done.lost == {"files that are no JSON in UTF-8": 1}


def test_a_file_in_another_encoding_is_counted(tmp_path):
    picture(tmp_path / "a.jpg")
    text = '{"imagePath": "a.jpg", "shapes": [{"label": "Käfer"}]}'
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"no object of a picture.*1 files that are no JSON in"):
        converted(tmp_path, "LabelMe")


def test_cvats_videos_are_not_called_broken(tmp_path):
    write(tmp_path / "a.xml", "<annotations><track id='0'></track></annotations>")
    with pytest.raises(DatasetError, match=r"a\.xml: is CVAT's form for videos"):
        converted(tmp_path, "CVAT for images")


POLYGON = {"label": "b", "points": [[0, 0], [9, 0], [9, 9]]}
MANY_CORNERS = {"label": "b", "points": [[n % 90, n // 90] for n in range(1000)]}


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("after", ["", "A" * 20_000])
def test_labelmes_keys_may_lie_between_shapes_and_a_picture(tmp_path, in_order, after):
    keys = {
        "version": "5",
        "shapes": [MANY_CORNERS],
        "imagePath": "a.jpg",
        "imageData": after,
        "imageHeight": 80,
        "imageWidth": 100,
    }
    picture(tmp_path / "a.jpg")
    write(tmp_path / "a.json", json.dumps(keys if in_order else dict(sorted(keys.items()))))
    done, coco = converted(tmp_path, "LabelMe")
    assert [row[:2] for row in boxes(coco["all"])] == [("a.jpg", "b")] and not done.lost


FORMS = [
    ("LabelMe", "json", json.dumps({"imagePath": "a.jpg", "shapes": [POLYGON]}), '{"a": 1}'),
    ("LabelMe", "json", json.dumps({"imagePath": "a.jpg", "shapes": [POLYGON]}), "[1]"),
    ("Pascal VOC", "xml", voc("a.jpg", [CAT]), "<project/>"),
    (
        "CVAT for images",
        "xml",
        "<annotations><image name='a.jpg'><box label='x' xtl='1' ytl='1' xbr='5' ybr='5'/></image>"
        "</annotations>",
        "<project/>",
    ),
    ("Label Studio", "json", json.dumps([task("a.jpg")]), "[1]"),
    ("a table of boxes (CSV)", "csv", f"{HEADER}\na.jpg,100,80,car,1,2,3,4\n", "id,name\n1,x\n"),
]


@pytest.mark.parametrize(("form", "ending", "text", "other"), FORMS)
def test_files_of_another_form_are_counted(tmp_path, form, ending, text, other):
    picture(tmp_path / "a.jpg")
    write(tmp_path / f"a.{ending}", text)
    write(tmp_path / f"b.{ending}", other)
    expected = {f"{ending.upper()} files of another form": 1}
    assert converted(tmp_path, form)[0].lost == expected
    assert converted(tmp_path, form)[0].lost == expected  # what we wrote is not counted

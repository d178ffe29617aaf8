"""Streaming of COCO files, and what is said of files that are something else."""

import codecs
import gzip
import json
import os

import pytest

from ground.errors import DatasetError
from model.coco.json_text import RepeatedKeys
from model.coco.stream import iterate_annotations, iterate_images
from model.coco.survey import survey
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset

CATEGORIES = '"categories": [{"id": 1, "name": "a"}]'
IMAGES = '"images": [{"id": 1, "file_name": "a.jpg", "height": 2, "width": 2}]'


def read_all(path):
    """Reads a file as a conversion does, and returns its annotations."""
    survey(path)
    list(iterate_images(path))
    return list(iterate_annotations(path))


def test_lists_are_streamed_from_any_order_with_exact_numbers(tmp_path):
    path = tmp_path / "a.json"
    numbers = [0.1, 2 / 3, 1e-17, 5, -3.25, 123456789.123456789]
    path.write_bytes(
        b"\xef\xbb\xbf"
        + json.dumps(
            {
                "categories": [{"id": 9, "name": "b"}, {"id": 2, "name": "a", "keypoints": [1]}],
                "annotations": [{"bbox": numbers}],
                "info": {"images": [1], "categories": 3},
                "images": [{"id": 1}, {"id": 2}],
            }
        ).encode()
    )
    assert survey(path).categories == [
        {"id": 2, "name": "a", "label": 1},
        {"id": 9, "name": "b", "label": 2},
    ]
    assert list(iterate_images(path)) == [{"id": 1}, {"id": 2}]
    (found,) = iterate_annotations(path)
    assert found["bbox"] == numbers
    assert [type(n) for n in found["bbox"]] == [float, float, float, int, float, float]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_that_tools_write_are_read(tmp_path, encoding):
    path = tmp_path / "a.json"
    text = '{"images": [{"id": 1, "file_name": "é\u20ac\U0001f600.jpg"}], "annotations": []}'
    path.write_text(text, encoding=encoding)
    assert list(iterate_images(path)) == [{"id": 1, "file_name": "é\u20ac\U0001f600.jpg"}]


def test_entries_over_the_borders_of_blocks_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("model.coco.json_text._CHUNK_BYTES", 7)
    monkeypatch.setattr("model.coco.json_text._MARGIN", 3)
    path = tmp_path / "a.json"
    entries = [{"bbox": [1.5, -2e-3, n, 12345678], "é": "\u20ac" * n, "n": None} for n in range(40)]
    path.write_text(
        json.dumps({"annotations": entries, "x": -12.5e3}, ensure_ascii=False, indent=1)
    )
    assert list(iterate_annotations(path)) == entries


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_cut_off_file_is_an_error_wherever_it_is_cut(tmp_path, share):
    images = [image(n) for n in range(20)]
    annotations = [annotation(n, n % 20) for n in range(50)]
    folder = write_dataset(tmp_path / "set", images, annotations, pictures={})
    path = folder / "instances.json"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match="cut off or not JSON") as error:
        read_all(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [{}], "annotations": [], "categories": []}', r"`categories` is empty"),
        ('{"images": [{"id": 1}], "annotations": []}', r"has no `categories` \(found `images`"),
        ('{"annotations": [], "categories": [{"id": 1, "name": "a"}]}', "has no `images`"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "is empty"),
        ('{"images": {}, "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "no list"),
        ("[]", "no COCO JSON file"),
        ("7", "no COCO JSON file"),
        ("{}", r"no COCO JSON file"),
        (f"{{{IMAGES}, {CATEGORIES}}}", "list of pictures alone"),
        (f'{{{IMAGES}, "annotations": [], "categories": [{{"id": "x", "name": "a"}}]}}', "integer"),
        (f'{{{IMAGES}, "annotations": [], "categories": [{{"id": 1}}]}}', "no integer `id` and"),
        (f'{{{IMAGES}, "annotations": [], "categories": [[1]]}}', "no integer `id` and"),
        (
            f'{{{IMAGES}, "annotations": [], '
            '"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
            "'a' and 'b' both have the id 1",
        ),
        ("", "the file is empty"),
        (f"{{{IMAGES}, {IMAGES}, {CATEGORIES}}}", "has `images` twice"),
        (f'{{{IMAGES}, "annotations": [], {CATEGORIES}}} []', "end; JSON Lines, or two files"),
        (f'{{{IMAGES}, "annotations": [1 2], {CATEGORIES}}}', "not JSON at character 89 "),
        (f'{{{IMAGES}, "annotations": [{{"a": tru}}]}}', "not JSON"),
        ("\x89PNG", "cut off or not JSON|no text"),
        ("<annotation><size/></annotation>", "XML"),
        ("0 0.5 0.5 0.1 0.2\n1 0.5 0.5 0.1 0.2\n", "more follows behind its end"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [], "score": 1}]', "--detections"),
        ('[{"image_id": 1, "category_id": 1, "bbox": []}]', "annotations alone"),
        ('{"images": [{}, ], "annotations": []}', "a comma too many in front of it"),
        ('{"description": "", "size": {}, "objects": []}', "Supervisely"),
        ('[{"ID": "x", "Labeled Data": "http://x/1.jpg"}]', "Labelbox"),
        ("version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
        ("\x80\x04\x95abc", "is a pickle"),
        ('{"version": "5", "shapes": [], "imagePath": "a.jpg"}', "labelme"),
        (
            f'{{{IMAGES}, "annotations": [{{"image_id": 1, "segments_info": []}}], {CATEGORIES}}}',
            "panoptic",
        ),
        (
            f'{{{IMAGES}, "annotations": [{{"image_id": 1, "caption": "a cat"}}], {CATEGORIES}}}',
            "captions",
        ),
        (
            f'{{{IMAGES}, "annotations": [{{"image_id": 1, "keypoints": [1]}}], {CATEGORIES}}}',
            "keypoints without boxes",
        ),
        ('{"info": ' + "[" * 100_000 + "]" * 100_000 + "}", "lists in lists without end"),
        ('{"images": [' + "[" * 100_000, "lists in lists without end"),
    ],
)
def test_file_that_is_something_else_is_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(DatasetError, match=message) as error:
        read_all(path)
    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value)) < len(str(path)) + 300


def test_file_without_annotations_is_refused_but_an_empty_list_is_fine(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"images": [{"id": 1}], "categories": []}')
    with pytest.raises(DatasetError, match="has no `annotations`"):
        list(iterate_annotations(path))
    path.write_text('{"images": [{"id": 1}], "annotations": [], "categories": []}')
    assert list(iterate_annotations(path)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"{}", mtime=0), "is a gzip file: unpack it"),
        (b"PK\x03\x04abc", "is a zip file"),
        (b'{"images": ["\xff\xfe"]}', "the bytes from 13 on are no text"),
        (codecs.BOM_UTF8, "the file is empty"),
        (b"\0" * 100, "not JSON|no text"),
    ],
)
def test_bytes_that_are_no_text_are_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        survey(path)


def test_missing_file_folder_and_pipe_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r"a\.json: no such file"):
        survey(tmp_path / "a.json")
    with pytest.raises(DatasetError, match="is no file"):
        survey(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatasetError, match="is no file"):
        survey(tmp_path / "pipe")


def test_odd_values_of_entries_are_left_to_the_checks_of_records(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(
        '{"annotations": [{"area": NaN, "bbox": [1e999, -Infinity]}, {"id": '
        + "9" * 5000
        + '}, {"id": 1, "id": 2}, {"bbox": '
        + "[" * 200
        + "]" * 200
        + '}, {"segmentation": ['
        + ",".join(["[1, 2]"] * 50)
        + "]}]}"
    )
    odd, long, twice, deep, pairs = iterate_annotations(path)
    assert str(odd) == "{'area': nan, 'bbox': [inf, -inf]}"
    assert long == {"id": float("inf")}
    assert isinstance(twice, RepeatedKeys)
    assert isinstance(deep, str)
    assert pairs == {"segmentation": [[1, 2]] * 50}


def test_an_entry_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("model.coco.json_text.LARGEST_VALUE", 1 << 16)
    monkeypatch.setattr("model.coco.json_text._CHUNK_BYTES", 1 << 12)
    path = tmp_path / "a.json"
    path.write_text('{"annotations": [{"a": "' + "x" * (1 << 18) + '"}]}')
    with pytest.raises(DatasetError, match="a value of more than"):
        list(iterate_annotations(path))


def test_survey_counts_what_is_there(tmp_path):
    path = tmp_path / "a.json"
    annotations = [
        {"category_id": 1, "bbox": []},
        {"category_id": "1", "iscrowd": 1},
        {"category_id": "x"},
        7,
    ]
    content = {
        "images": [{}, {}],
        "annotations": annotations,
        "categories": [{"id": "1", "name": "a"}],
    }
    path.write_text(json.dumps(content))
    found = survey(path)
    assert (found.pictures, found.objects, found.crowds) == (2, {1: 2, None: 2}, 1)
    assert found.text_ids == 1
    assert found.annotations == annotations

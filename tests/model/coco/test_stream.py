"""Streaming of COCO files."""

import json

import pytest

from configs.errors import DatasetError
from model.coco.stream import iterate_annotations, iterate_images, read_categories
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset


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
    assert read_categories(path) == [
        {"id": 2, "name": "a", "label": 1},
        {"id": 9, "name": "b", "label": 2},
    ]
    assert list(iterate_images(path)) == [{"id": 1}, {"id": 2}]
    (found,) = iterate_annotations(path)
    assert found["bbox"] == numbers
    assert [type(n) for n in found["bbox"]] == [float, float, float, int, float, float]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_cut_off_file_is_an_error_wherever_it_is_cut(tmp_path, share):
    images = [image(n) for n in range(20)]
    annotations = [annotation(n, n % 20) for n in range(50)]
    folder = write_dataset(tmp_path / "set", images, annotations, pictures={})
    path = folder / "instances.json"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match="cut off or not JSON") as error:
        read_categories(path)
        list(iterate_images(path))
        list(iterate_annotations(path))
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
        ("{}", r"has no `images` \(found nothing\)"),
        ('{"categories": [{"id": "1", "name": "a"}]}', "no integer `id` and `name`"),
        ('{"categories": [{"id": 1}]}', "no integer `id` and `name`"),
        (
            '{"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
            "'a' and 'b' both have the id 1",
        ),
        ("", "cut off or not JSON"),
        ('{"images": [NaN]}', "cut off or not JSON"),
        ("\x89PNG", "cut off or not JSON"),
    ],
)
def test_file_that_is_something_else_is_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(DatasetError, match=message):
        read_categories(path)
        list(iterate_images(path))
        list(iterate_annotations(path))


def test_file_without_annotations_is_refused_but_an_empty_list_is_fine(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"images": [{"id": 1}], "categories": []}')
    with pytest.raises(DatasetError, match="has no `annotations`"):
        list(iterate_annotations(path))
    path.write_text('{"images": [{"id": 1}], "annotations": [], "categories": []}')
    assert list(iterate_annotations(path)) == []


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"a\.json: No such file"):
        read_categories(tmp_path / "a.json")

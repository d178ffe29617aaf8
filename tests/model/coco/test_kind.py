"""Whether a file is a COCO instances file, by the keys at its top."""

import pytest

from model.coco.kind import is_instances


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"categories": [], "annotations": [], "images": []}', True),
        ('{"images": [{"id": 1}], "annotations": [{"id": 1}, {"id"', True),  # the cut is said later
        ('{"images": [{"id": 1}, {"id"', False),
        ('{"images": [{"annotations": 1}], "categories": []}', False),
        ('[{"images": [], "annotations": []}]', False),
        ("", False),
        (None, False),
    ],
)
def test_images_and_annotations_at_the_top_make_one(tmp_path, text, expected):
    path = tmp_path / "l.json"
    if text is not None:
        path.write_text(text)
    assert is_instances(path) is expected

import base64
import json

import numpy as np
import pytest

from model.serving.errors import RequestError
from model.serving.rest import Input, answer, read_request, request_of, tensor_of

FILES = Input("image_bytes", np.dtype(object), (None,))
PIXELS = Input("images", np.dtype(np.uint8), (None, None, None, 3))
CODED = {"b64": base64.b64encode(b"\xff\x00a").decode()}


def tensor(content, wanted=FILES, most=8):
    return tensor_of(request_of(content), wanted, most)


@pytest.mark.parametrize(
    "content",
    [
        {"instances": [CODED]},
        {"instances": [{"image_bytes": CODED}]},
        {"inputs": [CODED]},
        {"inputs": {"image_bytes": [CODED]}},
        {"instances": [{"b64": CODED["b64"].rstrip("=")}], "signature_name": "serving_default"},
    ],
)
def test_bytes_come_in_each_of_the_forms(content):
    assert tensor(content).tolist() == [b"\xff\x00a"]


def test_pixels_come_as_nested_lists():
    values = np.arange(24).reshape(1, 2, 4, 3)
    array = tensor({"instances": values.tolist(), "signature_name": "decoded"}, PIXELS)
    np.testing.assert_array_equal(array, values)
    assert array.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected one of instances and inputs"),
        ({"instances": [], "inputs": []}, "not both"),
        ({"instances": {}}, "instances is an object: expected a list"),
        ({"instances": None}, "instances is null"),
        ({"inputs": 3}, "image_bytes is a number: expected a list"),
        ({"instances": [], "more": 1}, "unknown key 'more'"),
        ({"instances": [], "signature_name": 3}, "signature_name is a number"),
        ({"instances": [3]}, "picture 0 is a number"),
        ({"instances": [CODED, {"b64": 3}]}, "picture 1 is an object"),
        ({"instances": [{"b64": "?"}]}, "picture 0: not base64"),
        ({"instances": [{"b64": "é"}]}, "picture 0: not base64"),
        ({"instances": [{"image": CODED}]}, "the input 'image_bytes' alone"),
        ({"instances": [{"image_bytes": CODED}, 3]}, "alone, got a number"),
        ({"instances": [CODED] * 9}, "9 pictures in one request exceed the limit 8"),
    ],
)
def test_wrong_rows_are_named(content, message):
    with pytest.raises(RequestError, match=r".") as error:
        tensor(content)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[[[0, 256, 0]]]], "from 0 to 255"),
        ([[[[0, -1, 0]]]], "from 0 to 255"),
        ([[[[0.5, 0, 0]]]], "whole numbers"),
        ([[[["a", "b", "c"]]]], "whole numbers"),
        ([[[[True, False, True]]]], "whole numbers"),
        ([[[[10**30, 0, 0]]]], "whole numbers"),
        ([[[0, 0, 0]]], r"has the shape \[1, 1, 3\]: expected \[any, any, any, 3\]"),
        ([[[[0]]]], r"has the shape \[1, 1, 1, 1\]: expected"),  # or it would pass for grey
        ([[[[0, 0, 0, 0]]]], r"has the shape \[1, 1, 1, 4\]: expected"),
        ([[[[0, 0, 0]], [[0]]]], "equal length"),
        ([[[[None, 0, 0]]]], "whole numbers"),
    ],
)
def test_wrong_pixels_are_named(values, message):
    with pytest.raises(RequestError, match=message):
        tensor({"inputs": values}, PIXELS)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff\xfe", b"3", b'{"a":' * 5000, b"1" * 5000, b'"\\ud800"']
)
def test_what_is_no_object_is_one_line(body):
    with pytest.raises(RequestError) as error:
        read_request(body)
    assert "\n" not in str(error.value)


def test_answers_have_the_form_of_the_request():
    outputs = {"n": np.array([1, 2], np.float32), "b": np.zeros([2, 1, 4], np.float32)}
    assert json.loads(answer(outputs, is_rows=True))["predictions"] == [
        {"b": [[0.0] * 4], "n": 1.0},
        {"b": [[0.0] * 4], "n": 2.0},
    ]
    assert json.loads(answer(outputs, is_rows=False))["outputs"]["n"] == [1.0, 2.0]
    assert json.loads(answer({"n": np.zeros([0])}, is_rows=True)) == {"predictions": []}

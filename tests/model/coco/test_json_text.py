"""Tests of model/coco/json_text.py: its quick reader finds what Python's decoder does."""

import json
import tempfile
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.coco import json_text
from model.coco.json_text import DEEPEST_VALUE, JsonText, RepeatedKeys, is_deep
from tests.components.coco_example_gen.small_dataset import annotation

_NUMBERS = (
    st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**18])
).map(json.dumps)
_WORDS = st.sampled_from(["NaN", "-Infinity", "1e999", "-0", "true", "null", "1E5", "12345678901"])
_TEXTS = st.text(max_size=8).map(json.dumps) | st.sampled_from(
    ['"http://a:80/b"', r'"\u003a"', r'"\ud800"', '"}{"', '"a\tb"', r'"\"}"', '"\u00e4:\u4e2d"']
)
_KEYS = st.sampled_from(['"a"', '"b"', '"a:b"', r'"\u0061"', '"bbox"', '"}"', '""'])


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    comma = st.sampled_from([",", ", ", "\n ,\t"])
    colon = st.sampled_from([":", ": ", " : "])
    members = st.lists(st.tuples(_KEYS, colon, inner).map("".join), max_size=4)
    lists = st.tuples(comma, st.lists(inner, max_size=4)).map(lambda x: f"[{x[0].join(x[1])}]")
    return lists | st.tuples(comma, members).map(lambda x: "{" + x[0].join(x[1]) + " }")


_VALUES = st.recursive(_NUMBERS | _WORDS | _TEXTS, _containers, max_leaves=12)


def _read(text: str) -> list[Any]:
    with tempfile.TemporaryFile() as stream:
        stream.write(text.encode())
        stream.seek(0)
        return list(JsonText("a.json", stream).list_values())


def _kinds(value: Any) -> Any:
    """Returns a value with the type of each part of it, so that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return type(value), [(key, _kinds(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return list, [_kinds(inner) for inner in value]
    return type(value), repr(value)


@given(st.lists(_VALUES, min_size=1, max_size=4))
@example(['{"a": 1, "a": 2}'])
@example([r'{"a": 1, "\u0061": 2}'])
@example([r'{"a": "\u003a", "b": 1, "b": 2}'])
@example(['{"a": {"b": 1, "b": 2}}'])
@example(['{"a": [{"b": 1, "b": 2}]}'])
@example(['{"a": {"b": {"b": 1}}}'])
@example(['{"a": 18446744073709551616}'])
@example(['{"a": ' + "[" * (DEEPEST_VALUE - 2) + "]" * (DEEPEST_VALUE - 2) + "}"])
@example(['{"a": ' + "[" * DEEPEST_VALUE + "]" * DEEPEST_VALUE + "}"])
def test_values_are_read_as_python_s_decoder_reads_them(values):
    text = f"[{', '.join(values)}]"
    found = _read(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_quick_object", lambda text, start: None)
        expected = _read(text)
    assert [_kinds(value) for value in found] == [_kinds(value) for value in expected]


def test_plain_objects_are_not_left_to_python_s_decoder(monkeypatch):
    rle = {"size": [8, 8], "counts": [4, 60]}
    plain = [
        annotation(1, 1),
        annotation(2, 1, segmentation=rle, iscrowd=1),
        {"id": 3, "file_name": "3.jpg", "coco_url": "http://images/3.jpg"},
        {"id": 4, "file_name": "\u4e2d.jpg"},
    ]
    texts = [json.dumps(plain), json.dumps(plain, indent=1, ensure_ascii=False)]
    monkeypatch.setattr(json_text, "_decode", None)
    assert [_read(text) for text in texts] == [plain, plain]


def test_what_the_quick_reader_cannot_tell_is_left_to_python_s_decoder():
    twice, deep = _read('[{"a": 1, "a": 2}, {"a": ' + "[" * 40 + "]" * 40 + "}]")
    assert isinstance(twice, RepeatedKeys)
    assert deep.startswith("a value of more than")
    assert not is_deep(twice)

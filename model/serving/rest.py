"""TensorFlow Serving's REST messages: JSON to tensors and back.

As `tensorflow_serving/g3doc/api_rest.md` describes them: `instances` (rows) give `predictions`,
`inputs` (columns) give `outputs`; bytes are `{"b64": ...}`. TensorFlow is not needed here.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from model.serving.errors import RequestError

_ROWS, _COLUMNS, _SIGNATURE = "instances", "inputs", "signature_name"
DEFAULT_SIGNATURE = "serving_default"
_BYTES_KEY = "b64"
_LONGEST_SHOWN = 80


class Input(NamedTuple):
    """A signature's only input.

    Attributes:
        name: by which requests may call it.
        dtype: NumPy's; object for strings of bytes.
        shape: length of each axis; None is any.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...]


class Request(NamedTuple):
    """A request to predict.

    Attributes:
        signature: name of the signature.
        values: the JSON value of the input.
        is_rows: it came as rows, and so the answer goes.
    """

    signature: str
    values: Any
    is_rows: bool


def read_request(body: bytes) -> dict[str, Any]:
    """Returns a request's JSON object.

    Raises:
        RequestError: it is none.
    """
    try:
        content = json.loads(body)
    except RecursionError:
        raise RequestError("the body's JSON is nested too deeply") from None
    except ValueError as error:  # also of text that is no UTF-8
        raise RequestError(f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(f"the body is {_kind(content)}: expected a JSON object")
    return content


def request_of(content: Mapping[str, Any]) -> Request:
    """Returns what a request asks for.

    Raises:
        RequestError: it has not just one of `instances` and `inputs`, or an unknown key.
    """
    if unknown := sorted(set(content) - {_ROWS, _COLUMNS, _SIGNATURE}):
        raise RequestError(
            f"unknown key {_shown(unknown[0])}: expected {_ROWS} or {_COLUMNS}, and {_SIGNATURE}"
        )
    if (_ROWS in content) == (_COLUMNS in content):
        raise RequestError(f"expected one of {_ROWS} and {_COLUMNS}, not both")
    signature = content.get(_SIGNATURE, DEFAULT_SIGNATURE)
    if not isinstance(signature, str):
        raise RequestError(f"{_SIGNATURE} is {_kind(signature)}: expected a string")
    is_rows = _ROWS in content
    values = content[_ROWS if is_rows else _COLUMNS]
    if is_rows and not isinstance(values, list):
        raise RequestError(f"{_ROWS} is {_kind(values)}: expected a list")
    return Request(signature or DEFAULT_SIGNATURE, values, is_rows)


def tensor_of(request: Request, wanted: Input, most_rows: int) -> np.ndarray:
    """Returns the input's values as an array; bytes as objects.

    Args:
        request: the request.
        wanted: the signature's input.
        most_rows: limit of the first axis.

    Raises:
        RequestError: the values are not what the input takes.
    """
    values = _without_name(request, wanted.name)
    if not isinstance(values, list):
        raise RequestError(f"{wanted.name} is {_kind(values)}: expected a list")
    if len(values) > most_rows:
        raise RequestError(
            f"{len(values)} pictures in one request exceed the limit {most_rows}", 413
        )
    if wanted.dtype == np.dtype(object):
        return _bytes_array(values)
    return _number_array(values, wanted)


def _without_name(request: Request, name: str) -> Any:
    """Returns the values without the input's name, which may stand around each row or all."""
    if not request.is_rows:
        return _named_value(request.values, name) if _is_named(request.values) else request.values
    if any(_is_named(row) for row in request.values):
        return [_named_value(row, name) for row in request.values]
    return request.values


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {_BYTES_KEY}


def _named_value(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or set(value) != {name}:
        got = f"the keys {_shown(sorted(value))}" if isinstance(value, dict) else _kind(value)
        raise RequestError(f"expected an object with the input {name!r} alone, got {got}")
    return value[name]


def _bytes_array(values: list[Any]) -> np.ndarray:
    array = np.empty([len(values)], object)
    for n, value in enumerate(values):
        if isinstance(value, str):
            array[n] = value.encode("utf-8", "surrogatepass")
        elif isinstance(value, dict) and isinstance(value.get(_BYTES_KEY), str) and len(value) == 1:
            try:
                array[n] = base64.b64decode(_padded(value[_BYTES_KEY]), validate=True)
            except (binascii.Error, ValueError) as error:
                raise RequestError(f"picture {n}: not base64 ({error})") from None
        else:
            raise RequestError(
                f'picture {n} is {_kind(value)}: expected {{"{_BYTES_KEY}": "..."}}, base64'
            )
    return array


def _padded(text: str) -> str:
    """Returns base64 without the line ends and with the padding that TensorFlow Serving lets be."""
    text = "".join(text.split())
    return text + "=" * (-len(text) % 4)


def _number_array(values: list[Any], wanted: Input) -> np.ndarray:
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        raise RequestError(f"{wanted.name}: its lists are not of equal length") from None
    if array.ndim != len(wanted.shape) or any(
        side not in (None, length) for length, side in zip(array.shape, wanted.shape, strict=True)
    ):
        sides = ", ".join("any" if side is None else str(side) for side in wanted.shape)
        raise RequestError(
            f"{wanted.name} has the shape {_shown(list(array.shape))}: expected [{sides}]"
        )
    if array.size and array.dtype.kind not in "iu":
        raise RequestError(f"{wanted.name}: expected whole numbers of {wanted.dtype}")
    limits = np.iinfo(wanted.dtype)
    if array.size and not (array.min() >= limits.min and array.max() <= limits.max):
        raise RequestError(f"{wanted.name}: expected numbers from {limits.min} to {limits.max}")
    return array.astype(wanted.dtype)


def answer(outputs: Mapping[str, np.ndarray], is_rows: bool) -> bytes:
    """Returns the JSON of what a model gives.

    Args:
        outputs: [N, ...] by name.
        is_rows: an object a picture; else one object of whole tensors.
    """
    lists = {name: values.tolist() for name, values in sorted(outputs.items())}
    if not is_rows:
        return json.dumps({"outputs": lists}).encode()
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return json.dumps({"predictions": rows}).encode()


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."

"""Single values of a COCO file: what is plainly meant by them, and how a message shows them."""

import json
import math
import re
import reprlib
from typing import Any

_INT64_LIMIT = 2**63
_INTEGER_TEXT = re.compile(r"\s*[+-]?[0-9]{1,19}(\.0*)?\s*", re.ASCII)
_NUMBER_TEXT = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)
_LONGEST_NUMBER_TEXT = 40

_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxlist = _SHORT.maxdict = 6
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_LONGEST_SHOWN = 60


def integer(value: Any) -> int | None:
    """Returns an integer of 64 bits; None where `value` is none. 3.0 counts as 3, True does not.

    >>> integer(3.0), integer("3"), integer(True), integer(2**63)
    (3, None, None, None)
    """
    if type(value) is int and -_INT64_LIMIT <= value < _INT64_LIMIT:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -_INT64_LIMIT <= value < _INT64_LIMIT else None


def meant_integer(value: Any) -> int | None:
    """Returns the integer that a value, or a text, plainly means; None where it means none.

    >>> meant_integer("3"), meant_integer(" 007.0"), meant_integer("3.5"), meant_integer(None)
    (3, 7, None, None)
    """
    if isinstance(value, str):
        if len(value) > _LONGEST_NUMBER_TEXT or not _INTEGER_TEXT.fullmatch(value):
            return None
        value = int(value.partition(".")[0])
    return integer(value)


def integer_at(entry: Any, key: str) -> int | None:
    """Returns the integer that an entry means under a key; None where it has none."""
    if not isinstance(entry, dict):
        return None
    value = entry.get(key)
    if type(value) is int and -_INT64_LIMIT <= value < _INT64_LIMIT:  # nearly always, and quick
        return value
    return meant_integer(value)


def meant_number(value: Any) -> float | None:
    """Returns the finite number that a value, or a text, plainly means; None where it means none.

    >>> meant_number(3), meant_number("2.5"), meant_number("nan"), meant_number(True)
    (3.0, 2.5, None, None)
    """
    if isinstance(value, str):
        if len(value) > _LONGEST_NUMBER_TEXT or not _NUMBER_TEXT.fullmatch(value):
            return None
        value = float(value)
    if type(value) not in (int, float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def value_in_text(text: str) -> Any:
    """Returns what a text holds: a list or an object in JSON, or numbers with commas or blanks.

    Tables (CSV) hold boxes and masks so. None where it is neither.

    >>> value_in_text("[1, 2.5]"), value_in_text("1, 2 3"), value_in_text("cat")
    ([1, 2.5], [1.0, 2.0, 3.0], None)
    """
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None
    numbers = [meant_number(word) for word in text.replace(",", " ").split()]
    return numbers if numbers and None not in numbers else None


def is_text(name: str) -> bool:
    """Returns whether a name can be written as UTF-8: JSON can hold halves of characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shortened(value: Any) -> str:
    """Returns a value for a message, shortened; quick for large and deep ones too."""
    text = _SHORT.repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."

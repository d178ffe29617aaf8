"""Reads JSON text value by value, of which a window is in memory, with limits on what a value is.

A value's size and depth are limited, numbers of any length and the words NaN and Infinity are
taken (the records' checks speak of them), and an object in which a key stands twice is marked.
"""

import codecs
import json
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from ground.errors import DatasetError
from ground.files import naming
from ground.progress import Progress, say_or_log

LARGEST_VALUE = 64 << 20  # characters
DEEPEST_VALUE = 32  # levels of lists and objects in each other
_CHUNK_BYTES = 1 << 20
_VALUE_MISSING = "Expecting value"  # as Python's decoder says it
# A value that ends this close to the window's end may go on behind it.
_MARGIN = 64
_LONGEST_INTEGER = 400
# The quick reader takes an object of so many characters at most, with another one in it.
_LONGEST_QUICK = 1 << 16
_QUICK_OBJECTS = 2
# It makes floating-point numbers of integers of more than 64 bits; those have as many digits.
_LONG_NUMBER = b"0" * 19
_ZEROS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else byte for byte in range(256))
_BLANK = " \t\r\n"
_BLANKS = re.compile(f"[{_BLANK}]*")
_BEFORE_OBJECT = re.compile(f"[{_BLANK}]*,[{_BLANK}]*(?={{)")
_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself (git lfs pull)",
    b"\x80\x03": "a pickle: write its content as JSON",
    b"\x80\x04": "a pickle: write its content as JSON",
    b"\x80\x05": "a pickle: write its content as JSON",
}
_PACKED = {b"\x1f\x8b": "gzip", b"PK": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


class RepeatedKeys(dict[str, Any]):
    """An object of the file in which a key stands twice: which of its values holds is not said."""


class JsonText:
    """The text of one JSON file, read from its start to its end.

    Args:
        path: the file, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
        stream: the open file.

    Raises:
        DatasetError: the file is packed, or plainly of another form.
    """

    def __init__(self, path: str | os.PathLike[str], stream: BinaryIO):
        self._path = path
        self._stream = stream
        start = stream.read(32)
        for magic, form in _PACKED.items():
            if start.startswith(magic):
                raise DatasetError(f"{path}: is a {form} file: unpack it and give the JSON in it")
        for magic, form in _OTHERS.items():
            if start.startswith(magic):
                raise DatasetError(f"{path}: is {form}")
        stream.seek(0)
        encoding = json.detect_encoding(start[:8])
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._window = ""
        self._position = 0
        self._characters_before = 0
        self._bytes_read = 0
        self._is_at_end = False
        total = os.fstat(stream.fileno()).st_size >> 20
        name = os.path.basename(path)
        self._progress = Progress(f"reading {name}", total, say_or_log, "megabyte", says_end=False)

    def next_character(self) -> str:
        """Returns the next character that is no blank, and stays before it; "" at the end."""
        while True:
            character = self._window[self._position : self._position + 1]
            if character and character not in _BLANK:
                return character
            end = _BLANKS.match(self._window, self._position).end()  # type: ignore[union-attr]
            self._position = end
            if end == len(self._window) and not self._read_on():
                return ""

    def take(self, expected: str) -> str:
        """Returns the next character that is no blank, one of `expected`, and goes behind it.

        Raises:
            DatasetError: it is another one, or the file ends.
        """
        found = self.next_character()
        if not found or found not in expected:
            raise self._no_json(" or ".join(f"`{c}`" for c in expected) + " is missing")
        self._position += 1
        return found

    def value(self) -> Any:
        """Returns the next value and goes behind it.

        Raises:
            DatasetError: it is no JSON, cut off, too large or too deep.
        """
        first = self.next_character()
        if not first:
            raise self._no_json("a value is missing")
        if first == "{" and (quick := _quick_object(self._window, self._position)):
            value, self._position = quick
            return value
        while True:
            problem, end = "", len(self._window)
            try:
                value, end = _decode(self._window, self._position)
            except json.JSONDecodeError as error:
                problem = error.msg
                if error.pos + _MARGIN < end and not problem.startswith("Unterminated"):
                    raise self._no_json(problem, error.pos) from None
            except RecursionError:
                raise self._no_json("lists in lists without end") from None
            if not problem and end + _MARGIN < len(self._window):
                break
            if len(self._window) - self._position > LARGEST_VALUE:
                raise self._no_json(f"a value of more than {LARGEST_VALUE >> 20} MB")
            if not self._read_on():
                if problem:
                    raise self._no_json(problem)
                break
        start, self._position = self._position, end
        if _may_be_deep(self._window, start, end) and is_deep(value):
            return (
                f"a value of more than {DEEPEST_VALUE} levels: {self._window[start : start + 40]}"
            )
        return value

    def list_values(self) -> Iterator[Any]:
        """Yields the values of a list, before whose bracket the text stands.

        Raises:
            DatasetError: what `value` raises, or the list is malformed.
        """
        self.take("[")
        if self.next_character() == "]":
            self._position += 1
            return
        while True:
            yield self.value()
            while (found := _BEFORE_OBJECT.match(self._window, self._position)) and (
                quick := _quick_object(self._window, found.end())
            ):
                value, self._position = quick
                yield value
            if self.take(",]") == "]":
                return

    def object_keys(self) -> Iterator[str]:
        """Yields the keys of an object; the caller reads each key's value before the next.

        Raises:
            DatasetError: what `value` raises, or the object is malformed.
        """
        self.take("{")
        if self.next_character() == "}":
            self._position += 1
            return
        while True:
            if self.next_character() != '"':
                raise self._no_json("a key is missing")
            key = self.value()
            self.take(":")
            yield key
            if self.take(",}") == "}":
                return

    def end(self) -> None:
        """Checks that nothing follows.

        Raises:
            DatasetError: something does.
        """
        if self.next_character():
            raise self._no_json("more follows behind its end; JSON Lines, or two files in one?")

    def _read_on(self) -> bool:
        """Widens the window by as much again as it holds; returns whether there was more."""
        if self._is_at_end:
            return False
        kept = self._window[self._position :]
        with naming(self._path):
            block = self._stream.read(max(_CHUNK_BYTES, len(kept)))
        self._is_at_end = not block
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            place = self._bytes_read + error.start
            raise DatasetError(
                f"{self._path}: the bytes from {place:,} on are no text "
                f"({error.encoding}: {error.reason}): save it as UTF-8, or copy it anew"
            ) from None
        self._bytes_read += len(block)
        self._progress.reach(self._bytes_read >> 20)
        self._characters_before += self._position
        self._window, self._position = kept + text, 0
        return True

    def _no_json(self, problem: str, position: int | None = None) -> DatasetError:
        place = self._characters_before + (self._position if position is None else position)
        if not (place or self._window):
            return DatasetError(f"{self._path}: cut off or not JSON: the file is empty")
        if not place and self._window[self._position] == "<":
            return DatasetError(
                f"{self._path}: not JSON but XML (Pascal VOC? CVAT?): export it as COCO instances"
            )
        before = self._window[: self._position if position is None else position].rstrip()
        if before.endswith(",") and problem == _VALUE_MISSING:
            problem = "a comma too many in front of it, or a value is missing"
        return DatasetError(
            f"{self._path}: cut off or not JSON at character {place:,} ({problem}): "
            "copy or write it anew"
        )


def open_json(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a JSON file.

    Raises:
        DatasetError: it is missing, cannot be read, or is no regular file (a pipe would wait).
    """
    try:
        is_regular = stat.S_ISREG(os.stat(path).st_mode)
        if is_regular:
            return open(path, "rb")
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except ValueError:  # a NUL in the path
        raise DatasetError(f"{str(path)!r}: no such file") from None
    raise DatasetError(f"{path}: is no file: expected a JSON file")


def is_deep(value: Any) -> bool:
    """Returns whether lists and objects lie in each other more than `DEEPEST_VALUE` levels deep."""
    layer = [value]
    for _ in range(DEEPEST_VALUE + 1):
        layer = [
            child
            for container in layer
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, list | dict)
        ]
        if not layer:
            return False
    return True


def _quick_object(text: str, start: int) -> tuple[dict[str, Any], int] | None:
    """Returns the small, plain object that begins at a place, and where it ends; None if unsure.

    Takes half the time of Python's decoder, which is to read what is left to it. What reads as a
    whole object is all of it: none is the beginning of another.
    """
    end = start
    for _ in range(_QUICK_OBJECTS):
        end = text.find("}", end, start + _LONGEST_QUICK) + 1
        if not end:
            return None
        part = text[start:end].encode()
        try:
            value = orjson.loads(part)
        except orjson.JSONDecodeError:  # cut off behind an object in it, or not plain
            continue
        is_exact = (
            _has_each_key_once(value, part)
            and _LONG_NUMBER not in part.translate(_ZEROS)
            and part.count(b"[") + _QUICK_OBJECTS <= DEEPEST_VALUE
        )
        return (value, end) if is_exact else None
    return None


def _has_each_key_once(value: dict[str, Any], text: bytes) -> bool:
    """Returns whether no key stands twice in the text of an object; False if unsure.

    Each key has its colon, so that a second one of the same name shows as a colon too many. What
    lies deeper than an object in this one is not counted, and leaves too many as well.
    """
    texts = 0
    keys = len(value)
    for inner in value.values():
        if type(inner) is dict:
            keys += len(inner)
        elif type(inner) is str:
            texts += inner.count(":")
    return text.count(b":") == keys + texts and (not texts or b"\\" not in text)


def _decode(text: str, position: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python turns into one
        return _LONG_INTEGERS_DECODER.raw_decode(text, position)


def _marked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    return result if len(result) == len(pairs) else RepeatedKeys(result)


def _long_integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONGEST_INTEGER else float(digits)


def _may_be_deep(text: str, start: int, end: int) -> bool:
    """Returns whether a value has brackets enough to be deep; counting them is quick."""
    return text.count("[", start, end) + text.count("{", start, end) > DEEPEST_VALUE


_DECODER = json.JSONDecoder(object_pairs_hook=_marked_object, strict=False)
_LONG_INTEGERS_DECODER = json.JSONDecoder(
    object_pairs_hook=_marked_object, parse_int=_long_integer, strict=False
)

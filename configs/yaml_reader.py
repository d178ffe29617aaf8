"""Reads YAML without its traps: numbers and words mean what they look like, or are text.

Of YAML 1.2's core schema, not of 1.1 as PyYAML's own loaders: `010`, `1:30`, `0x4`, `1_000`, `yes`,
`off` and `2020-01-01` are text, `1e-4` is a number. A key given twice, several documents, tags and
what grows beyond all measure (nesting, aliases, digits, bytes) are refused with their line.
"""

import codecs
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from ground.errors import ConfigError

LARGEST_CONFIG_BYTES = 1 << 18
_MOST_NODES = 20_000  # aliases counted with all that they stand for
_DEEPEST = 40
_LETTERS_A_NODE = 64
_MOST_DIGITS = 18  # what any integer type of 64 bits holds
_LONGEST_FLOAT = 40

_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MERGE = "<<"


def read_yaml_file(path: str | os.PathLike[str]) -> Any:
    """Returns the value of a YAML file; None where it holds nothing.

    Raises:
        ConfigError: it is missing, no regular file, too large, no text, not YAML, or holds what
            this module refuses; with file and line.
    """
    text = read_text_file(path, LARGEST_CONFIG_BYTES, "config file")
    documents = read_documents(text, os.fspath(path))
    if len(documents) > 1:
        raise ConfigError(f"{path}: {len(documents)} documents (`---`), one is expected")
    return documents[0] if documents else None


def read_text_file(path: str | os.PathLike[str], largest_bytes: int, what: str = "file") -> str:
    """Returns the text of a file in UTF-8, or in UTF-16 with its mark.

    Args:
        path: path of a regular file.
        largest_bytes: that are read.
        what: the file is, for errors.

    Raises:
        ConfigError: it is missing, no regular file (a pipe may never end), too large, or no text.
    """
    content = _read_bytes(path, largest_bytes + 1, what)
    if len(content) > largest_bytes:
        raise ConfigError(f"{path}: larger than {largest_bytes:,} bytes: is this the right file?")
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: not text in UTF-8 ({error.reason})") from None


def _read_bytes(path: str | os.PathLike[str], size: int, what: str) -> bytes:
    try:
        # A pipe that nobody writes to would hold us in `open`.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            content = os.pread(descriptor, size, 0) if stat.S_ISREG(mode) else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such {what}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except ValueError:  # a NUL in the name
        raise ConfigError(f"{str(path)!r}: is no name of a file") from None
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{path}: is a folder, not a {what}")
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path}: is a pipe or a device, not a {what}")
    return content


def read_yaml_value(text: str, source: str) -> Any:
    """Returns the value of one YAML expression, such as what stands behind `--set key=`.

    Raises:
        ConfigError: there is none (as in `key=` and `key=#5`), it is not YAML, or it is followed
            by what YAML would take for a comment.
    """
    found = _Builder(source, _MOST_NODES, with_lines=False)
    documents = found.documents(text)
    if not documents or found.is_empty:
        raise ConfigError(
            f"{source}: has no value: write null for none, '' for empty text, and quotes around "
            "text with a #"
        )
    if len(documents) > 1 or text[found.end :].strip():
        raise ConfigError(f"{source}: the value ends before its text does: put it in quotes")
    return documents[0]


def read_documents(text: str, source: str, most_nodes: int = _MOST_NODES) -> list[Any]:
    """Returns the documents of a YAML text.

    Args:
        text: decoded.
        source: named in errors.
        most_nodes: limit of all values, an alias counted as what it stands for.

    Raises:
        ConfigError: it is not YAML, or holds what this module refuses; with the line.
    """
    return _Builder(source, most_nodes).documents(text)


@dataclass(frozen=True)
class _Node:
    """A finished value: how many nodes it stands for, and how many levels."""

    value: Any
    size: int
    height: int


@dataclass
class _Open:
    """A mapping or a list that has not ended."""

    is_mapping: bool
    anchor: str | None
    value: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    merged: list[dict[str, Any]] = field(default_factory=list)
    key: str | None = None
    size: int = 1
    height: int = 1


class _Builder:
    """Makes values of PyYAML's events, without recursion."""

    def __init__(self, source: str, most_nodes: int, with_lines: bool = True) -> None:
        self._source = source
        self._most_nodes = most_nodes
        self._with_lines = with_lines
        self._line = 1
        self._nodes = 0
        self._anchors: dict[str, _Node | None] = {}  # None while it is open
        self._stack: list[_Open] = []
        self._documents: list[Any] = []
        self.is_empty = False  # the last value was an empty plain scalar
        self.end = 0  # index behind the last event that carries text

    def documents(self, text: str) -> list[Any]:
        for event in self._events(text):
            mark = event.start_mark
            self._line = mark.line + 1 if mark else self._line
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
            elif isinstance(event, yaml.AliasEvent):
                self._add(self._alias(event.anchor or ""))
            elif isinstance(event, yaml.ScalarEvent):
                self.is_empty = not event.value and event.style is None
                self._scalar(event)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._open(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._close()
            if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                self.end = event.end_mark.index if event.end_mark else self.end
        return self._documents

    def _events(self, text: str) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            self._line = error.problem_mark.line + 1 if error.problem_mark else self._line
            hint = "" if self._with_lines else ": put the value in quotes"
            if "\\t" in str(error.problem):
                hint = ": tabs do not indent, use spaces"
            self._refuse(
                f"not YAML ({' '.join(str(error.problem or error.context).split())}){hint}"
            )
        except yaml.reader.ReaderError as error:
            self._line = text.count("\n", 0, error.position) + 1
            self._refuse(f"not YAML (the character U+{error.character:04X} in it)")
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # PyYAML's scanner lets through what int() and chr() say to a directive or an escape.
            self._refuse(f"not YAML ({' '.join(str(error).split())[:200]})")

    def _refuse(self, what: str) -> NoReturn:
        place = f"{self._source}, line {self._line}" if self._with_lines else self._source
        raise ConfigError(f"{place}: {what}")

    def _refuse_value(self, what: str) -> NoReturn:
        key = self._key_path()  # none where the text is the value of a --set alone
        self._refuse(f"{key}: {what}" if key else what)

    def _key_path(self, key: str = "") -> str:
        keys = [one.key for one in self._stack if one.is_mapping and one.key is not None]
        return ".".join([*keys, *([key] if key else [])])

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        self._check_tag(event.tag)
        if self._stack and self._stack[-1].is_mapping and self._stack[-1].key is None:
            self._refuse("a key must be text, not a list or a mapping")
        if len(self._stack) >= _DEEPEST:
            self._refuse(f"nested more than {_DEEPEST} deep")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(isinstance(event, yaml.MappingStartEvent), event.anchor))

    def _close(self) -> None:
        done = self._stack.pop()
        self.is_empty = False
        value: Any = done.items
        if done.is_mapping:
            value = {}
            for merged in reversed(done.merged):  # the first of several wins
                value |= merged
            value |= done.value
        node = _Node(value, done.size, done.height)
        if done.anchor is not None:
            self._anchors[done.anchor] = node
        self._add(node, is_counted=True)

    def _alias(self, name: str) -> _Node:
        if name not in self._anchors:
            self._refuse(f"*{name} names nothing: put text that begins with * in quotes")
        node = self._anchors[name]
        if node is None:
            self._refuse(f"*{name} contains itself")
        return node

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._check_tag(event.tag)
        is_plain = event.style is None
        if self._stack and self._stack[-1].is_mapping and self._stack[-1].key is None:
            self._take_key(event.value, is_plain)
            return
        value = self._plain(event.value) if is_plain else self._text(event.value)
        node = _Node(value, 1 + len(event.value) // _LETTERS_A_NODE, 0)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._add(node)

    def _take_key(self, text: str, is_plain: bool) -> None:
        if is_plain and not isinstance(self._plain(text), str):
            self._refuse(f"the key {text or 'null'!r} is not text: is a name or quotes missing?")
        mapping, key = self._stack[-1], self._text(text)
        if key in mapping.lines:
            self._refuse(
                f"{self._key_path(key)} is given twice, first in line {mapping.lines[key]}: "
                "keep one of them"
            )
        mapping.lines[key] = self._line
        mapping.key = key
        self._count(1 + len(key) // _LETTERS_A_NODE)

    def _add(self, node: _Node, is_counted: bool = False) -> None:
        """Puts a value where it belongs; what is in an ended collection was counted before."""
        if not is_counted:
            self._count(node.size)
        if len(self._stack) + node.height > _DEEPEST:
            self._refuse(f"nested more than {_DEEPEST} deep")
        if not self._stack:
            self._documents.append(node.value)
            return
        parent = self._stack[-1]
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if not parent.is_mapping:
            parent.items.append(node.value)
            return
        if parent.key is None:
            self._refuse("a key must be text, not an alias")
        if parent.key == _MERGE:
            parent.merged += self._mergeable(node.value)
        else:
            parent.value[parent.key] = node.value
        parent.key = None

    def _mergeable(self, value: Any) -> list[dict[str, Any]]:
        maps = value if isinstance(value, list) else [value]
        if not maps or not all(isinstance(one, dict) for one in maps):
            self._refuse("<< takes a mapping or a list of them")
        return maps

    def _count(self, size: int) -> None:
        self._nodes += size
        if self._nodes > self._most_nodes:
            self._refuse(f"more than {self._most_nodes:,} values, aliases (*) counted in full")

    def _check_tag(self, tag: str | None) -> None:
        if tag is not None:
            self._refuse(f"not YAML that is read here (the tag {tag[:60]})")

    def _plain(self, text: str) -> Any:
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _INT.fullmatch(text):
            if len(text.lstrip("+-")) > _MOST_DIGITS:
                self._refuse_value(f"a number of {len(text)} digits")
            return int(text)
        if _FLOAT.fullmatch(text):
            value = float(text) if len(text) <= _LONGEST_FLOAT else float("inf")
            if value in (float("inf"), float("-inf")):
                self._refuse_value(f"{text[:40]} is too long or too large a number")
            return value
        return self._text(text)

    def _text(self, text: str) -> str:
        if found := _UNSTORABLE.search(text):
            self._refuse(f"the character U+{ord(found[0]):04X} in {text[:40]!r}")
        return text

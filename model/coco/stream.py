"""Streams the lists of a COCO JSON, one entry in memory at a time."""

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import ijson

from configs.errors import DatasetError
from model.coco.values import integer, shortened
from model.examples import Category

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_categories(path: str | os.PathLike[str]) -> list[Category]:
    """Returns the label map of a COCO file: labels count from 1 in the order of category ids.

    Raises:
        DatasetError: the file is missing or no COCO JSON, or has no categories, or one without an
            integer id and a name, or two with the same id.
    """
    with _open(path) as stream:
        lists = list(_guarded(ijson.items(stream, "categories", use_float=True), stream, path))
    if not lists or not isinstance(lists[0], list) or not lists[0]:
        _check_lists(path)
        raise DatasetError(f"{path}: `categories` is empty: a detector needs at least one class")
    names: dict[int, str] = {}
    for number, category in enumerate(lists[0]):
        id_ = integer(category.get("id")) if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        if id_ is None or not isinstance(name, str) or not name:
            raise DatasetError(
                f"{path}: category {number} has no integer `id` and `name`: {shortened(category)}"
            )
        if id_ in names:
            raise DatasetError(
                f"{path}: categories {names[id_]!r} and {name!r} both have the id {id_}"
            )
        names[id_] = name
    return [
        {"id": id_, "name": names[id_], "label": label}
        for label, id_ in enumerate(sorted(names), 1)
    ]


def iterate_images(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields the entries of `images` in the file's order, one in memory at a time.

    Raises:
        DatasetError: the file is missing, cut off, no COCO JSON, or lists no picture.
    """
    number = 0
    for number, image in enumerate(_items(path, "images.item"), 1):  # noqa: B007
        yield image
    if not number:
        _check_lists(path)
        raise DatasetError(f"{path}: `images` is empty: there is nothing to convert")


def iterate_annotations(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields the entries of `annotations` in the file's order, one in memory at a time.

    Raises:
        DatasetError: the file is missing, cut off or no COCO JSON. An empty list is none.
    """
    number = 0
    for number, annotation in enumerate(_items(path, "annotations.item"), 1):  # noqa: B007
        yield annotation
    if not number:
        _check_lists(path)


def _items(path: str | os.PathLike[str], prefix: str) -> Iterator[Any]:
    with _open(path) as stream:
        yield from _guarded(ijson.items(stream, prefix, use_float=True), stream, path)


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a JSON file behind its byte order mark, if it has one."""
    try:
        stream = open(path, "rb")
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    if stream.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
        stream.seek(0)
    return stream


def _guarded(items: Iterator[Any], stream: BinaryIO, path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields `items`; what the JSON reader raises becomes one line.

    Raises:
        DatasetError: the file is cut off or not JSON, with about the place.
    """
    try:
        yield from items
    except (ijson.JSONError, UnicodeDecodeError) as error:
        problem = str(error).splitlines()[0] if str(error) else "no JSON"
        raise DatasetError(
            f"{path}: cut off or not JSON before byte {stream.tell()} ({problem}): copy it anew"
        ) from None


def _check_lists(path: str | os.PathLike[str]) -> None:
    """Checks the top level of a file in which a list seemed to be empty.

    Raises:
        DatasetError: it is no object, or `images`, `annotations` or `categories` is no list.
    """
    kinds: dict[str, str] = {}
    key: str | None = None
    with _open(path) as stream:
        for prefix, event, value in _guarded(ijson.parse(stream), stream, path):
            if not prefix and event == "map_key":
                key = value
            elif key is not None and prefix == key and key not in kinds:
                kinds[key] = event
            elif not prefix and event not in ("start_map", "end_map"):
                raise DatasetError(f"{path}: no COCO JSON file (it holds no object)")
    for wanted in ("images", "annotations", "categories"):
        if wanted not in kinds:
            found = ", ".join(f"`{name}`" for name in list(kinds)[:6]) or "nothing"
            raise DatasetError(
                f"{path}: has no `{wanted}` (found {found}): "
                "expected a COCO instances file, such as instances_train2017.json"
            )
        if kinds[wanted] != "start_array":
            raise DatasetError(f"{path}: `{wanted}` is no list")

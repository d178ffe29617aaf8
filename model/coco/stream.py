"""Streams the lists of a COCO JSON, one entry in memory at a time."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ground.errors import DatasetError
from model.coco.json_text import JsonText, open_json

IMAGES, ANNOTATIONS, CATEGORIES = "images", "annotations", "categories"
LISTS = (IMAGES, ANNOTATIONS, CATEGORIES)
BARE_LIST = ""  # the key under which the entries of a file that is one list come


def iterate_file(path: str | os.PathLike[str], kinds: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Yields (key, entry) of every list at the top of a JSON file, in the file's order.

    Args:
        path: the file.
        kinds: gets what each key at the top holds, "list" or "value", once it is seen; the key
            `BARE_LIST` where the file is one list.

    Raises:
        DatasetError: the file is missing, packed, cut off or no JSON, or has `images`,
            `annotations` or `categories` twice.
    """
    with open_json(path) as stream:
        text = JsonText(path, stream)
        if text.next_character() == "[":
            kinds[BARE_LIST] = "list"
            for entry in text.list_values():
                yield BARE_LIST, entry
        elif text.next_character() == "{":
            yield from _members(path, text, kinds)
        else:
            text.value()
        text.end()


def _members(
    path: str | os.PathLike[str], text: JsonText, kinds: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    for key in text.object_keys():
        if key in kinds and key in LISTS:
            raise DatasetError(f"{path}: has `{key}` twice: leave one of them out")
        if text.next_character() == "[":
            kinds[key] = "list"
            for entry in text.list_values():
                yield key, entry
        else:
            kinds[key] = "value"
            text.value()


def iterate_images(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields the entries of `images` in the file's order, one in memory at a time.

    Raises:
        DatasetError: the file is missing, cut off, no COCO JSON, or lists no picture.
    """
    number = 0
    for number, image in enumerate(_entries(path, IMAGES), 1):  # noqa: B007
        yield image
    if not number:
        raise DatasetError(f"{path}: `images` is empty: it lists no picture")


def iterate_annotations(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields the entries of `annotations` in the file's order, one in memory at a time.

    Raises:
        DatasetError: the file is missing, cut off or no COCO JSON. An empty list is none.
    """
    yield from _entries(path, ANNOTATIONS)


def lacks(path: str | os.PathLike[str], kinds: Mapping[str, str], wanted: str) -> str | None:
    """Returns what a message says of a file that was read and has no list `wanted`, else None."""
    if kinds.get(wanted) == "list":
        return None
    if wanted in kinds:
        return f"{path}: `{wanted}` is no list"
    if BARE_LIST in kinds or not kinds:
        holds = "a list" if kinds else "no lists"
        return f"{path}: no COCO JSON file (it holds {holds})"
    found = ", ".join(f"`{name[:40]}`" for name in list(kinds)[:6])
    return f"{path}: has no `{wanted}` (found {found})"


def _entries(path: str | os.PathLike[str], wanted: str) -> Iterator[Any]:
    """Yields the entries of one list; what comes behind it in the file is not read."""
    kinds: dict[str, str] = {}
    is_inside = False
    for key, entry in iterate_file(path, kinds):
        if key == wanted:
            is_inside = True
            yield entry
        elif is_inside:
            return
    problem = lacks(path, kinds, wanted)
    if problem:
        raise DatasetError(f"{problem}: expected a COCO instances file")

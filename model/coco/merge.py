"""Several COCO instances files as one: ids kept apart, classes by their names.

The merged file is written entry by entry. Each entry is as it was but for its ids and the name of
its picture's file, so that a flawed one is flawed in the same way.
"""

import itertools
import json
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from configs.data_schema import ClassesConfig
from ground.addresses import Place
from ground.errors import DatasetError
from model.coco.hints import box_note, note_on_unknown_categories
from model.coco.json_text import RepeatedKeys
from model.coco.stream import iterate_annotations, iterate_images
from model.coco.survey import survey
from model.coco.values import meant_integer

# An id of a merged file is its source's number, from 1, times this, plus the id in the source.
SOURCE_STRIDE = 10**12
_MOST_LISTED = 5
_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_ID_IN_A_MESSAGE = re.compile(r"\b(image id|annotation id|image_id|category_id|id) (\d{13,16})\b")


class SourceFile(NamedTuple):
    """One of the files that are merged.

    Attributes:
        number: its place in `data.sources`, from 1.
        name: for people: its JSON, as the config has it.
        annotations: the COCO JSON.
        pictures: folder of the pictures in it.
        front: what names of its pictures begin with in the merged file: the folder.
    """

    number: int
    name: str
    annotations: Place
    pictures: Place
    front: str

    def own_name(self, file_name: str) -> str:
        """Returns the name of a picture's file in its folder, of that in the merged file."""
        return file_name.removeprefix(self.front)


def source_of(image_id: int, files: Sequence[SourceFile]) -> SourceFile:
    """Returns the source of a picture, by its id in the merged file."""
    number = image_id // SOURCE_STRIDE
    return next(file for file in files if file.number == number)


def in_own_ids(message: str, files: Sequence[SourceFile]) -> str:
    """Returns a message about a merged file in words of its sources.

    >>> file = SourceFile(2, "b.json", "b.json", "b", "b/")
    >>> in_own_ids("image id 2000000000017 (b/17.jpg): no pixels", [file])
    'image id 17 of b.json (b/17.jpg): no pixels'
    """
    names = {file.number: file.annotations for file in files}

    def own(found: re.Match[str]) -> str:
        number, id_ = divmod(int(found[2]), SOURCE_STRIDE)
        return f"{found[1]} {id_} of {names[number]}" if number in names else found[0]

    return _ID_IN_A_MESSAGE.sub(own, message)


class Merge:
    """Files that become one, or one a split, with common classes.

    A class has the id of the first source that has it by that name; where another class has that
    id already, the lowest that is free.

    Args:
        files: all that there are.

    Raises:
        DatasetError: one is missing, cut off, or no COCO instances file.
    """

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self._surveys = {file: survey(file.annotations) for file in files}
        self._ids_by_name: dict[str, int] = {}
        for found in self._surveys.values():
            for category in found.categories:
                if category["name"] not in self._ids_by_name:
                    self._ids_by_name[category["name"]] = self._free_id(category["id"])

    def _free_id(self, wanted: int) -> int:
        taken = set(self._ids_by_name.values())
        return next(
            id_ for id_ in itertools.chain([wanted], itertools.count(1)) if id_ not in taken
        )

    def write(self, target: str | os.PathLike[str], files: Sequence[SourceFile]) -> None:
        """Writes some of the files as one COCO instances file.

        Raises:
            DatasetError: a file was changed meanwhile, or its ids leave no room.
        """
        movers = {file: _Mover(file, self._category_ids(file)) for file in files}
        with open(target, "w", encoding="utf-8") as stream:
            stream.write('{"images":')
            _write_list(stream, _each(files, iterate_images, movers, _Mover.image))
            stream.write(',"annotations":')
            _write_list(stream, _each(files, iterate_annotations, movers, _Mover.annotation))
            stream.write(',"categories":')
            categories = [{"id": i, "name": name} for name, i in self._ids_by_name.items()]
            _write_list(stream, categories)
            stream.write("}\n")
        for mover in movers.values():
            mover.check()

    def _category_ids(self, file: SourceFile) -> dict[int, int]:
        return {c["id"]: self._ids_by_name[c["name"]] for c in self._surveys[file].categories}

    def hints(self, box_format: str) -> list[str]:
        """Returns what fits one of the sources instead, a line each, with the source's name."""
        found = [
            (file, note)
            for file, of_file in self._surveys.items()
            for note in (note_on_unknown_categories(of_file), box_note(of_file, box_format))
        ]
        return [f"{file.annotations}: {note}" for file, note in found if note]

    def notes(self, classes: ClassesConfig | None = None) -> list[str]:
        """Returns what is odd about the classes of the sources, a line each.

        Args:
            classes: `data.classes`, which may have settled it already.
        """
        learnt = {
            name: name if classes is None else classes.name_learnt(name)
            for name in self._ids_by_name
        }
        return [
            *self._notes_on_names_within(),
            *self._notes_on_supercategories(),
            *_notes_on_alike_names(list(dict.fromkeys(filter(None, learnt.values())))),
            *self._notes_on_classes_of_some(learnt),
        ]

    def _notes_on_names_within(self) -> Iterator[str]:
        for file, found in self._surveys.items():
            names = Counter(category["name"] for category in found.categories)
            for name in [name for name, number in names.items() if number > 1][:_MOST_LISTED]:
                yield (
                    f"{file.annotations}: {names[name]} categories are named {name!r}, which are "
                    "one class here, as classes of several sources go by their names"
                )

    def _notes_on_supercategories(self) -> Iterator[str]:
        stated: dict[str, dict[str, SourceFile]] = defaultdict(dict)
        for file, found in self._surveys.items():
            for category in found.categories:
                above = found.supercategories.get(category["id"])
                if above is not None:
                    stated[category["name"]].setdefault(above, file)
        for name, places in itertools.islice(
            ((name, places) for name, places in stated.items() if len(places) > 1), _MOST_LISTED
        ):
            said = ", ".join(f"{above!r} in {file.annotations}" for above, file in places.items())
            yield f"class {name!r} has the supercategory {said}: is it the same class?"

    def _notes_on_classes_of_some(self, learnt: Mapping[str, str | None]) -> Iterator[str]:
        if len(self._surveys) < 2:
            return
        held = {
            file: {learnt[category["name"]] for category in found.categories}
            for file, found in self._surveys.items()
        }
        for file, names in held.items():
            others = set().union(*(held[other] for other in held if other != file))
            own = [
                name for name in dict.fromkeys(learnt.values()) if name in names - others - {None}
            ]
            if own:
                more = f" and {len(own) - _MOST_LISTED} more" if len(own) > _MOST_LISTED else ""
                yield (
                    f"{file.annotations} alone has {', '.join(map(repr, own[:_MOST_LISTED]))}{more}"
                    ": objects of it in the pictures of other sources are learnt as background"
                )


def _notes_on_alike_names(learnt: Iterable[str]) -> Iterator[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in learnt:
        read = unicodedata.normalize("NFKC", name)
        alike["".join(filter(str.isalnum, read)).casefold() or read].append(name)
    for names in list(filter(lambda n: len(n) > 1, alike.values()))[:_MOST_LISTED]:
        looks = {unicodedata.normalize("NFC", name) for name in names}
        show = repr if len(looks) == len(names) else ascii
        first, *others = (_in_a_config(name, show is ascii) for name in names)
        yield (
            f"the classes {' and '.join(map(show, names))} are "
            f"{'two' if len(names) == 2 else len(names)}: if they are meant to be one, set "
            f"data.classes.merge={{{first}: [{', '.join(others)}]}}"
        )


class _Mover:
    """Gives the entries of one source the ids that they have in the merged file."""

    def __init__(self, file: SourceFile, category_ids: Mapping[int, int]) -> None:
        self._file = file
        self._category_ids = category_ids
        self._images = _Ids(file, "image")
        self._annotations = _Ids(file, "annotation")
        self._unknown = _Ids(file, "category")

    def image(self, image: Any) -> Any:
        """Returns an entry of `images` as the merged file has it."""
        if not isinstance(image, dict):
            return image
        moved = type(image)(image)
        if "id" in image:
            moved["id"] = self._images.moved(image["id"])
        name = image.get("file_name")
        if isinstance(name, str) and name.strip():
            moved["file_name"] = self._file.front + name
        return moved

    def annotation(self, annotation: Any) -> Any:
        """Returns an entry of `annotations` as the merged file has it."""
        if not isinstance(annotation, dict):
            return annotation
        moved = type(annotation)(annotation)
        for key, ids in (("id", self._annotations), ("image_id", self._images)):
            if key in annotation:
                moved[key] = ids.moved(annotation[key])
        category_id = meant_integer(annotation.get("category_id"))
        if category_id is not None:
            new = self._category_ids.get(category_id)
            if new is None:  # it stays unknown: it must not be the id of another source's class
                new = self._unknown.moved(category_id)
            moved["category_id"] = _in_form_of(annotation["category_id"], new)
        return moved

    def check(self) -> None:
        """Checks that no two ids became one.

        Raises:
            DatasetError: they may have.
        """
        self._images.check()
        self._annotations.check()


class _Ids:
    """The ids of one kind in one source, and what they are in the merged file.

    Those that are negative or too long for the room that a source has get the last ones in it.
    """

    def __init__(self, file: SourceFile, noun: str) -> None:
        self._file = file
        self._noun = noun
        self._highest = -1
        self._others: dict[int, int] = {}

    def moved(self, value: Any) -> Any:
        """Returns an id as the merged file has it, in the form in which it is written."""
        id_ = meant_integer(value)
        if id_ is None:
            return value
        if 0 <= id_ < SOURCE_STRIDE:
            self._highest = max(self._highest, id_)
        else:
            id_ = self._others.setdefault(id_, SOURCE_STRIDE - 1 - len(self._others))
        return _in_form_of(value, self._file.number * SOURCE_STRIDE + id_)

    def check(self) -> None:
        if self._highest >= SOURCE_STRIDE - len(self._others):
            raise DatasetError(
                f"{self._file.annotations}: its {self._noun} ids reach from below 0, or above "
                f"{SOURCE_STRIDE:,}, up to {self._highest:,}, which leaves no room to keep those "
                "of several sources apart: number them anew"
            )


def _in_a_config(name: str, as_ascii: bool) -> str:
    """Returns a name as YAML that is this very text again."""
    is_plain = re.fullmatch(r"[^\W\d_]\w*([ -]\w+)*", name) and name.casefold() not in _YAML_WORDS
    return name if is_plain and not as_ascii else json.dumps(name, ensure_ascii=as_ascii)


def _in_form_of(value: Any, id_: int) -> Any:
    """Returns an id as text or with a point where the one in its place is written so."""
    return type(value)(id_) if isinstance(value, str | float) else id_


def _each(
    files: Iterable[SourceFile],
    iterate: Callable[[Place], Iterator[Any]],
    movers: Mapping[SourceFile, _Mover],
    move: Callable[[_Mover, Any], Any],
) -> Iterator[Any]:
    """Yields the moved entries of a list of all files."""
    for file in files:
        for entry in iterate(file.annotations):
            yield move(movers[file], entry)


def _write_list(stream: TextIO, entries: Iterable[Any]) -> None:
    stream.write("[")
    for number, entry in enumerate(entries):
        stream.write(",\n" if number else "")
        stream.write(_json(entry))
    stream.write("]")


def _json(entry: Any) -> str:
    """Returns an entry as JSON; one in which a key stands twice is such a one again."""
    text = json.dumps(entry, separators=(",", ":"))
    if isinstance(entry, RepeatedKeys):
        return f"{{{json.dumps(next(iter(entry)))}:null,{text[1:]}"
    return text

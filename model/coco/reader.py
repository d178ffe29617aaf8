"""Takes a COCO instances file entry by entry, with the outcome and the counts of CocoExampleGen."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from configs.schema import DataConfig
from model.coco.classes import ClassMap
from model.coco.entries import CocoObject, Forms, Picture, parse_object, parse_picture
from model.coco.names import RepeatedNames
from model.coco.policies import REFUSE, Flaw, Judge, LeftOut, resolve_policies
from model.coco.tally import Tally, object_name, picture_name
from model.coco.values import meant_integer, shortened

Size = tuple[int, int]  # height and width in pixels
# Returns the sizes of a file as stored and after EXIF's turn; None where there is no such file.
SizesOf = Callable[[str], tuple[Size, Size] | None]
# Is given the last flaw of an entry of `images` or `annotations` that is left out, and the entry.
OnReject = Callable[[Flaw, Any], None]


class Judged(NamedTuple):
    """What is known of a picture whose own entry is sound.

    Attributes:
        picture: its entry.
        flaws: flaws of the entry.
        objects: that are sound, with their flaws.
        refused: the flaw of an object that refuses the picture; None where it is used.
    """

    picture: Picture
    flaws: list[Flaw]
    objects: list[tuple[CocoObject, list[Flaw]]]
    refused: Flaw | None


def _forget(flaw: Flaw, entry: Any) -> None:
    """Keeps no entry that is left out."""


@dataclasses.dataclass
class _Taken:
    """A picture that is used so far, and what is known of its objects.

    Attributes:
        picture: its entry.
        name: for messages.
        flaws: flaws of the entry.
        objects: that are sound, with their flaws.
        dropped: the flaw and the name of each object that is not.
        objects_read: all of them.
        refused: the flaw of an object that refuses the picture.
    """

    picture: Picture
    name: str
    flaws: list[Flaw]
    objects: list[tuple[CocoObject, list[Flaw]]] = dataclasses.field(default_factory=list)
    dropped: list[tuple[Flaw, str]] = dataclasses.field(default_factory=list)
    objects_read: int = 0
    refused: Flaw | None = None


class InstancesReader:
    """Collects what is sound of a COCO file, and counts what is not.

    All entries of `images` are given first, then those of `annotations`, then `close` is called.

    Args:
        data: the policies, and how values are meant.
        classes: what becomes of the file's categories.
        sizes_of: gives the sizes of a picture's file, which then holds; None: the stated one does.
        on_reject: is given each entry that is left out for itself, at once.

    Raises:
        ConfigError: `data.policies` has an unknown code.
    """

    def __init__(
        self,
        data: DataConfig,
        classes: ClassMap,
        sizes_of: SizesOf | None = None,
        on_reject: OnReject = _forget,
    ) -> None:
        self.tally = Tally()
        self._on_reject = on_reject
        self._policies = resolve_policies(data.policies)
        self._forms = Forms.of(data)
        self._sizes_of = sizes_of
        self._max_picture_pixels = data.max_picture_pixels
        self._classes = classes
        self._taken: dict[int, _Taken] = {}
        # Pictures that their own entry leaves out; by id, since their objects go with them.
        self._left_out: dict[int, tuple[Flaw, str]] = {}
        self._objects_of_left_out: Counter[int] = Counter()
        self._object_ids: set[int] = set()
        self._names = RepeatedNames()

    def read_picture(self, image: Any) -> None:
        """Takes an entry of `images`."""
        self.tally.pictures_read += 1
        image_id = meant_integer(image.get("id")) if isinstance(image, dict) else None
        is_repeated = image_id in self._taken or image_id in self._left_out
        if image_id is not None:
            self._names.add(image.get("file_name"))
        judge = Judge(self._policies)
        try:
            if is_repeated:
                judge.leave_out("duplicate_image_id", f"the id {image_id} came before")
            picture = self._sized(parse_picture(image, judge, self._max_picture_pixels), judge)
            self._taken[picture.id] = _Taken(picture, picture_name(image), judge.flaws)
        except LeftOut:
            flaw = judge.flaws[-1]
            self._on_reject(flaw, image)
            if image_id is None or is_repeated:
                self.tally.leave_out_picture(flaw, picture_name(image), 0)
            else:
                self._left_out[image_id] = (flaw, picture_name(image))
        self.tally.note_flaws(judge.flaws)

    def _sized(self, picture: Picture, judge: Judge) -> Picture:
        """Returns the picture with the size of its file, where that holds."""
        sizes = None if self._sizes_of is None else self._sizes_of(picture.file_name)
        if sizes is None or (picture.height, picture.width) in sizes:
            return picture
        height, width = sizes[0]
        judge.note("picture_size_differs", f"the file has {width} x {height} pixels")
        return dataclasses.replace(picture, height=height, width=width)

    def read_object(self, place: int, annotation: Any) -> None:
        """Takes an entry of `annotations`, at a place in the list."""
        if (name := self._classes.left_out_name(annotation)) is not None:
            self.tally.not_kept[name] += 1
            return
        self.tally.read_object(annotation)
        if not isinstance(annotation, dict):
            self._leave_out("bad_annotation", f"entry {place} of `annotations`", annotation)
            return
        annotation_id = meant_integer(annotation.get("id"))
        is_repeated = annotation_id in self._object_ids
        if annotation_id is not None:
            self._object_ids.add(annotation_id)
        image_id = meant_integer(annotation.get("image_id"))
        taken = None if image_id is None else self._taken.get(image_id)
        if taken is not None:
            self._parse(taken, place, annotation, is_repeated)
        elif image_id in self._left_out:
            self._objects_of_left_out[image_id] += 1
        else:
            stated = shortened(annotation.get("image_id"))
            self._leave_out("unknown_image", f"image_id {stated} is not in `images`", annotation)

    def close(self) -> None:
        """Counts what became of each picture and object."""
        self.tally.see_names(self._names)
        for image_id, (flaw, name) in self._left_out.items():
            self.tally.leave_out_picture(flaw, name, self._objects_of_left_out[image_id])
        for image_id, taken in self._taken.items():
            if taken.refused is not None:
                self.tally.leave_out_picture(taken.refused, taken.name, taken.objects_read)
                continue
            for flaw, name in taken.dropped:
                self.tally.leave_out_object(flaw, name)
            self.tally.pictures_written += 1
            self.tally.note_losses(taken.flaws, taken.name)
            for found, flaws in taken.objects:
                self.tally.write_object(found, flaws, image_id)

    @property
    def left_out_ids(self) -> set[int]:
        """Ids of pictures that a policy leaves out."""
        refused = {id_ for id_, taken in self._taken.items() if taken.refused is not None}
        return refused | self._left_out.keys()

    def pictures(self) -> Iterator[tuple[Picture, list[CocoObject]]]:
        """Yields each picture that is used with its objects, in the file's order."""
        for taken in self._taken.values():
            if taken.refused is None:
                yield taken.picture, [found for found, _ in taken.objects]

    def judged(self) -> Iterator[Judged]:
        """Yields each picture whose own entry is sound, with all flaws, in the file's order."""
        for taken in self._taken.values():
            yield Judged(taken.picture, taken.flaws, taken.objects, taken.refused)

    def _leave_out(self, code: str, detail: str, annotation: Any) -> None:
        """Counts an object that belongs to no picture."""
        flaw = Flaw(code, self._policies[code], detail)
        self._on_reject(flaw, annotation)
        self.tally.note_flaws([flaw])
        self.tally.leave_out_object(flaw, object_name(annotation))

    def _parse(
        self, taken: _Taken, place: int, annotation: dict[str, Any], is_repeated: bool
    ) -> None:
        taken.objects_read += 1
        if taken.refused is not None:
            return
        judge = Judge(self._policies)
        try:
            found = parse_object(
                annotation,
                place,
                is_repeated,
                taken.picture.height,
                taken.picture.width,
                self._classes.by_id,
                judge,
                self._forms,
            )
            taken.objects.append((found, judge.flaws))
        except LeftOut:
            flaw = judge.flaws[-1]
            self._on_reject(flaw, annotation)
            taken.dropped.append((flaw, object_name(annotation)))
            if flaw.policy == REFUSE:
                taken.refused = flaw
        self.tally.note_flaws(judge.flaws)

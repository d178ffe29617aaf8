"""Albums of COCO files: what CocoExampleGen would make of each picture and object, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.schema import DataConfig
from ground.wording import plural
from model.coco.boxes import bbox_in_pixels, meant_box
from model.coco.classes import class_map
from model.coco.entries import CocoObject, Picture
from model.coco.policies import ACCEPT, DROP, MEND, REFUSE, Flaw, resolve_policies
from model.coco.reader import InstancesReader, Judged, Size
from model.coco.splits import Division, read_division
from model.coco.stream import iterate_annotations, iterate_images
from model.coco.survey import survey
from model.coco.values import integer_at, meant_integer, meant_number
from model.evaluation.ground_truth import GroundTruth
from pipeline.look.album import UNKNOWN_CLASS, Album, Kind, Reason, ShownPicture, Thing, counts_of
from pipeline.look.picture_files import FolderPicture
from pipeline.look.truth import Truth

_NO_SPLIT = ""


@dataclass(frozen=True)
class CocoFile:
    """A COCO file to look at.

    Attributes:
        annotations: the file.
        pictures: folder of its pictures.
        split: name of the split that all of it is; "" for none, or where `data.split` says it.
    """

    annotations: Path
    pictures: Path
    split: str = _NO_SPLIT


def add_coco_file(album: Album, file: CocoFile, data: DataConfig, only: str | None) -> Truth:
    """Adds the pictures of a COCO file to an album; returns what is to be found in them.

    Args:
        album: gets them.
        file: which.
        data: policies, formats, classes, and how the file is split.
        only: the split that is looked at; None is all.

    Raises:
        ConfigError: a policy, a class or a pattern of the config is unknown or finds nothing.
        DatasetError: the file is missing, cut off or no COCO instances file.
    """
    return _Reading(album, file, data, only).run()


class _Reading:
    """One COCO file on its way into an album."""

    def __init__(self, album: Album, file: CocoFile, data: DataConfig, only: str | None) -> None:
        self._album, self._file, self._data, self._only = album, file, data, only
        is_split = data.split is not None and not file.split
        self._division: Division | None = None
        if is_split and data.split is not None:
            self._division = read_division(file.annotations, data.split)
        found = survey(file.annotations)
        self._classes = class_map(found.categories, data.classes, knows_all=False)
        self._names = {id_: category["name"] for id_, category in self._classes.by_id.items()}
        self._policies = resolve_policies(data.policies)
        self._rejected_pictures: list[tuple[Flaw, Any]] = []
        self._rejected_objects: dict[int | None, list[tuple[Flaw | None, Any]]] = {}
        self._is_in_images = True
        album.leaves_out |= {c for c, p in self._policies.items() if p in (DROP, REFUSE)}
        categories = [{"id": c["id"], "name": c["name"]} for c in self._classes.categories]
        self._truth = Truth(GroundTruth([], [], categories))

    def run(self) -> Truth:
        """Reads the file."""
        for category in self._classes.categories:
            self._album.class_position(category["name"])
        sizes_of = self._sizes_of if self._policies["picture_size_differs"] == MEND else None
        reader = InstancesReader(self._data, self._classes, sizes_of, self._reject)
        for image in iterate_images(self._file.annotations):
            if self._holds(integer_at(image, "id")):
                reader.read_picture(image)
        self._is_in_images = False
        left_out = reader.left_out_ids
        for place, annotation in enumerate(iterate_annotations(self._file.annotations)):
            image_id = integer_at(annotation, "image_id")
            if self._holds(image_id):
                reader.read_object(place, annotation)
                if image_id in left_out:
                    self._rejected_objects.setdefault(image_id, []).append((None, annotation))
        reader.close()
        for judged in reader.judged():
            self._add(judged)
        for flaw, image in self._rejected_pictures:
            self._add_left_out(flaw, image)
        if self._rejected_objects:
            lost = plural(sum(map(len, self._rejected_objects.values())), "annotation")
            self._album.notes.append(f"{lost} of no picture in {self._file.annotations}")
        self._truth.left_out_ids |= reader.left_out_ids
        return self._truth

    def _reject(self, flaw: Flaw, entry: Any) -> None:
        if self._is_in_images:
            self._rejected_pictures.append((flaw, entry))
        elif isinstance(entry, dict):
            image_id = meant_integer(entry.get("image_id"))
            self._rejected_objects.setdefault(image_id, []).append((flaw, entry))

    def _split(self, image_id: int | None) -> str:
        if self._division is not None:
            return self._division.split_of(image_id)
        return self._file.split

    def _holds(self, image_id: int | None) -> bool:
        return self._only is None or self._split(image_id) == self._only

    def _split_position(self, image_id: int | None) -> int:
        name = self._split(image_id)
        if name not in self._album.splits:
            self._album.splits.append(name)
        return self._album.splits.index(name)

    def _picture_file(self, name: str, height: int, width: int) -> FolderPicture:
        prefix, may_leave = self._data.picture_prefix, self._policies["path_outside_folder"]
        return FolderPicture(
            self._file.pictures, name, prefix, (height, width), may_leave == ACCEPT
        )

    def _sizes_of(self, name: str) -> tuple[Size, Size] | None:
        return self._picture_file(name, 0, 0).sizes()

    def _add(self, judged: Judged) -> None:
        picture = judged.picture
        shown = ShownPicture(
            picture.file_name,
            picture.width,
            picture.height,
            self._split_position(picture.id),
            self._picture_file(picture.file_name, picture.height, picture.width),
            reasons=[Reason(flaw.code, flaw.detail) for flaw in judged.flaws],
            is_upright=self._policies["exif_turned"] == MEND,
        )
        if judged.refused is not None:
            shown.is_left_out = True
            shown.reasons.append(Reason(judged.refused.code, judged.refused.detail))
        if judged.refused is None:
            self._truth.add_picture(shown, picture.id)
        for found, flaws in judged.objects:
            self._add_object(shown, picture, found, flaws, judged.refused is None)
        self._add_rejected(shown, picture.id)
        self._album.pictures.append(shown)

    def _add_object(
        self,
        shown: ShownPicture,
        picture: Picture,
        found: CocoObject,
        flaws: list[Flaw],
        is_used: bool,
    ) -> None:
        kind = Kind.CROWD if found.is_crowd else Kind.OBJECT
        thing = Thing(
            kind if is_used else Kind.LEFT_OUT,
            self._album.class_position(found.name),
            found.bbox,
            found.area,
            found.annotation_id,
            counts_of(found.segmentation),
            # Of what is used the code says enough; thousands of details would only be heavy.
            tuple(Reason(flaw.code) for flaw in flaws if flaw.policy == MEND),
        )
        shown.things.append(thing)
        if is_used:
            self._truth.add_object(thing, picture.id, found.category_id)

    def _add_rejected(self, shown: ShownPicture, image_id: int | None) -> None:
        for flaw, annotation in self._rejected_objects.pop(image_id, []):
            reason = None if flaw is None else Reason(flaw.code, flaw.detail)
            form = self._data.box_format
            thing = left_out_thing(self._album, annotation, reason, self._names, form, shown)
            shown.things.append(thing)

    def _add_left_out(self, flaw: Flaw, image: Any) -> None:
        image_id = integer_at(image, "id")
        name = image.get("file_name") if isinstance(image, dict) else None
        height, width = (max(integer_at(image, key) or 0, 0) for key in ("height", "width"))
        file = None
        if isinstance(name, str) and name.strip():
            file = self._picture_file(name, height, width)
        shown = ShownPicture(
            f"image id {image_id}" if file is None else str(name),
            width,
            height,
            self._split_position(image_id),
            file,
            reasons=[Reason(flaw.code, flaw.detail)],
            is_left_out=True,
            is_upright=self._policies["exif_turned"] == MEND,
        )
        self._add_rejected(shown, image_id)
        self._album.pictures.append(shown)


def left_out_thing(
    album: Album,
    annotation: Any,
    reason: Reason | None,
    names: Mapping[int, str],
    box_format: str,
    shown: ShownPicture,
) -> Thing:
    """Returns an entry of `annotations` that was left out, as far as it can be shown.

    Args:
        album: gets its class.
        annotation: the entry.
        reason: why; None where its picture is left out.
        names: names of the classes by the file's category id.
        box_format: what its box means (`data.box_format`).
        shown: its picture.
    """
    name = names.get(integer_at(annotation, "category_id"))  # type: ignore[arg-type]
    entry = annotation if isinstance(annotation, dict) else {}
    box, bbox = meant_box(entry.get("bbox")), None
    if box is not None:
        bbox = bbox_in_pixels(box.numbers, box.format or box_format, shown.height, shown.width)
    return Thing(
        Kind.LEFT_OUT,
        UNKNOWN_CLASS if name is None else album.class_position(name),
        bbox,
        meant_number(entry.get("area")) or (abs(bbox[2] * bbox[3]) if bbox else 0.0),
        integer_at(annotation, "id"),
        reasons=() if reason is None else (reason,),
    )

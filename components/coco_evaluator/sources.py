"""Where ground truth and pictures come from: an examples folder, or a COCO file."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from components.coco_transform.source import read_origin
from configs.data_schema import SPLIT_NAMES
from configs.schema import DataConfig
from ground.errors import DatasetError
from ground.wording import plural
from model.coco.hints import why_missing
from model.coco.names import find_picture, locate_picture
from model.coco.policies import MEND, Judge, LeftOut, resolve_policies
from model.coco.reader import Size
from model.encoded.check import read_facts
from model.encoded.exif import UPRIGHT
from model.encoded.files import read_picture_file, shown
from model.encoded.flaw import PictureFlaw
from model.evaluation import ground_truth
from model.evaluation.ground_truth import GroundTruth
from model.examples import iterate_records, read_manifest, verified_digest
from model.pictures import Picture, read_picture, servable

Item = tuple[dict[str, Any], Picture]  # a COCO image and its file
# Called with a COCO image and what is wrong with its file.
OnFailure = Callable[[dict[str, Any], DatasetError], None]


WHOLE_FILE = "all"
_MOST_LOOKED_FOR = 500  # missing pictures, for what fits instead


class Source(Protocol):
    """Ground truth and pictures to evaluate on."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def digest(self) -> str | None:
        """Of the content; None keeps nothing."""

    @property
    def split(self) -> str | None:
        """Of an examples folder; None without one."""

    @property
    def ground_truth(self) -> GroundTruth:
        """What is to be found."""

    @property
    def reading(self) -> Mapping[str, Any]:
        """What became of the COCO file's entries (`Tally.summary`), and `notes`; empty: unknown."""

    @property
    def has_pictures(self) -> bool:
        """Whether `pictures` can be read."""

    def pictures(
        self, image_ids: set[int] | None, max_pixels: int, on_failure: OnFailure
    ) -> Iterator[Item]:
        """Yields each picture, or those of `image_ids`.

        Args:
            image_ids: COCO's ids; None is all.
            max_pixels: limit of height x width.
            on_failure: called instead for one that cannot be used.
        """


class ExamplesSource:
    """One split of CocoExampleGen's examples folder.

    Args:
        examples: the folder.
        split: its name.

    Raises:
        DatasetError: it is no examples folder, has no such split, or the split has changed since
            it was written.
    """

    def __init__(self, examples: str | os.PathLike[str], split: str) -> None:
        splits = read_manifest(examples)["splits"]
        if split not in splits:
            raise DatasetError(f"{examples}: no split named {split!r}, only {', '.join(splits)}")
        self.has_pictures = True
        self._examples = Path(examples)
        self.split = split
        self.name = f"{examples}, split {split}"
        # Of the folder's shards, those of this split being read for it.
        self.digest = f"{verified_digest(examples, split)}-{split}"

    @cached_property
    def ground_truth(self) -> GroundTruth:
        """The objects of all records, from their float64 copies."""
        return ground_truth.ground_truth_from_records(self._examples, self.split)

    @cached_property
    def reading(self) -> dict[str, Any]:
        """What CocoExampleGen counted of the split."""
        found: dict[str, Any] = read_origin(self._examples).get(self.split, {})
        return found

    def pictures(
        self, image_ids: set[int] | None, max_pixels: int, on_failure: OnFailure
    ) -> Iterator[Item]:
        """Yields each picture of the split, or those of `image_ids`, in the shards' order."""
        for serialized in iterate_records(self._examples, self.split):
            image, _, encoded = ground_truth.content_of_record(serialized)
            if image_ids is not None and image["id"] not in image_ids:
                continue
            try:  # CocoExampleGen has decoded it
                picture = servable(encoded, shown(image["file_name"]), max_pixels, is_checked=True)
            except DatasetError as error:
                on_failure(image, error)
                continue
            yield image, picture


class AnnotationsSource:
    """A COCO instances file and, where pictures are wanted, their folder.

    Pictures are found as CocoExampleGen finds them.

    Args:
        annotations: the JSON file.
        pictures: the folder of its pictures, or None.
        data: how the file is read: its policies, formats and limits, and how it is split.
        split: whose pictures are measured on, where `data.split` splits the file; "all" is all.

    Raises:
        DatasetError: there is no such split.
    """

    digest = None
    split = None

    def __init__(
        self,
        annotations: str | os.PathLike[str],
        pictures: str | os.PathLike[str] | None = None,
        data: DataConfig | None = None,
        split: str = "eval",
    ) -> None:
        self._annotations = annotations
        self._pictures = pictures
        self._data = DataConfig() if data is None else data
        self._policies = resolve_policies(self._data.policies)
        self.has_pictures = pictures is not None
        self.name = str(annotations)
        self._split = split
        if split == WHOLE_FILE:
            self._data = self._data.model_copy(update={"split": None})
        if self._data.split is not None and self._data.sources:
            raise DatasetError(
                f"{annotations}: data.split splits all data.sources together, with other image "
                f"ids: measure on the examples (--examples), or on all of a file (--split "
                f"{WHOLE_FILE})"
            )
        if self._data.split is not None:
            self.name = f"{annotations}, split {split}"
            if split not in SPLIT_NAMES:
                names = ", ".join(SPLIT_NAMES)
                raise DatasetError(
                    f"data.split makes no split named {split!r}, only {names}, {WHOLE_FILE}"
                )

    @cached_property
    def ground_truth(self) -> GroundTruth:
        """The objects in the file.

        Raises:
            DatasetError: see `ground_truth_from_json`; or none of the pictures is there.
        """
        takes_size_of_file = self._policies["picture_size_differs"] == MEND
        sizes_of = self._sizes_of if self.has_pictures and takes_size_of_file else None
        return ground_truth.ground_truth_from_json(
            self._annotations, self._data, sizes_of, self._split
        )

    @cached_property
    def reading(self) -> dict[str, Any]:
        """What became of the file's entries, and what is odd."""
        truth = self.ground_truth
        missing = self._note_on_missing_pictures()
        notes = [*truth.notes, missing] if missing else list(truth.notes)
        made = {"part": truth.part, "classes": truth.classes}
        made = {key: value for key, value in made.items() if value is not None}
        return truth.tally.summary() | made | {"notes": notes}

    def pictures(
        self, image_ids: set[int] | None, max_pixels: int, on_failure: OnFailure
    ) -> Iterator[Item]:
        """Yields each picture that the file lists, or those of `image_ids`.

        Raises:
            DatasetError: no folder was given.
        """
        if self._pictures is None:
            raise DatasetError(f"{self._annotations}: to run a model, give --pictures FOLDER")
        for image in self.ground_truth.images:
            if image_ids is not None and image["id"] not in image_ids:
                continue
            try:
                picture = self._read(image, max_pixels)
            except DatasetError as error:
                on_failure(image, error)
                continue
            yield image, picture

    def _read(self, image: dict[str, Any], max_pixels: int) -> Picture:
        picture = read_picture(self._path(image["file_name"]), max_pixels)
        stated = image["height"], image["width"]
        if stated not in ((picture.height, picture.width), picture.stored_size):
            raise DatasetError(
                f"the file has {picture.width} x {picture.height} pixels, {self._annotations} says "
                f"{image['width']} x {image['height']} (picture_size_differs)"
            )
        if self._policies["exif_turned"] == MEND and stated == (picture.height, picture.width):
            return replace(picture, orientation=UPRIGHT)  # what is found needs no turn back
        return picture

    def _path(self, file_name: str) -> str:
        """Returns the path of a picture's file.

        Raises:
            DatasetError: a policy leaves it out.
        """
        judge = Judge(self._policies)
        try:
            return locate_picture(str(self._pictures), file_name, self._data.picture_prefix, judge)
        except LeftOut:
            flaw = judge.flaws[-1]
            raise DatasetError(f"{flaw.detail} ({flaw.code})") from None

    def _sizes_of(self, file_name: str) -> tuple[Size, Size] | None:
        """Returns the sizes of a picture's file as stored and upright; None where none is there."""
        try:
            content = read_picture_file(self._path(file_name))
            facts = read_facts(content, self._data.max_picture_pixels, "data.max_picture_pixels")
        except (DatasetError, PictureFlaw):  # said where the picture is used
            return None
        return (facts.height, facts.width), facts.upright_size

    def _note_on_missing_pictures(self) -> str | None:
        """Returns a line on pictures that are not in the folder, with what fits instead.

        Raises:
            DatasetError: none is there.
        """
        if self._pictures is None:
            return None
        folder, prefix = str(self._pictures), self._data.picture_prefix
        names = [image["file_name"] for image in self.ground_truth.images]
        missing = [name for name in names if self._is_missing(name)]
        if not missing:
            return None
        hint = why_missing(missing[:_MOST_LOOKED_FOR], folder, prefix)
        if len(missing) == len(names):
            raise DatasetError(
                f"{folder}: has none of the {plural(len(names), 'picture')} of "
                f"{self._annotations}: {hint}"
            )
        return f"{plural(len(missing), 'picture')} of {len(names):,} not in {folder}: {hint}"

    def _is_missing(self, file_name: str) -> bool:
        found = find_picture(str(self._pictures), file_name, self._data.picture_prefix)
        if found.code and self._policies[found.code] != MEND:
            return True
        return not os.path.lexists(os.path.join(str(self._pictures), found.name))

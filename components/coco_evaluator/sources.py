"""Where ground truth and pictures come from: an examples folder, or a COCO file."""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from configs.errors import DatasetError
from configs.schema import DataConfig
from model.coco import ground_truth
from model.coco.ground_truth import GroundTruth
from model.encoded.files import shown
from model.examples import iterate_records, read_manifest, verified_digest
from model.pictures import Picture, read_picture_inside, servable

Item = tuple[dict[str, Any], Picture]  # a COCO image and its file
# Called with a COCO image and what is wrong with its file.
OnFailure = Callable[[dict[str, Any], DatasetError], None]


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
    def has_pictures(self) -> bool:
        """Whether `pictures` can be read."""

    def pictures(
        self, image_ids: set[int] | None, max_pixels: int, on_failure: OnFailure
    ) -> Iterator[Item]:
        """Yields each picture, or those of `image_ids`.

        Args:
            image_ids: of COCO; None is all.
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

    Args:
        annotations: the JSON file.
        pictures: the folder of its pictures, or None.
        data: how the file is read: its policies, formats and limits.
    """

    digest = None
    split = None

    def __init__(
        self,
        annotations: str | os.PathLike[str],
        pictures: str | os.PathLike[str] | None = None,
        data: DataConfig | None = None,
    ) -> None:
        self._annotations = annotations
        self._pictures = pictures
        self._data = DataConfig() if data is None else data
        self.has_pictures = pictures is not None
        self.name = str(annotations)

    @cached_property
    def ground_truth(self) -> GroundTruth:
        """The objects in the file."""
        return ground_truth.ground_truth_from_json(self._annotations, self._data)

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
                picture = read_picture_inside(self._pictures, image["file_name"], max_pixels)
            except DatasetError as error:
                on_failure(image, error)
                continue
            yield image, picture

"""The pictures of one shard, in whichever folder or store each of them has to be."""

from collections.abc import Iterable
from typing import Any

from components.coco_example_gen.job import ShardJob
from model.coco.entries import Picture
from model.coco.picture_folder import PictureFolder, open_pictures
from model.coco.policies import Judge


class ShardPictures:
    """The folders of a shard's pictures.

    Args:
        job: job of the shard.
    """

    def __init__(self, job: ShardJob) -> None:
        self._job = job
        self._folders: dict[str, PictureFolder] = {}

    def expect(self, images: Iterable[tuple[int, Any]]) -> None:
        """Takes the ids and entries of the pictures that will be asked for, in this order."""
        names: dict[str, list[str]] = {}
        for image_id, image in images:
            file_name = image.get("file_name")
            if isinstance(file_name, str):
                folder, name = self._job.place_of(image_id, file_name)
                names.setdefault(folder, []).append(name)
        for folder, of_folder in names.items():
            self._folder(folder).expect(of_folder)

    def content(self, picture: Picture, judge: Judge) -> bytes:
        """Returns the bytes of a picture's file.

        Raises:
            LeftOut: see `PictureFolder.content`.
            PictureFlaw: see `PictureFolder.content`.
        """
        folder, name = self._job.place_of(picture.id, picture.file_name)
        return self._folder(folder).content(name, judge)

    def close(self) -> None:
        """Lets go of what was asked for."""
        for folder in self._folders.values():
            folder.close()

    def _folder(self, place: str) -> PictureFolder:
        if place not in self._folders:
            self._folders[place] = open_pictures(place, self._job.picture_prefix)
        return self._folders[place]

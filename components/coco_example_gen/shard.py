"""Writes one shard of examples from its spool file and the pictures.

A shard depends on its spool file, the pictures and the settings alone, so that any runner with
any number of workers writes the same bytes. Records are sorted by image id.
"""

import contextlib
from typing import Any, BinaryIO, NamedTuple

from components.coco_example_gen import spool
from components.coco_example_gen.accounts import check_fates, check_spool_file
from components.coco_example_gen.job import ShardJob
from components.coco_example_gen.record import encode_record
from components.coco_example_gen.rejects import RejectsFile
from components.coco_example_gen.shard_pictures import ShardPictures
from components.shard_count import ShardCount
from components.shard_file import ShardFile, opened
from components.shard_results import ShardResult
from ground.files import atomic_path
from model.coco.entries import (
    CocoObject,
    Picture,
    parse_object,
    parse_picture,
)
from model.coco.policies import REFUSE, Flaw, Judge, LeftOut
from model.coco.tally import SEEN_TURN_UNCLEAR, SEEN_TURN_UNDONE, Tally, picture_name
from model.encoded.check import Facts, inspect
from model.encoded.decoder import check_decodes
from model.encoded.flaw import PictureFlaw
from model.encoded.pixels import upright_jpeg

_BUFFER_BYTES = 1 << 20


class Stored(NamedTuple):
    """A picture as its record stores it; sizes in pixels."""

    encoded: bytes
    format: str
    height: int
    width: int


def write_shard(job: ShardJob) -> ShardResult:
    """Writes a shard, its index and its rejects; the counts are a `Tally`.

    Raises:
        OSError: the disk is full, or fails, or the spool or target folder is gone.
        DatasetError: pictures or objects were lost between the spool file and the shard.
        ServiceError: the store of the pictures fails.
    """
    tally = Tally()
    with (
        open(spool.spool_path(job.spool_folder, job.shard), "rb") as spooled,
        atomic_path(job.rejects) as rejects_path,
        open(rejects_path, "w", encoding="utf-8", errors="surrogatepass") as rejects,
        opened(job) as file,
        contextlib.closing(ShardPictures(job)) as pictures,
    ):
        _ShardWriter(job, spooled, file, RejectsFile(rejects, tally), tally, pictures).write()
    file.check()
    check_fates(job, tally)
    counters = {
        "pictures_written": tally.pictures_written,
        "objects_written": tally.objects_written,
        **tally.reasons,
    }
    return ShardResult(file.publish(), tally.objects_written, tally.to_json(), counters)


class _ShardWriter:
    def __init__(
        self,
        job: ShardJob,
        spooled: BinaryIO,
        file: ShardFile,
        rejects: RejectsFile,
        tally: Tally,
        pictures: ShardPictures,
    ):
        self._job = job
        self._count = ShardCount(job)
        self._spooled = spooled
        self._file = file
        self._rejects = rejects
        self._tally = tally
        self._pictures = pictures
        self._repeated = set(spool.read_repeated_places(job.spool_folder).tolist())

    def write(self) -> None:
        index = spool.read_index(self._job.spool_folder, self._job.shard)
        check_spool_file(self._job, index)
        if self._job.reads_stores:
            self._pictures.expect(
                (image_id, spool.read_entry(self._spooled, index.images[image_id]))
                for image_id in sorted(index.images)
            )
        for image_id in sorted(index.images):
            image = spool.read_entry(self._spooled, index.images[image_id])
            entries = index.annotations.pop(image_id, [])
            self._write_picture(image, list(spool.iterate_entries(self._spooled, entries)))
        for image_id, entry in index.repeated_images:
            image = spool.read_entry(self._spooled, entry)
            self._tally.pictures_read += 1
            code, detail = "duplicate_image_id", f"the id {image_id} came before"
            self._reject_picture(self._flaw(code, detail), image, [])
        for image_id, entries in sorted(index.annotations.items()):
            for _, annotation in spool.iterate_entries(self._spooled, entries):
                self._tally.read_object(annotation)
                flaw = self._flaw("unknown_image", f"image_id {image_id} is not in `images`")
                self._rejects.annotation(flaw, annotation)

    def _write_picture(self, image: Any, annotations: list[tuple[int, Any]]) -> None:
        """Writes the record of a picture, or its reject."""
        self._count.advance()
        self._tally.pictures_read += 1
        for _, annotation in annotations:
            self._tally.read_object(annotation)
        judge = Judge(self._job.policies)
        try:
            picture, stored = self._read_picture(image, judge)
            picture_flaws = list(judge.flaws)
            objects, dropped = self._parse_objects(annotations, stored, judge)
        except LeftOut:
            entries = [annotation for _, annotation in annotations]
            self._reject_picture(judge.flaws[-1], image, entries)
            return
        finally:
            self._tally.note_flaws(judge.flaws)
        for flaw, annotation in dropped:
            self._rejects.annotation(flaw, annotation)
        record = encode_record(
            picture.id,
            picture.file_name,
            (stored.height, stored.width),
            stored.encoded,
            stored.format,
            [found for found, _ in objects],
        )
        self._file.add(
            record,
            image_id=picture.id,
            height=stored.height,
            width=stored.width,
            num_objects=len(objects),
        )
        self._tally.pictures_written += 1
        self._tally.note_losses(picture_flaws, picture_name(image))
        for found, flaws in objects:
            self._tally.write_object(found, flaws, picture.id)

    def _read_picture(self, image: Any, judge: Judge) -> tuple[Picture, Stored]:
        """Returns a picture's entry and its file.

        Raises:
            LeftOut: a flaw's policy leaves the picture out.
        """
        picture = parse_picture(image, judge, self._job.max_picture_pixels)
        try:
            content = self._pictures.content(picture, judge)
            facts = inspect(content, self._job.max_picture_pixels)
            for code, detail in facts.flaws:
                judge.note(code, detail)
            check_decodes(facts)
        except PictureFlaw as flaw:
            judge.leave_out(flaw.code, flaw.detail)
        return picture, _stored(picture, facts, judge, self._tally)

    def _parse_objects(
        self, annotations: list[tuple[int, Any]], stored: Stored, picture_judge: Judge
    ) -> tuple[list[tuple[CocoObject, list[Flaw]]], list[tuple[Flaw, Any]]]:
        """Returns a picture's objects with the flaws of each, and those dropped with the flaw.

        Raises:
            LeftOut: an object's flaw refuses the whole picture.
        """
        objects, dropped = [], []
        for place, annotation in annotations:
            judge = Judge(self._job.policies)
            try:
                found = parse_object(
                    annotation,
                    place,
                    place in self._repeated,
                    stored.height,
                    stored.width,
                    self._job.categories,
                    judge,
                    self._job.forms,
                )
                objects.append((found, judge.flaws))
            except LeftOut:
                dropped.append((judge.flaws[-1], annotation))
            picture_judge.flaws.extend(judge.flaws)
            if judge.flaws and judge.flaws[-1].policy == REFUSE:
                raise LeftOut
        return objects, dropped

    def _flaw(self, code: str, detail: str) -> Flaw:
        """Returns a flaw that leaves its record out, counted."""
        flaw = Flaw(code, self._job.policies[code], detail)
        self._tally.note_flaws([flaw])
        return flaw

    def _reject_picture(self, flaw: Flaw, image: Any, annotations: list[Any]) -> None:
        self._rejects.picture(flaw, picture_name(image), image, annotations)


def _stored(picture: Picture, facts: Facts, judge: Judge, tally: Tally) -> Stored:
    """Returns what the record stores of a picture whose file can be decoded.

    Raises:
        LeftOut: the file's size or turn is not what the entry says, and policy leaves it out.
    """
    stated = picture.height, picture.width
    as_stored = stated == (facts.height, facts.width)
    turn = f"EXIF orientation {facts.orientation}"
    if facts.is_turned and stated == facts.upright_size:
        # A turn that keeps the size leaves open which picture the boxes are of.
        if judge.note("exif_turned" if as_stored else "exif_size_swapped", turn):
            return _upright(facts, judge)
        tally.seen[SEEN_TURN_UNCLEAR] += 1
        tally.examples.setdefault(SEEN_TURN_UNCLEAR, f"image id {picture.id}")
    elif facts.is_turned and as_stored:
        judge.note("exif_turned", turn, is_mendable=False)
        tally.seen[SEEN_TURN_UNDONE] += 1
    elif not as_stored:
        judge.note(
            "picture_size_differs",
            f"the file has {facts.width} x {facts.height} pixels, "
            f"the COCO file says {picture.width} x {picture.height}",
        )
    return Stored(facts.content, facts.format, facts.height, facts.width)


def _upright(facts: Facts, judge: Judge) -> Stored:
    """Returns a picture turned as its EXIF asks.

    Raises:
        LeftOut: it cannot be decoded.
    """
    try:
        upright = upright_jpeg(facts.content, facts.orientation)
    except PictureFlaw as flaw:
        judge.leave_out(flaw.code, flaw.detail)
    return Stored(upright, "jpeg", *facts.upright_size)

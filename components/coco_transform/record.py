"""One record of CocoExampleGen to one record of CocoTransform."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from components.coco_transform.bitmap import Bitmap, object_bitmap
from components.coco_transform.picture import (
    TrainingPicture,
    UnreadablePictureError,
    training_picture,
)
from components.coco_transform.picture_hash import NO_HASH, hash_of, picture_hash
from components.coco_transform.suspicion import Suspicion, agreement, suspicions
from components.coco_transform.turn import UPRIGHT, Turn
from configs.schema import InputSizes, TransformConfig
from model import records
from model.coco.boxes import xywh_to_yxyx
from model.tf_example import decode_example, encode_example

Floats = npt.NDArray[np.float64]

# A box that reaches this little over the border was rounded, not drawn wrong.
_CLIP_TOLERANCE_PX = 0.01


# Why a picture is left out; CocoExampleGen's checks leave little to find.
DROP_REASONS = ("picture_unreadable", "picture_size_differs")


class DroppedPictureError(ValueError):
    """A picture that cannot be used.

    Args:
        reason: one of `DROP_REASONS`.
        image_id: id of the picture.
        name: its file's.
        objects: that its record holds, crowds too.
    """

    def __init__(self, reason: str, image_id: int = 0, name: str = "", objects: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.image_id = image_id
        self.name = name
        self.objects = objects


@dataclass(frozen=True)
class RecordForm:
    """What shapes a record.

    Attributes:
        short_side_px: largest short side that training resizes to, as in `resized_sides`.
        long_side_px: largest long side.
        jpeg_quality: quality of pictures that are written anew.
        mask_frame: what a bitmap covers, as in `object_bitmap`.
        mask_size: its largest side.
    """

    short_side_px: float
    long_side_px: float
    jpeg_quality: int
    mask_frame: Literal["box", "picture"]
    mask_size: int

    @classmethod
    def of(cls, sizes: InputSizes, transform: TransformConfig) -> "RecordForm":
        """Returns the form for the largest sizes that training resizes to, as it may draw them."""
        short_side_px, long_side_px = sizes.stored_sides_px
        return cls(
            short_side_px=short_side_px,
            long_side_px=long_side_px,
            jpeg_quality=transform.jpeg_quality,
            mask_frame=transform.mask_frame,
            mask_size=transform.mask_size,
        )


@dataclass(frozen=True)
class TrainingRecord:
    """A record for training, and what the index and the report want to know of it.

    Attributes:
        payload: the serialized example.
        image_id: id of the picture.
        height: height of the stored picture.
        width: width of the stored picture.
        source_size: height and width of the source, upright.
        changes: why the picture is not the source's own file; empty where it is.
        boxes_norm: [n, 4] float64, yxyx, in 0-1.
        labels: int64 [n].
        is_crowd: bool [n].
        mask_side: longest side of the bitmaps, 0 without any.
        counts: counts of objects and masks by what happened to them.
        lost: by what happened to it: the first object that lost itself or its mask.
        annotation_ids: [n] of the objects.
        suspicions: what looks wrong about them.
        bitmaps: fidelity and bytes of each object's bitmap that has one, by its row.
        sha256: SHA-256 of the source's file, in hex.
        look: what `hash_of` gives.
    """

    payload: bytes
    image_id: int
    height: int
    width: int
    source_size: tuple[int, int]
    changes: tuple[str, ...]
    boxes_norm: Floats
    labels: npt.NDArray[np.int64]
    is_crowd: npt.NDArray[np.bool_]
    mask_side: int
    counts: Counter[str] = field(default_factory=Counter)
    lost: dict[str, str] = field(default_factory=dict)
    annotation_ids: tuple[int, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    bitmaps: dict[int, tuple[float, int]] = field(default_factory=dict)
    sha256: str = ""
    look: tuple[int, int] = NO_HASH


def transform_record(serialized: bytes, form: RecordForm) -> TrainingRecord:
    """Returns the record that training reads.

    Boxes are clipped to the picture; one of which nothing is left is dropped and counted. An
    annotation lies in the frame of the size that the COCO file gives: where that is the size of
    the picture as stored, boxes and masks are turned upright with it; where it is that of the
    upright picture, they already are. Crowd regions keep their box and get no bitmap.

    Raises:
        DroppedPictureError: the picture cannot be decoded (`picture_unreadable`), or has another
            size than the COCO file says (`picture_size_differs`).
    """
    source = decode_example(serialized)
    image_id, name = int(source[records.SOURCE_ID][0]), source[records.FILENAME][0]
    objects = len(source[records.ANNOTATION_ID])
    try:
        picture, turn = _picture(source, form)
    except DroppedPictureError as dropped:
        readable = name.decode(errors="replace")
        raise DroppedPictureError(dropped.reason, image_id, readable, objects) from None
    height, width = source[records.HEIGHT][0], source[records.WIDTH][0]
    counts, lost = Counter({"read": objects}), _Lost(source)
    boxes_norm, clipped, kept = _boxes(source, turn, height, width, counts, lost)
    bitmaps = [_bitmap(source, row, turn, form, counts, lost) for row in kept]
    labels = np.asarray([source[records.CLASS_LABEL][row] for row in kept], np.int64)
    is_crowd = np.asarray([source[records.IS_CROWD][row] for row in kept], bool)
    agreements = [
        None if bitmap is None else agreement(box, bitmap.bounds)
        for box, bitmap in zip(clipped, bitmaps, strict=True)
    ]
    upright_height, upright_width = turn.size(height, width)
    sides = np.asarray([upright_height, upright_width, upright_height, upright_width], np.float64)
    return TrainingRecord(
        payload=_encoded(source, picture, boxes_norm, kept, bitmaps, sides),
        image_id=image_id,
        height=picture.height,
        width=picture.width,
        source_size=(upright_height, upright_width),
        changes=picture.changes,
        boxes_norm=boxes_norm,
        labels=labels,
        is_crowd=is_crowd,
        mask_side=max([0, *(bitmap.side for bitmap in bitmaps if bitmap)]),
        counts=counts,
        lost=lost.first,
        annotation_ids=tuple(source[records.ANNOTATION_ID][row] for row in kept),
        suspicions=tuple(suspicions(boxes_norm, labels, is_crowd, agreements)),
        bitmaps={n: (b.fidelity, len(b.png)) for n, b in enumerate(bitmaps) if b},
        sha256=source[records.SHA256][0].decode(),
        look=hash_of(picture.pixels) if picture.pixels else picture_hash(picture.jpeg),
    )


class _Lost:
    """Names the first object of a record that loses something, by what happened to it."""

    def __init__(self, source: dict[str, list[Any]]) -> None:
        self._image_id = int(source[records.SOURCE_ID][0])
        self._ids = source[records.ANNOTATION_ID]
        self.first: dict[str, str] = {}

    def note(self, what: str, row: int) -> None:
        """Notes that it happened to the object in a row of the record."""
        self.first.setdefault(what, f"image id {self._image_id}, annotation id {self._ids[row]}")


def _picture(source: dict[str, list[Any]], form: RecordForm) -> tuple[TrainingPicture, Turn]:
    """Returns the picture as training reads it, and how its annotations turn.

    Raises:
        DroppedPictureError: it cannot be used.
    """
    try:
        picture = training_picture(
            source[records.ENCODED][0],
            form.short_side_px,
            form.long_side_px,
            form.jpeg_quality,
        )
    except UnreadablePictureError:
        raise DroppedPictureError("picture_unreadable") from None
    return picture, _annotation_turn(picture, source[records.HEIGHT][0], source[records.WIDTH][0])


def _annotation_turn(picture: TrainingPicture, height: int, width: int) -> Turn:
    """Returns how annotations turn that lie in a frame of this size."""
    if (height, width) == picture.stored_size:
        return picture.turn
    if (height, width) == picture.turn.size(*picture.stored_size):
        return UPRIGHT
    raise DroppedPictureError("picture_size_differs")


def _boxes(
    source: dict[str, list[Any]],
    turn: Turn,
    height: int,
    width: int,
    counts: Counter[str],
    lost: _Lost,
) -> tuple[Floats, Floats, list[int]]:
    """Returns the boxes that are kept, and their rows in `source`.

    Returns:
        [n, 4] upright, as shares of the picture's sides; [n, 4] in pixels of the frame of `source`,
        both clipped; and the rows.
    """
    numbers = np.frombuffer(source[records.COCO_NUMBERS][0], "<f8").reshape(-1, 5)
    boxes = np.stack(xywh_to_yxyx(numbers[:, :4].T), axis=1)
    limits = np.asarray([height, width, height, width], np.float64)
    clipped = np.clip(boxes, 0.0, limits)
    has_area = (numbers[:, 2] > 0) & (numbers[:, 3] > 0)
    is_inside = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    is_clipped = np.abs(clipped - boxes).max(axis=1, initial=0.0) > _CLIP_TOLERANCE_PX
    kept = []
    for row in range(len(boxes)):
        kind = "crowd" if source[records.IS_CROWD][row] else "object"
        if not has_area[row]:
            counts[f"{kind}_dropped_without_area"] += 1
            lost.note("without_area", row)
        elif not is_inside[row]:
            counts[f"{kind}_dropped_outside"] += 1
            lost.note("outside", row)
        else:
            counts[f"{kind}_kept"] += 1
            counts[f"{kind}_clipped"] += int(is_clipped[row])
            kept.append(row)
    upright = turn.boxes(clipped[kept], height, width)
    upright_height, upright_width = turn.size(height, width)
    sides = [upright_height, upright_width, upright_height, upright_width]
    return upright / sides, clipped[kept], kept


def _bitmap(
    source: dict[str, list[Any]],
    row: int,
    turn: Turn,
    form: RecordForm,
    counts: Counter[str],
    lost: _Lost,
) -> Bitmap | None:
    if source[records.IS_CROWD][row]:
        return None
    segmentation = source[records.SEGMENTATION][row]
    bitmap = None
    if segmentation:
        bitmap = object_bitmap(segmentation, form.mask_frame, form.mask_size, turn)
        if bitmap is None:
            lost.note("mask_empty", row)
    counts["mask_kept" if bitmap else "mask_empty" if segmentation else "mask_absent"] += 1
    return bitmap


def _encoded(
    source: dict[str, list[Any]],
    picture: TrainingPicture,
    boxes_norm: Floats,
    kept: list[int],
    bitmaps: list[Bitmap | None],
    sides: Floats,
) -> bytes:
    nowhere = np.zeros(4)
    mask_boxes = np.asarray([b.box / sides if b else nowhere for b in bitmaps]).reshape(-1, 4)
    return encode_example(
        bytes_lists={
            records.ENCODED: [picture.jpeg],
            records.FORMAT: [b"jpeg"],
            records.SOURCE_ID: source[records.SOURCE_ID],
            records.FILENAME: source[records.FILENAME],
            records.MASK_BITMAP: [bitmap.png if bitmap else b"" for bitmap in bitmaps],
        },
        float_lists={
            records.BOX_YMIN: boxes_norm[:, 0],
            records.BOX_XMIN: boxes_norm[:, 1],
            records.BOX_YMAX: boxes_norm[:, 2],
            records.BOX_XMAX: boxes_norm[:, 3],
            records.MASK_YMIN: mask_boxes[:, 0],
            records.MASK_XMIN: mask_boxes[:, 1],
            records.MASK_YMAX: mask_boxes[:, 2],
            records.MASK_XMAX: mask_boxes[:, 3],
        },
        int64_lists={
            records.HEIGHT: [picture.height],
            records.WIDTH: [picture.width],
            records.CLASS_LABEL: [source[records.CLASS_LABEL][row] for row in kept],
            records.IS_CROWD: [source[records.IS_CROWD][row] for row in kept],
            records.ANNOTATION_ID: [source[records.ANNOTATION_ID][row] for row in kept],
        },
    )

"""What the page shows: pictures, what lies in them, and how both were judged. No files, no HTML."""

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from model.evaluation.matching import AREAS

NOBODY = -1  # the partner of an object that is missed, or of a detection that is wrong
UNJUDGED = -2  # of what is neither: crowds, detections that lie in one, pictures nobody measured
UNKNOWN_CLASS = -1
SIZES = tuple(size for size in AREAS if size != "all")


class Kind(enum.IntEnum):
    """What something in a picture is."""

    OBJECT = 0
    CROWD = 1
    LEFT_OUT = 2
    DETECTION = 3
    SUSPECT = 4


class Reason(NamedTuple):
    """Why an entry was mended or left out: a code of `model.coco.policies`, and what is wrong."""

    code: str
    detail: str = ""


@dataclass
class Thing:
    """Something in a picture.

    Attributes:
        kind: what it is.
        category: position in the album's classes; `UNKNOWN_CLASS` for none of them.
        bbox: COCO's four numbers, in pixels of the picture; None where nothing plain is known.
        area: in square pixels.
        number: its id in the COCO file, for people.
        mask: COCO's compressed counts of the whole picture; "" for none.
        reasons: why it was mended, or left out.
        score: score of a detection; else None.
        partner: position of the detection that finds it, or of the object that it finds.
    """

    kind: Kind
    category: int
    bbox: Sequence[float] | None
    area: float
    number: int | None = None
    mask: str = ""
    reasons: tuple[Reason, ...] = ()
    score: float | None = None
    partner: int = UNJUDGED

    @property
    def size(self) -> int:
        """Position in `SIZES`, by COCO's limits."""
        limits = [AREAS[size][1] for size in SIZES]
        return next((n for n, limit in enumerate(limits) if self.area <= limit), len(SIZES) - 1)


class PictureFile(Protocol):
    """Where the bytes of a picture are."""

    def read(self) -> bytes:
        """Returns the file's bytes.

        Raises:
            RcnnError: they cannot be had.
            PictureFlaw: they are no file, or lie outside the folder.
        """

    def flaws(self) -> list[Reason]:
        """Returns what a quick look at the file finds; empty where it was looked at before."""


@dataclass
class ShownPicture:
    """A picture of the page.

    Attributes:
        name: its file's name, for people.
        width: in pixels, in the frame that the boxes mean.
        height: height in that frame.
        split: position in the album's splits.
        file: where its bytes are; None where nobody knows.
        things: what lies in it: objects first.
        reasons: why it was mended, or left out.
        is_left_out: whether CocoExampleGen leaves it out.
        is_upright: whether boxes are of the picture as EXIF turns it, also where that keeps its
            size (`data.policies.exif_turned=mend`).
    """

    name: str
    width: int
    height: int
    split: int
    file: PictureFile | None
    things: list[Thing] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    is_left_out: bool = False
    is_upright: bool = False


@dataclass
class Album:
    """All that a page shows.

    Attributes:
        title: what was looked at.
        classes: names.
        splits: names.
        pictures: in the order of the page.
        has_detections: whether there are detections, so that objects are found or missed.
        score: where the page begins to count detections.
        leaves_out: codes of the reasons for which a picture is left out.
        notes: lines for people.
    """

    title: str
    classes: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    pictures: list[ShownPicture] = field(default_factory=list)
    has_detections: bool = False
    score: float = 0.0
    leaves_out: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def class_position(self, name: str) -> int:
        """Returns the position of a class, which is added where it is new."""
        if name not in self._positions:
            self._positions[name] = len(self.classes)
            self.classes.append(name)
        return self._positions[name]

    def __post_init__(self) -> None:
        self._positions = {name: n for n, name in enumerate(self.classes)}


def counts_of(segmentation: bytes) -> str:
    """Returns the compressed counts of a mask as records have it; "" where there is none.

    >>> counts_of(b'{"size": [2, 3], "counts": "01102"}')
    '01102'
    """
    counts: str = json.loads(segmentation)["counts"] if segmentation else ""
    return counts

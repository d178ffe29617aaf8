"""What became of a COCO file's pictures and objects, and how often each reason came up.

Each number is counted where it happens, none is worked out from others, so that they can be
compared: what is read is what is written and what is left out.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from model.coco.entries import CocoObject
from model.coco.masks import is_no_mask
from model.coco.names import RepeatedNames
from model.coco.policies import MEND, REASONS, REFUSE, Flaw, Reason
from model.coco.values import shortened
from model.encoded.files import shown

SEEN_NAME_AGAIN = "file_name_again"  # pictures whose file another picture has, too
SEEN_TURN_UNCLEAR = "exif_turn_unclear"  # stored as they are, by a turn that keeps their size
SEEN_TURN_UNDONE = "exif_turn_undone"  # whose stated size is that before the turn, and not after


@dataclass
class Tally:
    """Counts of one shard or of one split.

    Attributes:
        pictures_read: entries of `images`.
        pictures_written: records, or pictures that are measured on.
        objects_read: entries of `annotations`.
        objects_written: in the records, crowds too.
        crowds_written: those of the objects that are crowd regions.
        masks_read: entries of `annotations` that have a segmentation with anything in it.
        masks_written: objects in the records that have one, crowds too.
        reasons: flaws by code, whatever was done about them.
        refused_pictures: lines of the rejects by code: pictures that policy refuses.
        dropped_pictures: lines of the rejects by code: pictures that policy drops.
        dropped_objects: the same of objects whose picture stays, or is not known.
        objects_with_pictures: objects in the lines of pictures, by the picture's code.
        mended: flaws that were mended, by code.
        lost_pictures: used after a repair that loses a part of them, by code.
        lost_objects: used after a repair that loses a part or guesses a number, by code.
        lost_masks: objects that a repair cost their mask, or a part of it, by code.
        objects_by_category: written objects that are no crowds, by COCO id in decimal.
        not_kept: entries of `annotations` of classes that are not kept (`data.classes`), by class;
            they count nowhere else.
        examples: the first record of each code that was left out or lost something.
        seen: how often something was seen that is no flaw, for the notes.
    """

    pictures_read: int = 0
    pictures_written: int = 0
    objects_read: int = 0
    objects_written: int = 0
    crowds_written: int = 0
    masks_read: int = 0
    masks_written: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    refused_pictures: Counter[str] = field(default_factory=Counter)
    dropped_pictures: Counter[str] = field(default_factory=Counter)
    dropped_objects: Counter[str] = field(default_factory=Counter)
    objects_with_pictures: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    lost_pictures: Counter[str] = field(default_factory=Counter)
    lost_objects: Counter[str] = field(default_factory=Counter)
    lost_masks: Counter[str] = field(default_factory=Counter)
    objects_by_category: Counter[str] = field(default_factory=Counter)
    not_kept: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def pictures_refused(self) -> int:
        """Pictures left out that count against `data.max_rejected_fraction`."""
        return self.refused_pictures.total()

    @property
    def pictures_rejected(self) -> int:
        """Pictures left out: lines of the rejects."""
        return self.refused_pictures.total() + self.dropped_pictures.total()

    @property
    def objects_rejected(self) -> int:
        """Objects left out: in lines of their own, and in those of their pictures."""
        return self.dropped_objects.total() + self.objects_with_pictures.total()

    @property
    def objects_to_learn(self) -> int:
        """Written objects that training can use."""
        return self.objects_by_category.total()

    def add(self, other: "Tally") -> None:
        """Adds the counts of another one; of two examples the first stays."""
        for each in fields(self):
            value, more = getattr(self, each.name), getattr(other, each.name)
            if isinstance(value, Counter):
                value.update(more)
            elif isinstance(value, int):
                setattr(self, each.name, value + more)
        self.examples = other.examples | self.examples

    def read_object(self, annotation: Any) -> None:
        """Counts an entry of `annotations`."""
        self.objects_read += 1
        if isinstance(annotation, dict):
            self.masks_read += not is_no_mask(annotation.get("segmentation"))

    def leave_out_picture(self, flaw: Flaw, name: str, objects: int) -> None:
        """Counts a picture that is left out, with so many objects."""
        counts = self.refused_pictures if flaw.policy == REFUSE else self.dropped_pictures
        counts[flaw.code] += 1
        if objects:
            self.objects_with_pictures[flaw.code] += objects
        self.examples.setdefault(flaw.code, f"{name}: {flaw.detail}")

    def leave_out_object(self, flaw: Flaw, name: str) -> None:
        """Counts an object that is left out while its picture stays, or is not known."""
        self.dropped_objects[flaw.code] += 1
        self.examples.setdefault(flaw.code, f"{name}: {flaw.detail}")

    def write_object(self, found: CocoObject, flaws: Iterable[Flaw], image_id: int) -> None:
        """Counts an object of a picture that is used, and what its repair cost it."""
        self.objects_written += 1
        self.masks_written += bool(found.segmentation)
        if found.is_crowd:
            self.crowds_written += 1
        else:
            self.objects_by_category[str(found.category_id)] += 1
        self.note_losses(flaws, f"image id {image_id}, annotation id {found.annotation_id}")

    def see_names(self, names: RepeatedNames) -> None:
        """Counts the pictures whose file an earlier one has, too."""
        if names.number:
            self.seen[SEEN_NAME_AGAIN] += names.number
            self.examples[SEEN_NAME_AGAIN] = names.first

    def note_flaws(self, flaws: Iterable[Flaw]) -> None:
        """Counts flaws that were found, whatever was done about them."""
        for flaw in flaws:
            self.reasons[flaw.code] += 1
            if flaw.policy == MEND:
                self.mended[flaw.code] += 1

    def note_losses(self, flaws: Iterable[Flaw], where: str) -> None:
        """Counts what the repair of a record that is used cost it, once a reason.

        Args:
            flaws: flaws of the record.
            where: names it, for a message.
        """
        found = {flaw.code: flaw for flaw in flaws if flaw.policy == MEND}
        for code, flaw in found.items():
            counts = self._losses(REASONS[code])
            if counts is None:
                continue
            counts[code] += 1
            self.examples.setdefault(code, f"{where}: {flaw.detail}")

    def _losses(self, reason: Reason) -> Counter[str] | None:
        """Returns what counts the losses by a reason's repair; None where it loses nothing."""
        if reason.concerns == "picture":
            return self.lost_pictures if reason.loss == "picture" else None
        if reason.loss == "mask":
            return self.lost_masks
        return self.lost_objects if reason.loss in ("object", "number") else None

    def to_json(self) -> dict[str, Any]:
        """Returns the counts as a JSON value; `from_json` reads it back."""
        return {
            name: dict(value) if isinstance(value, Counter) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Tally":
        """Returns the counts that `to_json` wrote."""
        counters = {each.name for each in fields(cls) if each.default_factory is Counter}
        counts: dict[str, Any] = {
            name: Counter(given) if name in counters else given for name, given in value.items()
        }
        return cls(**counts)

    def summary(self) -> dict[str, Any]:
        """Returns the counts as `summary.json` has them."""
        return {
            "pictures": _counts(self.pictures_read, self.pictures_written, self.pictures_rejected),
            "objects": _counts(self.objects_read, self.objects_written, self.objects_rejected),
            "reasons": _sorted(self.reasons),
            "crowds": self.crowds_written,
            "masks": {"read": self.masks_read, "written": self.masks_written},
            "rejected": {
                "pictures": _sorted(self.refused_pictures + self.dropped_pictures),
                "objects": _sorted(self.dropped_objects),
                "objects_with_pictures": _sorted(self.objects_with_pictures),
            },
            "mended": _sorted(self.mended),
            "lost": {
                "pictures": _sorted(self.lost_pictures),
                "objects": _sorted(self.lost_objects),
                "masks": _sorted(self.lost_masks),
            },
        }


def picture_name(image: Any) -> str:
    """Returns how a message names an entry of `images`."""
    if not isinstance(image, dict):
        return "an entry of `images`"
    name = image.get("file_name")
    shown_name = shown(name) if isinstance(name, str) else shortened(name)
    return f"image id {shortened(image.get('id'))} ({shown_name})"


def object_name(annotation: Any) -> str:
    """Returns how a message names an entry of `annotations`."""
    if not isinstance(annotation, dict):
        return "an entry of `annotations`"
    image_id, annotation_id = annotation.get("image_id"), annotation.get("id")
    return f"image id {shortened(image_id)}, annotation id {shortened(annotation_id)}"


def _counts(read: int, written: int, rejected: int) -> dict[str, int]:
    return {"read": read, "written": written, "rejected": rejected}


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))

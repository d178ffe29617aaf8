"""What was left out, whole, with its reason; and how often each reason came up."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, TextIO

from model.coco.policies import REFUSE, Flaw


@dataclasses.dataclass
class Tally:
    """Counts of one shard or of one split.

    Attributes:
        pictures_read: entries of `images`.
        pictures_written: records.
        pictures_refused: of those left out, the ones that count against the limit.
        objects_read: entries of `annotations`.
        objects_written: in the records.
        reasons: flaws by code, whatever was done about them.
        examples: the first refused picture of each code, for a message.
    """

    pictures_read: int = 0
    pictures_written: int = 0
    pictures_refused: int = 0
    objects_read: int = 0
    objects_written: int = 0
    reasons: Counter[str] = dataclasses.field(default_factory=Counter)
    examples: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Adds the counts of another one; of two examples the first stays."""
        self.pictures_read += other.pictures_read
        self.pictures_written += other.pictures_written
        self.pictures_refused += other.pictures_refused
        self.objects_read += other.objects_read
        self.objects_written += other.objects_written
        self.reasons.update(other.reasons)
        self.examples = other.examples | self.examples

    def to_json(self) -> dict[str, Any]:
        """Returns the counts as a JSON value; `from_json` reads it back."""
        return {**vars(self), "reasons": dict(self.reasons)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Tally":
        """Returns the counts that `to_json` wrote."""
        return cls(**{**value, "reasons": Counter(value["reasons"])})

    def summary(self) -> dict[str, Any]:
        """Returns the counts as `summary.json` has them."""
        return {
            "pictures": _counts(self.pictures_read, self.pictures_written),
            "objects": _counts(self.objects_read, self.objects_written),
            "reasons": dict(sorted(self.reasons.items())),
        }


class RejectsFile:
    """Writes rejects as lines of JSON and counts them.

    Args:
        stream: of the file.
        tally: gets the counts of reasons and refused pictures.
    """

    def __init__(self, stream: TextIO, tally: Tally):
        self._stream = stream
        self._tally = tally

    def picture(self, flaw: Flaw, name: str, image: Any, annotations: Sequence[Any] = ()) -> None:
        """Writes a picture that is left out, with all its annotations."""
        self._write(flaw, {"image": image, "annotations": list(annotations)})
        if flaw.policy == REFUSE:
            self._tally.pictures_refused += 1
            self._tally.examples.setdefault(flaw.code, f"{name}: {flaw.detail}")

    def annotation(self, flaw: Flaw, annotation: Any) -> None:
        """Writes an object that is left out while its picture stays."""
        self._write(flaw, {"annotation": annotation})

    def _write(self, flaw: Flaw, content: dict[str, Any]) -> None:
        line = {"reason": flaw.code, "policy": flaw.policy, "detail": flaw.detail, **content}
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def _counts(read: int, written: int) -> dict[str, int]:
    return {"read": read, "written": written, "rejected": read - written}

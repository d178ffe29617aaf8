"""What was left out, whole, with its reason: the lines of `rejects.jsonl`."""

import json
from collections.abc import Sequence
from typing import Any, TextIO

from model.coco.policies import Flaw
from model.coco.tally import Tally, object_name


class RejectsFile:
    """Writes rejects as lines of JSON and counts them.

    Args:
        stream: stream of the file.
        tally: gets the counts of lines by reason.
    """

    def __init__(self, stream: TextIO, tally: Tally):
        self._stream = stream
        self._tally = tally

    def picture(self, flaw: Flaw, name: str, image: Any, annotations: Sequence[Any] = ()) -> None:
        """Writes a picture that is left out, with all its annotations."""
        self._write(flaw, {"image": image, "annotations": list(annotations)})
        self._tally.leave_out_picture(flaw, name, len(annotations))

    def annotation(self, flaw: Flaw, annotation: Any) -> None:
        """Writes an object that is left out while its picture stays, or is not known."""
        self._write(flaw, {"annotation": annotation})
        self._tally.leave_out_object(flaw, object_name(annotation))

    def _write(self, flaw: Flaw, content: dict[str, Any]) -> None:
        line = {"reason": flaw.code, "policy": flaw.policy, "detail": flaw.detail, **content}
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")

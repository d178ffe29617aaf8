"""`push.json` in a pushed version: when it went into service, with which files, by whose word."""

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ground.errors import ModelError
from model.model_folder import PUSH_FILE

_LONGEST_WORDS = 500  # characters
_JOINERS = "\u200c\u200d"  # Persian, Hindi and many an emoji are written with them


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Override(_Note):
    """A person's blessing of a model that the gate refused.

    Attributes:
        by: who.
        because: why.
        reason: the gate's, for which it refused.
        when: in ISO form, UTC.
    """

    by: str
    because: str
    reason: str
    when: str

    def in_words(self) -> str:
        """Returns it in words, to be put behind a version."""
        day = self.when[:10]
        return f"blessed by {self.by} on {day} against the gate ({self.reason}): {self.because}"


class Rollback(_Note):
    """That an older version was put back into service.

    Attributes:
        to: the older version's number.
        instead_of: the version that was the newest.
        by: who; None is unknown.
        because: why; None is unknown.
        when: in ISO form, UTC.
    """

    to: int
    instead_of: int
    by: str | None = None
    because: str | None = None
    when: str

    def in_words(self) -> str:
        """Returns it in words, to be put behind a version."""
        whose = f" by {self.by}" if self.by else ""
        why = f": {self.because}" if self.because else ""
        return f"version {self.to} again, rolled back{whose} on {self.when[:10]}{why}"


class PushNote(_Note):
    """What a pushed version says of itself.

    Attributes:
        version: its number.
        model_id: id of the model.
        files_digest: digest of the files that were evaluated.
        pushed: in ISO form, UTC.
        decision_digest: digest of the decision that it was pushed on; None in notes of before.
        override: where a person blessed it.
        rollback: where it is an older version again.
    """

    version: int
    model_id: str
    files_digest: str
    pushed: str
    decision_digest: str | None = None
    override: Override | None = None
    rollback: Rollback | None = None


def read_push_note(version: str | os.PathLike[str]) -> PushNote | None:
    """Returns the note in a version's folder; None where there is none, or it is no note of ours.

    That it is damaged is said by `registry.problem_of_pushed`.
    """
    try:
        content = json.loads((Path(version) / PUSH_FILE).read_text(encoding="utf-8"))
        return PushNote.model_validate(content)
    except (OSError, ValueError, RecursionError, ValidationError):
        return None


def checked_words(words: str, option: str) -> str:
    """Returns what a person gave as their name or reason, as a part of one line.

    Raises:
        ModelError: nothing is left of it, it is too long, or is no text that can be stored.
    """
    line = " ".join(words.split())
    if not line or len(line) > _LONGEST_WORDS:
        raise ModelError(f"{option}: expected 1 to {_LONGEST_WORDS} characters, got {len(line)}")
    if not all(letter.isprintable() or letter in _JOINERS for letter in line):
        raise ModelError(f"{option}: expected text, got {line!a:.80}")
    return line

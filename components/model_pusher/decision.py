"""Reads a decision, and checks that it allows a push of the model that lies there."""

import json
import math
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from components.coco_evaluator.comparison import Comparison
from components.coco_evaluator.gate import Finding, contradiction
from ground.errors import ModelError, RefusedError
from ground.files import json_digest

_LARGEST_BYTES = 64 << 20
_LONGEST_REASON = 500  # characters
_SEAL = "digest"


class NotBlessedError(RefusedError):
    """A decision that does not bless."""


class _Verdict(BaseModel):
    """What a push looks at in a decision; there is more in it."""

    model_config = ConfigDict(strict=True, frozen=True)

    reason: str
    comparisons: list[Comparison]
    findings: list[Finding]
    narrowing: dict[str, Any] | None
    model_digest: str
    digest: str


def evaluated_digest(path: str | os.PathLike[str], model_id: str) -> str:
    """Returns the digest of the model's files that a decision blesses.

    Args:
        path: `decision.json` of CocoEvaluator.
        model_id: id of the model that is to be pushed.

    Raises:
        ModelError: the file is no decision, or is about another model.
        NotBlessedError: it does not bless.
        RefusedError: it blesses and speaks against itself, or has been changed.
    """
    content = _read(path)
    if content.get("model_id") != model_id:
        raise ModelError(f"{path}: is not about this model (model id {model_id[:12]})")
    if content.get("blessed") is not True:
        raise NotBlessedError(f"not pushed: not blessed ({_line(content.get('reason'))})")
    try:
        verdict = _Verdict.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(
            f"{path}: {where}: {first['msg']}; it is no decision of this version of the "
            "evaluator: evaluate the model again"
        ) from None
    against = contradiction(verdict.comparisons, verdict.findings)
    if verdict.narrowing is not None:
        against = "the evaluation was narrowed"
    if against:
        raise RefusedError(f"{path}: says blessed, but {against}: it has been changed")
    if json_digest({key: content[key] for key in content if key != _SEAL}) != verdict.digest:
        raise RefusedError(f"{path}: has been changed since the evaluation: evaluate again")
    return verdict.model_digest


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the JSON object of a file.

    Raises:
        ModelError: it is missing, no regular file, too large, or no JSON object.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if path.stat().st_size > _LARGEST_BYTES:
        raise ModelError(f"{path}: is too large to be a decision")
    try:
        content = json.loads(
            path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite
        )
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except RecursionError:
        raise ModelError(f"{path}: its JSON is nested too deeply") from None
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a decision, got {content!r:.80}")
    return content


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _line(text: Any) -> str:
    """Returns what is hopefully text as a part of a line that any terminal takes."""
    words = " ".join(str(text).split())[:_LONGEST_REASON]
    return words.encode("utf-8", "backslashreplace").decode()

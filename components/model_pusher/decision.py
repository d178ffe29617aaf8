"""Reads a decision, and checks what may be done on it: push its model, or bless it by a person."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from components.coco_evaluator.comparison import Comparison
from components.coco_evaluator.gate import BEYOND_A_PERSON, Finding, contradiction
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

    blessed: bool
    reason: str
    comparisons: list[Comparison]
    findings: list[Finding]
    narrowing: dict[str, Any] | None
    model_digest: str
    digest: str


@dataclass(frozen=True)
class Evaluated:
    """What a decision says that may be acted on.

    Attributes:
        model_digest: digest of the files that were evaluated.
        decision_digest: digest of the decision.
        reason: reason of the verdict.
    """

    model_digest: str
    decision_digest: str
    reason: str


def blessed_model(path: str | os.PathLike[str], model_id: str) -> Evaluated:
    """Returns what a decision blesses.

    Args:
        path: `decision.json` of CocoEvaluator.
        model_id: id of the model that is to be pushed.

    Raises:
        ModelError: the file is no decision, or is about another model.
        NotBlessedError: it does not bless.
        RefusedError: it blesses and speaks against itself, or has been changed.
    """
    content = _about_model(path, model_id)
    if content.get("blessed") is not True:
        raise NotBlessedError(f"not pushed: not blessed ({_line(content.get('reason'))})")
    verdict = _verdict(path, content)
    against = contradiction(verdict.comparisons, verdict.findings)
    if verdict.narrowing is not None:
        against = "the evaluation was narrowed"
    if against:
        raise RefusedError(f"{path}: says blessed, but {against}: it has been changed")
    return _sealed(path, content, verdict)


def refused_model(path: str | os.PathLike[str], model_id: str) -> Evaluated:
    """Returns what a decision refuses, and a person may bless.

    A person may judge the numbers otherwise. Not of theirs to judge are an evaluation of a part of
    the data, detections that no model is known to have made, and a model that cannot be served.

    Args:
        path: `decision.json` of CocoEvaluator.
        model_id: id of the model.

    Raises:
        ModelError: the file is no decision, or is about another model.
        RefusedError: it blesses already, no person may bless the model, or it has been changed.
    """
    content = _about_model(path, model_id)
    if content.get("blessed") is True:
        raise RefusedError(f"{path}: the gate has blessed this model: push it, none need bless it")
    verdict = _verdict(path, content)
    for finding in verdict.findings:
        if finding.closes_gate and finding.kind in BEYOND_A_PERSON:
            raise RefusedError(f"not for a person to bless: {_line(finding.note)}")
    return _sealed(path, content, verdict)


def _about_model(path: str | os.PathLike[str], model_id: str) -> dict[str, Any]:
    content = _read(path)
    if content.get("model_id") != model_id:
        raise ModelError(f"{path}: is not about this model (model id {model_id[:12]})")
    return content


def _verdict(path: str | os.PathLike[str], content: dict[str, Any]) -> _Verdict:
    try:
        return _Verdict.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(
            f"{path}: {where}: {first['msg']}; it is no decision of this version of the "
            "evaluator: evaluate the model again"
        ) from None


def _sealed(path: str | os.PathLike[str], content: dict[str, Any], verdict: _Verdict) -> Evaluated:
    """Returns what a decision says, where it is as the evaluator wrote it.

    Raises:
        RefusedError: it is not.
    """
    if json_digest({key: content[key] for key in content if key != _SEAL}) != verdict.digest:
        raise RefusedError(f"{path}: has been changed since the evaluation: evaluate again")
    return Evaluated(verdict.model_digest, verdict.digest, _line(verdict.reason))


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

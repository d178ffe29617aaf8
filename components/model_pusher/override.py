"""Pushes a model that the gate refused, because a person says so; what they say goes with it."""

import os

from components.model_pusher.decision import Evaluated, refused_model
from components.model_pusher.registry import PushedVersion, check_model_name, now, push
from model.model_folder import find_saved_model, read_model_id


def bless(
    model: str | os.PathLike[str],
    decision: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    name: str,
    by: str,
    because: str,
) -> tuple[PushedVersion, bool, Evaluated]:
    """Copies a refused model into service as the next version, by a person's word.

    Args:
        model: an exported model's folder.
        decision: `decision.json` of CocoEvaluator about it.
        folder: base of all served models.
        name: name of the model.
        by: who blesses it.
        because: why.

    Returns:
        The version that holds the model, whether it is new, and what was refused.

    Raises:
        ModelError: the decision is about another model; what is served cannot be read.
        RefusedError: no person may bless it (`decision.refused_model`), or its files are not those
            that were evaluated.
    """
    check_model_name(name)
    refused = refused_model(decision, read_model_id(find_saved_model(model)))
    word = {"by": by, "because": because, "reason": refused.reason, "when": now()}
    note = {"decision_digest": refused.decision_digest, "override": word}
    pushed, is_new = push(model, folder, name, refused.model_digest, note)
    return pushed, is_new, refused

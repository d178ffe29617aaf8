"""Where a model comes from and what was set, for the end of the report."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from components.coco_evaluator.judgement import Detected
from configs.schema import EvaluateConfig


def lineage_facts(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns (name, value) lines of what an exported model says of itself.

    Example:
        >>> lineage_facts({"model_id": "a", "created": "today", "training": {"steps": 5}})
        [('Created', 'today'), ('Training, steps', '5')]
    """
    rest = {key: value for key, value in description.items() if key not in ("model_id", "name")}
    return [(name.capitalize(), value) for name, value in _lines(rest)]


def _lines(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _lines(value, f"{name}, ")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            yield name, text


def setting_texts(settings: EvaluateConfig, candidate: Detected) -> list[tuple[str, str]]:
    """Returns (name, JSON) of how it was measured, and of the config that the model has."""
    texts = [("Settings of the evaluation", _text(settings.model_dump(mode="json")))]
    if candidate.config:
        texts.append(("Config of the model", _text(candidate.config)))
    return texts


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)

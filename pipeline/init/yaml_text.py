"""Writes settings as a short YAML that a person reads: sections, reasons above their lines."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

_WIDTH = 98
_NUMBER = re.compile(r"[-+.0-9][-+.0-9eE]*")
_SECTIONS = ("data", "transform", "input", "model", "train", "evaluate", "pipeline")


class Line:
    """A setting of a section, or a group of settings below it, with the reason above it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.value: Any = {}


def config_text(name: str, chosen: Iterable[tuple[Mapping[str, Any], str]], head: str) -> str:
    """Returns the YAML of settings.

    Args:
        name: `name`.
        chosen: settings by dotted key, and their reason, a reason's settings together.
        head: what the file is and how it is run; becomes comments at the top.
    """
    sections: dict[str, dict[str, Line]] = {}
    for settings, reason in chosen:
        for key, value in settings.items():
            section, setting, *below = key.split(".")
            line = sections.setdefault(section, {}).setdefault(setting, Line(reason))
            if below:
                line.value[below[0]] = value
            else:
                line.value = value
    lines = [*(f"# {_plain(text)}" for text in head.splitlines()), f"name: {_scalar(name)}"]
    for section in sorted(sections, key=_SECTIONS.index):
        lines.append(f"{section}:")
        said = ""
        for setting, line in sections[section].items():
            if line.reason != said:
                said = line.reason
                lines += _comment(said)
            lines += _setting(setting, line.value)
    return "\n".join(lines) + "\n"


def _comment(reason: str) -> list[str]:
    wrapped = textwrap.wrap(
        " ".join(reason.split()), _WIDTH - 4, break_long_words=False, break_on_hyphens=False
    )
    return [f"  # {_plain(line)}" for line in wrapped]


def _plain(text: str) -> str:
    """Returns a line of a comment, without what YAML does not take even there."""
    return "".join(letter if letter.isprintable() else "?" for letter in text).rstrip()


def _setting(name: str, value: Any) -> list[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [f"  {name}:", *(f"    - {_flow(entry)}" for entry in value)]
    text = _flow(value) if isinstance(value, list | dict) else _scalar(value)
    line = f"  {name}: {text}"
    if len(line) <= _WIDTH or not isinstance(value, dict):
        return [line]
    return [f"  {name}:", *(f"    {key}: {_flow(below)}" for key, below in value.items())]


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value, in_flow=True)


def _scalar(value: Any, in_flow: bool = False) -> str:
    """Returns one value as YAML writes it, on one line, in quotes where it needs them."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):  # to YAML 1.2, not to PyYAML
        return f"'{value}'"
    text: str = yaml.safe_dump(
        [value] if in_flow else value,
        default_flow_style=in_flow or None,
        allow_unicode=not isinstance(value, str) or value.isprintable(),
        width=1 << 20,
    )
    text = text.removesuffix("\n").removesuffix("\n...")
    return text[1:-1] if in_flow else text

"""Parts of a config: each component declares the settings that it reads, and is handed no others.

A part has the config's own sections, or smaller ones with some of their fields, under the same
names. What it does not declare does not exist for who holds it: reading it is an error of types,
and no default is taken in its place. Its JSON is the component's execution property, so that a
change elsewhere in the config leaves the component's cached result valid.
"""

import json
from typing import Any, TypeVar

from pydantic import BaseModel

from configs.loader import (
    apply_overrides,
    check_given_once,
    checked,
    read_object,
    section_of,
    shortened,
)
from configs.schema import Config
from configs.section import Section
from ground.errors import ConfigError

AnyPart = TypeVar("AnyPart", bound="Part")
_FIXED = ("name", "push", "pipeline", "tracking")  # when a pipeline is compiled
_PRESET = "model.preset"


class Part(Section):
    """The settings of a config that somebody reads: the base of every such type."""

    @classmethod
    def of(cls: type[AnyPart], config: "Config | Part") -> AnyPart:
        """Returns this part of a config, or of another part that has all of it."""
        return cls.model_validate(_picked(cls, config))

    def to_json(self) -> str:
        """Returns the settings as JSON, equal for equal settings; `from_json` reads it back."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls: type[AnyPart], text: str, overrides: str | None = None) -> AnyPart:
        """Returns the part in a JSON text, with a run's own changes on top.

        Args:
            text: what `to_json` gave. What the config has and this part does not is passed over.
            overrides: `key=value` settings, separated by `;`, that a run of a compiled pipeline was
                given. Those of settings that this part does not have are passed over too.

        Raises:
            ConfigError: an override is unknown, wrong or given twice, or of what is fixed when the
                pipeline is compiled.
        """
        values = read_object(text, "settings")
        apply_overrides(values, _overrides_of(cls, overrides), "overrides: ")
        own = _without_others(values, cls, Config)
        return checked(cls, own, "overrides" if overrides else "settings")


def _picked(kind: type[BaseModel], source: BaseModel) -> dict[str, Any]:
    """Returns what `kind` declares of `source`; a section of another class field by field."""
    picked: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        value = getattr(source, name)
        wanted = section_of(field.annotation)
        is_smaller = isinstance(value, BaseModel) and type(value) is not wanted
        picked[name] = _picked(wanted, value) if is_smaller and wanted else value
    return picked


def _overrides_of(kind: type[BaseModel], overrides: str | None) -> list[str]:
    """Returns the overrides of the sections that `kind` has, and those of none that there is.

    Raises:
        ConfigError: one is given twice, or of what is fixed when the pipeline is compiled.
    """
    given = [text.strip() for text in (overrides or "").split(";") if text.strip()]
    check_given_once(given, "overrides: ")
    own = []
    for override in given:
        key = override.partition("=")[0].strip()
        section = key.partition(".")[0].strip()
        if section in _FIXED or key == _PRESET:
            what = "a preset is resolved" if key == _PRESET else f"{section} is fixed"
            raise ConfigError(
                f"overrides: {shortened(override)}: {what} when the pipeline is compiled"
            )
        if section in kind.model_fields or section not in Config.model_fields:
            own.append(override)
    return own


def _without_others(
    values: dict[str, Any], kind: type[BaseModel], whole: type[BaseModel]
) -> dict[str, Any]:
    """Returns `values` without what the whole config has and `kind` has not.

    What neither has stays, and is refused.
    """
    own: dict[str, Any] = {}
    for name, value in values.items():
        if name in kind.model_fields:
            smaller = section_of(kind.model_fields[name].annotation)
            larger = section_of(whole.model_fields[name].annotation)
            is_section = isinstance(value, dict) and smaller and larger
            own[name] = _without_others(value, smaller, larger) if is_section else value
        elif name not in whole.model_fields:
            own[name] = value
    return own

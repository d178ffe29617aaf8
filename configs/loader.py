"""Reads a YAML config with its `base:`, applies `key=value` overrides, says what is wrong.

Example:
    >>> load_config("configs/tiny.yaml", ["train.batch=1x2"]).train.batch
    '1x2'
"""

import difflib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from configs.errors import ConfigError
from configs.schema import Config

PRESETS = Path(__file__).parent / "presets"  # <name>.yaml: settings of the `model` section


def load_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Config:
    """Returns the checked config of a YAML file.

    Args:
        path: YAML file; its `base:` names another one, relative to it, whose settings it changes.
        overrides: `key.sub=value` settings that win; the value is read as YAML.

    Raises:
        ConfigError: a file is missing or not YAML, a key is unknown (the nearest is named), or a
            value is wrong; one line with file, key, what was expected and what was given.
    """
    settings = _read_with_base(Path(path), seen=())
    for override in overrides:
        _apply_override(settings, override)
    return check_config(settings, str(path))


def default_config(overrides: Iterable[str] = ()) -> Config:
    """Returns the defaults under `overrides`, for commands that can do without a config file.

    Raises:
        ConfigError: as in `load_config`.
    """
    settings: dict[str, Any] = {"name": "defaults"}
    for override in overrides:
        _apply_override(settings, override)
    return check_config(settings, "--set")


def check_config(settings: dict[str, Any], source: str) -> Config:
    """Returns `settings` as a `Config`.

    Raises:
        ConfigError: as in `load_config`; `source` is named as the place.
    """
    settings = _with_preset(settings)
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error)}") from None


def runtime_config(settings: str, overrides: str | None = None) -> Config:
    """Returns the config of a component's `settings`, with a run's own changes on top.

    Args:
        settings: JSON of `component_settings`.
        overrides: `key=value` settings, separated by `;`, that a run of a compiled pipeline was
            given. Those of sections that the component does not depend on are left out.

    Raises:
        ConfigError: an override is unknown or wrong, or of what is fixed at compile time.
    """
    values = json.loads(settings)
    given = set(values)
    for override in filter(None, map(str.strip, (overrides or "").split(";"))):
        section = override.partition("=")[0].partition(".")[0].strip()
        if section in ("name", "push", "pipeline"):
            raise ConfigError(
                f"overrides: {override}: {section} is fixed when the pipeline is compiled"
            )
        if override.partition("=")[0].strip() == "model.preset":
            raise ConfigError(
                f"overrides: {override}: a preset is resolved when the pipeline is compiled"
            )
        if section in given or section not in Config.model_fields:
            _apply_override(values, override)
    return check_config(values, "overrides" if overrides else "settings")


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path}: `base:` comes back to itself")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, not a config file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, got a {type(settings).__name__}")
    base = settings.pop("base", None)
    if base is None:
        return settings
    return _merged(_read_with_base(path.parent / str(base), (*seen, path)), settings)


def preset_names() -> list[str]:
    """Returns the names that `model.preset` can have."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_preset(name: str) -> dict[str, Any]:
    """Returns what a preset sets in the `model` section.

    Raises:
        ConfigError: there is no such preset; the known ones are named.
    """
    if name not in preset_names():
        raise ConfigError(f"model.preset: unknown {name!r}, known are {', '.join(preset_names())}")
    settings: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text("utf-8"))
    return settings


def _with_preset(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns `settings` on top of those of its `model.preset`, if it names one."""
    model = settings.get("model")
    if not isinstance(model, dict) or model.get("preset") is None:
        return settings
    name = model["preset"]
    return settings | {"model": _merged(read_preset(str(name)), model)}


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns `base` with `changes` on top, section by section."""
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def _apply_override(settings: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected key=value, such as train.batch=2x4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not YAML") from None
    *sections, last = key.split(".")
    place = settings
    for section in sections:
        if not isinstance(place.get(section), dict):
            place[section] = {}
        place = place[section]
    place[last] = value


def _explain(error: ValidationError) -> str:
    """Returns the first problem of a validation in one line, and how many more there are."""
    problems = error.errors()
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        text = f"unknown key {key!r}{_nearest(first['loc'])}"
    elif first["type"] == "missing":
        text = f"{key} is missing"
    elif first["type"] == "value_error":  # our own validators say what they got
        text = f"{key}: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    else:
        text = f"{key}: {first['msg']}, got {first['input']!r}"
    return text + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def _nearest(location: tuple[int | str, ...]) -> str:
    """Returns ": did you mean ...?" for an unknown key, from the fields of its section."""
    section: type[BaseModel] = Config
    for part in location[:-1]:
        field = section.model_fields.get(str(part))
        if field is None:
            return ""
        section = _section_of(field.annotation)
        if section is None:
            return ""
    matches = difflib.get_close_matches(str(location[-1]), list(section.model_fields), 1, 0.5)
    return f": did you mean {matches[0]!r}?" if matches else ""


def _section_of(annotation: Any) -> Any:
    """Returns the config section behind an annotation such as `MaskHeadConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is not None:
        return next((s for s in map(_section_of, get_args(annotation)) if s is not None), None)
    return None

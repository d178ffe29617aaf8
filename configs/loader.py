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
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from configs.model_schema import fields_read_by
from configs.schema import BATCH, Config, TrainConfig
from configs.section import at_home
from configs.yaml_reader import read_yaml_file, read_yaml_value
from ground.addresses import shown_text
from ground.errors import ConfigError

PRESETS = Path(__file__).parent / "presets"  # <name>.yaml: settings of the `model` section
_LONGEST_CHAIN = 16  # of files by `base:`
_DEEPEST_KEY = 16
_SHOWN_LETTERS = 80
_LONGEST_PROBLEM = 400

# What pydantic's types of problem mean to whoever wrote a config.
_EXPECTED = {
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "string_type": "expected text (a number or true is text in quotes)",
    "tuple_type": "expected a list such as [a, b]",
    "dict_type": "expected a section of `key: value` lines",
    "model_type": "expected a section of `key: value` lines",
    "model_attributes_type": "expected a section of `key: value` lines",
}


AnySection = TypeVar("AnySection", bound=BaseModel)


def load_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Config:
    """Returns the checked config of a YAML file.

    Args:
        path: YAML file; its `base:` names another one, relative to it, whose settings it changes,
            or a list of some, each of which changes those before it.
        overrides: `key.sub=value` settings that win; the value is read as YAML.

    Raises:
        ConfigError: a file is missing or not YAML, a key is unknown (the nearest is named) or given
            twice, or a value is wrong; one line with file, key, what was expected and what was
            given.
    """
    settings = _read_with_base(Path(path), seen=())
    apply_overrides(settings, overrides, "--set ")
    return check_config(settings, str(path))


def default_config(overrides: Iterable[str] = ()) -> Config:
    """Returns the defaults under `overrides`, for commands that can do without a config file.

    Raises:
        ConfigError: see `load_config`.
    """
    settings: dict[str, Any] = {"name": "defaults"}
    apply_overrides(settings, overrides, "--set ")
    return check_config(settings, "--set")


def check_config(settings: dict[str, Any], source: str) -> Config:
    """Returns `settings` as a `Config`.

    Raises:
        ConfigError: see `load_config`; `source` is named as the place.
    """
    return checked(Config, settings, source)


def checked(kind: type[AnySection], settings: dict[str, Any], source: str) -> AnySection:
    """Returns `settings` as a `Config`, or as a part of one.

    They are checked as JSON: pydantic then takes lists for tuples, and is strict all the same (no
    text or true for a number, no 2.0 for a whole one).

    Raises:
        ConfigError: see `load_config`; `source` is named as the place.
    """
    try:
        return kind.model_validate_json(
            json.dumps(_with_preset(_with_workers(settings))), strict=True
        )
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain_problems(error)}") from None
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def config_from_json(text: str, source: str = "settings") -> Config:
    """Returns the config in the JSON of `Config.to_json`.

    Raises:
        ConfigError: see `load_config`; `source` is named as the place.
    """
    return check_config(read_object(text, source), source)


def read_object(text: str, source: str) -> dict[str, Any]:
    """Returns the object in a JSON text.

    Raises:
        ConfigError: it is no JSON object, or a key in it is given twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ConfigError(f"{source}: {twice} is given twice")
        return dict(pairs)

    try:
        settings = json.loads(text, object_pairs_hook=once)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{source}: not JSON ({error})") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{source}: expected a JSON object, got {text[:60]!r}")
    return settings


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = Path(os.path.realpath(path))
    if path in seen:
        raise ConfigError(f"{path}: `base:` comes back to itself")
    if len(seen) >= _LONGEST_CHAIN:
        raise ConfigError(f"{seen[0]}: a chain of more than {_LONGEST_CHAIN} files by `base:`")
    try:
        settings = read_yaml_file(path)
    except ConfigError as error:
        if not seen:
            raise
        raise ConfigError(f"{error} (the `base:` of {seen[-1]})") from None
    if settings is None:
        raise ConfigError(f"{path}: holds no settings; expected `key: value` lines")
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, got {_shown(settings)}")
    if "base" not in settings:
        return settings
    result: dict[str, Any] = {}
    for base in _bases(path, settings.pop("base")):
        result = _merged(result, _read_with_base(path.parent / at_home(base), (*seen, path)))
    return _merged(result, settings)


def _bases(path: Path, given: Any) -> list[str]:
    """Returns the files that `base:` of the file `path` names; each changes those before it."""
    bases: list[str] = given if isinstance(given, list) else [given]
    if not bases or not all(isinstance(base, str) and base for base in bases):
        raise ConfigError(
            f"{path}: base: expected the name of a file, or a list of some, got {_shown(given)}"
        )
    return bases


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
    settings: dict[str, Any] = read_yaml_file(PRESETS / f"{name}.yaml")
    return settings


def _with_preset(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns `settings` on top of those of its `model.preset`, if it names one."""
    model = settings.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("preset"), str):
        return settings
    preset = read_preset(model["preset"])
    backbone = model.get("backbone")
    if isinstance(backbone, dict) and isinstance(backbone.get("name"), str):
        # A preset's backbone is its ResNet; another family is none of its business.
        read = fields_read_by(backbone["name"])
        preset["backbone"] = {k: v for k, v in preset["backbone"].items() if k in read}
    return settings | {"model": _merged(preset, model)}


def _with_workers(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns `settings` with `train.workers` where it is kept: before the x of `train.batch`.

    Raises:
        ConfigError: it is neither a number nor `auto`.
    """
    train = settings.get("train")
    if not isinstance(train, dict) or "workers" not in train:
        return settings
    workers = train["workers"]
    batch = train.get("batch", TrainConfig.model_fields["batch"].default)
    train = {name: value for name, value in train.items() if name != "workers"}
    if isinstance(workers, bool) or not BATCH.fullmatch(f"{workers}x1"):
        raise ConfigError(
            f"train.workers: expected a number or auto, at most 9999, got {_shown(workers)}"
        )
    if isinstance(batch, str) and BATCH.fullmatch(batch):  # else it is refused as it stands
        train["batch"] = f"{workers}x{batch.partition('x')[2]}"
    return settings | {"train": train}


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns `base` with `changes` on top, section by section."""
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def apply_overrides(settings: dict[str, Any], overrides: Iterable[str], place: str) -> None:
    """Changes `settings`; `place` stands before an override in errors.

    Raises:
        ConfigError: an override is not `key=value`, or two of them set the same.
    """
    overrides = list(overrides)
    check_given_once(overrides, place)
    for override in overrides:
        key, _, text = override.partition("=")
        value = read_yaml_value(text, f"{place}{shortened(override)}")
        *sections, last = _parts(key)
        section = settings
        for name in sections:
            if not isinstance(section.get(name), dict):
                section[name] = {}
            section = section[name]
        section[last] = value


def check_given_once(overrides: list[str], place: str) -> None:
    """Checks that each override is `key=value`, and that no two set the same.

    Raises:
        ConfigError: one is not, or two do; `place` stands before it.
    """
    given: dict[tuple[str, ...], str] = {}
    for override in overrides:
        key, equals, _ = override.partition("=")
        parts = _parts(key)
        if not equals or not all(parts) or len(parts) > _DEEPEST_KEY:
            raise ConfigError(
                f"{place}{shortened(override)}: expected key=value, such as train.batch=2x4"
            )
        for other, earlier in given.items():
            if parts[: len(other)] == other or other[: len(parts)] == parts:
                both = f"{shortened(earlier)!r} and {shortened(override)!r}"
                raise ConfigError(f"{place.strip()} {both} set the same: keep one of them")
        given[parts] = override


def shortened(text: str) -> str:
    """Returns a user's text as one line that is fit for a message: not too long, no secrets."""
    line = " ".join(shown_text(text).split())
    return line if len(line) <= _SHOWN_LETTERS else f"{line[:_SHOWN_LETTERS]}..."


def _parts(key: str) -> tuple[str, ...]:
    return tuple(key.strip().split("."))


def explain_problems(error: ValidationError) -> str:
    """Returns the first problem of a validation in one line, and how many more there are."""
    problems = error.errors()
    first = problems[0]
    key = shortened(".".join(str(part) for part in first["loc"]))
    if first["type"] == "extra_forbidden":
        text = f"unknown key {key!r}{_nearest(first['loc'])}"
    elif first["type"] == "missing":
        text = f"{key} is missing"
    elif first["type"] == "value_error":  # our own validators say what they got
        text = f"{key}: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    else:
        expected = _EXPECTED.get(first["type"], first["msg"])
        text = f"{key}: {expected}, got {_shown(first['input'])}"
    text = " ".join(text.split())[:_LONGEST_PROBLEM]
    return text + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def _shown(value: Any) -> str:
    """Returns a value as a config would have it, cut off where it is long."""
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return shortened(text)


def _nearest(location: tuple[int | str, ...]) -> str:
    """Returns ": did you mean ...?" for an unknown key, from the fields of its section."""
    section: type[BaseModel] = Config
    for part in location[:-1]:
        if isinstance(part, int):  # of a list of sections
            continue
        field = section.model_fields.get(str(part))
        if field is None:
            return ""
        section = section_of(field.annotation)
        if section is None:
            return ""
    matches = difflib.get_close_matches(str(location[-1]), list(section.model_fields), 1, 0.5)
    return f": did you mean {matches[0]!r}?" if matches else ""


def section_of(annotation: Any) -> Any:
    """Returns the config section behind an annotation such as `MaskHeadConfig | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is not None:
        return next((s for s in map(section_of, get_args(annotation)) if s is not None), None)
    return None

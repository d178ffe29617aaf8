"""Each component is handed the settings that it declares; another setting does not exist for it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from components.coco_evaluator.settings import CocoEvaluatorSettings
from components.coco_example_gen.settings import CocoExampleGenSettings
from components.coco_transform.settings import CocoTransformSettings
from components.detection_trainer.settings import DetectionTrainerSettings
from configs.loader import default_config, load_config, section_of
from configs.parts import Part
from configs.schema import Config
from ground.errors import ConfigError
from pipeline.kubeflow.data_version import DataVersionSettings

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
PARTS: list[type[Part]] = [
    CocoExampleGenSettings,
    CocoTransformSettings,
    DetectionTrainerSettings,
    CocoEvaluatorSettings,
    DataVersionSettings,
]
Key = tuple[str, ...]

# With every section that may be left out.
WHOLE = Config.model_validate(
    {
        "name": "a",
        "data": {
            "annotations": "a.json",
            "pictures": "pictures",
            "classes": {"merge": {"a": ["b"]}, "keep": ["a"]},
            "split": {"train": 0.5, "eval": 0.5, "group": "(a)"},
        },
        "model": {"mask_head": {}, "cascade": {}, "box_head": {"class_agnostic": True}},
        "input": {"large_scale_jitter": {}, "color_jitter": {}, "copy_paste": {}, "mosaic": {}},
    }
)
# Another value, where none can be told from the one that is there.
VALUES: dict[str, Any] = {
    "name": "b",
    "data.classes.drop": ["c"],
    "data.classes.keep": ["a", "c"],
    "data.classes.merge": {"a": ["b", "c"]},
    "data.policies": {"picture_missing": "drop"},
    "data.sources": [{"annotations": "b.json", "pictures": "b"}],
    "data.split.eval": 0.75,
    "data.split.group": "(b)",
    "data.split.train": 0.75,
    "evaluate.thresholds": [{"metric": "box/AP", "min": 0.5}],
    "model.backbone.checkpointed_stages": ["c3"],
    "model.backbone.name": "resnet101",
    "model.cascade.delta_weights": [[20.0, 20.0, 10.0, 10.0], [30.0, 30.0, 15.0, 16.0]],
    "train.batch": "2x3",
    "train.profile_steps": [1, 2],
}
# What else must change with it.
TOGETHER: dict[str, dict[str, Any]] = {
    "data.classes.drop": {"data.classes.keep": []},
    "data.sources": {"data.annotations": None, "data.pictures": None},
    "data.split.eval": {"data.split.train": 0.25},
    "data.split.train": {"data.split.eval": 0.25},
    "input.crop_min_share": {"input.large_scale_jitter": None},
    "input.scale_jitter": {"input.large_scale_jitter": None},
    "input.short_side_choices_px": {"input.large_scale_jitter": None},
    "model.box_head.class_agnostic": {"model.cascade": None},
    "model.box_head.norm": {"model.box_head.convolutions": 1},
    "train.patience_validations": {"train.validate_every_epochs": 1.0},
}


def keys_of(kind: type[BaseModel], above: Key = ()) -> Iterator[Key]:
    """Yields the settings of a section and of those below it."""
    for name, field in kind.model_fields.items():
        below = section_of(field.annotation)
        if below is None or "tuple" in str(field.annotation):
            yield (*above, name)
        else:
            yield from keys_of(below, (*above, name))


def value_at(settings: Any, key: Key) -> Any:
    for name in key:
        settings = settings[name] if isinstance(settings, dict) else getattr(settings, name)
    return settings


def literals_of(annotation: Any) -> list[str]:
    if isinstance(annotation, str):
        return [annotation]
    return [text for inner in get_args(annotation) for text in literals_of(inner)]


def others_than(value: Any, annotation: Any) -> list[Any]:
    """Returns values that may stand in the place of one; some are against the rules."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value * 2, value / 2, value - 1, value + 32, value + 0.25]
    if isinstance(value, list):
        less = [entry * 0.5 for entry in value if isinstance(entry, int | float)]
        return [less, [*value, 1.0], [1.0, 2.0], [640], ["x"]]
    return [*(text for text in literals_of(annotation) if text != value), f"{value}x", 1, 0.5]


def with_other_value(key: Key) -> Config:
    """Returns a config that differs from WHOLE in one setting, and in what that asks for.

    Raises:
        AssertionError: no other value is known to be possible: VALUES should have one.
    """
    kind: Any = Config
    for name in key[:-1]:
        kind = section_of(kind.model_fields[name].annotation)
    settings, dotted = WHOLE.model_dump(mode="json"), ".".join(key)
    section = value_at(settings, key[:-1])
    before = section[key[-1]]
    for name, value in TOGETHER.get(dotted, {}).items():
        *above, last = name.split(".")
        value_at(settings, tuple(above))[last] = value
    own = VALUES.get(dotted)
    for other in [own] if own else others_than(before, kind.model_fields[key[-1]].annotation):
        section[key[-1]] = other
        with contextlib.suppress(ValidationError, ConfigError):
            changed = Config.model_validate(settings)
            if value_at(changed, key) != value_at(WHOLE, key):
                return changed
    raise AssertionError(f"no other value found for {dotted}")


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_each_declared_setting_reaches_its_component(part: type[Part]) -> None:
    for key in keys_of(part):
        changed = with_other_value(key)
        text = part.of(changed).to_json()
        assert text != part.of(WHOLE).to_json(), key
        assert value_at(part.from_json(text), key) == value_at(changed, key), key


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_setting_that_is_not_declared_does_not_exist(part: type[Part]) -> None:
    received, declared = part.from_json(part.of(WHOLE).to_json()), set(keys_of(part))
    others = set(keys_of(Config)) - declared
    assert others and declared <= set(keys_of(Config))
    for key in others:
        with pytest.raises(AttributeError):
            value_at(received, key)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_declared_setting_has_the_configs_own_default(part: type[Part]) -> None:
    for name, section in part.of(Config(name="a")).model_dump().items():
        if isinstance(section, dict):
            kind = section_of(part.model_fields[name].annotation)
            assert kind().model_dump() == section, name


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
@pytest.mark.parametrize("file", CONFIGS, ids=lambda path: path.name)
def test_the_settings_of_every_config_read_back(file: Path, part: type[Part]) -> None:
    settings = part.of(load_config(file))
    assert part.from_json(settings.to_json()) == settings


def test_a_threshold_reaches_only_the_evaluator() -> None:
    changed = default_config(["evaluate.thresholds=[{metric: box/AP, min: 0.3}]"])
    moved = {p for p in PARTS if p.of(changed).to_json() != p.of(default_config()).to_json()}
    assert moved == {CocoEvaluatorSettings}


def test_pictures_as_large_as_both_sections_allow_are_taken_by_the_component_of_one() -> None:
    # Each component knows one of the two limits that must agree.
    both = default_config(
        ["data.max_picture_pixels=200000000", "input.max_picture_pixels=200000000"]
    )
    generator = CocoExampleGenSettings.from_json(CocoExampleGenSettings.of(both).to_json())
    assert generator.data.max_picture_pixels == 200_000_000

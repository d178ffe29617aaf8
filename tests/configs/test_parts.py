"""What a run of a compiled pipeline may change of a component's settings."""

import pytest

from components.coco_transform.settings import CocoTransformSettings
from components.detection_trainer.settings import DetectionTrainerSettings
from configs.loader import config_from_json, default_config
from configs.schema import Config
from ground.errors import ConfigError

SETTINGS = DetectionTrainerSettings.of(Config(name="a")).to_json()


def test_without_overrides_the_settings_are_those_of_the_json() -> None:
    settings = DetectionTrainerSettings.of(Config(name="a"))
    assert DetectionTrainerSettings.from_json(SETTINGS) == settings
    assert DetectionTrainerSettings.from_json(SETTINGS, " ") == settings


def test_overrides_win_and_those_of_other_sections_are_left_out() -> None:
    overrides = "train.epochs=3; evaluate.batch_size=9;model.fpn.channels=32;train.workers=4"
    settings = DetectionTrainerSettings.from_json(SETTINGS, overrides)
    assert (settings.train.epochs, settings.train.batch) == (3, "4x2")
    assert settings.model.fpn.channels == 32


@pytest.mark.parametrize("given", ["model.fpn.channels=32", "model={fpn: {channels: 32}}"])
def test_overrides_of_other_settings_of_a_section_are_left_out(given: str) -> None:
    settings = CocoTransformSettings.of(Config(name="a"))
    overrides = f"{given};input.max_picture_pixels=5000000;data={{max_rejected_fraction: 0.5}}"
    changed = CocoTransformSettings.from_json(settings.to_json(), overrides)
    assert changed.data.max_rejected_fraction == 0.5
    assert (changed.model, changed.input) == (settings.model, settings.input)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("train.epoch=3", "did you mean 'epochs'"),
        ("trian.epochs=3", "unknown key 'trian'"),
        ("train.epochs", "expected key=value"),
        ("push.folder=/x", "push is fixed when the pipeline is compiled"),
        ("name=b", "name is fixed"),
        ("tracking.mlflow=http://a", "tracking is fixed when the pipeline is compiled"),
        ("model.preset=torchvision", "a preset is resolved when the pipeline is compiled"),
        ("train.best_metric=mask/AP", "the config has no model.mask_head"),
        ("train.jit=on;model.roi.sampling_ratio=0", "jit: on cannot compile model.roi"),
        ("train.seed=1;train.epochs=2; train.seed =1", "set the same"),
    ],
)
def test_wrong_overrides_are_refused(overrides: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        DetectionTrainerSettings.from_json(SETTINGS, overrides)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ('{"name": "a", "name": "b"}', "name is given twice"),
        ('{"name": "a", "train": {"seed": 1, "seed": 2}}', "seed is given twice"),
        (
            '{"name": "a", "input": {}, "model": {}, "train": {"seed": "1"}}',
            "train.seed: expected a whole number",
        ),
        (
            '{"name": "a", "input": {}, "model": {}, "train": {"seed": true}}',
            "train.seed: expected a whole number",
        ),
        ('{"name": "a", "input": {}, "model": {}, "train": {"epochs": NaN}}', "train.epochs: "),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_settings_in_json_are_checked_as_strictly(text: str, said: str) -> None:
    for read in (config_from_json, DetectionTrainerSettings.from_json):
        with pytest.raises(ConfigError) as error:
            read(text)
        assert said in str(error.value)


def test_a_section_that_was_not_handed_over_is_missing() -> None:
    with pytest.raises(ConfigError, match="train is missing"):
        DetectionTrainerSettings.from_json('{"name": "a", "input": {}, "model": {}}')


def test_a_part_of_a_part_is_that_of_the_config() -> None:
    config = default_config(["train.epochs=3"])
    trainer = DetectionTrainerSettings.of(config)
    assert DetectionTrainerSettings.of(trainer) == trainer

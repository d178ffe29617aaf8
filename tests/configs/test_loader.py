"""The loader: bases, overrides, and errors that say what to do."""

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.loader import load_config, runtime_config
from configs.schema import Config, component_settings

CONFIGS = Path(__file__).parents[2] / "configs"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_base_is_changed_section_by_section(tmp_path):
    write(tmp_path, "base.yaml", "name: a\ntrain: {batch: 2x3, epochs: 5}\n")
    path = write(tmp_path, "own.yaml", "base: base.yaml\ntrain: {epochs: 7}\n")
    config = load_config(path)
    assert (config.name, config.train.batch, config.train.epochs) == ("a", "2x3", 7)


def test_override_wins_and_reads_its_value_as_yaml(tmp_path):
    path = write(tmp_path, "c.yaml", "name: a\ninput: {flip_probability: 0.5}\n")
    config = load_config(
        path,
        [
            "input.flip_probability=0",
            "model.mask_head={channels: 8}",
            "train.max_steps=null",
        ],
    )
    assert config.input.flip_probability == 0
    assert config.model.mask_head is not None and config.model.mask_head.channels == 8
    assert config.train.max_steps is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nmodle: {}\n", "unknown key 'modle': did you mean 'model'?"),
        (
            "name: a\ntrain: {epoch: 3}\n",
            "unknown key 'train.epoch': did you mean 'epochs'?",
        ),
        (
            "name: a\nmodel: {mask_head: {chanels: 3}}\n",
            "unknown key 'model.mask_head.chanels': did you mean 'channels'?",
        ),
        ("train: {}\n", "name is missing"),
        ("name: a\ntrain: {batch: 8}\n", "train.batch: "),
        ("name: a\ntrain: {batch: 4x0}\n", "expected NxM such as 8x4 or autox4, got '4x0'"),
        ("name: a\ntrain: {batch: 0x4}\n", "expected NxM such as 8x4 or autox4, got 4"),
        ("name: a\ntrain: {epochs: .nan}\n", "train.epochs: "),
        ("name: a\ninput: {short_side_px: 2000}\n", "input.short_side_px 2000 exceeds"),
        (
            "name: a\nevaluate: {thresholds: [{metric: mask/AP, min: 0.1}]}\n",
            "the config has no model.mask_head",
        ),
        (
            "name: a\nevaluate: {thresholds: [{metric: box/mAP, min: 0.1}]}\n",
            "unknown metric",
        ),
        (
            "name: a\nevaluate: {thresholds: [{metric: box/AP}]}\n",
            "give min, max_drop or both",
        ),
        ("- 1\n", "expected `key: value` lines, got a list"),
        ("a: [\n", "not YAML"),
        ("base: c.yaml\n", "`base:` comes back to itself"),
        ("base: none.yaml\n", "no such config file"),
    ],
)
def test_errors_are_one_line_with_file_and_key(tmp_path, text, said):
    path = write(tmp_path, "c.yaml", text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    message = str(error.value)
    assert said in message
    assert str(tmp_path) in message
    assert "\n" not in message


@pytest.mark.parametrize("override", ["train.epochs", "=3", "train.epochs=[", "trian.epochs=3"])
def test_wrong_overrides_are_refused(tmp_path, override):
    path = write(tmp_path, "c.yaml", "name: a\n")
    with pytest.raises(ConfigError):
        load_config(path, [override])


def test_yaml_tags_that_build_objects_are_refused(tmp_path):
    path = write(tmp_path, "c.yaml", "name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_of_ours_loads(path):
    config = load_config(path)
    assert config.name.replace("-", "_") == path.stem


SETTINGS = component_settings(Config(name="a"), "detection_trainer")


def test_runtime_config_without_overrides_is_the_settings():
    assert runtime_config(SETTINGS) == runtime_config(SETTINGS, " ") == Config(name="a")


def test_overrides_win_and_those_of_other_sections_are_left_out():
    config = runtime_config(SETTINGS, "train.epochs=3; evaluate.batch_size=9;model.fpn.channels=32")
    assert config.train.epochs == 3
    assert config.model.fpn.channels == 32
    assert config.evaluate.batch_size == Config(name="a").evaluate.batch_size


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("train.epoch=3", "did you mean 'epochs'"),
        ("trian.epochs=3", "unknown key 'trian'"),
        ("train.epochs", "expected key=value"),
        ("push.folder=/x", "push is fixed when the pipeline is compiled"),
        ("name=b", "name is fixed"),
    ],
)
def test_wrong_runtime_overrides_are_refused(overrides, said):
    with pytest.raises(ConfigError, match=said):
        runtime_config(SETTINGS, overrides)

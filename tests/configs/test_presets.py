"""Presets: below a config's own settings, named in docs/presets.md, and resolved once."""

import re
from math import log
from pathlib import Path
from typing import get_args

import pytest

from components.detection_trainer.settings import DetectionTrainerSettings
from configs.loader import default_config, load_config, preset_names, read_preset
from configs.model_schema import BackboneConfig, ModelConfig
from configs.schema import Config
from ground.errors import ConfigError

ROOT = Path(__file__).parents[2]


def keys(settings):
    return {f"{section}.{key}" for section, values in settings.items() for key in values}


def test_the_schema_knows_the_presets_there_are():
    annotation = ModelConfig.model_fields["preset"].annotation
    known = [name for part in get_args(annotation) for name in get_args(part)]
    assert sorted(known) == preset_names() == ["awsdet", "detectron2", "tensorpack", "torchvision"]


@pytest.mark.parametrize("name", preset_names())
def test_all_that_a_preset_sets_arrives(name):
    model = default_config([f"model.preset={name}"]).model.model_dump(mode="json")
    for section, values in read_preset(name).items():
        for key, value in values.items():
            assert model[section][key] == value, f"{section}.{key}"


def test_all_presets_set_the_same_keys():
    assert len({frozenset(keys(read_preset(name))) for name in preset_names()}) == 1


def test_own_settings_win_wherever_they_stand(tmp_path):
    (tmp_path / "base.yaml").write_text("name: a\nmodel: {rpn: {nms_iou: 0.6}}\n")
    path = tmp_path / "own.yaml"
    path.write_text("base: base.yaml\nmodel: {preset: detectron2, roi: {aligned: false}}\n")
    model = load_config(path, ["model.backbone.stride_in_1x1=false"]).model
    assert (model.rpn.nms_iou, model.roi.aligned) == (0.6, False)
    assert not model.backbone.stride_in_1x1
    assert model.backbone.pixel_std == (1.0, 1.0, 1.0)  # of the preset
    other = load_config(path, ["model.preset=torchvision"]).model
    assert (other.rpn.nms_iou, other.anchors.rounded) == (0.6, True)


def test_a_preset_leaves_the_mask_head_to_the_config():
    assert default_config(["model.preset=torchvision"]).model.mask_head is None
    with_masks = default_config(["model.preset=torchvision", "model.mask_head={}"])
    assert with_masks.model.mask_head is not None


def test_adaptive_sampling_is_not_compiled():
    with pytest.raises(ConfigError, match=r"train\.jit: on cannot compile .*set a number"):
        default_config(["model.preset=detectron2", "train.jit=on"])
    config = default_config(
        ["model.preset=detectron2", "train.jit=on", "model.roi.sampling_ratio=2"]
    )
    assert config.model.roi.level_size_shift == 1e-8
    for name in ("faster", "mask"):
        path = ROOT / "configs" / f"{name}_rcnn_r50_fpn_1x_coco.yaml"
        assert load_config(path, ["train.jit=on"]).model.roi.sampling_ratio == 2


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'mmdet'.*awsdet, detectron2, tensorpack, torchvision"):
        default_config(["model.preset=mmdet"])


def test_a_resolved_config_reads_back_equal():
    config = default_config(["model.preset=torchvision", "model.anchors.rounded=false"])
    assert Config.model_validate_json(config.to_json()) == config
    settings = DetectionTrainerSettings.of(config).to_json()
    assert DetectionTrainerSettings.from_json(settings).model == config.model


def test_a_compiled_pipeline_takes_no_other_preset():
    settings = DetectionTrainerSettings.of(default_config()).to_json()
    with pytest.raises(ConfigError, match="resolved when the pipeline is compiled"):
        DetectionTrainerSettings.from_json(settings, "model.preset=torchvision")


def test_the_page_has_every_value_of_every_preset():
    rows = {}
    for line in (ROOT / "docs" / "presets.md").read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if re.fullmatch(r"\w+\.\w+", cells[0]):
            rows[cells[0]] = cells[1:]
    for column, name in enumerate(["torchvision", "detectron2", "tensorpack", "awsdet"]):
        settings = read_preset(name)
        assert rows.keys() == keys(settings)
        for key, cells in rows.items():
            section, _, setting = key.partition(".")
            assert cells[column] == shown(settings[section][setting]), f"{key} of {name}"


def shown(value):
    """A value as the page writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, list):
        return ", ".join(shown(number) for number in value)
    if isinstance(value, float):
        names = {1 / 9: "1/9", log(1000 / 16): "log(1000/16)", log(1344 / 16): "log(1344/16)"}
        names |= {-number: f"-{name}" for number, name in names.items()}
        return names.get(value, f"{value:g}")
    return str(value)


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0"])
def test_a_preset_leaves_other_families_pixels_and_norms_alone(preset, name):
    config = default_config([f"model.preset={preset}", f"model.backbone.name={name}"])
    assert config.model.backbone.pixel_std == BackboneConfig().pixel_std
    assert config.model.roi == default_config([f"model.preset={preset}"]).model.roi

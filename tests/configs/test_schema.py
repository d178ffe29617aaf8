"""The schema: JSON both ways, and which settings reach which component."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from configs.augmentation_schema import Augmentations
from configs.model_schema import BackboneConfig, MaskHeadConfig, ModelConfig
from configs.schema import Config, jit_obstacle
from configs.section import Section
from ground.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"


def config(**sections) -> Config:
    return Config.model_validate({"name": "a", **sections})


def test_json_round_trip_gives_an_equal_config():
    original = config(
        model={"mask_head": {"channels": 8}, "anchors": {"offset": 0.5}},
        evaluate={"thresholds": [{"metric": "mask/AP50", "min": 0.5}]},
    )
    assert Config.model_validate_json(original.to_json()) == original


def test_config_is_frozen():
    with pytest.raises(ValidationError):
        config().train.epochs = 3


def test_mask_head_is_there_only_with_its_section():
    assert ModelConfig().mask_head is None
    assert config(model={"mask_head": {}}).model.mask_head == MaskHeadConfig()


@pytest.mark.parametrize("others", [{"name": "lars"}, {"name": "adamw"}, {"momentum": 0.0}])
def test_nesterov_is_not_ignored_without_a_momentum_to_look_along(others):
    config(train={"optimizer": {"nesterov": True}})
    with pytest.raises(ValidationError, match="nesterov is of sgd with momentum"):
        config(train={"optimizer": {"nesterov": True, **others}})


@pytest.mark.parametrize("settings", [{"momentum": 1.0}, {"drop_epochs": [8, 0]}])
def test_a_rate_that_cannot_train_is_refused(settings):
    with pytest.raises(ValidationError, match="should be"):
        config(train={"optimizer": settings})


def test_batch_is_workers_times_pictures():
    train = config(train={"batch": "8x4"}).train
    assert (train.workers, train.pictures_per_worker, train.global_batch) == (8, 4, 32)


def test_auto_has_no_number_before_the_launcher_gives_it_one():
    train = config(train={"batch": "autox4"}).train
    with pytest.raises(ConfigError, match="autox4 has no number of workers"):
        _ = train.global_batch
    assert train.with_workers(6).batch == "6x4"


@pytest.mark.parametrize(
    ("batch", "section"),
    [
        ("2x2", "backbone"),
        ("autox2", "backbone"),
        ("2x2", "fpn"),
        ("2x2", "box_head"),
        ("2x2", "mask_head"),
    ],
)
def test_a_norm_over_several_workers_is_not_compiled(batch, section):
    settings = {"model": {section: {"norm": "sync_batch_norm"}}}
    if section == "box_head":
        settings["model"][section]["convolutions"] = 1
    with pytest.raises(
        ValidationError, match=rf"jit: on cannot compile model.{section}.norm: sync"
    ):
        config(**settings, train={"batch": batch, "jit": "on"})
    several = config(**settings, train={"batch": batch})
    assert jit_obstacle(several.train, several.model) is not None
    alone = config(**settings, train={"batch": "1x4", "jit": "on"})
    assert jit_obstacle(alone.train, alone.model) is None


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"box_head": {"norm": "group_norm"}}, "box_head.norm: group_norm stands after conv"),
        ({"rpn": {"convolutions": 0}}, "greater than or equal to 1"),
        ({"box_head": {"fully_connected": 0}}, "greater than or equal to 1"),
        ({"mask_head": {"convolutions": 0}}, "greater than or equal to 1"),
        ({"fpn": {"channels": 4}}, "greater than or equal to 8"),
        ({"mask_head": {"norm": "frozen_batch_norm"}}, "'none', 'batch_norm'"),
    ],
)
def test_heads_that_cannot_be_are_refused(model, said):
    with pytest.raises(ValidationError) as caught:
        config(model=model)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "largest"),
    [
        ({}, (800, 1333)),
        ({"scale_jitter": [0.5, 1.5]}, (1200, 1999.5)),
        ({"short_side_choices_px": [640, 900, 800]}, (900, 1333)),
        ({"large_scale_jitter": {"side_px": 512, "range": [0.1, 2.0]}}, (1024, 1024)),
    ],
)
def test_the_largest_sides_hold_whatever_training_draws(settings, largest):
    sizes = config(input=settings).input
    assert sizes.largest_sides_px == sizes.stored_sides_px == largest


def test_pictures_that_are_cropped_are_stored_as_large_as_their_windows_need():
    sizes = config(input={"crop_min_share": 0.5}).input
    assert sizes.largest_sides_px == (800, 1333)
    assert sizes.stored_sides_px == (1600, 2666)


def test_no_augmentation_is_on_by_default_but_the_flip():
    assert Augmentations() == Augmentations.model_validate(
        {
            "flip_probability": 0.5,
            "rotation_degrees": 0.0,
            "color_jitter": None,
            "copy_paste": None,
            "mosaic": None,
        }
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"scale_jitter": [0.5, 1], "large_scale_jitter": {}},
            "input.scale_jitter and input.large_scale_jitter exclude each other",
        ),
        (
            {"short_side_choices_px": [640], "scale_jitter": [0.5, 1]},
            "input.scale_jitter and input.short_side_choices_px exclude each other",
        ),
        ({"large_scale_jitter": {"side_px": 1000}}, "must be a multiple of"),
        ({"large_scale_jitter": {"range": [2.0, 0.1]}}, "0 < low <= high"),
        ({"short_side_choices_px": [640, 1400]}, "1400 exceeds input.long_side_px 1333"),
        ({"short_side_choices_px": [0]}, "greater than or equal to 32"),
        (
            {"large_scale_jitter": {}, "crop_min_share": 0.5},
            "input.large_scale_jitter and input.crop_min_share exclude each other",
        ),
        ({"crop_min_share": 0.2}, "greater than or equal to 0.3"),
        ({"rotation_degrees": 46}, "less than or equal to 45"),
        ({"color_jitter": {"probability": 0}}, "input.color_jitter changes nothing"),
        ({"color_jitter": {"hue": 0.6}}, "less than or equal to 0.5"),
        ({"copy_paste": {"probability": 0}}, "input.copy_paste.probability|greater than 0"),
        ({"mosaic": {"probability": 1.5}}, "less than or equal to 1"),
    ],
)
def test_settings_of_sizes_that_conflict_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        config(input=settings)


def kubeflow(**settings) -> Config:
    return config(pipeline={"kubeflow": settings})


def volumes(*volumes: tuple[str, str]) -> list[dict[str, str]]:
    return [{"claim": claim, "path": path} for claim, path in volumes]


def test_volume_paths_are_normal():
    asked = kubeflow(volumes=volumes(("coco", "//data/./coco/"), ("a" * 63, "/data")))
    assert [v.path for v in asked.pipeline.kubeflow.volumes] == ["/data/coco", "/data"]


@pytest.mark.parametrize(
    "claim", ["", "Coco", "coco.data", "coco_data", "-a", "a-", "a" * 64, "a\n"]
)
def test_claim_is_a_kubernetes_name(claim):
    with pytest.raises(ValidationError, match="expected a Kubernetes name"):
        kubeflow(volumes=volumes((claim, "/data")))


@pytest.mark.parametrize("path", ["", "data", "/", "//", "/data/../etc", "/a:b", "gs://bucket"])
def test_volume_path_is_absolute(path):
    with pytest.raises(ValidationError, match="expected an absolute folder such as /data"):
        kubeflow(volumes=volumes(("coco", path)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"volumes": volumes(("a", "/data"), ("b", "/data/"))}, "two of them at /data"),
        ({"volumes": volumes(("a", "/data"), ("a", "/shared"))}, "claim a twice: mount it once"),
        (
            {"volumes": volumes(("a", "/dev/shm")), "trainer_shared_memory": "1Gi"},
            "/dev/shm is that of trainer_shared_memory",
        ),
        ({"trainer_tolerations": [{}]}, "expected a key, or operator: Exists"),
        (
            {"trainer_tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            "operator Exists takes no value",
        ),
    ],
)
def test_kubernetes_would_refuse_the_pod(settings, said):
    with pytest.raises(ValidationError, match=said):
        kubeflow(**settings)


def test_every_taint_is_tolerated_without_a_key():
    [toleration] = kubeflow(
        trainer_tolerations=[{"operator": "Exists"}]
    ).pipeline.kubeflow.trainer_tolerations
    assert (toleration.key, toleration.effect) == (None, None)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"backbone": {"name": "resnet5O"}}, "no backbone 'resnet5O': did you mean 'resnet50'"),
        ({"backbone": {"name": "mobilnet_v2"}}, "did you mean 'mobilenet_v2' or "),
        ({"backbone": {"name": "x" * 999}}, "xxx': docs/backbones.md lists them"),
        (
            {"backbone": {"name": "mobilenet", "checkpointed_stages": ("c3",)}},
            "checkpointed_stages: mobilenet has no such setting, only frozen_stages, name;",
        ),
        (
            {"backbone": {"name": "mobilenet", "norm": "group_norm"}},
            "backbone.norm: mobilenet has no such setting",
        ),
        (
            {"backbone": {"name": "convnext_tiny", "pixel_mean": (0.0, 0.0, 0.0)}},
            "backbone.pixel_mean: convnext_tiny has no such setting",
        ),
        (
            {"backbone": {"name": "efficientnet_lite0", "width": 32}},
            "backbone.width: efficientnet_lite0 has no such setting, only checkpointed_stages, ",
        ),
        (
            {"weights": "imagenet", "backbone": {"name": "resnet18"}},
            "imagenet is for networks of keras.applications, resnet18 is none",
        ),
    ],
)
def test_a_backbone_that_cannot_be_is_refused_where_the_config_is_read(model, said):
    with pytest.raises(ValidationError, match=said):
        Config(name="x", model=model)


def test_what_a_family_does_not_read_may_stand_at_its_default():
    backbone = BackboneConfig().model_dump() | {"name": "mobilenet_v2"}
    assert BackboneConfig.model_validate(backbone).name == "mobilenet_v2"


def sections(section=Section):
    """All sections that there are, and those below them."""
    return {section}.union(*(sections(below) for below in section.__subclasses__()))


def test_no_limit_of_a_setting_is_set_twice():
    """pydantic heeds the one of the type then, and the setting's own says nothing."""
    for section in sections():
        for name, field in section.model_fields.items():
            kinds = [type(limit) for limit in field.metadata]
            assert len(kinds) == len(set(kinds)), f"{section.__name__}.{name}: {field.metadata}"


@pytest.mark.parametrize("name", ["checkpoint_every_steps", "keep_checkpoints", "log_every_steps"])
def test_what_is_done_every_so_many_steps_is_done_at_all(name):
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        config(train={name: 0})

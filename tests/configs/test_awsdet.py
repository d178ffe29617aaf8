"""AWSDet's rows: the headers of configs/awsdet say what the settings do and what was published."""

import re
from pathlib import Path

import pytest

from configs.loader import load_config, read_preset
from model.training.schedules import base_learning_rate, learning_rate, total_steps

ROOT = Path(__file__).parents[2]
PICTURES = 118287  # of COCO's train2017
# AWSDet's docs/FASTER_RCNN.md and docs/MASK_RCNN.md: time, box AP, mask AP.
PUBLISHED = {
    "faster_rcnn_r50_fpn_1x_coco_8x4": ("5 h 15 min", 36.4, None),
    "faster_rcnn_r50_fpn_1x_coco_16x4": ("2 h 50 min", 36.3, None),
    "faster_rcnn_r50_fpn_1x_coco_32x4": ("1 h 27 min", 35.7, None),
    "faster_rcnn_r50_fpn_1x_coco_64x2": ("0 h 56 min", 35.5, None),
    "mask_rcnn_r50_fpn_1x_coco_8x4": ("8 h 05 min", 37.1, 32.2),
}
NAMES = [
    f"{kind}_rcnn_r50_fpn_1x_coco_{row}"
    for kind in ("faster", "mask")
    for row in ("8x4", "16x4", "32x4", "64x2")
]


def header(name: str) -> dict[str, str]:
    """Returns the fields of the comment at the top of a config."""
    lines = (ROOT / "configs/awsdet" / f"{name}.yaml").read_text().splitlines()
    comment = " ".join(line[1:] for line in lines if line.startswith("#"))
    parts = re.split(r"  ([A-Z]\w+): ", comment)
    fields = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {key: " ".join(text.split()) for key, text in fields.items()}


def steps(name: str) -> tuple[int, int]:
    """Returns the header's steps of an epoch and of the run."""
    match = re.search(r"(\d+) an epoch, (\d+) in all", header(name)["Steps"])
    return int(match[1]), int(match[2])


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def config(name):
    return load_config(ROOT / "configs/awsdet" / f"{name}.yaml")


def test_there_is_a_file_for_each_row_and_model():
    files = {path.stem for path in (ROOT / "configs/awsdet").glob("*.yaml")}
    assert files == {*NAMES, "base"}


def test_the_command_runs_this_file_on_as_many_gpus(name, config):
    script, *words = header(name)["Command"].replace("\\", "").split()
    *hosts, gpus, path = words
    assert (ROOT / script).exists()
    assert path == f"configs/awsdet/{name}.yaml"
    machines = re.search(r"on (\d+) P3dn.24xl", header(name)["Time"])[1]
    assert int(machines) * int(gpus) == config.train.workers
    assert bool(hosts) == (machines != "1")


def test_the_backbone_has_the_conventions_of_its_weights(config):
    assert config.model.weights == "data/pretrained-models/ImageNet-R50-AlignPadding.npz"
    backbone = config.model.backbone.model_dump(mode="json")
    tensorpack = read_preset("tensorpack")["backbone"]
    assert {key: backbone[key] for key in tensorpack} == tensorpack


def test_the_batch_and_heads_are_those_of_the_name(name, config):
    assert name.endswith(f"_{config.train.batch}")
    assert (config.model.mask_head is not None) == name.startswith("mask")
    assert config.model.preset == "awsdet"
    assert config.name == "awsdet-" + name.replace("_", "-")


def test_time_and_ap_are_the_published_ones_or_called_estimates(name, config):
    fields = header(name)
    if name not in PUBLISHED:
        assert fields["Source"].startswith("estimated")
        assert "estimated" in fields["AP"]
        return
    time, box, mask = PUBLISHED[name]
    assert fields["Time"].startswith(time)
    assert fields["AP"].startswith(f"{box} box" + (f", {mask} mask" if mask else ""))
    asked = {threshold.metric: threshold.min for threshold in config.evaluate.thresholds}
    assert asked["box/AP"] == pytest.approx(box / 100 - 0.01)


def test_the_rate_is_scaled_and_dropped_as_the_header_says(name, config):
    optimizer, batch = config.train.optimizer, config.train.global_batch
    per_epoch, in_all = steps(name)
    rate = float(header(name)["Rate"].split()[0])
    assert rate == pytest.approx(base_learning_rate(optimizer, batch))
    assert rate == pytest.approx(0.01 * batch / 8)  # AWSDet's way to say it
    rates = [
        learning_rate(optimizer, step, in_all, per_epoch, batch)
        for step in (0, 250, 500, 8 * per_epoch - 1, 8 * per_epoch, 11 * per_epoch)
    ]
    assert rates == pytest.approx([rate * f for f in (0.001, 0.5005, 1, 1, 0.1, 0.01)])


def test_the_steps_are_twelve_epochs(name, config):
    per_epoch, in_all = steps(name)
    batch = config.train.global_batch
    assert 0 <= per_epoch * batch - PICTURES < batch
    assert in_all == total_steps(config.train.epochs, per_epoch, config.train.max_steps)
    assert 0 <= in_all * batch - 12 * PICTURES < 12 * batch

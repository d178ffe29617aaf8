"""Estimates against published runs, and how they move with what is asked."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from configs.loader import load_config
from configs.model_schema import RoiConfig
from configs.schema import Config
from model.commands.estimate import main
from model.estimate import (
    Work,
    estimate,
    sustained_flops,
    usual_bucket,
    work_of,
)
from model.gpu_facts import (
    AWSDET_800,
    FASTER_800,
    GPUS,
    MASK_800,
    MASK_832,
    PUBLISHED,
    peak_flops,
)
from tests.model.small_detector import small_config

FASTER = "configs/faster_rcnn_r50_fpn_1x_coco.yaml"
MASK = "configs/mask_rcnn_r50_fpn_1x_coco.yaml"
AWSDET = "configs/awsdet/faster_rcnn_r50_fpn_1x_coco_8x4.yaml"
EPOCHS, PICTURES = 12, 118287


def work(pictures_per_worker=4, flops=FASTER_800):
    return Work(flops, pictures_per_worker * 10**9, 10**7, 10**7, 1, pictures_per_worker)


def hours(workers, pictures_per_worker, flops=FASTER_800):
    steps = EPOCHS * PICTURES // (workers * pictures_per_worker)
    asked = work(pictures_per_worker, flops)
    return estimate(asked, "V100", "mixed_float16", workers, steps, None).hours


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.what)
def test_published_speeds_are_within_the_range(row):
    found = sustained_flops(row.gpu, row.precision).scaled(1 / row.flops_per_picture)
    assert found.low * 0.999 <= row.images_per_second <= found.high * 1.001


@pytest.mark.parametrize(
    ("workers", "pictures_per_worker", "published_hours"),
    [(8, 4, 5.25), (16, 4, 2 + 50 / 60), (32, 4, 1 + 27 / 60), (64, 2, 56 / 60)],
)
def test_awsdets_times_are_within_the_range(workers, pictures_per_worker, published_hours):
    low, _, high = hours(workers, pictures_per_worker, AWSDET_800)
    assert low <= published_hours <= high * 1.001


def test_flops_of_the_published_model_are_those_of_the_table():
    config = load_config(FASTER, ["train.batch=8x2"])
    found = work_of(config, "float32", 80, usual_bucket(config, 480, 640))
    assert found.flops_per_picture == pytest.approx(FASTER_800, rel=0.01)
    # Detectron2's model zoo gives 41.7 M weights for this model.
    assert found.weights == pytest.approx(41.7e6, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "bucket", "flops"),
    [
        (MASK, (800, 1088), MASK_800),
        (MASK, (832, 1344), MASK_832),
        (AWSDET, (800, 1088), AWSDET_800),
    ],
)
def test_flops_of_the_other_published_models_are_those_of_the_table(path, bucket, flops):
    found = work_of(load_config(path, ["train.batch=8x2"]), "float32", 80, bucket)
    assert found.flops_per_picture == pytest.approx(flops, rel=0.01)


def test_published_memory_is_within_the_range():
    found = work_of(load_config(MASK, ["train.batch=8x2"]), "float32", 80, (800, 1344))
    memory = estimate(found, "V100", "float32", 8, 100, None).memory_gib
    # Detectron2, MMDetection, torchvision: Mask R-CNN R50-FPN, two pictures a GPU.
    for published in (3.4, 4.4, 5.4):
        assert memory.low <= published <= memory.high


def test_time_scales_with_workers():
    one, two, eight = (hours(n, 4).middle for n in (1, 2, 8))
    assert two == pytest.approx(one / 2, rel=1e-3)
    assert eight == pytest.approx(one / 8, rel=1e-3)
    # Between machines something is lost: twice 0.93.
    assert hours(32, 4).middle == pytest.approx(one / 32 / 0.93**2, rel=1e-3)


def test_the_same_pictures_take_the_same_time_in_any_batch():
    assert hours(8, 2).middle == pytest.approx(hours(8, 4).middle, rel=1e-3)


def test_money_is_gpus_times_hours_times_price():
    steps = 1000
    cheap = estimate(work(), "V100", "float32", 8, steps, 2.0)
    assert cheap.dollars.middle == pytest.approx(8 * 2.0 * cheap.hours.middle)
    listed = estimate(work(), "V100", "float32", 8, steps, None)
    assert listed.dollars.middle == pytest.approx(8 * 3.06 * listed.hours.middle)
    assert estimate(work(), "H200", "mixed_bfloat16", 8, steps, None).dollars is None


def test_a_gpu_that_nobody_published_for_is_less_sure():
    for precision in ("float32", "mixed_float16"):
        known, unknown = sustained_flops("V100", precision), sustained_flops("T4", precision)
        assert unknown.high / unknown.low > 1.5 * known.high / known.low


def test_a_model_far_smaller_than_the_published_ones_is_called_so():
    def reasons(flops):
        return " ".join(estimate(work(4, flops), "V100", "float32", 1, 10, None).reasons)

    assert "1.0% of their work a picture" in reasons(0.01 * FASTER_800)
    assert "of their work" not in reasons(0.5 * FASTER_800)


@pytest.mark.parametrize(
    ("workers", "compiled", "told"), [(1, True, 0), (4, True, 1), (4, False, 0)]
)
def test_what_several_compiled_workers_cost_is_told(workers, compiled, told):
    asked = dataclasses.replace(work(), compiled=compiled)
    reasons = " ".join(estimate(asked, "V100", "float32", workers, 10, None).reasons)
    assert reasons.count("XLA compiles them apart and keeps every activation") == told


def test_no_gpu_is_thought_faster_than_its_peak():
    for gpu in GPUS:
        for precision in ("float32", "mixed_float16"):
            assert sustained_flops(gpu, precision).high < peak_flops(gpu, precision)


def test_memory_says_whether_it_fits():
    def fits(gigabytes, gpu):
        needed = Work(FASTER_800, int(gigabytes * 10**9), 10**7, 10**7, 1, 4)
        return estimate(needed, gpu, "mixed_float16", 1, 10, None).fits

    assert fits(1, "V100") == {"16 GiB": "yes", "32 GiB": "yes"}
    assert fits(8, "V100") == {"16 GiB": "perhaps", "32 GiB": "yes"}
    assert fits(40, "V100") == {"16 GiB": "no", "32 GiB": "no"}


def test_work_grows_with_size_and_batch():
    def of(batch, bucket):
        config = Config(
            name="small", model=small_config(mask_head=None), train={"batch": batch},
            input={"max_objects": 4},
        )  # fmt: skip
        return work_of(config, "float32", 3, bucket)

    small, large = of("1x1", (64, 64)), of("1x2", (64, 128))
    # Twice the pixels, but as many RoIs.
    assert small.flops_per_picture < large.flops_per_picture < 2 * small.flops_per_picture
    assert 2 * small.activation_bytes < large.activation_bytes < 4 * small.activation_bytes
    assert small.weights == large.weights


def test_frozen_weights_cost_no_gradient_and_no_slots():
    def of(**train):
        config = Config(
            name="small", model=small_config(mask_head=None), input={"max_objects": 4},
            train={"optimizer": {"name": "adamw"}, **train},
        )  # fmt: skip
        return work_of(config, "float32", 3, (64, 64))

    whole, frozen = of(), of(freeze=["backbone/*", "fpn/*"])
    assert frozen.trained_weights < 0.8 * whole.trained_weights
    assert frozen.weights == whole.weights
    assert frozen.flops_per_picture < 0.9 * whole.flops_per_picture
    assert frozen.activation_bytes < whole.activation_bytes
    assert whole.slots == 2
    assert of(ema_decay=0.999, accumulate=2).slots == 4


def test_a_model_that_xla_cannot_compile_has_its_work_too():
    def of(sampling_ratio):
        roi = RoiConfig(samples_per_picture=8, box_resolution=3, sampling_ratio=sampling_ratio)
        config = Config(
            name="small", model=small_config(mask_head=None, roi=roi), input={"max_objects": 4}
        )
        return work_of(config, "float32", 3, (64, 64)).flops_per_picture

    assert of(0) == of(2)  # samples are no products


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr("model.commands.estimate.work_of", lambda *args: work())

    def run(*arguments):
        return CliRunner().invoke(main, ["--config", FASTER, *arguments])

    return run


def test_the_table_is_plain_where_there_is_no_terminal(command):
    result = command("--gpu", "v100", "--workers", "8", "--pictures", "32000")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert "8x4 on V100, mixed_float16, 800x1088 px" in lines[0]
    assert "12000 steps" in lines[0]  # 12 epochs of 32000 / 32
    assert lines[1].split() == ["likely", "low", "high"]
    assert [line.split()[0] for line in lines[2:6]] == ["images/s", "hours", "GiB", "US"]
    assert any("published" in line for line in lines)


def test_the_result_is_said_in_every_manner(command):
    given = ("--gpu", "v100", "--workers", "8")
    plain = command(*given).output
    assert command(*given, "--quiet").output == plain
    told = [json.loads(line) for line in command(*given, "--json-logs").output.splitlines()]
    assert {one["event"] for one in told} == {"result"}
    rows = [one["row"] for one in told if "row" in one]
    assert [row[""] for row in rows] == ["images/s", "hours", "GiB a GPU", "US dollars"]
    lines = plain.splitlines()
    assert (told[0]["text"], told[-1]["text"]) == (lines[0], lines[-1])


def test_json_holds_the_same(command):
    result = command("--gpu", "A100", "--workers", "16", "--json", "--price", "1")
    found = json.loads(result.output)
    assert found["precision"] == "mixed_bfloat16"
    assert found["hours"]["low"] < found["hours"]["middle"] < found["hours"]["high"]
    assert found["dollars"]["middle"] == pytest.approx(16 * found["hours"]["middle"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "V100", "--picture-size", "640"], "HEIGHTxWIDTH"),
        (["--gpu", "V100", "--picture-size", f"{'9' * 5000}x5"], "HEIGHTxWIDTH"),
        (["--gpu", "V100", "--picture-size", "٣x٤"], "HEIGHTxWIDTH"),
        (["--gpu", "V100", "--picture-size", "0x5"], "HEIGHTxWIDTH"),
        (["--gpu", "V100", "--price", "nan"], "expected dollars an hour, got nan"),
        (["--gpu", "V100", "--set", "train.precision=mixed_bfloat16"], "V100 has no unit"),
        (["--gpu", "K80"], "K80"),
        (["--gpu", "V100", "--set", "train.workers=auto"], "--workers: say how many GPUs"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(command, arguments, message):
    result = command(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr if result.stderr_bytes else message in result.output

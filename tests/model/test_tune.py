"""The search over settings with made-up speeds, and trials in real processes."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from configs.loader import checked, load_config
from ground.errors import ConfigError, TrainingError
from model import trials
from model.commands.tune import main
from model.input.buckets import read_buckets, write_buckets
from model.launch.errors import TrainingStopped, WorkerLostError
from model.training_settings import TrainingSettings
from model.trials import Machine, Setting, Trial, TrialRunner, examples_with_buckets, verdict_of
from model.tune import first_setting, search, table_of, write_config
from tests.model.training import small_run, tiny_run
from tests.model.training.test_events import START
from tests.model.training.tiny_run import tiny_config

FIRST = Setting(2, 4, 1, "float32", "off", 2)
MACHINE = Machine(4, ("float32", "mixed_bfloat16"))


def measured_by(speed):
    """Returns a runner by a function (setting -> images/s; 0 is out of memory), and its log."""
    asked = []

    def run(setting):
        asked.append(setting)
        rate = speed(setting)
        return Trial(setting, "ok" if rate else "out of memory", rate)

    return run, asked


def test_each_dimension_is_varied_from_the_best_so_far():
    # 16 bits are faster, XLA only with them, four workers are faster than two, one bucket slower.
    def speed(s):
        bits = 2.0 if s.precision == "mixed_bfloat16" else 1.0
        jit = 1.5 if s.jit == "on" and bits == 2 else 1.0
        return 10 * bits * jit * s.workers * (0.8 if s.buckets == 1 else 1.0) / s.accumulate

    run, asked = measured_by(speed)
    best = search(FIRST, MACHINE, run)
    assert best.setting == Setting(4, 2, 1, "mixed_bfloat16", "on", 2)
    assert {setting.global_batch for setting in asked} == {8}
    assert {setting.workers for setting in asked} == {1, 2, 4}
    assert Setting(4, 2, 1, "mixed_bfloat16", "on", 1) in asked


def test_a_gain_within_the_noise_changes_nothing():
    run, _ = measured_by(lambda s: 10.2 if s != FIRST else 10.0)
    assert search(FIRST, MACHINE, run).setting == FIRST


def test_what_does_not_fit_is_accumulated_in_parts():
    # A worker holds two pictures at most.
    run, asked = measured_by(lambda s: 10.0 if s.pictures <= 2 else 0)
    first = replace(FIRST, workers=1, pictures=8)
    best = search(first, Machine(1, ("float32",)), run, ["batch"])
    assert best.setting == Setting(1, 2, 4, "float32", "off", 2)
    assert [setting.pictures for setting in asked] == [8, 4, 2, 1]


def test_nothing_that_trains_is_no_result():
    run, asked = measured_by(lambda s: 0)
    assert search(FIRST, MACHINE, run) is None
    assert len(asked) > 4


def test_the_batch_grows_only_if_allowed():
    run, _ = measured_by(lambda s: 10.0 * s.pictures if s.pictures <= 16 else 0)
    machine = Machine(1, ("float32",))
    one = replace(FIRST, workers=1, pictures=4)
    assert search(one, machine, run, ["batch"]).setting.global_batch == 4
    assert search(one, machine, run, ["batch"], change_batch=True).setting.global_batch == 16


@pytest.mark.parametrize(
    ("batch", "workers", "expected"),
    [
        ("8x4", 8, (8, 4, 1)),
        ("8x4", 1, (1, 32, 1)),
        ("8x4", 3, (2, 16, 1)),  # 3 do not divide 32
        ("autox4", 3, (3, 4, 1)),
        ("2x2", 8, (2, 2, 1)),
    ],
)
def test_the_search_begins_at_the_configs_batch(monkeypatch, batch, workers, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    config = tiny_config(batch)
    first = first_setting(config, Machine(workers, ("float32",)), 3)
    assert (first.workers, first.pictures, first.accumulate) == expected
    assert (first.precision, first.jit, first.buckets) == ("float32", "off", 3)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (WorkerLostError("was killed by SIGKILL (out of memory?)"), "out of memory"),
        (TrainingError("step 0: out of memory with 8 pictures of 800x1344 px"), "out of memory"),
        (TrainingError("step 3: losses not finite"), "failed: step 3: losses not finite"),
        (ConfigError("train.batch asks for 9 workers"), "failed: train.batch asks for 9 workers"),
    ],
)  # fmt: skip
def test_what_went_wrong_is_a_word_of_the_table(error, verdict):
    assert verdict_of(error) == verdict


def test_the_table_has_a_row_for_each_trial():
    good = Trial(FIRST, "ok", 12.345, 0.6543, 900.4, "CPU")
    bad = Trial(replace(FIRST, pictures=64, accumulate=2), "out of memory")
    assert table_of([good, bad], good) == [
        ["2x4", "float32", "jit off", "2 buckets", "12.35", "0.654", "900", "best"],
        ["2x64 x2", "float32", "jit off", "2 buckets", "-", "-", "-", "out of memory"],
    ]


def test_the_written_config_is_the_best_over_its_base(tmp_path):
    base = tmp_path / "configs" / "base.yaml"
    base.parent.mkdir()
    base.write_text("name: x\ntrain: {workers: 1, batch: 1x8, epochs: 3}\n")
    best = Trial(Setting(4, 2, 1, "mixed_bfloat16", "on", 1), "ok", 9.0, 0.9, 100.0, "A100")
    write_config(tmp_path / "out" / "tuned.yaml", base, best, table_of([best], best))
    config = load_config(tmp_path / "out" / "tuned.yaml")
    assert config.train.batch == "4x2"
    assert config.train.precision == "mixed_bfloat16"
    assert config.train.jit == "on"
    assert config.train.epochs == 3
    assert config.transform.max_buckets == 1
    assert "9.00" in (tmp_path / "out" / "tuned.yaml").read_text()


def test_changes_that_were_tuned_with_are_in_the_config(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("name: x\ntrain: {batch: 1x8, epochs: 3}\n")
    best = Trial(Setting(4, 2, 1, "float32", "on", 1), "ok", 9.0, 0.9, 100.0, "A100")
    changes = ["train.epochs=5", "train.batch=1x1", "input.flip_probability=0.25"]
    write_config(tmp_path / "t.yaml", base, best, table_of([best], best), changes)
    config = load_config(tmp_path / "t.yaml")
    assert (config.train.epochs, config.train.batch) == (5, "4x2")
    assert config.input.flip_probability == 0.25


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return small_run.write_examples(tmp_path_factory.mktemp("transformed") / "examples")


def test_fewer_buckets_are_made_beside_the_examples(examples, tmp_path):
    assert len(read_buckets(examples)) == 2
    config = small_run.small_config("1x2")
    folder = examples_with_buckets(examples, tmp_path / "one", config, 1)
    assert read_buckets(folder) == [(96, 96)]
    assert len(read_buckets(examples)) == 2
    assert examples_with_buckets(examples, tmp_path / "two", config, 2) == examples


def runner(examples, notes, monkeypatch, outcomes):
    """Returns a runner whose trainings end as `outcomes` say, an error or images/s each."""
    outcomes = iter(outcomes)

    def fake_train(config, examples, out, on_progress, worker_module):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        on_progress(replace(START, device="CPU"))
        memory = {"peak_gpu_memory_mib": None, "peak_memory_mib": 500.0}
        figures = {"images_per_second": outcome, "step_seconds_p50": 1.0, "per_worker": [memory]}
        (out / "run").mkdir(parents=True)
        (out / "run" / "throughput.json").write_text(json.dumps(figures))

    monkeypatch.setattr(trials, "train", fake_train)
    return TrialRunner(small_run.small_config("1x2"), examples, 4, 60.0, notes)


def test_a_search_that_was_stopped_goes_on_where_it_was(examples, tmp_path, monkeypatch):
    notes = tmp_path / "notes.json"
    machine = Machine(2, ("float32",))
    first = Setting(1, 2, 1, "float32", "off", 2)
    outcomes = [5.0, WorkerLostError("SIGKILL (out of memory?)"), TrainingStopped(3)]
    stopped = runner(examples, notes, monkeypatch, outcomes)
    with pytest.raises(TrainingStopped):
        search(first, machine, stopped, ["jit", "batch"])
    # The two that were measured are not measured again.
    again = runner(examples, notes, monkeypatch, [6.0, 4.0, 4.0])
    best = search(first, machine, again, ["jit", "batch"])
    assert [trial.verdict for trial in again.trials][:3] == ["ok", "out of memory", "ok"]
    assert best.setting == replace(first, workers=2, pictures=1)
    # Another number of steps is another measurement.
    other = TrialRunner(small_run.small_config("1x2"), examples, 5, 60.0, notes)
    assert other.trials == []


@pytest.fixture
def tiny_examples(tmp_path, monkeypatch):
    """Examples for trials of the tiny detector, which the command then runs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(trials, "TRIAL_MODULE", tiny_run.MODULE)
    folder = tiny_run.write_examples(tmp_path / "examples")
    write_buckets(folder, tiny_run.BUCKETS)
    return folder


def run_command(tmp_path, settings, examples, tried):
    config = tmp_path / "small.yaml"
    config.write_text(json.dumps(settings))
    arguments = ["--config", str(config), "--examples", str(examples), "--steps", "2"]
    return CliRunner().invoke(main, [*arguments, "--try", tried], catch_exceptions=False)


def test_a_trial_does_nothing_but_train(examples, tmp_path, monkeypatch):
    seen = []

    def fake_train(config, *args, **kwargs):
        seen.append(config.train)
        raise TrainingError("enough")

    monkeypatch.setattr(trials, "train", fake_train)
    watched = tiny_config(
        "1x2", picture_every_steps=1, profile_steps=[0, 2], validate_every_epochs=1,
        patience_validations=2, max_restarts=3,
    )  # fmt: skip
    run = TrialRunner(watched, examples, 4, 60.0, tmp_path / "notes.json")
    assert run(Setting(2, 1, 3, "float32", "off", 2)).verdict == "failed: enough"
    [settings] = seen
    assert settings.max_steps == 4 + 2  # and one for each bucket
    assert (settings.batch, settings.accumulate) == ("2x1", 3)
    assert not settings.picture_every_steps and settings.profile_steps is None
    assert not settings.validate_every_epochs and not settings.max_restarts


def test_a_setting_that_the_config_does_not_allow_is_a_row(examples, tmp_path):
    settings = tiny_config("1x2").model_dump(mode="json")
    settings["model"]["roi"]["sampling_ratio"] = 0  # shapes that XLA cannot compile
    run = TrialRunner(
        checked(TrainingSettings, settings, "tiny"), examples, 4, 60.0, tmp_path / "notes.json"
    )
    verdict = run(Setting(1, 2, 1, "float32", "on", 2)).verdict
    assert verdict.startswith("failed: config: train.jit: on cannot compile")


@pytest.mark.e2e
def test_a_worker_that_the_kernel_kills_is_a_row(tiny_examples, tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_DIE", "0:1:SIGKILL")
    run = TrialRunner(tiny_config(), tiny_examples, 2, 60.0, tmp_path / "notes.json")
    assert run(Setting(1, 4, 1, "float32", "off", 2)).verdict == "out of memory"


@pytest.mark.e2e
def test_the_command_measures_and_writes(tiny_examples, tmp_path):
    settings = json.loads(tiny_config("1x2").model_dump_json())
    result = run_command(tmp_path, settings, tiny_examples, "precision")
    assert result.exit_code == 0, result.output
    assert "best" in result.output
    assert load_config(tmp_path / "small-tuned.yaml").train.batch == "1x2"
    [trial, *_] = json.loads((tmp_path / "small-tuned.trials.json").read_text())["trials"]
    assert trial["images_per_second"] > 0 and trial["peak_memory_mib"] > 100


@pytest.mark.slow
@pytest.mark.e2e
def test_the_command_tunes_the_real_detector(examples, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    result = run_command(tmp_path, small_run.SETTINGS, examples, "batch,buckets")
    assert result.exit_code == 0, result.output
    assert load_config(tmp_path / "small-tuned.yaml").train.global_batch == 2


def test_an_unknown_dimension_is_refused(examples, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(json.dumps(small_run.SETTINGS))
    result = CliRunner().invoke(
        main, ["--config", str(config), "--examples", str(examples), "--try", "speed"]
    )
    assert result.exit_code == 2
    assert "known are precision, jit, batch, buckets" in result.output


@pytest.mark.parametrize("out", ["", "tuned", "folder/"])
def test_a_config_is_written_under_a_name_of_yaml(tmp_path, out):
    config = tmp_path / "c.yaml"
    config.write_text("name: a\n")
    result = CliRunner().invoke(
        main, ["--config", str(config), "--examples", str(tmp_path), "--out", out]
    )
    assert result.exit_code == 2
    assert "expected a name that ends in .yaml" in result.output

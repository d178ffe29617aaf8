"""The launcher: what it gives its workers, and what comes of whole runs (e2e)."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from configs.model_schema import ModelConfig
from ground.errors import DatasetError, FolderInUseError, TrainingError
from model.input.buckets import write_buckets
from model.launch import launcher
from model.launch.launcher import train
from tests.free_ports import free_ports
from tests.model.launch.runs import (
    assert_same_bits,
    final_arrays,
    final_checkpoint,
    scalars,
    start_run,
    store_of,
)
from tests.model.training.tiny_run import (
    MODULE,
    exported_weights,
    launch,
    tiny_config,
    write_examples,
)

pytestmark = pytest.mark.usefixtures("no_gpus")


def test_examples_without_a_training_split_are_refused(tmp_path):
    examples = write_examples(tmp_path)
    manifest = json.loads((examples / "manifest.json").read_text())
    manifest["splits"]["val"] = manifest["splits"].pop("train")
    (examples / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match=r"no split named 'train', only \['eval', 'val'\]"):
        train(tiny_config(), examples, tmp_path)


def test_other_buckets_of_the_same_records_are_another_run(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "_run", lambda job, *_: {"event": "done", "key": job.key})
    monkeypatch.setattr(launcher, "_result", lambda job, run_dir, done: done["key"])
    first = launch(tmp_path, tiny_config())
    assert launch(tmp_path, tiny_config()) == first
    examples = tmp_path / "examples"
    write_buckets(examples, [(12, 12)])
    assert train(tiny_config(), examples, tmp_path, worker_module=MODULE) != first


def test_two_runs_at_once_do_not_share_a_folder(tmp_path, monkeypatch):
    def run(job, *_):
        with pytest.raises(FolderInUseError, match=rf"run: another run \(process {os.getpid()}\)"):
            launch(tmp_path, tiny_config())
        return {"event": "done"}

    monkeypatch.setattr(launcher, "_run", run)
    monkeypatch.setattr(launcher, "_result", lambda job, run_dir, done: done["event"])
    assert launch(tmp_path, tiny_config()) == "done"


@pytest.mark.parametrize(
    ("settings", "stages"),
    [
        ({}, "2"),
        ({"weights": "start.npz"}, None),
        ({"backbone": {"frozen_stages": 0}}, None),
        ({"backbone": {"frozen_stages": 4}}, "4"),
    ],
)
def test_stages_frozen_at_random_values_are_warned_of(settings, stages):
    warning = launcher.random_and_frozen(ModelConfig.model_validate(settings))
    assert (re.findall(r"backbone's (\d) frozen stages", warning) or [None]) == [stages]


@pytest.mark.e2e
def test_any_split_of_a_batch_trains_the_same(tmp_path):
    steps = 20
    runs = {}
    for batch in ("1x4", "2x2", "4x1"):
        config = tiny_config(batch, steps, log_every_steps=1)
        result = launch(tmp_path / batch, config)
        runs[batch] = (scalars(result.run_dir), final_arrays(result.checkpoints_dir))
        assert result.steps == steps
    losses, weights = runs["1x4"]
    assert len(losses["loss/total"]) == steps
    assert losses["loss/total"][-1] < losses["loss/total"][0]
    for other_losses, other_weights in (runs["2x2"], runs["4x1"]):
        for tag in ("loss/total", "loss/roi_class", "denominator/roi_class", "gradient_norm"):
            # Sums of a few float32 numbers in another order: some units in the last place, which
            # 20 steps of momentum carry on.
            np.testing.assert_allclose(other_losses[tag], losses[tag], rtol=1e-4, err_msg=tag)
        assert other_weights.keys() == weights.keys()
        for name, array in weights.items():
            np.testing.assert_allclose(
                other_weights[name], array, rtol=1e-4, atol=1e-6, err_msg=name
            )


@pytest.mark.e2e
def test_steps_that_are_not_finite_are_skipped_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_NAN", "1:5 0:10")
    events = []
    with pytest.raises(TrainingError, match=r"step 10: losses not finite .* of worker 0;") as ended:
        launch(tmp_path, tiny_config("2x2", max_non_finite_steps=1), on_progress=events.append)
    kept = {}
    for step, worker in ((5, 1), (10, 0)):
        with np.load(tmp_path / "run" / f"not-finite-step-{step}-worker-{worker}.npz") as batch:
            kept[step] = batch["image_ids"][batch["valid"]].tolist()
            assert np.isnan(batch["gt_boxes"]).all()
    assert f"pictures {', '.join(map(str, kept[10]))} of" in str(ended.value)
    assert "train.max_non_finite_steps (now 1)" in str(ended.value)
    [skipped] = [event for event in events if event.name == "skipped"]
    assert skipped.pictures == kept[5]  # worker 1's, told by the chief
    assert "roi_class nan" in skipped.text

    # Another start counts on from the checkpoint of step 8, and may allow more.
    result = launch(tmp_path, tiny_config("2x2", max_non_finite_steps=2), on_progress=events.append)
    assert [e.first_step for e in events if e.name == "start"] == [0, 8]
    assert result.skipped_steps == 2
    arrays = final_arrays(result.checkpoints_dir)
    assert arrays["state/updates"] == result.steps - 2
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert scalars(result.run_dir)["skipped_steps"] == [1.0, 2.0]


@pytest.mark.e2e
def test_the_best_is_kept_and_exported_and_patience_ends_the_run(tmp_path):
    config = tiny_config(
        "2x2", 24, validate_every_epochs=0.5, patience_validations=2, best_metric="mask/AP",
        keep_checkpoints=1, checkpoint_every_steps=5, log_every_steps=1,
    )  # fmt: skip
    events = []
    result = launch(tmp_path, config, on_progress=events.append)
    # mask/AP falls from the second validation on: two more, then it is over.
    validated = [event for event in events if event.name == "validation"]
    assert [(event.step, event.is_best) for event in validated] == [
        (3, True), (6, True), (9, False), (12, False),
    ]  # fmt: skip
    values = [event.metrics["mask/AP"] for event in validated]
    assert values[1] == max(values)
    assert (result.steps, result.best.step) == (12, 6)
    [ended] = [event.text for event in events if event.name == "early_stop"]
    assert ended.startswith("ends after step 12 of 24: 2 validations brought no higher mask/AP")
    assert scalars(result.run_dir)["validation/mask/AP"] == pytest.approx(values)
    shown = [event.validation for event in events if event.name == "progress"]
    assert shown[0] is None
    store = store_of(result.checkpoints_dir)
    assert store.steps() == [6, 12]
    best = store.load(6)[0]
    with np.load(exported_weights(tmp_path / "model")) as exported:
        for name, weight in exported.items():
            np.testing.assert_array_equal(weight, best[f"weights/{name}"])
    assert launch(tmp_path, config) == result


@pytest.mark.e2e
def test_a_changed_config_starts_anew_and_a_finished_run_stays(tmp_path):
    first = launch(tmp_path, tiny_config(steps=4))
    again = launch(tmp_path, tiny_config(steps=4))
    assert again == first
    events = []
    changed = launch(tmp_path, tiny_config(steps=4, seed=1), on_progress=events.append)
    assert events[0].first_step == 0
    assert changed.checkpoints_dir != first.checkpoints_dir


@pytest.mark.e2e
def test_a_stable_place_takes_all_that_grows_and_the_run_a_copy(tmp_path, monkeypatch):
    stable = tmp_path / "stable"
    monkeypatch.setenv("TINY_DIE", "0:6:SIGKILL")
    with pytest.raises(TrainingError, match=str(stable)):
        launch(tmp_path / "a", tiny_config(), checkpoints_dir=stable)
    monkeypatch.delenv("TINY_DIE")
    events = []
    result = launch(
        tmp_path / "b", tiny_config(), checkpoints_dir=stable, on_progress=events.append
    )
    assert events[0].first_step == 4
    assert sorted(p.name for p in Path(result.run_dir).iterdir()) == [
        ".tfx-rcnn.json",
        "logs",
        "tensorboard",
        "throughput.json",
    ]
    assert Path(result.checkpoints_dir).parent == stable


@pytest.mark.e2e
@pytest.mark.slow
def test_hosts_train_together_and_only_the_chief_needs_its_folder(tmp_path, uninterrupted):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core cannot be two hosts")
    names = ",".join(f"127.0.0.{i + 1}:{port}" for i, port in enumerate(free_ports(2)))
    (tmp_path / "file").touch()
    outs = [tmp_path / "0", tmp_path / "file" / "1"]  # nothing can be written below a file
    hosts = []
    for index, out in enumerate(outs):
        half = len(cores) // 2  # as many threads a worker as two workers of one host have
        hosts.append(
            start_run(
                out,
                tmp_path / f"examples-{index}",
                set(cores[index * half : (index + 1) * half]),
                TFX_RCNN_HOSTS=names,
                TFX_RCNN_HOST_INDEX=str(index),
                TMPDIR=str(tmp_path),
                TINY_SLOW="0",
            )
        )
    for host in hosts:
        host.communicate(timeout=120)
        assert host.returncode == 0
    [folder] = (outs[0] / "run" / "checkpoints").iterdir()
    assert_same_bits(final_checkpoint(folder), uninterrupted)
    assert exported_weights(outs[0] / "model").exists()
    [log] = tmp_path.glob("tfx-rcnn-*/logs/worker-*.log")
    assert log.name == "worker-1.log"
    assert "starts: batch 2x2 (workers x pictures) on CPU" in log.read_text()

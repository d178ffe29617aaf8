"""The launcher: what it gives its workers, and whole runs of real worker processes (e2e)."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

from configs.model_schema import BackboneConfig, ModelConfig
from ground.errors import DatasetError, FolderInUseError, ServiceError, TrainingError
from model.input.buckets import write_buckets
from model.launch import launcher, worker_group
from model.launch.errors import TrainingStopped, WorkerLostError
from model.launch.launcher import train
from model.training.checkpoints import CheckpointStore
from model.training.status import read_beat
from tests.free_ports import free_ports
from tests.model.training.tiny_run import (
    MODULE,
    exported_weights,
    launch,
    resumed_config,
    tiny_config,
    write_examples,
)
from tests.s3_server import SECRET_KEY, S3Server

ROOT = Path(__file__).parents[3]


# What the workers are given.


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("TF_CONFIG", raising=False)


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


# Whole runs.


class Checkpoint(NamedTuple):
    """What is in a checkpoint."""

    arrays: dict[str, np.ndarray]
    history: dict[str, Any]


def scalars(run_dir: str) -> dict[str, list[float]]:
    """Returns TensorBoard's values by tag, one a step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorflow import make_ndarray

    accumulator = EventAccumulator(f"{run_dir}/tensorboard", size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: [float(make_ndarray(event.tensor_proto)) for event in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }


def store_of(checkpoints: str | Path) -> CheckpointStore:
    """Returns the checkpoints in a run's folder."""
    folder = Path(checkpoints)
    key = json.loads((folder.parents[1] / "job.json").read_text())["key"]
    return CheckpointStore(folder.parent, key, keep=9)


def final_checkpoint(checkpoints: str | Path) -> Checkpoint:
    """Returns the newest checkpoint in a run's folder."""
    store = store_of(checkpoints)
    return Checkpoint(*store.load(store.steps()[-1]))


def final_arrays(checkpoints: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of the newest checkpoint in a run's folder."""
    return final_checkpoint(checkpoints).arrays


def workers_of(out: Path) -> list[psutil.Process]:
    """Returns the worker processes that run now for a run in `out`."""
    job = str(out / "run" / "job.json")
    return [p for p in psutil.process_iter(["cmdline"]) if job in (p.info["cmdline"] or [])]


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


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Checkpoint:
    """The last checkpoint of 2x2, 30 steps, in one go."""
    out = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        result = launch(out, resumed_config("2x2", 30))
    return final_checkpoint(result.checkpoints_dir)


def start_run(
    out: Path, examples: Path | None = None, cores: set[int] | None = None, **environment: str
) -> subprocess.Popen:
    """Starts 2x2, 30 steps, a checkpoint each; prints the chief's events."""
    examples = examples or out / "examples"
    cores = cores or os.sched_getaffinity(0)
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, "launch", str(examples), str(out), "2x2", "30"],
        cwd=ROOT,
        env={**os.environ, "TINY_SLOW": "0.05", **environment},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )


def wait_for_step(run: subprocess.Popen, step: int) -> None:
    for line in run.stdout:
        event = json.loads(line)
        if event["event"] == "checkpoint" and event["step"] >= step:
            return
    raise AssertionError(f"the run ended before step {step}")


def wait_until_gone(out: Path) -> None:
    deadline = time.monotonic() + 20
    while workers_of(out):
        assert time.monotonic() < deadline, "workers outlive their launcher"
        time.sleep(0.05)


def assert_same_bits(checkpoint: Checkpoint, expected: Checkpoint) -> None:
    assert checkpoint.arrays.keys() == expected.arrays.keys()
    different = [
        name
        for name, array in expected.arrays.items()
        if checkpoint.arrays[name].tobytes() != array.tobytes()
    ]
    assert different == []
    assert checkpoint.history["validations"] == expected.history["validations"]
    assert len(expected.history["validations"]) == 10  # every three steps of thirty


@pytest.mark.e2e
def test_a_run_that_is_cut_off_again_and_again_ends_with_the_same_bits(tmp_path, uninterrupted):
    chance = random.Random(0)
    for step, victim, number in (
        (1, "worker", signal.SIGKILL),
        (9, "launcher", signal.SIGTERM),
        (17, "launcher", signal.SIGKILL),
    ):
        run = start_run(tmp_path)
        wait_for_step(run, step)
        time.sleep(chance.uniform(0, 0.2))  # anywhere in a step or a checkpoint's writing
        process = run if victim == "launcher" else chance.choice(workers_of(tmp_path))
        os.kill(process.pid, number)
        output, _ = run.communicate(timeout=60)
        assert (run.returncode == 0) == (number == signal.SIGTERM)
        if number == signal.SIGTERM:
            assert "resumable, run the same again" in output.splitlines()[-1]
            assert workers_of(tmp_path) == []
        wait_until_gone(tmp_path)
    run = start_run(tmp_path)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 0
    events = [json.loads(line) for line in output.splitlines()]
    assert events[0]["first_step"] >= 17
    assert events[-1]["event"] == "done"
    [folder] = (tmp_path / "run" / "checkpoints").iterdir()
    assert_same_bits(final_checkpoint(folder), uninterrupted)
    assert list(folder.glob(".*")) == []
    best = store_of(folder).load(events[-1]["best"]["step"])[0]
    with np.load(exported_weights(tmp_path / "model")) as exported:
        for name, weight in exported.items():
            np.testing.assert_array_equal(weight, best[f"averages/{name}"])


@pytest.mark.e2e
@pytest.mark.slow
def test_sigterm_to_one_worker_has_all_of_them_stop_well(tmp_path, uninterrupted):
    run = start_run(tmp_path)
    wait_for_step(run, 3)
    workers_of(tmp_path)[0].send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    assert "resumable, run the same again" in output.splitlines()[-1]
    assert workers_of(tmp_path) == []
    run = start_run(tmp_path)
    run.communicate(timeout=120)
    assert run.returncode == 0
    [folder] = (tmp_path / "run" / "checkpoints").iterdir()
    assert_same_bits(final_checkpoint(folder), uninterrupted)


@pytest.mark.e2e
def test_a_full_disk_ends_the_run_without_another_start(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_FULL", "0:3")
    events = []
    with pytest.raises(TrainingError, match=r"no space left on the disk of .*: free some space"):
        launch(tmp_path, tiny_config("1x4", max_restarts=1), on_progress=events.append)
    assert [e.name for e in events].count("restart") == 0
    assert workers_of(tmp_path) == []


@pytest.mark.e2e
def test_a_lost_worker_is_started_again_from_the_last_checkpoint(tmp_path, monkeypatch):
    once = tmp_path / "once"
    once.touch()
    monkeypatch.setenv("TINY_DIE", "1:6:SIGKILL")
    monkeypatch.setenv("TINY_ONCE", str(once))
    events = []
    result = launch(tmp_path, tiny_config("2x2", max_restarts=1), on_progress=events.append)
    assert [e.first_step for e in events if e.name == "start"] == [0, 4]
    [restart] = [e.text for e in events if e.name == "restart"]
    assert re.match(r"worker 1 was killed by SIGKILL .*step 6, log .*/worker-1\.log", restart)
    assert result.steps == 12
    log = (tmp_path / "run" / "logs" / "worker-1.log").read_text()
    assert log.count("starts: batch 2x2") == 2


def write_worker(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> str:
    """Writes a worker without TensorFlow, `status` and `index` in its scope; returns its module."""
    start = (
        "import faulthandler, json, os, signal, sys, time",
        "from model.launch.job import TrainingJob",
        "from model.training.events import CheckpointSaved, WorkerFailed",
        "from model.training.place import worker_place",
        "from model.training.status import WorkerStatus",
        "job, index = TrainingJob.read(sys.argv[1]), worker_place(os.environ)[1]",
        "status = WorkerStatus(job.status_dir, index)",
    )
    (folder / "fake_worker.py").write_text("\n".join([*start, *lines]))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
    return "fake_worker"


def test_a_stop_that_a_worker_does_not_follow_is_no_failure(tmp_path, monkeypatch):
    """Neither a stalled worker nor the end of the time to stop starts the run again."""
    worker = write_worker(
        tmp_path, monkeypatch, "status.tell(CheckpointSaved(8, ''))", "time.sleep(60)"
    )
    late = [0]
    clock = SimpleNamespace(
        time=lambda: time.time() + 10 * late[0],
        monotonic=lambda: time.monotonic() + late[0],
        sleep=time.sleep,
    )
    monkeypatch.setattr(worker_group, "time", clock)

    def stop(event):
        assert event.name == "checkpoint"  # and no restart
        signal.raise_signal(signal.SIGTERM)
        late[0] = worker_group.SECONDS_TO_STOP + 1

    config = tiny_config("1x4", heartbeat_seconds=300.0, max_restarts=1)
    examples = write_examples(tmp_path / "examples")
    with pytest.raises(TrainingStopped, match="stopped after 8 steps: resumable"):
        train(config, examples, tmp_path, on_progress=stop, worker_module=worker)
    assert workers_of(tmp_path) == []


def test_a_used_up_quota_is_a_full_disk(tmp_path, monkeypatch):
    worker = write_worker(
        tmp_path,
        monkeypatch,
        "status.tell(WorkerFailed('SafetensorError', 'I/O error: Disk quota exceeded'))",
        "sys.exit(1)",
    )
    examples = write_examples(tmp_path / "examples")
    config = tiny_config("1x4", max_restarts=1)
    with pytest.raises(TrainingError, match=r"^no space left on the disk of .*: free some space"):
        train(config, examples, tmp_path, worker_module=worker)


# What TensorFlow 2.16 says where a worker was stopped by SIGSTOP, and where one's host was killed.
NO_HEARTBEAT = (
    "{{function_node __inference_<lambda>_18469}} Collective ops is aborted by: Error reported "
    "from /job:worker/task:1: Task /job:worker/replica:0/task:1 heartbeat timeout. This indicates"
)
RESET = (
    "{{function_node __inference_<lambda>_18522}} Collective ops is aborted by: Connection reset "
    "by peer Additional GRPC error information from remote target /job:worker/replica:0/task:1 "
    "while calling /tensorflow.WorkerService/CompleteInstance"
)


def test_the_worker_that_the_others_miss_is_named_and_shows_its_stack(tmp_path, monkeypatch):
    worker = write_worker(
        tmp_path,
        monkeypatch,
        "status.beat('step', 8)",
        "def read_a_picture():",
        "    os.kill(os.getpid(), signal.SIGSTOP)",
        "if index == 1:",
        "    faulthandler.register(signal.SIGUSR1, open(job.stacks_path(1), 'w'))",
        "    read_a_picture()",
        "    time.sleep(60)",
        f"status.tell(WorkerFailed('UnavailableError', {NO_HEARTBEAT!r}))",
        "sys.exit(1)",
    )
    examples = write_examples(tmp_path / "examples")
    with pytest.raises(WorkerLostError, match="worker 1 gave the others no sign of life"):
        train(tiny_config("2x2"), examples, tmp_path, worker_module=worker)
    assert "read_a_picture" in (tmp_path / "run/logs/worker-1.stacks").read_text()
    assert workers_of(tmp_path) == []


def test_logs_and_stacks_of_every_start_are_kept_but_none_of_another_run(tmp_path, monkeypatch):
    worker = write_worker(
        tmp_path,
        monkeypatch,
        "print('log of', time.time_ns())",
        "open(job.stacks_path(index), 'a').write('stack\\n')",
        "sys.exit(1)",
    )
    logs = tmp_path / "run/logs"
    logs.mkdir(parents=True)
    for name in ("worker-0.log", "worker-1.log", "worker-1.stacks"):
        (logs / name).write_text("of an earlier run")
    (tmp_path / "run" / "job.json").write_text('{"examples_dir": "T"}')
    examples = write_examples(tmp_path / "examples")
    with pytest.raises(WorkerLostError, match="ended with status 1"):
        train(tiny_config("1x4", max_restarts=1), examples, tmp_path, worker_module=worker)
    assert sorted(path.name for path in logs.glob("worker-*")) == [
        "worker-0.log",
        "worker-0.stacks",
    ]
    assert len(set(re.findall(r"log of \d+", (logs / "worker-0.log").read_text()))) == 2
    assert (logs / "worker-0.stacks").read_text() == "stack\n" * 2


def test_a_worker_with_an_error_of_its_own_is_named_before_those_that_miss_it(
    tmp_path, monkeypatch
):
    worker = write_worker(
        tmp_path,
        monkeypatch,
        f"kind, message = [('UnavailableError', {RESET!r}), ('KeyError', 'a')][index]",
        "status.tell(WorkerFailed(kind, message))",
        "sys.exit(1)",
    )
    examples = write_examples(tmp_path / "examples")
    with pytest.raises(WorkerLostError, match=r"^worker 1 KeyError: a "):
        train(tiny_config("2x2"), examples, tmp_path, worker_module=worker)


def test_a_worker_of_another_host_that_is_missed_is_named_with_its_host(tmp_path, monkeypatch):
    monkeypatch.setenv("TFX_RCNN_HOSTS", ",".join(f"127.0.0.1:{p}" for p in free_ports(2)))
    monkeypatch.setenv("TFX_RCNN_HOST_INDEX", "0")
    worker = write_worker(
        tmp_path,
        monkeypatch,
        f"status.tell(WorkerFailed('UnavailableError', {RESET!r}))",
        "sys.exit(1)",
    )
    examples = write_examples(tmp_path / "examples")
    with pytest.raises(
        WorkerLostError, match=r"^worker 0 no longer reaches worker 1 on 127\.0\.0\.1:\d+,"
    ):
        train(tiny_config("2x2"), examples, tmp_path, worker_module=worker)


def test_a_run_is_started_again_only_so_often(tmp_path, monkeypatch):
    starts = []

    def lose_a_worker(*_):
        starts.append(1)
        raise WorkerLostError("worker 1 was killed by SIGKILL")

    monkeypatch.setattr(launcher, "_run", lose_a_worker)
    events = []
    config = tiny_config("2x2", max_restarts=2)
    frozen = config.model.model_copy(update={"backbone": BackboneConfig(frozen_stages=2)})
    config = config.model_copy(update={"model": frozen})
    with pytest.raises(WorkerLostError, match=r"^worker 1 was killed by SIGKILL$"):
        launch(tmp_path, config, on_progress=events.append)
    assert len(starts) == 3
    assert [e.name for e in events] == ["warning", "restart", "restart"]


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
def test_a_stalled_worker_is_found_by_its_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_STALL", "1:3")

    def now() -> float:
        """Returns the time, 600 s later as soon as worker 1 stalls and worker 0 waits for it."""
        beats = [read_beat(tmp_path / "run/status", worker)[1:] for worker in (0, 1)]
        return time.time() + 600 * (beats == [(3, "step"), (3, "input")])

    clock = SimpleNamespace(time=now, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr(worker_group, "time", clock)
    with pytest.raises(
        TrainingError, match=r"worker 1 showed no progress .* 'input' of step 3"
    ) as e:
        launch(tmp_path, tiny_config("2x2", heartbeat_seconds=300.0))
    assert "starts: batch 2x2" in str(e.value.__cause__)
    stacks = [(tmp_path / f"run/logs/worker-{w}.stacks").read_text() for w in (0, 1)]
    assert "_misbehave" in stacks[1]
    assert "train_loop.py" in stacks[0]
    assert "_misbehave" not in stacks[0]
    assert workers_of(tmp_path) == []


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
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_run_killed_at_any_moment_ends_with_the_same_bits(tmp_path, uninterrupted, seed):
    chance = random.Random(seed)
    moment = ("anywhere", "in a checkpoint", "in a validation")[seed % 3]
    step = chance.randrange(1, 28)
    if moment == "in a checkpoint":
        # Two checkpoints a validation step: the count is of files, not of steps.
        run = start_run(tmp_path, TINY_DIE_SAVING=str(chance.randrange(0, 36)))
    elif moment == "in a validation":
        worker = chance.randrange(2)
        record = 2 * chance.randrange(11) + worker
        once = tmp_path / "once"
        once.touch()
        where = f"{worker}:{-1 - record}:SIGKILL"
        run = start_run(tmp_path, TINY_DIE=where, TINY_ONCE=str(once))
    else:
        run = start_run(tmp_path)
        wait_for_step(run, step)
        time.sleep(chance.uniform(0, 0.3))
        victim = run if chance.random() < 0.5 else chance.choice(workers_of(tmp_path))
        os.kill(victim.pid, signal.SIGKILL)
    run.communicate(timeout=120)
    assert run.returncode != 0
    wait_until_gone(tmp_path)
    [folder] = (tmp_path / "run" / "checkpoints").iterdir()
    if moment == "in a checkpoint":
        assert len(list(folder.glob(".step-*.partial"))) == 1

    run = start_run(tmp_path, TINY_SLOW="0")
    run.communicate(timeout=120)
    assert run.returncode == 0
    assert_same_bits(final_checkpoint(folder), uninterrupted)
    assert list(folder.glob(".*")) == []


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
@pytest.mark.slow
def test_checkpoints_may_lie_where_only_tensorflow_reaches(tmp_path, monkeypatch):
    uri = f"file://{tmp_path}/remote"
    monkeypatch.setenv("TINY_DIE", "0:6:SIGKILL")
    with pytest.raises(TrainingError, match="SIGKILL"):
        launch(tmp_path / "a", tiny_config(), checkpoints_dir=uri)
    monkeypatch.delenv("TINY_DIE")
    events = []
    result = launch(tmp_path / "b", tiny_config(), checkpoints_dir=uri, on_progress=events.append)
    assert events[0].first_step == 4
    assert Path(result.checkpoints_dir.removeprefix("file://")).parent == tmp_path / "remote"
    assert list((tmp_path / "remote").glob("*/step-00000012.safetensors.complete"))
    assert not (Path(result.run_dir) / "checkpoints").exists()


@pytest.mark.e2e
@pytest.mark.slow
def test_a_killed_run_goes_on_from_an_object_store_with_the_same_bits(tmp_path, monkeypatch):
    whole = launch(tmp_path / "whole", tiny_config())
    with S3Server().running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TINY_DIE", "0:6:SIGKILL")
        with pytest.raises(TrainingError, match="SIGKILL"):
            launch(tmp_path / "a", tiny_config(), checkpoints_dir="s3://bucket/kept")
        monkeypatch.delenv("TINY_DIE")
        shutil.rmtree(tmp_path / "a")  # the pod is gone with all that it had
        events = []
        again = launch(
            tmp_path / "b",
            tiny_config(),
            checkpoints_dir="s3://bucket/kept",
            on_progress=events.append,
        )
    assert events[0].first_step == 4
    assert again.last_losses == whole.last_losses
    paths = [exported_weights(Path(one.model_dir)) for one in (whole, again)]
    first, second = (dict(np.load(path)) for path in paths)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(name.endswith("/step-00000012.safetensors") for name in server.objects)
    assert not (Path(again.run_dir) / "checkpoints").exists()
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for content in [*written, *server.objects.values()]:
        assert SECRET_KEY.encode() not in content


@pytest.mark.e2e
@pytest.mark.slow
def test_a_store_that_refuses_ends_the_run_with_its_address(tmp_path, monkeypatch):
    with S3Server().running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
        with pytest.raises((TrainingError, ServiceError), match="AccessDenied") as raised:
            launch(tmp_path, tiny_config(), checkpoints_dir="s3://bucket/kept")
    assert "s3://bucket/kept" in str(raised.value)
    assert SECRET_KEY not in str(raised.value)


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


@pytest.mark.e2e
@pytest.mark.slow
def test_a_stop_before_the_first_step_loses_nothing(tmp_path):
    run = start_run(tmp_path)
    while not workers_of(tmp_path):
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 0
    assert "resumable" in output.splitlines()[-1]
    assert workers_of(tmp_path) == []


def test_stopped_says_how_to_go_on():
    assert str(TrainingStopped(12)) == "stopped after 12 steps: resumable, run the same again"

"""Runs that are stopped or killed, anywhere: they say so, and go on with the same bits."""

import json
import os
import random
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest

from model.launch import worker_group
from model.launch.errors import TrainingStopped
from model.launch.launcher import train
from tests.model.launch.runs import (
    assert_same_bits,
    final_checkpoint,
    start_run,
    store_of,
    wait_for_step,
    wait_until_gone,
    workers_of,
    write_worker,
)
from tests.model.training.tiny_run import exported_weights, tiny_config, write_examples

pytestmark = pytest.mark.usefixtures("no_gpus")


def test_stopped_says_how_to_go_on():
    assert str(TrainingStopped(12)) == "stopped after 12 steps: resumable, run the same again"


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

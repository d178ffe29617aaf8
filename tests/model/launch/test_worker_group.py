"""What a start of the workers needs; whole starts are in test_launcher.py."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from model.launch import errors, worker_group
from model.launch.cluster import Cluster
from model.launch.errors import TrainingStopped, WorkerLostError
from model.launch.job import TrainingJob
from model.launch.worker_group import WorkerGroup
from tests.model.launch.runs import write_worker
from tests.model.training.tiny_run import tiny_config
from tfx_rcnn import command


@pytest.fixture
def group(tmp_path):
    return _group(tmp_path)


def _group(folder):
    """Returns two workers of a job that are not started."""
    settings = tiny_config("2x2", heartbeat_seconds=300.0).to_json()
    checkpoints = str(folder / "checkpoints")
    job = TrainingJob(settings, "e", str(folder), checkpoints, "ab" * 32, "m", 1)
    job.logs_dir.mkdir(parents=True)
    for worker in (0, 1):
        job.log_path(worker).touch()
    return WorkerGroup(job, Cluster(), [7, 8])


def test_what_xla_compiles_is_kept_beside_the_checkpoints(tmp_path, group):
    folder = tmp_path / "checkpoints" / ("ab" * 8) / "xla"
    environ = {"TF_XLA_FLAGS": "--tf_xla_auto_jit=0"}
    group._keep_compiled(environ)
    flag = f'--tf_xla_persistent_cache_directory="{folder}"'
    assert environ["TF_XLA_FLAGS"] == f"--tf_xla_auto_jit=0 {flag}" and folder.is_dir()
    theirs = {"TF_XLA_FLAGS": "--tf_xla_persistent_cache_directory=/mine"}
    group._keep_compiled(theirs)
    assert theirs == {"TF_XLA_FLAGS": "--tf_xla_persistent_cache_directory=/mine"}


@pytest.mark.e2e
def test_a_folder_whose_name_has_blanks_keeps_what_xla_compiles(tmp_path):
    group = _group(tmp_path / "my runs -v2")
    environ = {}
    group._keep_compiled(environ)
    program = (
        "import tensorflow as tf\n"
        "print(tf.function(lambda x: x * 2 + 1, jit_compile=True)(tf.ones([3])).numpy())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[3. 3. 3.]\n"), done.stderr
    assert list((tmp_path / "my runs -v2").glob("checkpoints/*/xla/*.pb"))


def test_a_host_that_cannot_write_there_compiles_anew(tmp_path, group, caplog):
    (tmp_path / "checkpoints").touch()
    environ = {}
    group._keep_compiled(environ)
    assert environ == {}
    [said] = caplog.messages
    assert said.startswith(f"what XLA compiles is not kept: {tmp_path}/checkpoints/")


@pytest.fixture
def started(tmp_path, no_gpus, request, monkeypatch):
    """Returns a function that starts two workers of these lines, and gives their group."""
    groups = []

    def start(*lines):
        module = write_worker(tmp_path, monkeypatch, *lines)
        group = request.getfixturevalue("group")  # it takes the environment as it is then
        groups.append(group)
        group._job.write(tmp_path / "job.json")
        group._job.status_dir.mkdir()
        group.start(command(module, str(tmp_path / "job.json")))
        return group

    yield start
    for group in groups:
        group.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_that_have_not_begun_are_not_waited_for(started, number):
    """There is nothing to keep, and loading TensorFlow on a busy machine takes long."""
    group = started("time.sleep(60)")
    group.ask_to_stop(number)
    begun = time.monotonic()
    with pytest.raises(TrainingStopped) as stopped:
        group.follow(lambda event: None)
    group.kill()
    assert time.monotonic() - begun < 2 and stopped.value.number == number


def test_a_stop_that_comes_while_a_death_is_looked_into_is_no_loss(started, monkeypatch):
    group = started("sys.exit(1) if index else time.sleep(60)")
    asked = []

    def sleep(seconds):
        time.sleep(seconds)
        if group._processes[1].poll() is not None and not asked:
            asked.append(group.ask_to_stop(signal.SIGINT))

    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr(worker_group, "time", clock)
    with pytest.raises(TrainingStopped):
        group.follow(lambda event: None)
    assert asked


def test_a_stop_that_comes_while_a_stall_is_looked_into_is_no_loss(started, monkeypatch):
    group = started("time.sleep(60)")

    def stalls(running):
        group.ask_to_stop(signal.SIGTERM)
        raise WorkerLostError("worker 0 stands still")

    monkeypatch.setattr(group, "_check_beats", stalls)
    with pytest.raises(TrainingStopped):
        group.follow(lambda event: None)


@pytest.mark.parametrize(
    ("step", "advice"),
    [(0, "run the same again to go on"), (7, "7 steps are kept: run the same again to go on")],
)
def test_ctrl_c_says_how_many_steps_are_kept_where_that_is_known(monkeypatch, step, advice):
    said = []
    monkeypatch.setattr(errors, "say_if_interrupted", said.append)
    with pytest.raises(KeyboardInterrupt):
        TrainingStopped(step, signal.SIGINT).raise_if_interrupted()
    assert said == [advice]

"""What a start of the workers needs; whole starts are in test_launcher.py."""

import pytest

from model.launch.cluster import Cluster
from model.launch.job import TrainingJob
from model.launch.worker_group import WorkerGroup
from tests.model.training.tiny_run import tiny_config


@pytest.fixture
def group(tmp_path):
    """Two workers of a job that are not started."""
    settings = tiny_config("2x2", heartbeat_seconds=300.0).to_json()
    checkpoints = str(tmp_path / "checkpoints")
    job = TrainingJob(settings, "e", str(tmp_path), checkpoints, "ab" * 32, "m", 1)
    job.logs_dir.mkdir()
    for worker in (0, 1):
        job.log_path(worker).touch()
    return WorkerGroup(job, Cluster(), [7, 8])


def test_what_xla_compiles_is_kept_beside_the_checkpoints(tmp_path, group):
    folder = tmp_path / "checkpoints" / ("ab" * 8) / "xla"
    environ = {"TF_XLA_FLAGS": "--tf_xla_auto_jit=0"}
    group._keep_compiled(environ)
    flag = f"--tf_xla_persistent_cache_directory={folder}"
    assert environ["TF_XLA_FLAGS"] == f"--tf_xla_auto_jit=0 {flag}" and folder.is_dir()
    theirs = {"TF_XLA_FLAGS": "--tf_xla_persistent_cache_directory=/mine"}
    group._keep_compiled(theirs)
    assert theirs == {"TF_XLA_FLAGS": "--tf_xla_persistent_cache_directory=/mine"}


def test_a_host_that_cannot_write_there_compiles_anew(tmp_path, group, caplog):
    (tmp_path / "checkpoints").touch()
    environ = {}
    group._keep_compiled(environ)
    assert environ == {}
    [said] = caplog.messages
    assert said.startswith(f"what XLA compiles is not kept: {tmp_path}/checkpoints/")

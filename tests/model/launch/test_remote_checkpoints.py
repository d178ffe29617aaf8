"""Checkpoints that lie in an object store: runs go on from there, or end with its address."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ground.errors import ServiceError, TrainingError
from tests.model.training.tiny_run import exported_weights, launch, tiny_config
from tests.s3_server import SECRET_KEY, S3Server

pytestmark = [pytest.mark.usefixtures("no_gpus"), pytest.mark.e2e, pytest.mark.slow]


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


def test_a_store_that_refuses_ends_the_run_with_its_address(tmp_path, monkeypatch):
    with S3Server().running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
        with pytest.raises((TrainingError, ServiceError), match="AccessDenied") as raised:
            launch(tmp_path, tiny_config(), checkpoints_dir="s3://bucket/kept")
    assert "s3://bucket/kept" in str(raised.value)
    assert SECRET_KEY not in str(raised.value)

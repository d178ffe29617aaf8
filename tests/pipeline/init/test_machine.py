"""What a machine gives a training: GPUs are those that TensorFlow opens, not device files."""

import pytest

from ground.errors import ConfigError
from pipeline.init import machine
from pipeline.init.machine import this_machine


def test_gpus_are_those_that_tensorflow_opens(monkeypatch):
    monkeypatch.setattr(machine, "visible_gpus", lambda environ: environ.get("opened", "01234567"))
    monkeypatch.setattr(
        machine, "usable_environment", lambda device, environ: {**environ, "opened": "0"}
    )
    said = []
    assert this_machine(said.append, {}).gpus == 1
    assert this_machine(said.append, {"opened": ""}).gpus == 0
    assert said == []


def test_gpus_that_cannot_be_used_are_said_and_not_planned_with(monkeypatch):
    def refuse(device, environ):
        raise ConfigError("this host has 8 GPUs, but TensorFlow opens none")

    monkeypatch.setattr(machine, "visible_gpus", lambda environ: list("01234567"))
    monkeypatch.setattr(machine, "usable_environment", refuse)
    said = []
    assert this_machine(said.append, {}).is_cpu
    assert said == ["warning: fitted to the CPUs: this host has 8 GPUs, but TensorFlow opens none"]


@pytest.mark.parametrize("visible", ["", "NoDevFiles"])
def test_hidden_gpus_are_not_asked_for(monkeypatch, visible):
    monkeypatch.setattr(machine, "usable_environment", None)
    assert this_machine(print, {"CUDA_VISIBLE_DEVICES": visible}).is_cpu

"""GPUs that are named, there, or asked for, and what becomes of those that cannot be used."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from configs.errors import ConfigError
from model.training import gpus, host
from model.training.gpus import Answer, ask_tensorflow, unused_gpus, usable_environment

TOO_OLD = "E cuda: failed call to cuInit: CUDA driver version is insufficient for CUDA runtime"
NO_DRIVER = "I Could not find cuda drivers on your machine, GPU will not be used."
NO_LIBRARIES = "W Cannot dlopen some GPU libraries. Please make sure the missing libraries ..."
UNKNOWN = "E failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error\nmore"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a host with so many device files, and perhaps an nvidia-smi; returns its variables."""

    def make(devices: int, tool: str | None = None) -> dict[str, str]:
        folder = tmp_path / "dev"
        folder.mkdir()
        for number in range(devices):
            (folder / f"nvidia{number}").touch()
        monkeypatch.setattr(host, "_NVIDIA_DRIVER", tmp_path / "none")
        monkeypatch.setattr(host, "_DEVICES", folder)
        if tool is not None:
            path = tmp_path / "nvidia-smi"
            path.write_text(f"#!/bin/sh\n{tool}\n")
            path.chmod(0o755)
        host._listed_by_tool.cache_clear()
        return {"PATH": str(tmp_path)}

    return make


def opens(count: int, has_cuda: bool = True, log: str = ""):
    def ask(environ: Mapping[str, str]) -> Answer:
        return Answer(count, has_cuda, log)

    return ask


def nobody(environ: Mapping[str, str]) -> Answer:
    raise AssertionError("TensorFlow was asked where no GPU seems to be there")


@pytest.mark.parametrize("visible", [None, "", "-1", " , ", "-1,0"])
def test_a_host_without_gpus_pays_nothing(machine, visible: str | None) -> None:
    environ = machine(0) | ({"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {})
    assert usable_environment("auto", environ, nobody) == environ


def test_hidden_gpus_are_not_asked_for(machine) -> None:
    environ = machine(2) | {"CUDA_VISIBLE_DEVICES": ""}
    assert usable_environment("auto", environ, nobody) == environ


@pytest.mark.parametrize("visible", [{}, {"CUDA_VISIBLE_DEVICES": "0,x"}])
def test_cpu_hides_all_and_asks_nobody(machine, visible: dict[str, str]) -> None:
    environ = machine(2) | visible
    assert usable_environment("cpu", environ, nobody) == environ | {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
    ("visible", "opened"), [(None, 2), ("1", 1), ("1,0", 2), ("0,-1,7", 1), ("GPU-8f2c-11", 1)]
)
@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_gpus_that_open_are_used(machine, device: str, visible: str | None, opened: int) -> None:
    environ = machine(2) | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
    assert usable_environment(device, environ, opens(opened)) == environ


@pytest.mark.parametrize(
    ("devices", "visible", "ask", "said"),
    [
        (2, None, opens(0, log=TOO_OLD), "this host has 2 GPUs, but TensorFlow opens none: the "
         "NVIDIA driver is too old"),
        (1, None, opens(0, log=NO_DRIVER), "this host has 1 GPU, but TensorFlow opens none: the "
         "driver's library libcuda.so.1 is not found"),
        (1, None, opens(0, log=NO_LIBRARIES), "CUDA's libraries are missing: TFX_RCNN_GPU=yes"),
        (1, None, opens(0, log=UNKNOWN), "says CUDA_ERROR_UNKNOWN: unknown error; or set"),
        (1, None, opens(0, has_cuda=False), "it is built without CUDA"),
        (1, None, opens(0), "it does not say why"),
        (4, None, opens(3), "this host has 4 GPUs, but TensorFlow opens 3"),
        (2, "0,1", opens(1), "CUDA_VISIBLE_DEVICES=0,1 names 2 GPUs, but TensorFlow opens 1"),
        (2, "2", nobody, "names GPU 2, but this host has 2 GPUs, numbered from 0"),
        (2, "0,7", nobody, "names GPU 7, but this host has 2 GPUs"),
        (0, "0", opens(0, log=NO_DRIVER), "CUDA_VISIBLE_DEVICES=0 names 1 GPU, but TensorFlow "
         "opens none: the driver's library libcuda.so.1 is not found"),
        (2, "all", nobody, "names no GPU by 'all': expected numbers such as 0,1"),
        (2, "0,,1", nobody, "names no GPU by ''"),
        (2, "0 1", nobody, "names no GPU by '0 1'"),
        (2, "-2", nobody, "names no GPU by '-2'"),
        (2, "1,1", nobody, "names GPU 1 twice"),
        (2, "٣", nobody, "names no GPU by"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_gpus_that_cannot_be_used_end_in_a_line(
    machine, device: str, devices: int, visible: str | None, ask, said: str
) -> None:
    environ = machine(devices) | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
    with pytest.raises(ConfigError) as error:
        usable_environment(device, environ, ask)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("visible", "said"), [(None, "no NVIDIA driver is at work here"), ("", "hides them")]
)
def test_gpu_needs_one(machine, visible: str | None, said: str) -> None:
    environ = machine(0) | ({"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {})
    with pytest.raises(ConfigError, match=r"train\.device is gpu, but this host shows no GPU") as e:
        usable_environment("gpu", environ, nobody)
    assert said in str(e.value)


def test_what_nvidia_smi_lists_is_there(machine) -> None:
    environ = machine(0, tool="echo 'GPU 0: NVIDIA A10 (UUID: GPU-1)'")
    with pytest.raises(ConfigError, match="this host has 1 GPU, but TensorFlow opens none"):
        usable_environment("auto", environ, opens(0))


@pytest.mark.parametrize("tool", ["echo 'No devices were found'", "exit 9", "kill -9 $$"])
def test_the_tool_alone_is_no_gpu(machine, tool: str) -> None:
    environ = machine(0, tool)
    assert usable_environment("auto", environ, nobody) == environ


def test_a_gpu_that_is_not_used_is_said_once_the_model_is_loaded(machine) -> None:
    environ = machine(2)
    assert unused_gpus(environ, 0).startswith("warning: 2 GPUs here, but TensorFlow opens none")
    assert unused_gpus(environ, 2) == ""
    assert unused_gpus(environ | {"CUDA_VISIBLE_DEVICES": ""}, 0) == ""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('hello')", "could not be asked which GPUs it opens"),
        ("import sys; sys.exit('ImportError: no tensorflow')", "(ImportError: no tensorflow)"),
        ("print('[]')", "could not be asked"),
        ("import time; time.sleep(60)", "did not say within 0.5 s"),
    ],
)
def test_tensorflow_that_does_not_answer_ends_in_a_line(monkeypatch, program, said) -> None:
    import sys

    gpus._ask.cache_clear()
    monkeypatch.setattr(gpus, "command", lambda module: [sys.executable, "-c", program])
    monkeypatch.setattr(gpus, "_PROBE_SECONDS", 0.5 if "sleep" in program else 30.0)
    with pytest.raises(ConfigError) as error:
        ask_tensorflow({})
    assert said in str(error.value) and "\n" not in str(error.value)


def test_an_answer_is_asked_for_once(monkeypatch, tmp_path: Path) -> None:
    import sys

    gpus._ask.cache_clear()
    line = json.dumps({"gpus": 1, "has_cuda": True})
    program = f"import sys; print('noise'); print({line!r}); sys.stderr.write('why')"
    starts = []

    def run(*arguments, **options):
        starts.append(options["env"])
        return completed(*arguments, **options)

    completed = subprocess.run
    monkeypatch.setattr(gpus, "command", lambda module: [sys.executable, "-c", program])
    monkeypatch.setattr(subprocess, "run", run)
    environ = {"TF_CONFIG": "{}", "CUDA_VISIBLE_DEVICES": "0"}
    assert ask_tensorflow(environ) == ask_tensorflow(environ) == Answer(1, True, "why")
    assert len(starts) == 1 and "TF_CONFIG" not in starts[0]


@pytest.mark.e2e
def test_tensorflow_itself_answers(monkeypatch) -> None:
    import os

    gpus._ask.cache_clear()
    answer = ask_tensorflow({**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert answer.gpus == 0

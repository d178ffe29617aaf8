"""GPUs that are named, there, or asked for, and what becomes of those that cannot be used."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ground.errors import ConfigError
from model.launch import gpus, host
from model.launch.gpu_answer import Answer, Gpu, has_code, other_cudnn
from model.launch.gpus import ask_tensorflow, gpu_warnings, unused_gpus, usable_environment

# As TensorFlow 2.16 and 2.21 print them; the drivers' errors came from a stand-in for libcuda.
TOO_OLD = "E cuda: failed call to cuInit: CUDA driver version is insufficient for CUDA runtime"
MISMATCH = (
    "E external/local_xla/xla/stream_executor/cuda/cuda_driver.cc:282] failed call to cuInit: "
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: system has unsupported display driver / cuda driver "
    "combination"
)
NO_DEVICE = (
    "E cuda_driver.cc:282] failed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is "
    "detected"
)
NO_LIBRARIES = "W Cannot dlopen some GPU libraries. Please make sure the missing libraries ..."
NO_CUDART = """
I dso_loader.cc:70] Could not load dynamic library 'libnvinfer.so.8.6.1'; dlerror: libnvinfer.so ...
I dso_loader.cc:70] Could not load dynamic library 'libcudart.so.12'; dlerror: libcudart.so.12: ...
I cudart_stub.cc:32] Could not find cuda drivers on your machine, GPU will not be used.
I dso_loader.cc:70] Could not load dynamic library 'libcudnn.so.8'; dlerror: libcudnn.so.8: cannot
"""
TOO_OLD_GPU = (
    "I gpu_device.cc:2348] Ignoring visible gpu device (device: 0, name: Tesla K80, pci bus id: "
    "0000:00:1e.0, compute capability: 3.7) with Cuda compute capability 3.7. The minimum required "
    "Cuda capability is 5.0."
)
UNKNOWN = "E failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error\nmore"
LEGACY = ("sm_50", "sm_60", "sm_70", "sm_80", "compute_90")  # of TensorFlow 2.16's wheel
BLACKWELL = Gpu(0, "NVIDIA GeForce RTX 5090", (12, 0))
ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
INVALID_PTX = "'cuModuleLoadData(&module, data)' failed with 'CUDA_ERROR_INVALID_PTX'"


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


def opens(count: int, has_cuda: bool = True, log: str = "", **more: str):
    def ask(environ: Mapping[str, str]) -> Answer:
        assert environ["CUDA_DEVICE_ORDER"]
        a100s = tuple(Gpu(number, "A100", (8, 0)) for number in range(count))
        return Answer(a100s, has_cuda, log, "2.16.2", "12.3", "8", LEGACY, **more)

    return ask


def opens_blackwell(problem: str = ""):
    def ask(environ: Mapping[str, str]) -> Answer:
        return Answer((BLACKWELL._replace(problem=problem),), tensorflow="2.16.2", listed=LEGACY)

    return ask


def nobody(environ: Mapping[str, str]) -> Answer:
    raise AssertionError("TensorFlow was asked where no GPU seems to be there")


@pytest.mark.parametrize("visible", [None, "", "-1", " , ", "-1,0", "NoDevFiles"])
def test_a_host_without_gpus_pays_nothing(machine, visible: str | None) -> None:
    environ = machine(0) | ({"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {})
    assert usable_environment("auto", environ, nobody) == environ | ORDER


def test_hidden_gpus_are_not_asked_for(machine) -> None:
    environ = machine(2) | {"CUDA_VISIBLE_DEVICES": ""}
    assert usable_environment("auto", environ, nobody) == environ | ORDER
    assert gpu_warnings("auto", environ, nobody) == []


@pytest.mark.parametrize("visible", [{}, {"CUDA_VISIBLE_DEVICES": "0,x"}])
def test_cpu_hides_all_and_asks_nobody(machine, visible: dict[str, str]) -> None:
    environ = machine(2) | visible
    hidden = environ | ORDER | {"CUDA_VISIBLE_DEVICES": ""}
    assert usable_environment("cpu", environ, nobody) == hidden
    assert gpu_warnings("cpu", environ, nobody) == []


@pytest.mark.parametrize(
    ("visible", "opened"),
    [
        (None, 2), ("1", 1), ("1,0", 2), ("0,-1,7", 1), ("GPU-8f2c-11", 1),
        ("MIG-5a3f9e04-0c6b-57a8-a1a5-3f9e040c6b57", 1), ("MIG-GPU-8f2c-11/3/0", 1),
        ("MIG-5a3f9e04-0c6b,MIG-7b11-22", 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_gpus_that_open_are_used(machine, device: str, visible: str | None, opened: int) -> None:
    environ = machine(2) | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
    usable = usable_environment(device, environ, opens(opened))
    assert usable == environ | ORDER | {"CUDA_VISIBLE_DEVICES": visible or "0,1"}
    assert gpu_warnings(device, environ, opens(opened)) == []


def test_where_the_gpus_sit_is_handed_on(machine) -> None:
    def ask(environ: Mapping[str, str]) -> Answer:
        return Answer(tuple(Gpu(n, "A100", (8, 0), bus=f"0000:{n}b:00.0") for n in range(2)))

    stale = {"TFX_RCNN_GPU_BUSES": "0000:ff:00.0"}
    usable = usable_environment("auto", machine(8) | stale, ask)
    assert usable["TFX_RCNN_GPU_BUSES"] == "0000:0b:00.0,0000:1b:00.0"
    assert "TFX_RCNN_GPU_BUSES" not in usable_environment("cpu", stale, nobody)


def test_the_users_order_of_gpus_stays(machine) -> None:
    environ = machine(1) | {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    assert usable_environment("auto", environ, opens(1))["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"


def test_what_tensorflow_opens_counts_and_not_the_nodes_device_files(machine) -> None:
    environ = machine(8)  # as a container with one MIG device shows them
    assert usable_environment("auto", environ, opens(1))["CUDA_VISIBLE_DEVICES"] == "0"
    [line] = gpu_warnings("auto", environ, opens(1))
    assert line.startswith("warning: this host shows 8 GPUs, and TensorFlow opens 1: the others")


def test_a_gpu_of_a_generation_without_code_is_named(machine) -> None:
    environ = machine(1)
    usable_environment("auto", environ, opens_blackwell())
    [line] = gpu_warnings("auto", environ, opens_blackwell())
    assert "has no code for GPU 0 (NVIDIA GeForce RTX 5090, compute capability 12.0; built" in line
    with pytest.raises(ConfigError, match=r"does not compute: .*INVALID_PTX.*NVIDIA's container"):
        usable_environment("auto", environ, opens_blackwell(INVALID_PTX))


@pytest.mark.parametrize(
    ("capability", "listed", "expected"),
    [
        ((8, 0), LEGACY, True),
        ((8, 9), LEGACY, True),
        ((9, 0), LEGACY, False),
        ((12, 0), LEGACY, False),
        ((9, 0), ("sm_90a",), True),
        ((10, 3), ("sm_100", "compute_120"), True),
        ((12, 1), ("sm_100", "sm_120"), True),
        ((7, 0), ("sm_75",), False),
        ((), LEGACY, True),
        ((9, 0), (), True),
    ],
)
def test_machine_code_runs_within_its_generation(capability, listed, expected) -> None:
    assert has_code(capability, listed) is expected


@pytest.mark.parametrize(
    ("file", "installed", "said"),
    [
        ("libcudnn.so.8.6.0", "8.9.7.29", "has cuDNN 8.6.0 ("),
        ("libcudnn.so.9", "8.9.7.29", "has cuDNN 9 ("),
        ("libcudnn.so", "8.9.7.29", "has cuDNN ? ("),
        ("libcudnn.so.8.9.7", "8.9.7.29", ""),
        ("libcudnn.so.8", "8.9.7.29", ""),
        ("libcudnn_ops_infer.so.8", "8.9.7.29", ""),
        ("libcudnn.so.8.6.0", "", ""),
    ],
)
def test_another_cudnn_that_comes_first_is_named(tmp_path, file, installed, said) -> None:
    (tmp_path / file).touch()
    (tmp_path / "libcudnn.so.99").symlink_to(file) if said.startswith("has cuDNN 8.6") else None
    found = other_cudnn({"LD_LIBRARY_PATH": f":/none:{tmp_path}"}, installed)
    assert bool(found) is bool(said)
    if found:
        assert said in found.found and found.mend == f"take {tmp_path} out of LD_LIBRARY_PATH"


@pytest.mark.parametrize(
    ("devices", "visible", "ask", "said"),
    [
        (2, None, opens(0, log=TOO_OLD), "this host has 2 GPUs, but TensorFlow opens none: the "
         "NVIDIA driver is too old"),
        (2, None, opens(0, log=MISMATCH), "NVIDIA driver is too old for this TensorFlow's CUDA, "
         "or its parts are of two versions"),
        (1, None, opens(0, driver="11.4", log=NO_CUDART), "the NVIDIA driver is too old: it knows "
         "CUDA 11.4, this TensorFlow is built with 12.3"),
        (1, None, opens(0, driver_problem="libcuda.so.1: file too short"), "this host has 1 GPU, "
         "but TensorFlow opens none: the driver's library cannot be opened (libcuda.so.1: file too "
         "short): install"),
        (1, None, opens(0, driver="12.4", log=NO_CUDART), "CUDA's libraries are missing "
         "(libcudart.so.12, libcudnn.so.8): TFX_RCNN_GPU=yes make setup"),
        (1, None, opens(0, driver="12.4", log=NO_DEVICE), "the driver says CUDA_ERROR_NO_DEVICE"),
        (1, None, opens(0, driver="12.4", log=TOO_OLD_GPU), "needs compute capability 5.0"),
        (1, None, opens(0, log=NO_LIBRARIES), "CUDA's libraries are missing: TFX_RCNN_GPU=yes"),
        (1, None, opens(0, log=UNKNOWN), "says CUDA_ERROR_UNKNOWN: unknown error: load the "
         "driver's modules on the host (nvidia-modprobe -u -c=0), or start it anew; or set"),
        (1, None, opens(0, has_cuda=False), "it is built without CUDA"),
        (1, None, opens(0), "it does not say why"),
        (2, "0,1", opens(1), "CUDA_VISIBLE_DEVICES=0,1 names 2 GPUs, but TensorFlow opens 1"),
        (2, "2", opens(0), "=2 names 1 GPU, but TensorFlow opens none: there is no GPU 2, they are "
         "2, numbered from 0"),
        (2, "0,7", opens(1), "there is no GPU 7, they are 2"),
        (0, "0", opens(0, driver_problem="libcuda.so.1: cannot open shared object file"),
         "CUDA_VISIBLE_DEVICES=0 names 1 GPU, but TensorFlow opens none: the driver's library "
         "cannot be opened (libcuda.so.1: "),
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
    assert usable_environment("auto", environ, nobody) == environ | ORDER
    assert gpu_warnings("auto", environ, nobody) == []


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
        ("import os; os.kill(os.getpid(), 4)", "(ended by SIGILL: status -4)"),
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
    texts = ("tensorflow", "cuda", "cudnn", "driver", "driver_problem", "loaded_cudnn")
    gpu = {"number": 0, "name": "A10", "capability": [8, 6], "problem": ""}
    line = json.dumps(
        {"gpus": [gpu], "has_cuda": True, "listed": ["sm_80"], **dict.fromkeys(texts, "x")}
    )
    program = f"import sys; print('noise'); print({line!r}); sys.stderr.write('why')"
    starts = []

    def run(*arguments, **options):
        starts.append(options["env"])
        return completed(*arguments, **options)

    completed = subprocess.run
    monkeypatch.setattr(gpus, "command", lambda module: [sys.executable, "-c", program])
    monkeypatch.setattr(subprocess, "run", run)
    environ = {"TF_CONFIG": "{}", "CUDA_VISIBLE_DEVICES": "0"}
    expected = Answer(
        (Gpu(0, "A10", (8, 6)),), True, "why", "x", "x", "x", ("sm_80",), "x", "x", "x"
    )
    assert ask_tensorflow(environ) == ask_tensorflow(environ) == expected
    assert len(starts) == 1 and "TF_CONFIG" not in starts[0]


@pytest.mark.e2e
def test_tensorflow_itself_answers(monkeypatch) -> None:
    import os

    gpus._ask.cache_clear()
    answer = ask_tensorflow({**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert answer.gpus == () and answer.has_cuda and answer.tensorflow.startswith("2.")

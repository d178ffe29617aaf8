"""Rows of what the probe says of GPUs; the probes themselves."""

import json
import sys
from typing import Any

import pytest

from pipeline.doctor import libraries
from pipeline.doctor.ask import Asked
from pipeline.doctor.libraries import gpus_shown, library_checks, listed_by_tool, rows_of_answer
from pipeline.doctor.probes import coco

A100 = {"number": 0, "name": "A100", "capability": [8, 0], "problem": ""}
ANSWER: dict[str, Any] = {
    "gpus": [],
    "has_cuda": True,
    "tensorflow": "2.16.2",
    "cuda": "12.3",
    "cudnn": "8",
    "listed": ["sm_80", "compute_90"],
    "driver": "12.4",
    "driver_problem": "",
    "loaded_cudnn": "/x/libcudnn.so.8",
}
NO_DRIVER = {"driver": "", "driver_problem": "libcuda.so.1: cannot open shared object file"}
CUINIT = "E cuda.cc:1] failed call to cuInit: "  # as TensorFlow 2.16 prints it, and later ones
CUINIT_TWICE = f"{CUINIT}INTERNAL: CUDA error: Failed call to cuInit: "
NO_CUDNN = "Could not load dynamic library 'libcudnn.so.8'; dlerror"
TOO_OLD_GPU = "capability 3.7. The minimum required Cuda capability is 5.0."
TOOL = ["0, A100, 550.54, 81920 MiB"]


def rows(environ: dict[str, str] | None = None, tool: list[str] | None = None, **changes: Any):
    log = changes.pop("log", "")
    found = rows_of_answer(Asked({**ANSWER, **changes}, log=log), tool or [], environ or {})
    return {row.check: row for row in found}


def test_a_machine_without_gpus_is_well() -> None:
    found = rows(**NO_DRIVER)
    assert {row.status for row in found.values()} == {"ok"}
    assert found["GPUs"].found == "none here: everything runs on the processor"


def test_a_gpu_that_computes_is_well() -> None:
    found = rows(tool=TOOL, gpus=[A100])
    assert {row.status for row in found.values()} == {"ok"}
    assert found["GPU 0"].found == "A100, compute capability 8.0, computes"
    assert found["NVIDIA driver"].found == "knows CUDA 12.4"
    assert found["cuDNN"].found.startswith("/x/libcudnn.so.8, NCCL ")


@pytest.mark.parametrize(
    ("changes", "check", "status", "found", "mend"),
    [
        (NO_DRIVER, "GPUs", "error", "TensorFlow opens none (0, A100, 550.54, 81920 MiB): the "
         "driver's library cannot be opened", "docker run --gpus all"),
        (NO_DRIVER, "NVIDIA driver", "error", "none (libcuda.so.1", "docker run --gpus all"),
        ({"driver": "11.4"}, "GPUs", "error", "it knows CUDA 11.4, this TensorFlow is built with "
         "12.3", "update the driver"),
        ({"has_cuda": False}, "GPUs", "error", "it is built without CUDA", "make setup"),
        ({"log": NO_CUDNN}, "GPUs", "error",
         "(libcudnn.so.8)", "make setup"),
        ({"gpus": [{**A100, "problem": "CUDNN_STATUS_NOT_INITIALIZED"}]}, "GPUs", "error",
         "GPU 0 (A100, compute capability 8.0) does not compute: CUDNN_STATUS", "nvidia-smi"),
        ({"gpus": [{**A100, "name": "B200", "capability": [10, 0]}]}, "GPUs", "warning",
         "has no code for GPU 0 (B200, compute capability 10.0; built for sm_80 compute_90), which "
         "the driver compiles first, for up to half an hour", "CUDA_CACHE_MAXSIZE=4294967296"),
        ({"gpus": [{**A100, "capability": [12, 0], "problem": "CUDA_ERROR_INVALID_PTX"}]}, "GPUs",
         "error", "does not compute: CUDA_ERROR_INVALID_PTX; TensorFlow 2.16.2 has no code for "
         "this generation (built for sm_80 compute_90)", "NVIDIA's container"),
        ({"gpus": [A100, {**A100, "number": 1}]}, "GPUs", "warning", "this host shows 1, "
         "TensorFlow opens 2", "nvidia-smi -L"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_gpus_is_a_row(changes, check, status, found, mend) -> None:
    row = rows(tool=TOOL, **changes)[check]
    assert row.status == status
    assert found in row.found and mend in row.mend and row.mend not in row.found


@pytest.mark.parametrize(
    ("log", "found", "mend"),
    [
        (f"{CUINIT}CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected\nmore",
         "the driver says CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected",
         "give a container its GPUs (docker run --gpus all), and "),
        (f"{CUINIT_TWICE}CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected",
         "the driver says CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected",
         "give a container its GPUs (docker run --gpus all), and "),
        (f"{CUINIT_TWICE}CUDA_ERROR_SYSTEM_NOT_READY: system not yet initialized",
         "the driver says CUDA_ERROR_SYSTEM_NOT_READY: system not yet initialized",
         "start NVIDIA's fabric manager "),
        (f"{CUINIT}CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE: forward compatibility was attempted",
         "the driver says CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE: forward compatibility was "
         "attempted", "take the folder of CUDA's compat package out of LD_LIBRARY_PATH"),
        (f"{CUINIT}CUDA_ERROR_UNKNOWN: unknown error",
         "the driver says CUDA_ERROR_UNKNOWN: unknown error", "load the driver's modules "),
        (f"{CUINIT_TWICE}CUDA_ERROR_OPERATING_SYSTEM: OS call failed",
         "the driver says CUDA_ERROR_OPERATING_SYSTEM: OS call failed", "see whether nvidia-smi "),
        (TOO_OLD_GPU, "the GPU is too old for this TensorFlow, which needs compute capability 5.0",
         "use a newer GPU"),
        ("", "it does not say why", "see whether nvidia-smi does"),
    ],
)  # fmt: skip
def test_what_the_driver_says_is_no_way_out(log: str, found: str, mend: str) -> None:
    row = rows(tool=TOOL, log=log)["GPUs"]
    assert row.found == f"TensorFlow opens none ({TOOL[0]}): {found}"
    assert row.mend.startswith(mend)


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"log": NO_CUDNN}, "TFX_RCNN_GPU=yes make setup installs them; take {} out of "),
        ({"gpus": [A100]}, "take {} out of LD_LIBRARY_PATH"),
    ],
)
def test_another_cudnn_is_taken_out(tmp_path, monkeypatch, changes, mend) -> None:
    (tmp_path / "libcudnn.so.7").touch()
    monkeypatch.setattr("model.launch.gpu_answer._version", lambda package: "8.9.7.29")
    row = rows({"LD_LIBRARY_PATH": str(tmp_path)}, TOOL, **changes)["GPUs"]
    assert f"cuDNN 7 ({tmp_path}/libcudnn.so.7) before the 8.9.7.29" in row.found
    assert row.mend.startswith(mend.format(tmp_path))


def test_hidden_gpus_are_a_warning() -> None:
    row = rows({"CUDA_VISIBLE_DEVICES": ""}, TOOL)["GPUs"]
    assert row.status == "warning" and row.mend == "unset CUDA_VISIBLE_DEVICES"


def test_named_gpus_that_are_not_there_are_an_error() -> None:
    assert rows({"CUDA_VISIBLE_DEVICES": "0"}, **NO_DRIVER)["GPUs"].status == "error"


def test_an_answer_of_another_form_is_an_error() -> None:
    [row] = rows_of_answer(Asked({"gpus": "?"}), [], {})
    assert row.status == "error" and "another answer" in row.found


@pytest.mark.parametrize(
    ("program", "listed"),
    [(f"echo '{TOOL[0]}'; echo noise", TOOL), ("exit 9", []), ("kill -9 $$", []), (None, [])],
)
def test_the_tool_may_fail(tmp_path, monkeypatch, program, listed) -> None:
    if program:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    assert listed_by_tool() == listed


def test_a_container_without_the_tool_shows_the_drivers_files(tmp_path, monkeypatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    monkeypatch.setattr("model.launch.host._NVIDIA_DRIVER", tmp_path / "none")
    monkeypatch.setattr("model.launch.host._DEVICES", tmp_path)
    shown = gpus_shown({"PATH": str(tmp_path)})
    assert shown == ["/dev/nvidia0", "/dev/nvidia1"]
    row = rows(tool=shown, **NO_DRIVER)["GPUs"]
    assert row.status == "error" and "(/dev/nvidia0; /dev/nvidia1)" in row.found


def test_each_probe_is_asked_and_a_failing_one_is_a_row(monkeypatch) -> None:
    asked_for = []

    def ask(module: str, *arguments: str, **options: Any) -> Asked:
        asked_for.append(module.rpartition(".")[2])
        return Asked(None, "ended by SIGILL: this processor lacks", "use a machine")

    monkeypatch.setattr(libraries, "ask", ask)
    monkeypatch.setattr(libraries, "has_pipeline", lambda: True)
    found = [row for check in library_checks(1.0) for row in check()]
    assert asked_for == ["gpu_probe", "coco", "pictures", "beam", "metadata", "tfx"]
    assert {row.status for row in found} == {"error"} and len(found) == len(asked_for)
    monkeypatch.setattr(libraries, "has_pipeline", lambda: False)
    last = [row for check in library_checks(1.0) for row in check()][-1]
    assert (last.check, last.status) == ("pipeline", "warning")
    assert last.mend == "TFX_RCNN_PACKAGES=all make setup"  # of itself it stays as it is


def test_pycocotools_counts_right(capsys) -> None:
    coco.main()
    assert json.loads(capsys.readouterr().out)["version"].startswith("2.")


def test_a_wrong_number_fails(monkeypatch) -> None:
    monkeypatch.setattr("pycocotools.mask.area", lambda mask: 5)
    with pytest.raises(SystemExit, match="an area of 5 for 6"):
        coco.main()
    assert "pycocotools" in sys.modules

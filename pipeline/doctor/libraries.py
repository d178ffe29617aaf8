"""Rows about what is really tried: TensorFlow and its GPUs, TFX, Beam, MLMD, pictures."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ground.errors import SETUP_WITH_TFX
from model.launch.gpu_answer import Answer, parse_answer, problems, reason, shortcomings
from pipeline.doctor.ask import Asked, ask
from pipeline.doctor.packages import has_pipeline
from pipeline.doctor.rows import MAKE_SETUP, Row
from pipeline.doctor.system import shared_memory_row

_PROBES = "pipeline.doctor.probes"
_SMI_QUERY = ("--query-gpu=index,name,driver_version,memory.total", "--format=csv,noheader")
_PROBED_WITH = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"}


def library_checks(seconds: float) -> list[Callable[[], list[Row]]]:
    """Returns the checks of this module, each of which takes seconds and may run beside others."""
    tried: list[tuple[str, str, Callable[[Any], str]]] = [
        ("pycocotools", "coco", lambda values: f"{values['version']} counts right"),
        ("pictures", "pictures", lambda values: f"{' and '.join(values['formats'])} are decoded"),
    ]
    if has_pipeline():
        tried += [
            ("Beam", "beam", lambda v: f"{v['version']} ran a pipeline on {v['runner']}"),
            ("ML Metadata", "metadata", lambda v: f"{v['version']} kept and gave back a type"),
            ("TFX", "tfx", lambda values: f"{values['version']} loads"),
        ]
    checks: list[Callable[[], list[Row]]] = [
        partial(_tried, check, probe, say, seconds) for check, probe, say in tried
    ]
    if not has_pipeline():
        found = "TFX and ML Metadata are not installed: this machine only trains"
        checks.append(lambda: [Row("pipeline", "warning", found, SETUP_WITH_TFX)])
    return [lambda: tensorflow_rows(seconds, os.environ), *checks]


def _tried(check: str, probe: str, say: Callable[[Any], str], seconds: float) -> list[Row]:
    asked = ask(f"{_PROBES}.{probe}", seconds=seconds)
    if asked.values is None:
        return [Row(check, "error", asked.problem, asked.mend)]
    return [Row(check, "ok", say(asked.values))]


def tensorflow_rows(seconds: float, environ: Mapping[str, str]) -> list[Row]:
    """Returns the rows of TensorFlow, the driver, and the GPUs as TensorFlow sees them."""
    order = {"CUDA_DEVICE_ORDER": environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")}
    asked = ask(
        "model.launch.gpu_probe", "--compute", seconds=seconds, environ=_PROBED_WITH | order
    )
    if asked.values is None:
        return [Row("TensorFlow", "error", asked.problem, asked.mend)]
    return rows_of_answer(asked, gpus_shown(environ), environ)


def gpus_shown(environ: Mapping[str, str]) -> list[str]:
    """Returns a line for each GPU that this host shows, by nvidia-smi or by the driver's files."""
    from model.launch.host import gpus_of_host  # loads packages that may be missing

    return listed_by_tool() or [f"/dev/nvidia{number}" for number in gpus_of_host(environ)]


def rows_of_answer(asked: Asked, shown: list[str], environ: Mapping[str, str]) -> list[Row]:
    """Returns the rows of what the probe of model/launch/gpu_probe.py said.

    Args:
        asked: its answer.
        shown: a line for each GPU that this host shows.
        environ: may name GPUs.
    """
    try:
        answer = parse_answer(asked.values, asked.log)
    except (KeyError, TypeError, ValueError):
        given = json.dumps(asked.values)[:200]
        return [
            Row("TensorFlow", "error", f"gave another answer than expected: {given}", MAKE_SETUP)
        ]
    built = f", built with CUDA {answer.cuda}, cuDNN {answer.cudnn}" if answer.has_cuda else ""
    rows = [Row("TensorFlow", "ok", f"{answer.tensorflow} loads{built}")]
    named = environ.get("CUDA_VISIBLE_DEVICES")
    is_named = bool(named and not named.strip().startswith("-1") and named.strip(" ,"))
    if not answer.gpus and not shown and not is_named:
        rows.append(Row("GPUs", "ok", "none here: everything runs on the processor"))
        return rows
    driver = f"knows CUDA {answer.driver}" if answer.driver else f"none ({answer.driver_problem})"
    rows.append(
        Row("NVIDIA driver", "ok" if answer.driver else "error", driver, _driver_mend(answer))
    )
    rows += _gpu_rows(answer, shown, environ)
    rows.append(shared_memory_row(len(answer.gpus)))
    return rows


def _gpu_rows(answer: Answer, shown: list[str], environ: Mapping[str, str]) -> list[Row]:
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if not answer.gpus:
        if named is not None and not named.strip(" ,").removeprefix("-1"):
            found = f"{len(shown)} here, hidden by CUDA_VISIBLE_DEVICES={named}"
            return [Row("GPUs", "warning", found, "unset CUDA_VISIBLE_DEVICES")]
        why = reason(answer, environ)
        given = f" ({'; '.join(shown)})" if shown else ""
        return [Row("GPUs", "error", f"TensorFlow opens none{given}: {why.found}", why.mend)]
    rows = []
    failing = {gpu.number for gpu in answer.gpus if gpu.problem}
    for gpu in answer.gpus:
        if gpu.number not in failing:
            capability = ".".join(map(str, gpu.capability)) or "unknown"
            found = f"{gpu.name}, compute capability {capability}, computes"
            rows.append(Row(f"GPU {gpu.number}", "ok", found))
    rows += [Row("GPUs", "error", *each) for each in problems(answer)]
    rows += [Row("GPUs", "warning", *each) for each in shortcomings(answer, environ)]
    if shown and named is None and len(shown) != len(answer.gpus):
        found = f"this host shows {len(shown)}, TensorFlow opens {len(answer.gpus)}"
        rows.append(Row("GPUs", "warning", found, "nvidia-smi -L"))
    cudnn = answer.loaded_cudnn or "not loaded"
    rows.append(Row("cuDNN", "ok", f"{cudnn}, NCCL {_nccl()}"))
    return rows


def _driver_mend(answer: Answer) -> str:
    return "" if answer.driver else "install NVIDIA's driver, or docker run --gpus all"


def _nccl() -> str:
    from pipeline.doctor.packages import installed_packages

    installed = installed_packages()
    versions = [installed[n] for n in ("nvidia-nccl-cu12", "nvidia-nccl-cu13") if n in installed]
    return versions[0] if versions else "of the system"


def listed_by_tool() -> list[str]:
    """Returns a line for each GPU that nvidia-smi lists; none where there is no such tool."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        answer = subprocess.run(
            [tool, *_SMI_QUERY],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []  # the tool alone, as in images for both kinds of machine
    return [line.strip() for line in answer.stdout.splitlines() if line.count(",") == 3]

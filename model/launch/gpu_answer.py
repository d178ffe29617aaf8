"""What TensorFlow says of a host's GPUs, and what follows from it for a person."""

import importlib.metadata
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

SETUP_WITH_CUDA = "TFX_RCNN_GPU=yes make setup installs them"
# What TensorFlow's native code says where it opens no GPU, what that means, and what mends it.
# Later TensorFlows say "failed call to cuInit" twice in a line.
_CUINIT = r"failed call to cuInit: (?:[^\n]*Failed call to cuInit: )?"
_DRIVER_SAYS = r"the driver says \1"
_REASONS = (
    (r"driver version is insufficient|SYSTEM_DRIVER_MISMATCH|cudaErrorInsufficientDriver",
     "the NVIDIA driver is too old for this TensorFlow's CUDA, or its parts are of two versions",
     "update the driver and start the machine anew"),
    (r"minimum required Cuda capability is (\d+\.\d+)",
     r"the GPU is too old for this TensorFlow, which needs compute capability \1",
     "use a newer GPU"),
    (_CUINIT + r"(CUDA_ERROR_NO_DEVICE[^\n]{0,100})", _DRIVER_SAYS,
     "give a container its GPUs (docker run --gpus all), and let CUDA_VISIBLE_DEVICES name such as "
     "nvidia-smi -L lists"),
    (_CUINIT + r"(CUDA_ERROR_SYSTEM_NOT_READY[^\n]{0,100})", _DRIVER_SAYS,
     "start NVIDIA's fabric manager on the host (systemctl start nvidia-fabricmanager), of the "
     "driver's version"),
    (_CUINIT + r"(CUDA_ERROR_COMPAT_NOT_SUPPORTED[^\n]{0,100})", _DRIVER_SAYS,
     "take the folder of CUDA's compat package out of LD_LIBRARY_PATH, or update the driver"),
    (_CUINIT + r"(CUDA_ERROR_UNKNOWN[^\n]{0,100})", _DRIVER_SAYS,
     "load the driver's modules on the host (nvidia-modprobe -u -c=0), or start it anew"),
    (_CUINIT + r"([^\n]{1,120})", _DRIVER_SAYS,
     "see whether nvidia-smi works on the host, and start it anew"),
    (r"Cannot dlopen some GPU libraries|Could not load dynamic library|Could not find cuda drivers",
     "CUDA's libraries are missing", SETUP_WITH_CUDA),
)  # fmt: skip
_OTHER_BUILD = "a TensorFlow built for it, such as that of NVIDIA's container"
_MISSING = re.compile(r"Could not load dynamic library '([^']{1,80})'")
# TensorRT's, which TensorFlow looks for and does without; the driver's, which are told apart.
_NOT_NEEDED = ("libnvinfer", "libcuda.so", "libnccl")
_CUDNN_FILE = re.compile(r"libcudnn\.so(?:\.([0-9][0-9.]*))?")


class Trouble(NamedTuple):
    """What is wrong with GPUs; as text, in one line.

    Attributes:
        found: what is wrong.
        mend: what to do.
    """

    found: str
    mend: str

    def __str__(self) -> str:
        return f"{self.found}: {self.mend}"


class Gpu(NamedTuple):
    """A GPU that TensorFlow opens.

    Attributes:
        number: its number as CUDA counts those that it shows.
        name: its product's.
        capability: (8, 0) for an A100; () where it does not say.
        problem: why it does not compute, where it was asked to; else "".
        bus: its place, such as "0000:3b:00.0"; "" where the driver does not say.
    """

    number: int
    name: str
    capability: tuple[int, ...]
    problem: str = ""
    bus: str = ""


class Answer(NamedTuple):
    """What TensorFlow says of this host.

    Attributes:
        gpus: that it opens.
        has_cuda: whether it is built for GPUs.
        log: what its native code printed meanwhile.
        tensorflow: its version.
        cuda: version that it is built with.
        cudnn: version that it is built with.
        listed: the generations that it has code for: sm_80 runs as it is, compute_90 is compiled.
        driver: the newest CUDA that the driver knows; "" without a driver.
        driver_problem: why the driver's library cannot be opened; else "".
        loaded_cudnn: the file that was loaded; "" if none.
    """

    gpus: tuple[Gpu, ...]
    has_cuda: bool = True
    log: str = ""
    tensorflow: str = ""
    cuda: str = ""
    cudnn: str = ""
    listed: tuple[str, ...] = ()
    driver: str = ""
    driver_problem: str = ""
    loaded_cudnn: str = ""


def parse_answer(fields: Mapping[str, Any], log: str) -> Answer:
    """Returns the answer of the probe's line.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    gpus = tuple(
        Gpu(
            number=int(gpu["number"]),
            name=str(gpu["name"]),
            capability=tuple(map(int, gpu["capability"])),
            problem=str(gpu["problem"]),
            bus=str(gpu.get("bus", "")),
        )
        for gpu in fields["gpus"]
    )
    names = ("tensorflow", "cuda", "cudnn", "driver", "driver_problem", "loaded_cudnn")
    texts = {name: str(fields[name]) for name in names}
    return Answer(
        gpus, bool(fields["has_cuda"]), log, listed=tuple(map(str, fields["listed"])), **texts
    )


def has_code(capability: tuple[int, ...], listed: tuple[str, ...]) -> bool:
    """Returns whether a build runs on a GPU without compiling anything for it first.

    Machine code runs within its generation (the same first number) on the same or a later GPU.

    Args:
        capability: compute capability of the GPU; () counts as known.
        listed: capabilities of the build; none says nothing.

    >>> has_code((8, 6), ("sm_80", "compute_90")), has_code((12, 0), ("sm_80", "compute_90"))
    (True, False)
    """
    codes = [match for name in listed if (match := re.fullmatch(r"sm_(\d+)(\d)a?", name))]
    if not capability or not codes:
        return True
    return any(int(code[1]) == capability[0] and int(code[2]) <= capability[1] for code in codes)


def reason(answer: Answer, environ: Mapping[str, str]) -> Trouble:
    """Returns why TensorFlow opens fewer GPUs than it should."""
    if not answer.has_cuda:
        return Trouble("it is built without CUDA", SETUP_WITH_CUDA.replace("them", "one with it"))
    if answer.driver_problem:
        return Trouble(
            f"the driver's library cannot be opened ({answer.driver_problem})",
            "install NVIDIA's driver, or give the container the GPUs (docker run --gpus all)",
        )
    if answer.driver and answer.cuda and _first(answer.driver) < _first(answer.cuda):
        return Trouble(
            f"the NVIDIA driver is too old: it knows CUDA {answer.driver}, this TensorFlow is "
            f"built with {answer.cuda}",
            "update the driver",
        )
    missing = [name for name in _MISSING.findall(answer.log) if not name.startswith(_NOT_NEEDED)]
    if missing:
        return _missing(", ".join(dict.fromkeys(missing)), environ)
    for pattern, meaning, mend in _REASONS:
        if found := re.search(pattern, answer.log):
            return Trouble(" ".join(found.expand(meaning).split()), mend)
    return Trouble("it does not say why", "see whether nvidia-smi does")


def _missing(names: str, environ: Mapping[str, str]) -> Trouble:
    found = f"CUDA's libraries are missing ({names})"
    other = other_cudnn(environ) if "cudnn" in names else None
    if other is None:
        return Trouble(found, SETUP_WITH_CUDA)
    return Trouble(f"{found}; {other.found}", f"{SETUP_WITH_CUDA}; {other.mend}")


def problems(answer: Answer) -> list[Trouble]:
    """Returns what is wrong with each GPU that is opened and does not compute."""
    return [_problem(gpu, answer) for gpu in answer.gpus if gpu.problem]


def shortcomings(answer: Answer, environ: Mapping[str, str]) -> list[Trouble]:
    """Returns what a person should know of GPUs that work."""
    found = [
        Trouble(
            f"TensorFlow {answer.tensorflow} has no code for GPU {gpu.number} ({gpu.name}"
            f"{_of(gpu)}; built for {' '.join(answer.listed)}), which the driver compiles first, "
            "for up to half an hour",
            "wait for it once, with CUDA_CACHE_MAXSIZE=4294967296 so that ~/.nv/ComputeCache keeps "
            f"all of it; or take {_OTHER_BUILD}",
        )
        for gpu in answer.gpus
        if not gpu.problem and not has_code(gpu.capability, answer.listed)
    ]
    other = other_cudnn(environ) if answer.gpus else None
    return [*found, other] if other else found


def warnings(answer: Answer, environ: Mapping[str, str]) -> list[str]:
    """Returns a line for each of the shortcomings."""
    return [f"warning: {each}" for each in shortcomings(answer, environ)]


def other_cudnn(environ: Mapping[str, str], installed: str | None = None) -> Trouble | None:
    """Returns what is wrong with another cuDNN in LD_LIBRARY_PATH, where there is one.

    TensorFlow takes it before the one that is installed with it, and fails at the first
    convolution where it is older.

    Args:
        environ: has LD_LIBRARY_PATH.
        installed: version of the installed one; asked of the packages if None.
    """
    if installed is None:
        installed = next(
            filter(None, map(_version, ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"))), ""
        )
    for folder in filter(None, environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)):
        for path in sorted(Path(folder).glob("libcudnn.so*")):
            match = _CUDNN_FILE.fullmatch(os.path.realpath(path).rpartition("/")[2])
            version = (match and match[1]) or "?"
            if installed and not (installed + ".").startswith(version + "."):
                return Trouble(
                    f"LD_LIBRARY_PATH has cuDNN {version} ({path}) before the {installed} that is "
                    "installed with TensorFlow",
                    f"take {folder} out of LD_LIBRARY_PATH",
                )
    return None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _first(version: str) -> int:
    return int(re.match(r"\d*", version)[0] or 0)  # type: ignore[index]


def _of(gpu: Gpu) -> str:
    return f", compute capability {'.'.join(map(str, gpu.capability))}" if gpu.capability else ""


def _problem(gpu: Gpu, answer: Answer) -> Trouble:
    found = f"GPU {gpu.number} ({gpu.name}{_of(gpu)}) does not compute: {gpu.problem}"
    if has_code(gpu.capability, answer.listed):
        return Trouble(found, "look what nvidia-smi says of it")
    return Trouble(
        f"{found}; TensorFlow {answer.tensorflow} has no code for this generation (built for "
        f"{' '.join(answer.listed)})",
        f"take {_OTHER_BUILD}, or another GPU",
    )

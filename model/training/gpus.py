"""Whether the GPUs that are here or named can be used: asked before any worker starts.

A worker that finds no GPU trains on the CPU without a word, a hundred times slower. TensorFlow is
asked in a short process of its own, and only where a GPU seems to be there.
"""

import functools
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from typing import NamedTuple

from configs.errors import ConfigError
from model.training.host import VISIBLE, gpus_of_host, visible_gpus
from tfx_rcnn import child_environment, command

_PROBE_SECONDS = 300.0
_ONE_GPU = re.compile(r"[0-9]{1,4}|GPU-[0-9a-fA-F-]{1,40}|MIG-[0-9a-zA-Z/-]{1,80}")
_ON_CPUS = "set train.device=cpu to train on CPUs all the same"
# What TensorFlow's native code says where it opens no GPU, and what that means.
_REASONS = (
    (r"driver version is insufficient|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "the NVIDIA driver is too old for this TensorFlow's CUDA: update the driver"),
    (r"Could not find cuda drivers|libcuda\.so\.1.*cannot open",
     "the driver's library libcuda.so.1 is not found: install NVIDIA's driver, or give the "
     "container the GPUs (docker run --gpus all)"),
    (r"Cannot dlopen some GPU libraries|Could not load dynamic library",
     "CUDA's libraries are missing: TFX_RCNN_GPU=yes scripts/setup.sh installs them"),
    (r"failed call to cuInit: ([^\n]{1,120})", r"the driver says \1"),
)  # fmt: skip


class Answer(NamedTuple):
    """What TensorFlow says of this host.

    Attributes:
        gpus: that it opens.
        has_cuda: whether it is built for GPUs.
        log: what its native code printed meanwhile.
    """

    gpus: int
    has_cuda: bool
    log: str


def usable_environment(
    device: str,
    environ: Mapping[str, str],
    ask: Callable[[Mapping[str, str]], Answer] | None = None,
) -> dict[str, str]:
    """Returns `environ` for training workers; without GPUs where `device` is `cpu`.

    Args:
        device: `train.device`.
        environ: names the GPUs that may be used.
        ask: what is asked of TensorFlow; `ask_tensorflow` if None.

    Raises:
        ConfigError: a GPU is named, asked for or there and cannot be used; with the reason.
    """
    if device == "cpu":
        return {**environ, VISIBLE: ""}
    named = _named(environ)
    there = gpus_of_host(environ)
    if named == [] or (named is None and not there):
        if device == "gpu":
            why = f"{VISIBLE} hides them" if named == [] else "no NVIDIA driver is at work here"
            raise ConfigError(f"train.device is gpu, but this host shows no GPU ({why})")
        return dict(environ)
    if named is not None and there:
        _check_numbers(named, len(there))
    answer = (ask or ask_tensorflow)(environ)
    wanted = len(named or there)
    if answer.gpus < wanted:
        subject = f"{VISIBLE}={environ[VISIBLE]} names" if named else "this host has"
        opened = answer.gpus or "none"
        raise ConfigError(
            f"{subject} {_count(wanted)}, but TensorFlow opens {opened}: {_reason(answer)}; or "
            f"{_ON_CPUS}"
        )
    return dict(environ)


def unused_gpus(environ: Mapping[str, str], opened: int) -> str:
    """Returns a warning where GPUs are here and not hidden, and TensorFlow opened none; else ""."""
    there = visible_gpus(environ)
    if not there or opened:
        return ""
    return (
        f"warning: {_count(len(there))} here, but TensorFlow opens none: this runs on CPUs "
        f"({VISIBLE}= says that it shall)"
    )


def _count(gpus: int) -> str:
    return "1 GPU" if gpus == 1 else f"{gpus} GPUs"


def _named(environ: Mapping[str, str]) -> list[str] | None:
    """Returns the GPUs that the variable names, [] where it hides all; None where it is not set.

    Raises:
        ConfigError: what it names is none, or named twice: CUDA would show no GPU, or fewer.
    """
    text = environ.get(VISIBLE)
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if "-1" in names:  # hides what stands behind it
        names = names[: names.index("-1")]
    if not any(names):
        return []
    for name in names:
        if not _ONE_GPU.fullmatch(name):
            raise ConfigError(
                f"{VISIBLE}={text[:80]} names no GPU by {name[:80]!r}: expected numbers such as "
                "0,1; unset it for all, or leave it empty for none"
            )
        if names.count(name) > 1:
            raise ConfigError(f"{VISIBLE}={text[:80]} names GPU {name} twice: CUDA shows none then")
    return names


def _check_numbers(named: list[str], there: int) -> None:
    for name in named:
        if name.isdigit() and int(name) >= there:
            raise ConfigError(
                f"{VISIBLE} names GPU {name}, but this host has {_count(there)}, numbered from 0; "
                f"or {_ON_CPUS}"
            )


def _reason(answer: Answer) -> str:
    if not answer.has_cuda:
        return "it is built without CUDA: TFX_RCNN_GPU=yes scripts/setup.sh installs one with it"
    for pattern, meaning in _REASONS:
        if found := re.search(pattern, answer.log):
            return " ".join(found.expand(meaning).split())
    return "it does not say why; nvidia-smi may"


def ask_tensorflow(environ: Mapping[str, str]) -> Answer:
    """Returns what TensorFlow says in a process of its own, once for the same environment.

    Raises:
        ConfigError: it does not answer.
    """
    return _ask(tuple(sorted(child_environment(environ).items())))


@functools.lru_cache(maxsize=8)
def _ask(environ: tuple[tuple[str, str], ...]) -> Answer:
    hidden = ("TF_CONFIG",)  # of a training on several hosts: nothing is to be joined here
    variables = {name: value for name, value in environ if name not in hidden}
    try:
        done = subprocess.run(
            command("model.training.gpu_probe"),
            env={**variables, "TF_CPP_MIN_LOG_LEVEL": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        return Answer(int(answer["gpus"]), bool(answer["has_cuda"]), done.stderr)
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"TensorFlow did not say within {_PROBE_SECONDS:g} s which GPUs it opens: does "
            f"nvidia-smi answer? Or {_ON_CPUS}"
        ) from None
    except (IndexError, ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise ConfigError(
            f"TensorFlow could not be asked which GPUs it opens ({last.strip()[:200]}); {_ON_CPUS}"
        ) from None


def opened_by_tensorflow() -> int:
    """Returns how many GPUs TensorFlow has opened in this process, which it is loaded into."""
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def show_unused_gpus(show: Callable[[str], None]) -> None:
    """Calls `show` with the line of `unused_gpus`, where there is one; loads TensorFlow for it."""
    if visible_gpus(os.environ) and (line := unused_gpus(os.environ, opened_by_tensorflow())):
        show(line)

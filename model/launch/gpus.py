"""Whether the GPUs that are here or named can be used: asked before any worker starts.

A worker that finds no GPU trains on the CPU without a word, a hundred times slower. TensorFlow is
asked in a short process of its own, and only where a GPU seems to be there.
"""

import functools
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping

from ground.errors import ConfigError
from model.launch.gpu_answer import Answer, parse_answer, problems, reason, warnings
from model.launch.host import VISIBLE, gpus_of_host, shown_names, visible_gpus
from model.launch.numa import BUSES_VARIABLE
from tfx_rcnn import child_environment, command

ORDER = "CUDA_DEVICE_ORDER"
_PROBE_SECONDS = 300.0
_ONE_GPU = re.compile(r"[0-9]{1,4}|GPU-[0-9a-fA-F-]{1,40}|MIG-[0-9a-zA-Z/-]{1,80}")
_ON_CPUS = "set train.device=cpu to train on CPUs all the same"


def usable_environment(
    device: str,
    environ: Mapping[str, str],
    ask: Callable[[Mapping[str, str]], Answer] | None = None,
) -> dict[str, str]:
    """Returns `environ` for training workers; without GPUs where `device` is `cpu`.

    CUDA counts GPUs as nvidia-smi does, and those that TensorFlow opens are named.

    Args:
        device: `train.device`.
        environ: names the GPUs that may be used.
        ask: what is asked of TensorFlow; `ask_tensorflow` if None.

    Raises:
        ConfigError: a GPU is named, asked for or there and cannot be used; with the reason.
    """
    environ = {**environ, ORDER: environ.get(ORDER, "PCI_BUS_ID")}  # the numbers of nvidia-smi
    environ.pop(BUSES_VARIABLE, None)
    if device == "cpu":
        return {**environ, VISIBLE: ""}
    named = _named(environ)
    there = gpus_of_host(environ)
    if named == [] or (named is None and not there):
        if device == "gpu":
            why = f"{VISIBLE} hides them" if named == [] else "no NVIDIA driver is at work here"
            raise ConfigError(f"train.device is gpu, but this host shows no GPU ({why})")
        return environ
    answer = (ask or ask_tensorflow)(environ)
    _check(answer, named, there, environ)
    if named is None:
        # Device files may be the node's: what TensorFlow opens is what workers can have.
        environ[VISIBLE] = ",".join(str(gpu.number) for gpu in answer.gpus)
    if all(gpu.bus for gpu in answer.gpus):
        environ[BUSES_VARIABLE] = ",".join(gpu.bus for gpu in answer.gpus)
    return environ


def gpu_warnings(
    device: str,
    environ: Mapping[str, str],
    ask: Callable[[Mapping[str, str]], Answer] | None = None,
) -> list[str]:
    """Returns what a person should know of GPUs that a training will use; arguments as above."""
    if device == "cpu":
        return []
    named = _named(environ)
    there = gpus_of_host(environ)
    if named == [] or (named is None and not there):
        return []
    environ = {**environ, ORDER: environ.get(ORDER, "PCI_BUS_ID")}
    answer = (ask or ask_tensorflow)(environ)
    lines = warnings(answer, environ)
    if named is None and len(answer.gpus) < len(there):
        lines.append(
            f"warning: this host shows {_count(len(there))}, and TensorFlow opens "
            f"{len(answer.gpus)}: the others are not this container's, or cannot be used "
            "(tfx-rcnn doctor)"
        )
    return lines


def _check(
    answer: Answer, named: list[str] | None, there: list[str], environ: Mapping[str, str]
) -> None:
    """Checks that TensorFlow opens what is named, or anything, and computes on it.

    Raises:
        ConfigError: it does not; with the reason.
    """
    # A process sees one instance of MIG, whatever is named; each worker is given one.
    is_one = any(name.startswith("MIG-") for name in named or [])
    wanted = 1 if is_one or not named else len(named)
    if len(answer.gpus) < wanted:
        opened = len(answer.gpus) or "none"
        subject = (
            f"{VISIBLE}={environ[VISIBLE]} names {_count(len(named))}"
            if named
            else f"this host has {_count(len(there))}"
        )
        beyond = [name for name in named or [] if name.isdigit() and int(name) >= len(there)]
        why = str(reason(answer, environ))
        if there and beyond:
            why = f"there is no GPU {beyond[0]}, they are {len(there)}, numbered from 0"
        raise ConfigError(f"{subject}, but TensorFlow opens {opened}: {why}; or {_ON_CPUS}")
    if found := problems(answer):
        raise ConfigError(f"{found[0]}; or {_ON_CPUS}")


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
    names = shown_names(text)
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
            command("model.launch.gpu_probe"),
            # The last: which library it looked for and did not find.
            env={**variables, "TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
            check=False,
        )
        return parse_answer(json.loads(done.stdout.strip().splitlines()[-1]), done.stderr)
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"TensorFlow did not say within {_PROBE_SECONDS:g} s which GPUs it opens: does "
            f"nvidia-smi answer? Or {_ON_CPUS}"
        ) from None
    except (IndexError, ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        if done.returncode < 0:
            last = f"ended by {signal.Signals(-done.returncode).name}: {last}"
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

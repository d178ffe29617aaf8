"""What the machine gives a training: GPUs, or cores and memory."""

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ground.errors import ConfigError
from model.launch.gpus import usable_environment
from model.launch.host import visible_gpus
from model.limits import machine_limits

_GIB = 1 << 30
_WORKER_GIB = 3.0  # of a process of TensorFlow with a small detector on CPUs
_MOST_CPU_WORKERS = 4
_CORES_A_WORKER = 2


class Machine(NamedTuple):
    """What a training can use here.

    Attributes:
        gpus: NVIDIA GPUs that are shown.
        cores: threads that run at the same time.
        memory_gib: what the machine or the container has; 0 where it is not known.
    """

    gpus: int
    cores: int
    memory_gib: float

    @property
    def is_cpu(self) -> bool:
        """Whether a training runs on CPUs."""
        return not self.gpus

    @property
    def workers(self) -> int:
        """Processes of a training: one a GPU; on CPUs one for a few cores each."""
        if self.gpus:
            return self.gpus
        by_cores = min(max(self.cores // _CORES_A_WORKER, min(self.cores, 2)), _MOST_CPU_WORKERS)
        by_memory = int(self.memory_gib // _WORKER_GIB) if self.memory_gib else by_cores
        return max(1, min(by_cores, by_memory))

    def words(self) -> str:
        """Returns it for a line.

        >>> Machine(0, 2, 15.6).words()
        'no GPU, 2 cores, 16 GiB of memory'
        """
        gpus = f"{self.gpus} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else "no GPU"
        return f"{gpus}, {self.cores} cores, {self.memory_gib:.0f} GiB of memory"


def this_machine(warn: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> Machine:
    """Returns what this process may use; of GPUs that seem to be there, what TensorFlow opens.

    Args:
        warn: called with a line where they cannot be used.
        environ: names the GPUs that may be used.
    """
    limits, gpus = machine_limits(), 0
    if visible_gpus(environ):
        try:
            gpus = len(visible_gpus(usable_environment("auto", environ)))
        except ConfigError as error:
            warn(f"warning: fitted to the CPUs: {error}")
    return Machine(gpus, limits.cores, limits.memory_bytes / _GIB)

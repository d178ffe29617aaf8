"""What the machine gives a training: GPUs, or cores and memory."""

import os
from collections.abc import Mapping
from typing import NamedTuple

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


def this_machine(environ: Mapping[str, str] = os.environ) -> Machine:
    """Returns what this process may use; GPUs by what the driver shows, TensorFlow is not asked."""
    limits = machine_limits()
    return Machine(len(visible_gpus(environ)), limits.cores, limits.memory_bytes / _GIB)

"""The device of one worker: what it is, how it is set up, and what `auto` means on it."""

import os
import subprocess

import tensorflow as tf

from model.gpu_facts import auto_precision
from model.limits import machine_limits


def set_up_device(threads: int) -> None:
    """Prepares TensorFlow for one worker: grows GPU memory as needed, limits CPU threads.

    Must be called before TensorFlow has touched a device.

    Args:
        threads: CPU threads of one operation, and of operations side by side; 0 is all cores.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # At least two: a collective waiting for its peers must not stop the rest of the graph.
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))


def device_name() -> str:
    """Returns the GPU's name, or the number of CPU threads an operation may use."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return str(details.get("device_name", "GPU"))
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return f"CPU ({threads or machine_limits().cores} threads)"


def device_memory_bytes() -> int:
    """Returns the memory of this worker's GPU, or on the CPU what this container may use.

    0 where the driver's tool does not tell. TensorFlow itself would have to take the memory first.
    """
    if not tf.config.list_physical_devices("GPU"):
        return machine_limits().memory_bytes
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    query = [
        "nvidia-smi",
        "--query-gpu=memory.total",
        "--format=csv,noheader,nounits",
        "-i",
        device,
    ]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        return int(answer.stdout) << 20
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def resolve_precision(setting: str) -> str:
    """Returns the Keras dtype policy of a setting; `auto` is by the device of this process."""
    if setting != "auto":
        return setting
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return auto_precision(None)
    details = tf.config.experimental.get_device_details(gpus[0])
    return auto_precision(details.get("compute_capability", ()))


def resolve_jit(setting: str, obstacle: str | None) -> bool:
    """Returns whether to compile with XLA: `auto` does on GPUs, where nothing keeps it from that.

    On two CPU cores XLA was measured 3.5 times slower for a ResNet-50.

    Args:
        setting: `train.jit`.
        obstacle: the config's `jit_obstacle`.
    """
    if setting == "auto":
        return obstacle is None and bool(tf.config.list_physical_devices("GPU"))
    return setting == "on"

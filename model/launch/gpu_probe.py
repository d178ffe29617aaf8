"""Prints what TensorFlow makes of this host's GPUs, as one line of JSON.

`python -m model.launch.gpu_probe [--compute]`, started by model/launch/gpus.py and by
`tfx-rcnn doctor`; fields as in model/launch/gpu_answer.py. It computes on GPUs for whose
generation this TensorFlow has no code, and with `--compute` on all.
"""

import ctypes
import json
import sys
from typing import Any

from model.launch.gpu_answer import has_code

_CUDNN = "libcudnn.so"


def main(computes_on_all: bool) -> None:
    """Prints the line."""
    driver, problem = _driver()
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    listed = tuple(build.get("cuda_compute_capabilities", ()))
    opened = tf.config.list_physical_devices("GPU")
    for gpu in opened:
        tf.config.experimental.set_memory_growth(gpu, True)
    gpus = []
    for place, gpu in enumerate(opened):
        details = tf.config.experimental.get_device_details(gpu)
        capability = tuple(details.get("compute_capability") or ())
        asks = computes_on_all or not has_code(capability, listed)
        gpus.append(
            {
                "number": int(gpu.name.rpartition(":")[2]),
                "name": str(details.get("device_name", "GPU")),
                "capability": capability,
                "problem": _problem(tf, place) if asks else "",
                "bus": _bus(place),
            }
        )
    answer = {
        "gpus": gpus,
        "has_cuda": bool(tf.test.is_built_with_cuda()),
        "tensorflow": tf.__version__,
        "cuda": str(build.get("cuda_version", "")),
        "cudnn": str(build.get("cudnn_version", "")),
        "listed": listed,
        "driver": driver,
        "driver_problem": problem,
        "loaded_cudnn": _loaded(_CUDNN),
    }
    print(json.dumps(answer))


def _driver() -> tuple[str, str]:
    """Returns (the newest CUDA that the driver knows, "12.4"; why there is no driver)."""
    version = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError) as error:  # none; a file that is no driver
        return "", " ".join(str(error).split())
    return f"{version.value // 1000}.{version.value % 1000 // 10}", ""


def _bus(place: int) -> str:
    """Returns where a GPU that is shown sits, "0000:3b:00.0"; "" where the driver does not say."""
    device, text = ctypes.c_int(), ctypes.create_string_buffer(32)
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        failed = (
            cuda.cuInit(0)
            or cuda.cuDeviceGet(ctypes.byref(device), place)
            or cuda.cuDeviceGetPCIBusId(text, len(text), device)
        )
    except (OSError, AttributeError):  # a stand-in for the driver
        return ""
    return "" if failed else text.value.decode("ascii", "replace")


def _problem(tf: Any, place: int) -> str:
    """Returns why a GPU does not compute what a training does; "" where it does."""
    try:
        with tf.device(f"/GPU:{place}"):
            pictures = tf.ones([1, 16, 16, 8]) * 2.0
            convolved = tf.nn.conv2d(pictures, tf.ones([3, 3, 8, 8]), 1, "VALID")
            values = tf.linalg.matmul(convolved, convolved, transpose_b=True).numpy()
    except (tf.errors.OpError, RuntimeError) as error:
        return " ".join(str(error).split())[:300]
    expected = 8 * (2.0 * 9 * 8) ** 2
    return "" if (abs(values / expected - 1.0) < 1e-2).all() else "it computes wrong numbers"


def _loaded(library: str) -> str:
    """Returns the path of a library that is loaded into this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            path = line.split(None, 5)[-1].strip()
            if path.rpartition("/")[2].startswith(library):
                return path
    return ""


if __name__ == "__main__":
    main("--compute" in sys.argv[1:])

"""What is known of GPUs without one: data sheets, prices, and the speeds that others published."""

from typing import NamedTuple

_AMPERE = (8, 0)  # the first compute capability with units for bfloat16 and TF32


class Gpu(NamedTuple):
    """A GPU by its data sheet: NVIDIA's of V100 (SXM2), T4, A10G, L4, A100 (SXM), H100 (SXM), H200.

    Attributes:
        capability: CUDA's compute capability.
        tflops: peak dense FLOP/s by the arithmetic of a Keras dtype policy, in units of 1e12,
            without sparsity. None: the GPU has no unit for it.
        bytes_per_second: memory bandwidth.
        memory_gib: memories of its variants, ascending.
        dollars_per_hour: list price of one GPU, AWS on demand, us-east-1, mid 2024: p3, g4dn,
            g5, g6, p4d and p5 (an eighth of the instance where there is none with one GPU); None
            where there was no such instance.
    """

    capability: tuple[int, int]
    tflops: dict[str, float | None]
    bytes_per_second: float
    memory_gib: tuple[int, ...]
    dollars_per_hour: float | None

    @property
    def has_tf32(self) -> bool:
        """Whether TensorFlow computes float32 convolutions and products on tensor cores."""
        return self.capability >= _AMPERE

    @property
    def has_bfloat16(self) -> bool:
        """Whether there are units for bfloat16."""
        return self.capability >= _AMPERE


def _tflops(
    float32: float, tf32: float | None, float16: float, bfloat16: float | None
) -> dict[str, float | None]:
    return {
        "float32": float32, "tf32": tf32, "mixed_float16": float16, "mixed_bfloat16": bfloat16,
    }  # fmt: skip


GPUS = {
    "V100": Gpu((7, 0), _tflops(15.7, None, 125.0, None), 900e9, (16, 32), 3.06),
    "T4": Gpu((7, 5), _tflops(8.1, None, 65.0, None), 320e9, (16,), 0.526),
    "A10G": Gpu((8, 6), _tflops(35.0, 35.0, 70.0, 70.0), 600e9, (24,), 1.006),
    "L4": Gpu((8, 9), _tflops(30.3, 60.0, 121.0, 121.0), 300e9, (24,), 0.805),
    "A100": Gpu((8, 0), _tflops(19.5, 156.0, 312.0, 312.0), 1555e9, (40, 80), 4.10),
    "H100": Gpu((9, 0), _tflops(67.0, 494.5, 989.0, 989.0), 3350e9, (80,), 12.29),
    "H200": Gpu((9, 0), _tflops(67.0, 494.5, 989.0, 989.0), 4800e9, (141,), None),
}


def peak_flops(gpu: str, precision: str) -> float | None:
    """Returns the peak FLOP/s of a GPU under a dtype policy; None where it is not known.

    Args:
        gpu: a name that contains a key of `GPUS`, such as "Tesla V100-SXM2-16GB".
        precision: Keras dtype policy; float32 means TF32 where the GPU has it, since TensorFlow
            takes it unless told otherwise.
    """
    words = gpu.upper().replace("-", " ").split()
    found = next((facts.tflops for name, facts in GPUS.items() if name in words), None)
    if found is None:
        return None
    rate = found.get(precision)
    if precision == "float32":
        rate = found["tf32"] or rate
    return None if rate is None else rate * 1e12


def auto_precision(capability: tuple[int, ...] | None) -> str:
    """Returns the Keras dtype policy that `train.precision: auto` means.

    bfloat16 where a GPU has units for it, since it needs no loss scale; on CPUs it was measured 12
    times slower than float32.

    Args:
        capability: the GPU's compute capability; () where it does not say, None for a CPU.
    """
    if capability is None:
        return "float32"
    return "mixed_bfloat16" if capability >= _AMPERE else "mixed_float16"


class PublishedSpeed(NamedTuple):
    """A run that others measured: R50-FPN on COCO.

    Attributes:
        flops_per_picture: operations of our model of that kind (a test holds it to `step_cost`).
        images_per_second: pictures a second of one GPU.
    """

    what: str
    gpu: str
    precision: str
    flops_per_picture: float
    images_per_second: float


# At the usual 800x1088 of a 4:3 picture; NVIDIA pads all to 832x1344. AWSDet's heads are larger.
FASTER_800, MASK_800, MASK_832, AWSDET_800 = 0.933e12, 1.328e12, 1.581e12, 1.683e12
PUBLISHED = (
    PublishedSpeed(
        "Detectron2, Faster, 0.210 s per 16 on 8", "V100", "float32", FASTER_800, 16 / 0.210 / 8
    ),
    PublishedSpeed("Detectron2, Mask, 62/s on 8", "V100", "float32", MASK_800, 62 / 8),
    PublishedSpeed(
        "torchvision, Faster, 0.2288 s per 16 on 8", "V100", "float32", FASTER_800, 16 / 0.2288 / 8
    ),
    PublishedSpeed(
        "torchvision, Mask, 0.2728 s per 16 on 8", "V100", "float32", MASK_800, 16 / 0.2728 / 8
    ),
    PublishedSpeed("NVIDIA 20.02, Mask, 38.9/s on 8", "V100", "float32", MASK_832, 38.9 / 8),
    PublishedSpeed("NVIDIA 20.02, Mask, 54.1/s on 8", "V100", "mixed_float16", MASK_832, 54.1 / 8),
    PublishedSpeed(
        "AWSDet, Faster, 8x4, 12 epochs in 5 h 15 min", "V100", "mixed_float16", AWSDET_800,
        12 * 118287 / (5.25 * 3600) / 8,
    ),
    PublishedSpeed("NVIDIA TF2, Mask, 19.4/s on 1", "V100", "mixed_float16", MASK_832, 19.4),
    PublishedSpeed("NVIDIA TF2, Mask, 28.6/s on 1", "A100", "mixed_float16", MASK_832, 28.6),
)  # fmt: skip

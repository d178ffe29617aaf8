import numpy as np
import pytest

from model.gpu_facts import GPUS, auto_precision, peak_flops


@pytest.mark.parametrize(
    ("gpu", "precision", "tflops"),
    [
        ("Tesla V100-SXM2-32GB", "float32", 15.7),
        ("V100", "mixed_float16", 125.0),
        ("V100", "mixed_bfloat16", None),
        ("NVIDIA A100-SXM4-40GB", "float32", 156.0),
        ("NVIDIA H100 80GB HBM3", "mixed_bfloat16", 989.0),
        ("NVIDIA A10G", "mixed_float16", 70.0),
        ("NVIDIA L40S", "float32", None),
        ("Tesla T4", "float32", 8.1),
    ],
)
def test_the_peak_of_a_gpu_by_its_name(gpu, precision, tflops):
    expected = None if tflops is None else pytest.approx(tflops * 1e12)
    assert peak_flops(gpu, precision) == expected


def test_sixteen_bits_are_never_slower():
    for gpu in GPUS.values():
        rates = gpu.tflops
        known = [rates["float32"], rates["tf32"] or rates["float32"], rates["mixed_float16"]]
        assert np.all(np.diff(known) >= 0)


def test_units_are_those_of_the_data_sheet():
    for gpu in GPUS.values():
        assert gpu.has_tf32 == (gpu.tflops["tf32"] is not None)
        assert gpu.has_bfloat16 == (gpu.tflops["mixed_bfloat16"] is not None)


@pytest.mark.parametrize(
    ("capability", "precision"),
    [
        (None, "float32"),
        ((), "mixed_float16"),
        ((7, 5), "mixed_float16"),
        ((8, 0), "mixed_bfloat16"),
        ((9, 0), "mixed_bfloat16"),
    ],
)
def test_what_auto_means(capability, precision):
    assert auto_precision(capability) == precision

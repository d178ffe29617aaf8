"""Initial values of weights, as in the references, each from a seed of its own."""

import zlib

import keras


def derive_seed(seed: int, name: str) -> int:
    """Returns the seed for the part called `name`: the same whatever other parts there are.

    >>> derive_seed(0, "conv1") == derive_seed(0, "conv1") != derive_seed(0, "conv2")
    True
    """
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def kaiming_normal(seed: int) -> keras.Initializer:
    """For convolutions before a ReLU (1502.01852), by fan-out: `c2_msra_fill`, torchvision."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=seed)


def kaiming_uniform(seed: int) -> keras.Initializer:
    """Uniform of variance 1 / fan-in: FPN and fully connected layers, `c2_xavier_fill`."""
    return keras.initializers.VarianceScaling(1.0, "fan_in", "uniform", seed=seed)


def normal(stddev: float, seed: int) -> keras.Initializer:
    """For the layers that predict: 0.01 for classes and the RPN, 0.001 for boxes and masks."""
    return keras.initializers.RandomNormal(0.0, stddev, seed=seed)

"""The small run in float64, in which no choice depends on the order of a sum.

`python -m tests.model.training.float64_run JOB` is a worker of the launcher. Every float32 of the
detector and of the step is a float64 there; the input's pictures and boxes are what they are.
"""

import sys
from types import ModuleType

from tests.model.training.small_run import build_without_export


class _Float64(ModuleType):
    """TensorFlow as a module sees it that is to compute in float64: the default type is that."""

    def __init__(self, tensorflow: ModuleType) -> None:
        super().__init__(tensorflow.__name__)
        self._tensorflow = tensorflow
        self.float32 = tensorflow.float64

    def __getattr__(self, name):
        return getattr(self._tensorflow, name)

    def constant(self, value, dtype=None):
        if dtype is None and isinstance(value, float):
            dtype = self.float64
        return self._tensorflow.constant(value, dtype)

    def zeros(self, shape, dtype=None):
        return self._tensorflow.zeros(shape, dtype or self.float64)


def _build(job, precision, jit):
    import keras
    import tensorflow as tf

    # Not used here, but to be changed below.
    import model.detector
    import model.training.train_loop  # noqa: F401

    keras.config.set_floatx("float64")
    for name, module in list(sys.modules.items()):
        is_input = name.startswith("model.input")
        if name.startswith("model.") and not is_input and getattr(module, "tf", None) is tf:
            module.tf = _Float64(tf)
    parts = build_without_export(job, "float64", jit)
    loss_terms = parts.detector.loss_terms

    def loss_terms_of_float32(batch, *args, **kwargs):
        batch = tf.nest.map_structure(
            lambda leaf: tf.cast(leaf, tf.float64) if _is_float32(leaf) else leaf, batch
        )
        return loss_terms(batch, *args, **kwargs)

    parts.detector.loss_terms = loss_terms_of_float32
    return parts


def _is_float32(leaf) -> bool:
    return leaf is not None and leaf.dtype == "float32"


if __name__ == "__main__":
    from model.launch.worker import main

    main(sys.argv[1], _build)

"""The base of our layers: casts nothing by itself."""

from typing import Any

import keras


class Layer(keras.layers.Layer):
    """A Keras layer whose inputs and weights arrive as they are, whatever the policy.

    Picture sizes and statistics need float32 beside bfloat16 features, so each layer casts what
    its products are computed in. Keras 3.12 casts weights even in layers with autocast=False.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def add_weight(self, **kwargs: Any) -> keras.Variable:
        """Returns a new variable that no policy casts; the arguments are Keras's."""
        return super().add_weight(**({"autocast": False} | kwargs))

"""Convolutions with their normalisation, and with the references' padding.

Letters: N pictures, H, W, C channels.
"""

from typing import Any

import keras
import tensorflow as tf

from model.layers.layer import Layer
from model.layers.normalization import BatchNorm, FrozenBatchNorm, make_norm

# Of fewer channels, the kernel's gradient of a strided 1x1 convolution writes outside its memory
# and ends the process: TensorFlow 2.16.2 with oneDNN on a CPU with AVX-512. Of more channels it is
# right, and slicing the map first takes 1.7 times as long.
_FEWEST_STRIDED_CHANNELS = 16


class Convolution(Layer):
    """Convolution, then an optional norm; a bias only where there is no norm.

    A norm by stored statistics is multiplied into the kernel instead of into the feature map, which
    saves two passes over the map; the product is float32 whatever the policy.

    Args:
        filters: channels that come out.
        kernel_size: k of the k x k kernel.
        stride: stride of both axes.
        initializer: initial values of the kernel; biases start at zero.
        norm: one of `make_norm`'s kinds.
        norm_epsilon: added to the norm's variance.
        symmetric: pad (k - 1) / 2 on each side (torchvision); otherwise TensorFlow's "SAME", which
            pads less at the top and left where a stride is 2.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        *,
        initializer: keras.Initializer,
        stride: int = 1,
        norm: str = "none",
        norm_epsilon: float = 1e-5,
        symmetric: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.stride = stride
        self.initializer = initializer
        self.padding = padding_of(kernel_size, stride, symmetric)
        self.norm = make_norm(norm, norm_epsilon, self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        """Creates the weights for `input_shape` [N, H, W, C]."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=self._kernel_shape(input_shape[-1]),
            initializer=self.initializer,
        )
        if self.norm is None:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        else:
            self.norm.build((None, None, None, self.filters))

    def call(
        self, features: tf.Tensor, valid: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Returns [N, H / stride, W / stride, filters] in the policy's compute dtype.

        Args:
            features: [N, H, W, C].
            valid: bool [N], the pictures that enter batch statistics; needed in training.
            training: whether batch norm uses the statistics of the batch.
        """
        kernel, norm = self.kernel.value, self.norm
        if norm is None:
            return self._convolve(features, kernel, self.bias.value)
        if isinstance(norm, FrozenBatchNorm) or (isinstance(norm, BatchNorm) and not training):
            scale, shift = norm.scale_and_shift()
            return self._convolve(features, kernel * tf.reshape(scale, self._scale_shape), shift)
        features = self._convolve(features, kernel)
        return norm(features, valid=valid) if isinstance(norm, BatchNorm) else norm(features)

    def _convolve(
        self, features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the convolution, all in the compute dtype, plus `bias` [filters]."""
        dtype = self.compute_dtype
        features = self._product(tf.cast(features, dtype), tf.cast(kernel, dtype))
        return features if bias is None else tf.nn.bias_add(features, tf.cast(bias, dtype))

    def _kernel_shape(self, channels: int) -> tuple[int, int, int, int]:
        return (self.kernel_size, self.kernel_size, channels, self.filters)

    @property
    def _scale_shape(self) -> list[int]:
        """In which a factor a filter is multiplied into the kernel."""
        return [self.filters]

    def _product(self, features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Returns [N, H / stride, W / stride, filters]; both are of one dtype."""
        stride = self.stride
        if self.kernel_size == 1 and kernel.shape[2] < _FEWEST_STRIDED_CHANNELS:
            features, stride = features[:, ::stride, ::stride], 1  # the same pixels
        return tf.nn.conv2d(features, kernel, stride, self.padding)


class DepthwiseConvolution(Convolution):
    """A convolution of each channel by itself (1704.04861, section 3.1); kernel [k, k, C, 1].

    Args:
        filters: channels that come in and out.
        kernel_size: and the other arguments, as `Convolution`'s.
    """

    def _kernel_shape(self, channels: int) -> tuple[int, int, int, int]:
        return (self.kernel_size, self.kernel_size, channels, 1)

    @property
    def _scale_shape(self) -> list[int]:
        return [self.filters, 1]

    def _product(self, features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Returns [N, H / stride, W / stride, C]; both are of one dtype."""
        strides, padding = [1, self.stride, self.stride, 1], self.padding
        return tf.nn.depthwise_conv2d(features, kernel, strides, padding)


def padding_of(kernel_size: int, stride: int, symmetric: bool) -> str | list[list[int]]:
    """Returns TensorFlow's `padding` argument of a k x k window.

    Without a stride both conventions are the same for odd k.
    """
    if stride == 1 or kernel_size == 1 or not symmetric:
        return "SAME"
    side = (kernel_size - 1) // 2
    return [[0, 0], [side, side], [side, side], [0, 0]]

"""Normalisation of feature maps: frozen, over the batch (of all workers), or over groups.

Letters: N pictures (RoIs in a head), H, W, C channels, G groups. Statistics are float32 whatever
the policy. Every kind of batch normalisation has the same four weights, so that one can start from
another's.

Reference: 1502.03167 (batch), 1803.08494 (group); frozen as torchvision's `FrozenBatchNorm2d`.
"""

from typing import Any

import tensorflow as tf

from model.layers.layer import Layer

# Share of the running statistics that a step keeps (torchvision: momentum 0.1).
MOVING_SHARE = 0.9
# Group normalisation's default (1803.08494), where the channels allow it.
MAX_GROUPS = 32
MIN_CHANNELS_PER_GROUP = 2


class Normalization(Layer):
    """A norm with a factor (gamma) and a shift (beta) a channel.

    Args:
        epsilon: added to the variance.
    """

    def __init__(self, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Creates gamma (ones) and beta (zeros) for `input_shape` [N, H, W, C]."""
        self.gamma = self.add_weight(name="gamma", shape=input_shape[-1:], initializer="ones")
        self.beta = self.add_weight(name="beta", shape=input_shape[-1:], initializer="zeros")

    def _affine(self, mean: tf.Tensor, variance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns scale and shift [C] for a mean and a variance [C]."""
        return _affine(self.gamma.value, self.beta.value, mean, variance, self.epsilon)


class FrozenBatchNorm(Normalization):
    """Batch normalisation by stored statistics; nothing is trained."""

    def build(self, input_shape: Any) -> None:
        """Also creates the stored mean and variance."""
        super().build(input_shape)
        _add_moving_statistics(self, input_shape[-1])
        self.trainable = False

    def scale_and_shift(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns float32 [C] each: the norm is `x * scale + shift`."""
        return self._affine(self.moving_mean.value, self.moving_variance.value)


class BatchNorm(Normalization):
    """Batch normalisation by the statistics of the valid pictures.

    Args:
        is_synchronised: whether the statistics are those of all workers' pictures. Outside of a
            distribution strategy there is only this worker.
        epsilon: added to the variance.
    """

    def __init__(self, is_synchronised: bool, epsilon: float, **kwargs: Any) -> None:
        super().__init__(epsilon, **kwargs)
        self.is_synchronised = is_synchronised

    def build(self, input_shape: Any) -> None:
        """Also creates the moving mean and variance."""
        super().build(input_shape)
        _add_moving_statistics(self, input_shape[-1])

    def scale_and_shift(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns float32 [C] each, by the moving statistics: what inference uses."""
        return self._affine(self.moving_mean.value, self.moving_variance.value)

    def call(self, features: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Returns the normalised features in training, and updates the moving statistics.

        Args:
            features: [N, H, W, C].
            valid: bool [N]; the other pictures enter no statistics.
        """
        mean, variance = self._statistics(features, valid)
        scale, shift = self._affine(mean, variance)
        return features * tf.cast(scale, features.dtype) + tf.cast(shift, features.dtype)

    def _statistics(self, features: tf.Tensor, valid: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mean and variance [C] of valid pictures, and moves the stored ones.

        The arguments are `call`'s. Where no picture is valid they are 0 and 1: what nobody looks at
        is then no larger than it came, and overflows no float16.
        """
        sums, squares = spatial_sums(features)  # [N, C]
        weights = tf.cast(valid, tf.float32)[:, tf.newaxis]
        positions = _num_positions(features)
        # tf.where and not a product: a filler picture's infinity would give NaN.
        counted = tf.where(weights > 0.0, tf.concat([sums, squares], axis=1), 0.0)
        total = tf.concat(
            [tf.reduce_sum(counted, axis=0), [tf.reduce_sum(weights) * positions]], axis=0
        )  # [2 C + 1]
        if self.is_synchronised:
            total = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, total
            )
        channels = features.shape[-1]
        count = total[-1]
        at_least_one = tf.maximum(count, 1.0)
        mean = total[:channels] / at_least_one
        variance = tf.maximum(total[channels:-1] / at_least_one - tf.square(mean), 0.0)
        variance = tf.where(count > 0.0, variance, 1.0)
        self._update_moving_statistics(mean, variance, count)
        return mean, variance

    def _update_moving_statistics(
        self, mean: tf.Tensor, variance: tf.Tensor, count: tf.Tensor
    ) -> None:
        """Moves the stored statistics, unless there was no picture or something overflowed.

        Args:
            mean: [C].
            variance: [C], of the positions; what is stored is the unbiased one, as in PyTorch.
            count: scalar, the number of positions.
        """
        unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
        is_usable = (count > 0.0) & tf.reduce_all(tf.math.is_finite(mean + variance))
        for variable, value in ((self.moving_mean, mean), (self.moving_variance, unbiased)):
            old = tf.convert_to_tensor(variable.value)
            new = MOVING_SHARE * old + (1.0 - MOVING_SHARE) * tf.stop_gradient(value)
            variable.assign(tf.where(is_usable, new, old))


class GroupNorm(Normalization):
    """Group normalisation: each picture by itself, so that fillers change nothing."""

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the normalised [N, H, W, C]."""
        channels = features.shape[-1]
        groups = num_groups(channels)
        size = channels // groups
        count = _num_positions(features) * float(size)
        sums, squares = (tf.reshape(x, [-1, groups, size]) for x in spatial_sums(features))
        mean = tf.reduce_sum(sums, axis=-1, keepdims=True) / count  # [N, G, 1]
        mean_square = tf.reduce_sum(squares, axis=-1, keepdims=True) / count
        variance = tf.maximum(mean_square - tf.square(mean), 0.0)
        gamma, beta = (tf.reshape(x.value, [groups, size]) for x in (self.gamma, self.beta))
        scale, shift = _affine(gamma, beta, mean, variance, self.epsilon)  # [N, G, size]
        scale, shift = (
            tf.cast(tf.reshape(x, [-1, 1, 1, channels]), features.dtype) for x in (scale, shift)
        )
        return features * scale + shift


def num_groups(channels: int) -> int:
    """Returns the groups for `channels`: 32 if possible, else the next smaller power of two.

    >>> num_groups(256), num_groups(24), num_groups(16)
    (32, 8, 8)
    """
    groups = MAX_GROUPS
    while channels % groups or channels // groups < MIN_CHANNELS_PER_GROUP:
        if groups == 1:
            break
        groups //= 2
    return groups


def make_norm(kind: str, epsilon: float, policy: str, name: str = "norm") -> Normalization | None:
    """Returns the norm layer of a config's `norm`, or None for "none".

    Args:
        kind: none, frozen_batch_norm, batch_norm, sync_batch_norm or group_norm.
        epsilon: added to the variance.
        policy: Keras dtype policy; the weights are float32 under each.
        name: name of the layer.

    Raises:
        ValueError: an unknown kind.
    """
    if kind == "none":
        return None
    if kind == "frozen_batch_norm":
        return FrozenBatchNorm(epsilon, dtype=policy, name=name)
    if kind in ("batch_norm", "sync_batch_norm"):
        return BatchNorm(kind == "sync_batch_norm", epsilon, dtype=policy, name=name)
    if kind == "group_norm":
        return GroupNorm(epsilon, dtype=policy, name=name)
    raise ValueError(f"unknown norm {kind!r}")


def spatial_sums(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the sums of values and of their squares over the positions, float32 [N, C] each."""
    features = tf.cast(features, tf.float32)
    return tf.reduce_sum(features, axis=[1, 2]), tf.reduce_sum(tf.square(features), axis=[1, 2])


def _add_moving_statistics(layer: Normalization, channels: int) -> None:
    """Gives a layer `moving_mean` (zeros) and `moving_variance` (ones), [C] each."""
    for name, initializer in (("moving_mean", "zeros"), ("moving_variance", "ones")):
        weight = layer.add_weight(
            name=name, shape=(channels,), initializer=initializer, trainable=False
        )
        setattr(layer, name, weight)


def _affine(
    gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns scale and shift of the norm: [C], or as the arguments broadcast ([N, G, size])."""
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    return scale, beta - mean * scale


def _num_positions(features: tf.Tensor) -> float | tf.Tensor:
    """Returns H W of [N, H, W, C]: a number where the shape is static."""
    static = features.shape[1:3].num_elements()
    return (
        float(static)
        if static is not None
        else tf.cast(tf.reduce_prod(tf.shape(features)[1:3]), tf.float32)
    )

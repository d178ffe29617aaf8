"""Optimisers as pure functions of (weight, gradient, slots): the same in eager, graph and XLA.

Keras 3's own are not used: they all-reduce inside `apply`, after clipping, and their loss scaling
tests each worker's gradients before the reduction, so that one worker's overflow makes it skip a
collective that the others wait in.
"""

from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

from configs.schema import OptimizerConfig

Slots = dict[str, tf.Tensor]


class Optimizer(Protocol):
    """An update rule; `slots` are per-weight tensors of the weight's shape that start at zero."""

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Names of the slots of every weight."""

    def update(
        self,
        weight: tf.Tensor,
        gradient: tf.Tensor,
        slots: Slots,
        learning_rate: tf.Tensor,
        count: tf.Tensor,
        decays: bool,
    ) -> tuple[tf.Tensor, Slots]:
        """Returns the new weight and slots, all float32.

        Args:
            weight: any shape.
            gradient: gradient, in the weight's shape; reduced, unscaled and clipped.
            slots: the weight's slots by name.
            learning_rate: scalar.
            count: int64 scalar, updates applied so far, this one included.
            decays: False leaves weight decay away for this weight (norms, biases).
        """


@dataclass(frozen=True)
class Sgd:
    """SGD with momentum and coupled weight decay, as in PyTorch and Detectron2.

    The decay is added to the gradient before the momentum; the rate multiplies the momentum when
    it is applied (so a drop of the rate acts at once).
    """

    momentum: float
    weight_decay: float
    nesterov: bool = False

    @property
    def slot_names(self) -> tuple[str, ...]:
        """One slot: the running sum of gradients."""
        return ("momentum",)

    def update(
        self,
        weight: tf.Tensor,
        gradient: tf.Tensor,
        slots: Slots,
        learning_rate: tf.Tensor,
        count: tf.Tensor,
        decays: bool,
    ) -> tuple[tf.Tensor, Slots]:
        """See `Optimizer.update`."""
        if decays:
            gradient = gradient + self.weight_decay * weight
        momentum = self.momentum * slots["momentum"] + gradient
        direction = gradient + self.momentum * momentum if self.nesterov else momentum
        return weight - learning_rate * direction, {"momentum": momentum}


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay.

    Reference: 1711.05101, algorithm 2 (the decay is multiplied by the rate, as in PyTorch).
    """

    beta_1: float
    weight_decay: float
    beta_2: float = 0.999
    epsilon: float = 1e-8

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Running means of the gradient and of its square."""
        return ("mean", "variance")

    def update(
        self,
        weight: tf.Tensor,
        gradient: tf.Tensor,
        slots: Slots,
        learning_rate: tf.Tensor,
        count: tf.Tensor,
        decays: bool,
    ) -> tuple[tf.Tensor, Slots]:
        """See `Optimizer.update`."""
        mean = self.beta_1 * slots["mean"] + (1.0 - self.beta_1) * gradient
        variance = self.beta_2 * slots["variance"] + (1.0 - self.beta_2) * tf.square(gradient)
        steps = tf.cast(count, tf.float32)
        unbiased_mean = mean / (1.0 - tf.pow(self.beta_1, steps))
        unbiased_variance = variance / (1.0 - tf.pow(self.beta_2, steps))
        direction = unbiased_mean / (tf.sqrt(unbiased_variance) + self.epsilon)
        if decays:
            direction = direction + self.weight_decay * weight
        return weight - learning_rate * direction, {"mean": mean, "variance": variance}


@dataclass(frozen=True)
class Lars:
    """Layer-wise adaptive rate scaling, for very large batches.

    Weights without decay (norms, biases) and weights or gradients of norm zero take the plain rate.

    Reference: 1708.03888, algorithm 1.
    """

    momentum: float
    weight_decay: float
    trust: float = 0.001

    @property
    def slot_names(self) -> tuple[str, ...]:
        """One slot: the momentum, rate included."""
        return ("momentum",)

    def update(
        self,
        weight: tf.Tensor,
        gradient: tf.Tensor,
        slots: Slots,
        learning_rate: tf.Tensor,
        count: tf.Tensor,
        decays: bool,
    ) -> tuple[tf.Tensor, Slots]:
        """See `Optimizer.update`."""
        if decays:
            weight_norm, gradient_norm = tf.norm(weight), tf.norm(gradient)
            ratio = self.trust * weight_norm / (gradient_norm + self.weight_decay * weight_norm)
            usable = (weight_norm > 0.0) & (gradient_norm > 0.0)
            learning_rate = learning_rate * tf.where(usable, ratio, 1.0)
            gradient = gradient + self.weight_decay * weight
        momentum = self.momentum * slots["momentum"] + learning_rate * gradient
        return weight - momentum, {"momentum": momentum}


def build_optimizer(optimizer: OptimizerConfig) -> Optimizer:
    """Returns the update rule that `train.optimizer` names."""
    if optimizer.name == "adamw":
        return AdamW(optimizer.momentum, optimizer.weight_decay)
    if optimizer.name == "lars":
        return Lars(optimizer.momentum, optimizer.weight_decay)
    return Sgd(optimizer.momentum, optimizer.weight_decay, optimizer.nesterov)


def weights_decay(shape: tf.TensorShape, decay_norms_and_biases: bool) -> bool:
    """Returns whether a weight of `shape` decays: norms' scales and biases are the vectors."""
    return decay_norms_and_biases or len(shape) > 1

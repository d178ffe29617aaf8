"""Gradient checkpointing (1604.06174): less memory in training for a second forward pass.

Of a part of a network only what goes in is kept for the backward pass; all between is computed
again there.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf


def checkpointed(
    function: Callable[[tf.Tensor], tf.Tensor],
    variables: Sequence[keras.Variable],
    features: tf.Tensor,
) -> tf.Tensor:
    """Returns function(features), keeping nothing of its inside for the gradient.

    The trainable variables are arguments of a pure function, and what the second pass would assign
    (moving statistics) is dropped, so that it is assigned once. (`tf.recompute_grad` does not know
    the variables of Keras 3, and assigns twice.) Eager execution gives the same gradients but saves
    no memory.

    Args:
        function: function of one tensor; all its variables are in `variables`.
        variables: that it reads or assigns; those that are not trainable get no gradient.
        features: [N, H, W, C], or any floating-point tensor.
    """
    trained = [variable for variable in variables if variable.trainable]
    others = [variable for variable in variables if not variable.trainable]
    constants = [tf.convert_to_tensor(variable.value) for variable in others]

    def scope(weights: Sequence[tf.Tensor]) -> keras.StatelessScope:
        """Returns the scope in which `function` reads `weights`, one each of `trained`."""
        values = [*zip(trained, weights, strict=True), *zip(others, constants, strict=True)]
        return keras.StatelessScope(state_mapping=values)

    @tf.custom_gradient
    def run(
        features: tf.Tensor, *weights: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], list[tf.Tensor]]]:
        """Returns function(features), assigns what it assigns, and says how to go backward."""
        with scope(weights) as state:
            outputs = function(features)
        for variable, before in zip(others, constants, strict=True):
            after = state.get_current_value(variable)
            if after is not before:
                variable.assign(after)

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            """Returns the gradients of the features and of each weight, by a second pass."""
            with tf.GradientTape(watch_accessed_variables=False) as tape, scope(weights):
                again = _once_there_are([upstream], features)
                tape.watch([again, *weights])
                outputs = function(again)
            by_features, *by_weights = tape.gradient(outputs, [again, *weights], upstream)
            known = [gradient for gradient in by_weights if gradient is not None]
            return [_once_there_are(known, by_features), *by_weights]

        return outputs, gradient

    return run(features, *(tf.convert_to_tensor(variable.value) for variable in trained))


def _once_there_are(others: Sequence[tf.Tensor], tensor: tf.Tensor) -> tf.Tensor:
    """Returns `tensor` unchanged, in a way that no compiler can do before `others` are known.

    Otherwise Grappler and XLA would find that the second pass is the first one and keep that, and
    XLA would put off the weights' gradients, which keeps what they need. The sum adds min(|x|, 0)
    of an element of each: 0, or NaN where a gradient is NaN already. All may have any shape.
    """
    elements = [tf.cast(tf.reshape(other, [-1])[:1], tensor.dtype) for other in others]
    zeros = [tf.minimum(tf.abs(element), 0.0) for element in elements]
    return tensor + tf.add_n(zeros) if zeros else tensor

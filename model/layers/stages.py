"""A backbone's stages in a row: some frozen, some computed again in the backward pass."""

from collections.abc import Callable, Collection, Iterable
from functools import partial

import keras
import tensorflow as tf

from model.layers.gradient_checkpointing import checkpointed


def run_stages(
    stages: Iterable[str],
    run: Callable[[str, tf.Tensor], tf.Tensor],
    variables: Callable[[str], list[keras.Variable]],
    features: tf.Tensor,
    frozen_stages: int,
    checkpointed_stages: Collection[str],
) -> dict[str, tf.Tensor]:
    """Returns what comes out of each stage, [N, H, W, C], by name.

    Args:
        stages: names, in order.
        run: stage and its input to its output.
        variables: stage to all that `run` reads or assigns.
        features: [N, H, W, 3], what the first stage takes.
        frozen_stages: so many from the first on pass no gradient.
        checkpointed_stages: those of the other stages that `checkpointed` is for.
    """
    outputs = {}
    for number, stage in enumerate(stages, start=1):
        if number <= frozen_stages:
            features = tf.stop_gradient(run(stage, features))
        elif stage in checkpointed_stages:
            features = checkpointed(partial(run, stage), variables(stage), features)
        else:
            features = run(stage, features)
        outputs[stage] = features
    return outputs

"""The start of a run on all its workers: the newest checkpoint, or the chief's first weights."""

import json
import zlib

import numpy as np

from ground.errors import TrainingError
from model.training.checkpoints import CheckpointStore
from model.training.distribution import Distribution
from model.training.history import RunHistory
from model.training.state import TrainState


def restore(
    checkpoints: CheckpointStore, distribution: Distribution, state: TrainState
) -> tuple[int, RunHistory]:
    """All workers: takes up the newest checkpoint, or the chief's first weights.

    Args:
        checkpoints: read by the chief alone.
        distribution: the workers.
        state: gets the weights.

    Returns:
        The steps done, and what the run remembers of them.

    Raises:
        TrainingError: this worker was given something else than the chief.
    """
    step, history, arrays = 0, RunHistory(), state.to_arrays()
    if distribution.is_chief:
        checkpoints.remove_partial_files()
        steps = checkpoints.steps()
        if steps:
            step = steps[-1]
            arrays, kept = checkpoints.load(step)
            history = RunHistory.from_json(kept)
    # Travels with the weights: two hosts with different settings would else add up their
    # gradients without a word.
    run = zlib.crc32(checkpoints.key.encode())
    arrays |= {"step": np.asarray(step, np.int64), "run": np.asarray(run, np.int64)}
    arrays = distribution.broadcast(arrays)
    step = int(arrays.pop("step"))
    if int(arrays.pop("run")) != run:
        raise TrainingError(
            f"worker {distribution.index} has other settings, examples or code than the "
            "first host: give every host the same"
        )
    state.from_arrays(arrays)
    told = distribution.gather(json.dumps(history.to_json()).encode())[0]
    return step, RunHistory.from_json(json.loads(told))

"""Weights that a config keeps as they are, by patterns of their paths."""

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from ground.errors import ConfigError
from model.contract import Detector, Variable


def unfrozen(detector: Detector, patterns: Sequence[str]) -> list[Variable]:
    """Returns the trainable variables whose path no pattern matches.

    Args:
        detector: its `trainable_variables`, and all `variables`.
        patterns: patterns as of a shell: `*` matches anything, `/` too.

    Raises:
        ConfigError: a pattern matches no weight (the nearest path is named), or nothing is left.
    """
    paths = [variable.path for variable in detector.variables]
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            nearest = difflib.get_close_matches(pattern, paths, 1, 0.0)
            raise ConfigError(
                f"train.freeze: {pattern!r} matches no weight; the nearest is {nearest[0]!r}"
            )
    kept = [
        variable
        for variable in detector.trainable_variables
        if not any(fnmatchcase(variable.path, pattern) for pattern in patterns)
    ]
    if not kept:
        raise ConfigError(f"train.freeze: {list(patterns)} leave no weight to train")
    return kept

"""Which pushed model a candidate is compared with, such that a rerun asks the same question."""

import os
from pathlib import Path

import ml_metadata as mlmd
from absl import logging
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common.resolver import ResolverStrategy

from components.model_pusher import properties
from components.model_pusher.registry import (
    in_line,
    model_id_or_none,
    problem_of_pushed,
    pushed_versions,
)
from ground.errors import ModelError
from model.model_folder import find_saved_model, read_model_id

CANDIDATE_KEY = "model"
PUSHED_KEY = "pushed_model"


class NewestPushedModelStrategy(ResolverStrategy):
    """Finds the newest pushed model that is older than the candidate and still in service.

    A strategy such as TFX's "latest blessed" gives another answer on the second run, when the
    candidate itself has been blessed, and so everything after it runs again. This one looks only
    at models made before the candidate (MLMD's order of Model artifacts), leaves out the
    candidate's own model (by model id), and names a model that was pushed more than once by its
    first push. A pushed model whose folder is gone or holds another model counts as withdrawn, and
    so does a version that a person rolled back from. One
    whose folder is there and cannot be used is no such thing: it is what the evaluator gets, which
    blesses nothing then.

    Args:
        skip_unusable: step over a version that cannot be used, and name an older one.

    Usage:
        >>> resolver = Resolver(                                      # doctest: +SKIP
        ...     strategy_class=NewestPushedModelStrategy,
        ...     model=trainer.outputs["model"],
        ...     pushed_model=Channel(type=PushedModel),
        ... ).with_id("Resolver")
        >>> CocoEvaluator(                                            # doctest: +SKIP
        ...     baseline_model=resolver.outputs["pushed_model"], ...
        ... )
    """

    def __init__(self, skip_unusable: bool = False) -> None:
        self._skip_unusable = skip_unusable

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Returns the baseline, if there is one.

        Args:
            store: MLMD.
            input_dict: `model`: the candidate; `pushed_model`: all PushedModel artifacts.

        Returns:
            `model`: the candidate as it came; `pushed_model`: the baseline, or an empty list.
        """
        candidates = input_dict[CANDIDATE_KEY]
        if not candidates:
            return {CANDIDATE_KEY: [], PUSHED_KEY: []}
        candidate = max(candidates, key=lambda artifact: artifact.id)
        candidate_id = read_model_id(find_saved_model(candidate.uri))
        in_service = [pushed for pushed in input_dict[PUSHED_KEY] if _is_in_service(pushed)]
        left_out = _rolled_back_from({_folder(pushed).parent for pushed in in_service})
        older = [
            pushed
            for pushed in in_service
            if _model_id(pushed) != candidate_id
            and _folder(pushed) not in left_out
            and _model_order(store, pushed) < candidate.id
        ]
        return {CANDIDATE_KEY: [candidate], PUSHED_KEY: self._newest(older)}

    def _newest(self, in_service: list[types.Artifact]) -> list[types.Artifact]:
        """Returns the newest of pushed models by its first push, or none."""
        for pushed in sorted(in_service, key=lambda pushed: -pushed.id):
            problem = problem_of_pushed(_folder(pushed))
            if problem is None:
                return [_first_push_of(pushed, in_service)]
            if not self._skip_unusable:
                return [pushed]
            logging.warning("A pushed model is ignored: %s", problem)
        return []


def _first_push_of(pushed: types.Artifact, in_service: list[types.Artifact]) -> types.Artifact:
    """Returns the oldest push of the same model that can be used."""
    for other in sorted(in_service, key=lambda other: other.id):
        is_same = _model_id(other) == _model_id(pushed)
        if other.id == pushed.id or (is_same and problem_of_pushed(_folder(other)) is None):
            return other
    return pushed


def _model_id(pushed: types.Artifact) -> str:
    return str(pushed.get_string_custom_property(properties.MODEL_ID))


def _folder(pushed: types.Artifact) -> Path:
    return Path(pushed.get_string_custom_property(properties.DESTINATION))


def _is_in_service(pushed: types.Artifact) -> bool:
    """Returns whether a push was made and its folder is there and holds no other model."""
    if pushed.get_int_custom_property(properties.PUSHED) != 1:
        return False
    folder = _folder(pushed)
    return os.path.lexists(folder) and model_id_or_none(folder) in (None, _model_id(pushed))


def _rolled_back_from(bases: set[Path]) -> set[Path]:
    """Returns the versions' folders that a person rolled back from, below the models' folders."""
    left_out: set[Path] = set()
    for base in bases:
        try:
            versions = pushed_versions(base.parent, base.name)
        except ModelError as error:  # what is said of the versions in it by `problem_of_pushed`
            logging.warning("%s", error)
            continue
        left_out |= {version.path for version in versions}
        left_out -= {version.path for version in in_line(versions)}
    return left_out


def _model_order(store: mlmd.MetadataStore, pushed: types.Artifact) -> int:
    """Returns the MLMD id of the Model that was pushed: ids rise in the order of making."""
    events = store.get_events_by_artifact_ids([pushed.id])
    executions = [e.execution_id for e in events if e.type == metadata_store_pb2.Event.OUTPUT]
    inputs: list[int] = [
        event.artifact_id
        for event in store.get_events_by_execution_ids(executions)
        if event.type == metadata_store_pb2.Event.INPUT and event.path.steps[0].key == CANDIDATE_KEY
    ]
    return min(inputs, default=pushed.id)

"""Reads from MLMD what a run used and made."""

import dataclasses
from typing import Any

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd


@dataclasses.dataclass(frozen=True)
class Output:
    """An artifact that a run's node made, or took from the cache."""

    artifact_id: int
    uri: str
    properties: dict[str, Any]


class Lineage:
    """What MLMD holds about one run.

    Args:
        metadata: path of MLMD's SQLite file.
        run_id: name of the run.
    """

    def __init__(self, metadata: str, run_id: str):
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = metadata
        self._store = MetadataStore(config)
        run = self._store.get_context_by_type_and_name("pipeline_run", run_id)
        self._executions = self._store.get_executions_by_context(run.id)

    def outputs(self) -> dict[str, dict[str, Output]]:
        """Returns the artifacts of the run: node name -> output key -> artifact.

        Failed executions have none.
        """
        events = self._store.get_events_by_execution_ids([e.id for e in self._executions])
        made = [e for e in events if e.type == mlmd.Event.OUTPUT]
        artifacts = {
            artifact.id: artifact
            for artifact in self._store.get_artifacts_by_id(sorted({e.artifact_id for e in made}))
        }
        nodes = {execution.id: self._node(execution) for execution in self._executions}
        result: dict[str, dict[str, Output]] = {}
        for event in made:
            artifact = artifacts[event.artifact_id]
            if artifact.state == mlmd.Artifact.LIVE:
                result.setdefault(nodes[event.execution_id], {})[event.path.steps[0].key] = Output(
                    artifact.id, artifact.uri, _properties(artifact)
                )
        return result

    def _node(self, execution: mlmd.Execution) -> str:
        """Returns the name of the node that an execution is of."""
        for context in self._store.get_contexts_by_execution(execution.id):
            if context.type == "node":
                return str(context.name).rpartition(".")[2]
        return str(execution.type).rpartition(".")[2]


def _properties(artifact: mlmd.Artifact) -> dict[str, Any]:
    values = {**artifact.properties, **artifact.custom_properties}
    return {key: getattr(value, value.WhichOneof("value")) for key, value in values.items()}

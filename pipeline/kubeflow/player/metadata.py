"""What MLMD and the cache server keep between tasks and runs, in one JSON file."""

import json
from pathlib import Path
from typing import Any

from ground.console import read_json
from ground.errors import ConfigError, RcnnError
from ground.files import write_json

Message = dict[str, Any]


class RecordError(RcnnError):
    """The launcher could not record an output."""


class Metadata:
    """Artifacts by number, and the outputs of cached executions by fingerprint.

    Args:
        path: the file; made with the first artifact.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        known = read_json(path, ConfigError) if path.exists() else {}
        self._artifacts: list[Message] = known.get("artifacts", [])
        self._executions: dict[str, Message] = known.get("executions", {})

    def record_artifact(self, name: str, artifact: Message, provider: str) -> int:
        """Keeps an output artifact as the launcher does; returns its number.

        Args:
            name: key of the output.
            artifact: a RuntimeArtifact.
            provider: provider of the store, for the session that the launcher notes.

        Raises:
            RecordError: a property has no value.
        """
        properties = {
            key: _stored(f"{name}.{key}", value)
            for key, value in (artifact.get("metadata") or {}).items()
        }
        properties.setdefault("display_name", name)
        session = {"Provider": provider, "Params": {"fromEnv": "true"}}
        properties.setdefault("store_session_info", json.dumps(session, separators=(",", ":")))
        self._artifacts.append({"uri": artifact["uri"], "metadata": properties})
        return len(self._artifacts)

    def runtime_artifact(self, number: int) -> Message:
        """Returns an artifact as the driver hands it on: by number, without its type."""
        artifact = self._artifacts[number - 1]
        return {
            "name": str(number),
            "uri": artifact["uri"],
            "type": {"instanceSchema": ""},
            "metadata": dict(artifact["metadata"]),
        }

    def cached(self, pipeline: str, fingerprint: str) -> Message | None:
        """Returns `artifacts` and `parameters` of the newest execution of a fingerprint."""
        return self._executions.get(f"{pipeline}/{fingerprint}")

    def remember(self, pipeline: str, fingerprint: str, outputs: Message) -> None:
        """Makes an execution known to the cache."""
        self._executions[f"{pipeline}/{fingerprint}"] = outputs

    def save(self) -> None:
        """Writes the file."""
        write_json(self._path, {"artifacts": self._artifacts, "executions": self._executions})


def _stored(name: str, value: Any) -> Any:
    """Returns a property as it comes back from MLMD.

    Raises:
        RecordError: it has no value.
    """
    if value is None:
        raise RecordError(f"output {name}: unknown/unsupported value type NullValue")
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list):
        return {"list": value}
    if isinstance(value, dict):
        return {"struct": value}
    return value

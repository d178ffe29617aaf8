"""A run in MLflow, through its client alone: nothing of it is global to this process."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.tracking.request import TrackingRequest

_MOST_AT_ONCE = 100  # parameters in a call
_LONGEST_PARAMETER = 500  # characters; what older servers take
# Few and short tries: we try again ourselves. Telemetry is for whoever asks for it.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # a folder is what was asked for
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowRun:
    """One run.

    Args:
        client: MLflow's.
        run_id: its id.
    """

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self.id = run_id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `TrackedRun`."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def outcome(
        self, values: Mapping[str, float], tags: Mapping[str, str], files: Mapping[str, str]
    ) -> None:
        """See `TrackedRun`."""
        self.scalars(0, values)
        for name, value in tags.items():
            self._client.set_tag(self.id, name, value)
        for name, path in files.items():
            self._client.log_artifact(self.id, path, name)

    def end(self, status: str) -> None:
        """See `TrackedRun`."""
        self._client.set_terminated(self.id, status)


def open_mlflow_run(request: TrackingRequest, run_id: str | None) -> MlflowRun:
    """Returns a new run, or one that goes on."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.entities import Param

    uri = str(request.settings.mlflow)
    client = MlflowClient(tracking_uri=uri)
    if run_id is not None:
        client.update_run(run_id, status="RUNNING")
        return MlflowRun(client, run_id)
    experiment_id = _experiment(client, uri, request.settings.experiment or request.name)
    run = MlflowRun(
        client, client.create_run(experiment_id, run_name=request.settings.run).info.run_id
    )
    parameters = [
        Param(name, value[:_LONGEST_PARAMETER]) for name, value in request.parameters.items()
    ]
    for start in range(0, len(parameters), _MOST_AT_ONCE):
        client.log_batch(run.id, params=parameters[start : start + _MOST_AT_ONCE])
    return run


def _experiment(client: Any, uri: str, name: str) -> str:
    """Returns the id of an experiment, made where there is none."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None
    if uri.startswith("sqlite:///"):  # else its files would go into the working folder
        place = str(Path(uri.removeprefix("sqlite:///")).absolute().parent / "mlartifacts" / name)
    return str(client.create_experiment(name, artifact_location=place))

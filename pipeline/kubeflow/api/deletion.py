"""What is deleted, told before it is."""

from collections.abc import Callable
from dataclasses import dataclass

from ground.errors import ConfigError
from pipeline.kubeflow.api.pipelines import (
    delete_pipeline,
    delete_version,
    pipeline_of,
    version_of,
    versions_of,
)
from pipeline.kubeflow.api.runs import has_ended, state_of
from pipeline.kubeflow.api.schedules import describe, find_schedules
from pipeline.kubeflow.api.service import Service, path_of


@dataclass(frozen=True)
class Deletion:
    """Something that is there: what, for people, and the function that deletes it."""

    what: str
    do: Callable[[], bool]


def planned(service: Service, kind: str, name: str, version: str | None) -> Deletion:
    """Returns the deletion of a pipeline, version, run or schedule.

    Raises:
        ConfigError: there is no such thing.
        ServiceError: the service refused, failed or could not be reached.
    """
    if kind == "pipeline":
        return _pipeline(service, name)
    if kind == "version":
        found = version_of(service, name, version)
        told = f"version {version!r} of pipeline {name!r}{_used_by(service, found.version_id)}"
        return Deletion(told, lambda: delete_version(service, found))
    if kind == "run":
        run = service.get(path_of("runs", name))
        state = state_of(run) if has_ended(run) else f"{state_of(run)}, which is ended by that"
        told = f"run {run.get('display_name')!r} ({name}, {state})"
        return Deletion(told, lambda: service.delete(path_of("runs", name)))
    return _schedule(service, name)


def _pipeline(service: Service, name: str) -> Deletion:
    pipeline_id = pipeline_of(service, name)
    versions = versions_of(service, pipeline_id)
    used = _used_by(service, pipeline_id)
    told = f"pipeline {name!r} with {len(versions)} versions{used}"
    return Deletion(told, lambda: delete_pipeline(service, pipeline_id, versions))


def _used_by(service: Service, known_id: str) -> str:
    """Returns the names of schedules that start runs of a pipeline or a version."""
    names = [
        str(found.get("display_name"))
        for found in find_schedules(service)
        if known_id in (found.get("pipeline_version_reference") or {}).values()
    ]
    return f", which schedule {', '.join(sorted(names))} starts runs of" if names else ""


def _schedule(service: Service, name: str) -> Deletion:
    """Returns the deletion of all schedules of a name.

    Raises:
        ConfigError: there is none.
    """
    found = find_schedules(service, name)
    if not found:
        raise ConfigError(f"{service.host}: no schedule {name!r}")
    paths = [path_of("recurringruns", str(one.get("recurring_run_id"))) for one in found]
    told = f"schedule {name!r} ({'; '.join(describe(one) for one in found)})"
    return Deletion(told, lambda: any([service.delete(path) for path in paths]))

"""Pipelines and their versions: found by name, stored once, deleted."""

from dataclasses import dataclass
from pathlib import Path

from ground.errors import ConfigError, ServiceError
from pipeline.kubeflow.api.answers import checked_id
from pipeline.kubeflow.api.service import Message, Service, named, path_of
from pipeline.kubeflow.pipeline_file import PipelineFile, default_version, read_pipeline_file

_LONGEST_NAME, _LONGEST_VERSION = 128, 127  # of KFP's database


@dataclass(frozen=True)
class Version:
    """A version of a pipeline as the service has it.

    Attributes:
        pipeline_id: id of its pipeline.
        version_id: its own.
        name: its own.
        message: the pipeline, as a version's `pipeline_spec` has it.
        is_new: whether it was stored just now.
    """

    pipeline_id: str
    version_id: str
    name: str
    message: Message
    is_new: bool = False

    @property
    def spec(self) -> Message:
        """The pipeline without what it asks of Kubernetes."""
        inner = self.message.get("pipeline_spec", self.message)
        return inner if isinstance(inner, dict) else {}

    def address(self, host: str) -> str:
        """Returns where a person finds it."""
        return f"{host}/#/pipelines/details/{self.pipeline_id}/version/{self.version_id}"


def upload(service: Service, pipeline_file: Path, name: str, version: str | None = None) -> Version:
    """Stores a compiled file as a version of the pipeline `name`, unless it is there already.

    Args:
        service: where to.
        pipeline_file: what `tfx-rcnn compile` wrote.
        name: name of the pipeline; it is created where there is none.
        version: its name; None for one of our revision and the file's digest. A version of any
            revision with the same digest is the same.

    Raises:
        ConfigError: the file is none that `compile` wrote, a name is none, or the version is there
            with other content.
        ServiceError: the service refused, failed or could not be reached.
    """
    _check_name("--name", name, _LONGEST_NAME)
    file = read_pipeline_file(pipeline_file)
    wanted = default_version(file) if version is None else version
    _check_name("--version", wanted, _LONGEST_VERSION)
    pipeline_id = find_pipeline(service, name) or _create_pipeline(service, name)

    def find() -> Message | None:
        return _find_version(service, pipeline_id, wanted, file.digest if version is None else "")

    found = find()
    if found is not None:
        return _same(service, found, file, is_by_digest=version is None)
    stored = service.create(
        "pipelines/upload_version", find, file=file.content, pipelineid=pipeline_id, name=wanted
    )
    version_id = checked_id(service.host, "version", stored.get("pipeline_version_id"))
    return Version(pipeline_id, version_id, wanted, file.message, is_new=True)


def _same(service: Service, found: Message, file: PipelineFile, is_by_digest: bool) -> Version:
    """Returns a version that is there.

    Raises:
        ConfigError: it is something else than the file.
    """
    version = _version(service, found)
    if not is_by_digest and version.message != file.message:
        raise ConfigError(
            f"{service.host}: the pipeline has a version {version.name!r} already, with other "
            "content: choose another --version, or leave it out"
        )
    return version


def _check_name(option: str, text: str, longest: int) -> None:
    if not text.strip():
        raise ConfigError(f"{option}: is empty")
    if len(text) > longest or not text.isprintable():
        raise ConfigError(f"{option} {text[:40]!r}: expected at most {longest} letters on one line")


def find_pipeline(service: Service, name: str) -> str | None:
    """Returns the id of the pipeline called `name`, in our namespace if there is one; else None.

    Raises:
        ServiceError: the service refused, failed or could not be reached.
    """
    namespace = service.connection.namespace
    for pipeline in service.listed(
        "pipelines", "pipelines", namespace=namespace, filter=named(name)
    ):
        if pipeline.get("display_name") == name:
            return checked_id(service.host, "pipeline", pipeline.get("pipeline_id"))
    return None


def pipeline_of(service: Service, name: str) -> str:
    """Returns the id of the pipeline called `name`.

    Raises:
        ConfigError: there is none.
    """
    found = find_pipeline(service, name)
    if found is None:
        raise ConfigError(f"{service.host}: no pipeline {name!r}: upload one, or check --namespace")
    return found


def _create_pipeline(service: Service, name: str) -> str:
    body = {"display_name": name}
    if service.connection.namespace:
        body["namespace"] = service.connection.namespace

    def find() -> Message | None:
        found = find_pipeline(service, name)
        return None if found is None else {"pipeline_id": found}

    created = service.create("pipelines", find, body)
    return checked_id(service.host, "pipeline", created.get("pipeline_id"))


def _find_version(
    service: Service, pipeline_id: str, name: str, digest: str = ""
) -> Message | None:
    """Returns the version called `name`; or, where one is given, of a digest and any revision."""
    path = path_of("pipelines", pipeline_id, "versions")
    looked_for = named(digest, "IS_SUBSTRING") if digest else named(name)
    for version in service.listed(path, "pipeline_versions", filter=looked_for):
        told = str(version.get("display_name") or "")
        if told == name or (digest and told.rpartition("-")[2] == digest):
            return version
    return None


def version_of(service: Service, pipeline: str, version: str | None) -> Version:
    """Returns a version of the pipeline called `pipeline`; None for its newest.

    Raises:
        ConfigError: there is none.
        ServiceError: the service refused, failed or could not be reached.
    """
    pipeline_id = pipeline_of(service, pipeline)
    if version is not None:
        found = _find_version(service, pipeline_id, version)
    else:
        path = path_of("pipelines", pipeline_id, "versions")
        newest = service.get(path, page_size=1, sort_by="created_at desc")
        found = next(iter(newest.get("pipeline_versions") or []), None)
    if found is None:
        what = f"no version {version!r}" if version else "no version yet"
        raise ConfigError(f"{service.host}: pipeline {pipeline!r} has {what}: upload one")
    return _version(service, found)


def version_by_id(service: Service, pipeline_id: str, version_id: str) -> Version:
    """Returns a version.

    Raises:
        ServiceError: the service refused, failed or could not be reached.
    """
    return _version(service, service.get(path_of("pipelines", pipeline_id, "versions", version_id)))


def _version(service: Service, found: Message) -> Version:
    message = found.get("pipeline_spec")
    return Version(
        checked_id(service.host, "pipeline", found.get("pipeline_id")),
        checked_id(service.host, "version", found.get("pipeline_version_id")),
        str(found.get("display_name") or ""),
        message if isinstance(message, dict) else {},
    )


def delete_version(service: Service, version: Version) -> bool:
    """Deletes a version; returns whether it was there.

    Raises:
        ServiceError: the service refused, failed or could not be reached.
    """
    path = path_of("pipelines", version.pipeline_id, "versions", version.version_id)
    return service.delete(path)


def versions_of(service: Service, pipeline_id: str) -> list[Version]:
    """Returns all versions of a pipeline.

    Raises:
        ServiceError: the service refused, failed or could not be reached.
    """
    path = path_of("pipelines", pipeline_id, "versions")
    return [_version(service, found) for found in service.listed(path, "pipeline_versions")]


def delete_pipeline(service: Service, pipeline_id: str, versions: list[Version]) -> bool:
    """Deletes a pipeline, its versions first: KFP keeps one that has any.

    Returns:
        Whether it was there.

    Raises:
        ServiceError: the service refused, failed or could not be reached.
    """
    for version in versions:
        delete_version(service, version)
    return service.delete(path_of("pipelines", pipeline_id))


def check_uploaded(service: Service, version: Version) -> None:
    """Checks that the service gave a version with the pipeline in it.

    Raises:
        ServiceError: it did not.
    """
    if not version.spec.get("root"):
        raise ServiceError(
            f"{service.host}: version {version.name!r} has no KFP v2 pipeline in it: upload one"
        )

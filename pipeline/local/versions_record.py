"""Records in MLMD what went into service otherwise than by a run of this root.

A rollback and a person's blessing change the folder that models are served from, by one rename, and
the version says why. MLMD gets its record from there: at once, or, where the process was killed in
between or knew of no MLMD, by whoever comes next. So do versions that another root or a person
pushed, for the next candidate is to be compared with what is served.
"""

from collections.abc import Iterable
from pathlib import Path

from ml_metadata import errors
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.model_pusher import properties
from components.model_pusher.push_note import PushNote
from components.model_pusher.registry import PushedVersion, pushed_versions
from pipeline.local.metadata import opened_metadata

ROLLBACK = "tfx_rcnn.Rollback"
OVERRIDE = "tfx_rcnn.Override"
OTHER_PUSH = "tfx_rcnn.OtherPush"
_MODEL_KEY, _PUSHED_KEY, _BLESSING_KEY = "model", "pushed_model", "blessing"


def record_versions(metadata: Path, push_folder: Path, name: str) -> list[int]:
    """Writes a record of each version that MLMD does not know; returns their numbers.

    Args:
        metadata: MLMD's file; made where there is none and there is something to record.
        push_folder: base of the served models.
        name: name of the model, and of the pipeline.

    Raises:
        ModelError: what is served cannot be read.
        RcnnError: the metadata cannot be read.
    """
    noted = [(version, version.note) for version in pushed_versions(push_folder, name)]
    ours = [(version, note) for version, note in noted if note and note.version == version.version]
    if not ours:
        return []
    with opened_metadata(metadata, writes=True) as store:
        known = set(_known(store))
        unknown = [(v, note) for v, note in ours if (str(v.path), note.model_id) not in known]
        return [v.version for v, note in unknown if _record(store, name, v, note)]


def _known(store: MetadataStore) -> Iterable[tuple[str, str]]:
    """Yields folder and model id of each push that MLMD knows."""
    try:
        pushed = store.get_artifacts_by_type("PushedModel")
    except errors.NotFoundError:
        return
    for artifact in pushed:
        values = artifact.custom_properties
        if values[properties.PUSHED].int_value == 1:
            yield (
                values[properties.DESTINATION].string_value,
                values[properties.MODEL_ID].string_value,
            )


def _record(store: MetadataStore, name: str, version: PushedVersion, note: PushNote) -> bool:
    """Writes the record of a version; returns whether nobody else did so meanwhile."""
    word = note.rollback or note.override
    kind = ROLLBACK if note.rollback else OVERRIDE if note.override else OTHER_PUSH
    execution = mlmd.Execution(
        type_id=store.put_execution_type(mlmd.ExecutionType(name=kind), can_add_fields=True),
        last_known_state=mlmd.Execution.COMPLETE,
    )
    values = word.model_dump(exclude_none=True) if word else {}
    _set(execution, {**values, properties.VERSION: str(version.version)})
    made = [(_pushed_artifact(store, version, note), _event(mlmd.Event.OUTPUT, _PUSHED_KEY))]
    models = _models(store, note.model_id)
    used = [(model, _event(mlmd.Event.INPUT, _MODEL_KEY)) for model in models[:1]]
    if note.override and models and not note.rollback:
        blessing = _blessing(store, version, note, models[0])
        made.append((blessing, _event(mlmd.Event.OUTPUT, _BLESSING_KEY)))
    context = mlmd.Context(
        type_id=store.put_context_type(mlmd.ContextType(name="pipeline"), can_add_fields=True),
        name=name,
    )
    try:
        store.put_execution(
            execution, [*used, *made], [context], reuse_context_if_already_exist=True
        )
    except errors.AlreadyExistsError:
        return False
    return True


def _pushed_artifact(store: MetadataStore, version: PushedVersion, note: PushNote) -> mlmd.Artifact:
    # Its name is what keeps two processes from recording the same version twice.
    artifact = _artifact(store, "PushedModel", version, f"{version.path}#{note.model_id[:16]}")
    _set(
        artifact,
        {
            properties.PUSHED: 1,
            properties.DESTINATION: str(version.path),
            properties.VERSION: str(version.version),
            properties.MODEL_ID: note.model_id,
        },
    )
    return artifact


def _blessing(
    store: MetadataStore, version: PushedVersion, note: PushNote, model: mlmd.Artifact
) -> mlmd.Artifact:
    artifact = _artifact(store, "ModelBlessing", version, f"{version.path}#blessing")
    word = note.override
    _set(
        artifact,
        {
            "blessed": 1,
            "current_model": model.uri,
            "current_model_id": model.id,
            "blessed_by": word.by if word else "",
            "blessed_because": word.because if word else "",
            properties.MODEL_DIGEST: note.files_digest,
            properties.DECISION_DIGEST: note.decision_digest or "",
        },
    )
    return artifact


def _artifact(
    store: MetadataStore, type_name: str, version: PushedVersion, name: str
) -> mlmd.Artifact:
    return mlmd.Artifact(
        type_id=_artifact_type(store, type_name),
        uri=str(version.path),
        name=name,
        state=mlmd.Artifact.LIVE,
    )


def _artifact_type(store: MetadataStore, name: str) -> int:
    """Returns the id of one of TFX's types, which is made as TFX makes it."""
    try:
        return int(store.get_artifact_type(name).id)
    except errors.NotFoundError:
        from tfx.types import standard_artifacts  # takes seconds: only where nothing ran yet

        kind = getattr(standard_artifacts, name)._get_artifact_type()
        return int(store.put_artifact_type(kind))


def _models(store: MetadataStore, model_id: str) -> list[mlmd.Artifact]:
    """Returns the Model artifacts of a model id, oldest first."""
    try:
        models = store.get_artifacts_by_type("Model")
    except errors.NotFoundError:
        return []
    same = [m for m in models if m.custom_properties["model_id"].string_value == model_id]
    return sorted(same, key=lambda model: int(model.id))


def _event(kind: int, key: str) -> mlmd.Event:
    event = mlmd.Event(type=kind)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event


def _set(node: mlmd.Execution | mlmd.Artifact, values: dict[str, str | int]) -> None:
    for key, value in values.items():
        if isinstance(value, int):
            node.custom_properties[key].int_value = value
        else:
            node.custom_properties[key].string_value = value

"""What was done in a run's root, from MLMD: runs, and what people did to the served versions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.model_pusher import properties
from configs.metric_names import METRIC_NAMES
from ground.errors import RcnnError
from pipeline.local.metadata import opened_metadata
from pipeline.local.versions_record import OTHER_PUSH, OVERRIDE, ROLLBACK
from pipeline.nodes import NODES

RUN = "run"
_KINDS = {ROLLBACK: "rollback", OVERRIDE: "blessing", OTHER_PUSH: "push"}
_MADE = (mlmd.Event.OUTPUT, mlmd.Event.INTERNAL_OUTPUT, mlmd.Event.DECLARED_OUTPUT)
_DONE = (mlmd.Execution.COMPLETE, mlmd.Execution.CACHED)


@dataclass(frozen=True)
class Entry:
    """A run, or what a person did.

    Attributes:
        number: from 1, in the order of time.
        kind: "run", "rollback", "blessing", or "push" of another root or by hand.
        when: in ISO form, UTC.
        name: name of the pipeline and the model.
        run_id: id of a run; "" for others.
        state: a run's: "done", or how far it came, in words.
        data: a run's: the folder, digest of its pictures, and by split pictures and objects.
        metrics: a run's: "box" and "mask", each COCO's twelve numbers or None.
        classes: a run's: AP by kind and class.
        blessed: the verdict; None without one.
        reason: reason of the verdict.
        model_id: id of the model; None without one.
        model: a run's: the folder of the exported model; "" without one.
        evaluation: a run's: the folder of the decision and the report; "" without one.
        version: that it was pushed as; None where it was not.
        settings: a run's: each setting with its value, in JSON.
        code: a run's: digest of the sources by node.
        said: by a person, with their act: `by`, `because`, `to`, `instead_of`, `reason`.
        missing: files of a run that are gone or cannot be read.
    """

    number: int
    kind: str
    when: str
    name: str
    run_id: str = ""
    state: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    blessed: bool | None = None
    reason: str | None = None
    model_id: str | None = None
    model: str = ""
    evaluation: str = ""
    version: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, str | int] = field(default_factory=dict)
    missing: Sequence[str] = ()


@dataclass(frozen=True)
class Pushes:
    """Where a root's runs push.

    Attributes:
        folder: base of the served models.
        name: name of the model.
    """

    folder: Path
    name: str


class History:
    """All that MLMD has of a root, read at once.

    Args:
        metadata: MLMD's file.

    Raises:
        RcnnError: it cannot be read.
    """

    def __init__(self, metadata: Path) -> None:
        with opened_metadata(metadata) as store:
            self._executions = sorted(store.get_executions(), key=lambda e: int(e.id))
            self._runs = _contexts(store, "pipeline_run")
            self._of_run = {
                run.id: {e.id for e in store.get_executions_by_context(run.id)}
                for run in self._runs
            }
            self._names = _names(store)
            self._nodes = _nodes(store)
            events = store.get_events_by_execution_ids([e.id for e in self._executions])
            ids = sorted({event.artifact_id for event in events})
            artifacts = {a.id: a for a in store.get_artifacts_by_id(ids)}
        self._outputs: dict[int, dict[str, mlmd.Artifact]] = {}
        for event in events:
            if event.type in _MADE and event.path.steps:
                made = self._outputs.setdefault(event.execution_id, {})
                made[event.path.steps[0].key] = artifacts[event.artifact_id]

    def entries(self) -> list[Entry]:
        """Returns runs and what people did, oldest first."""
        found = []
        for run in self._runs:
            executions = [e for e in self._executions if e.id in self._of_run[run.id]]
            if executions:
                found.append(self._run_entry(run.name, executions))
        found += [self._act(e) for e in self._executions if e.type in _KINDS]
        found.sort(key=lambda entry: entry["when"])
        return [Entry(number=n, **values) for n, values in enumerate(found, 1)]

    def pushes(self, name: str | None = None) -> Pushes:
        """Returns where the newest run pushes.

        Args:
            name: name of the model; None where there is one alone.

        Raises:
            RcnnError: no run pushed, or there are several models and none is named.
        """
        found = {
            _text(e, "model_name"): _text(e, "push_folder")
            for e in self._executions
            if self._nodes.get(e.id) == "ModelPusher"
        }
        if name is None and len(found) > 1:
            raise RcnnError(f"runs of several models are here: --name {', '.join(sorted(found))}")
        chosen = name or next(iter(found), None)
        if chosen is None or chosen not in found:
            known = f", only of {', '.join(sorted(found))}" if found else ""
            of = f" of {name}" if name else ""
            raise RcnnError(f"no run{of} here came to its ModelPusher{known}")
        return Pushes(Path(found[chosen]), chosen)

    def _run_entry(self, run_id: str, executions: list[mlmd.Execution]) -> dict[str, Any]:
        outputs: dict[tuple[str, str], mlmd.Artifact] = {}
        for execution in executions:
            if execution.last_known_state in _DONE:
                node = self._nodes.get(execution.id, "")
                made = self._outputs.get(execution.id, {})
                outputs |= {(node, key): artifact for key, artifact in made.items()}
        missing: list[str] = []
        evaluation = outputs.get(("CocoEvaluator", "evaluation"))
        decision = _content(evaluation, "decision.json", missing)
        metrics = _content(evaluation, "metrics.json", missing)
        counts = _content(outputs.get(("CocoExampleGen", "rejects")), "counts.json", missing)
        model = outputs.get(("DetectionTrainer", "model"))
        pushed = outputs.get(("ModelPusher", "pushed_model"))
        by_node = {self._nodes.get(e.id, ""): e for e in executions}
        return {
            "kind": RUN,
            "when": _iso(min(e.create_time_since_epoch for e in executions)),
            "name": next((self._names[e.id] for e in executions if e.id in self._names), ""),
            "run_id": run_id,
            "state": _state(by_node),
            "data": _data(by_node.get("CocoExampleGen"), counts),
            "metrics": {kind: _numbers(metrics.get(kind)) for kind in ("box", "mask")},
            "classes": _classes(metrics),
            "blessed": decision.get("blessed"),
            "reason": decision.get("reason"),
            "model_id": decision.get("model_id") or (_text(model, "model_id") if model else None),
            "model": model.uri if model else "",
            "evaluation": evaluation.uri if evaluation else "",
            "version": _version(pushed) if pushed else None,
            "settings": _settings(executions),
            "code": {
                node: _text(execution, "source_digest")
                for node, execution in by_node.items()
                if "source_digest" in execution.custom_properties
            },
            "missing": missing,
        }

    def _act(self, execution: mlmd.Execution) -> dict[str, Any]:
        values = {
            key: getattr(value, value.WhichOneof("value"))
            for key, value in execution.custom_properties.items()
        }
        pushed = self._outputs.get(execution.id, {}).get("pushed_model")
        version = int(values.pop(properties.VERSION, 0)) or None
        when = values.pop("when", None) or _iso(execution.create_time_since_epoch)
        return {
            "kind": _KINDS[execution.type],
            "when": when,
            "name": self._names.get(execution.id, ""),
            "model_id": _text(pushed, properties.MODEL_ID) if pushed else None,
            "version": version,
            "said": values,
        }


def chosen_run(entries: Sequence[Entry], word: str) -> Entry:
    """Returns the run that a word stands for, as `chosen_entry` does.

    Raises:
        RcnnError: there is none, or it is what a person did.
    """
    entry = chosen_entry(entries, word)
    if entry.kind != RUN:
        raise RcnnError(f"entry {word} is a {entry.kind}, expected a run")
    return entry


def chosen_entry(entries: Sequence[Entry], word: str) -> Entry:
    """Returns the entry that a number, a run's id, or `v` and a version stand for.

    Raises:
        RcnnError: there is none.
    """
    for entry in entries:
        if word in (str(entry.number), entry.run_id) and word:
            return entry
    pushed = [e for e in entries if e.kind == RUN and e.version is not None]
    of_version = [e for e in pushed if f"v{e.version}" == word]
    if of_version:
        return of_version[0]
    if not entries:
        raise RcnnError(f"no entry {word!r:.80}: nothing was run here yet")
    raise RcnnError(
        f"no entry {word!r:.80}: expected a number from {entries[0].number} to "
        f"{entries[-1].number}, a run's id, or v and the version that a run pushed"
    )


def _contexts(store: MetadataStore, type_name: str) -> list[mlmd.Context]:
    return sorted(store.get_contexts_by_type(type_name), key=lambda context: int(context.id))


def _names(store: MetadataStore) -> dict[int, str]:
    """Returns the pipeline's name by execution."""
    return {
        execution.id: context.name
        for context in _contexts(store, "pipeline")
        for execution in store.get_executions_by_context(context.id)
    }


def _nodes(store: MetadataStore) -> dict[int, str]:
    """Returns the node's name by execution."""
    return {
        execution.id: context.name.rpartition(".")[2]
        for context in _contexts(store, "node")
        for execution in store.get_executions_by_context(context.id)
    }


def _state(by_node: Mapping[str, mlmd.Execution]) -> str:
    """Returns how far a run came."""
    ordered = [node for node in NODES if node in by_node]
    for node in ordered:
        state = by_node[node].last_known_state
        if state == mlmd.Execution.FAILED:
            return f"failed in {node}"
        if state not in _DONE:
            return f"not past {node}"
    last = ordered[-1] if ordered else "nothing"
    return "done" if last == NODES[-1] else f"up to {last}"


def _content(artifact: mlmd.Artifact | None, name: str, missing: list[str]) -> dict[str, Any]:
    """Returns a JSON file of an artifact; empty where it is gone, which is noted."""
    if artifact is None:
        return {}
    path = Path(artifact.uri) / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: None)
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return content
    missing.append(str(path))
    return {}


def _data(examples: mlmd.Execution | None, counts: Mapping[str, Any]) -> dict[str, Any]:
    if examples is None:
        return {}
    splits = _mapping(counts.get("splits"))
    return {
        "folder": _text(examples, "data_dir"),
        "digest": _text(examples, "pictures_digest"),
        "splits": {
            name: {kind: _written(split, kind) for kind in ("pictures", "objects")}
            for name, split in splits.items()
        },
    }


def _written(split: Any, kind: str) -> int | None:
    count = _mapping(_mapping(split).get(kind)).get("written")
    return count if isinstance(count, int) else None


def _numbers(found: Any) -> dict[str, float] | None:
    numbers = _mapping(found)
    return {n: numbers[n] for n in METRIC_NAMES if _is_number(numbers.get(n))} or None


def _classes(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        kind: {
            str(numbers.get("name")): numbers["AP"]
            for numbers in map(_mapping, _mapping(classes).values())
            if _is_number(numbers.get("AP"))
        }
        for kind, classes in _mapping(metrics.get("per_category")).items()
        if classes
    }


def _mapping(value: Any) -> dict[str, Any]:
    """Returns a part of a file; empty where it is of another form than we write."""
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _settings(executions: Iterable[mlmd.Execution]) -> dict[str, str]:
    """Returns each setting that the nodes of a run had, with its value in JSON."""
    found: dict[str, str] = {}
    for execution in executions:
        try:
            found |= dict(_flat(json.loads(_text(execution, "settings") or "{}")))
        except ValueError:  # of a release whose settings were no JSON
            continue
    return dict(sorted(found.items()))


def _flat(value: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, json.dumps(value)


def _version(pushed: mlmd.Artifact) -> int | None:
    if pushed.custom_properties[properties.PUSHED].int_value != 1:
        return None
    text = _text(pushed, properties.VERSION)
    return int(text) if text.isdecimal() else None


def _text(node: mlmd.Execution | mlmd.Artifact, key: str) -> str:
    return str(node.custom_properties[key].string_value)


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return moment.isoformat(timespec="seconds")

"""A compiled file as the API server and the workflow compiler read it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ground.errors import ConfigError
from pipeline.kubeflow.pipeline_file import check_pipeline_file

Message = dict[str, Any]
_ROOTS = ("gs://", "minio://", "s3://")
_DEFAULT_ROOT = "minio://mlpipeline/v2/artifacts"  # backend/src/v2/config/env.go
_KINDS = {
    "STRING": str,
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": float,
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
}


@dataclass(frozen=True)
class Task:
    """One container task of the graph.

    Attributes:
        key: in the graph.
        spec: its PipelineTaskSpec.
        component: its ComponentSpec.
        container: its PipelineContainerSpec.
        platform: its KubernetesExecutorConfig, {} without one.
    """

    key: str
    spec: Message
    component: Message
    container: Message
    platform: Message

    @property
    def name(self) -> str:
        """The display name."""
        return str(self.spec.get("taskInfo", {}).get("name", self.key))

    @property
    def is_cached(self) -> bool:
        """Whether its result may come from the cache."""
        return bool(self.spec.get("cachingOptions", {}).get("enableCache"))

    @property
    def needs(self) -> list[str]:
        """Keys of the tasks that come before it."""
        return list(self.spec.get("dependentTasks", []))


@dataclass(frozen=True)
class Compiled:
    """A pipeline: its name, its tasks in an order that works, and its parameters' definitions."""

    name: str
    root: str
    tasks: list[Task]
    parameters: Message


def read_compiled(path: Path) -> Compiled:
    """Returns the pipeline of a compiled file.

    Raises:
        ConfigError: it is none, has something that is not played here, or a root that KFP refuses.
    """
    check_pipeline_file(path)
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    try:
        return _compiled(path, documents)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{path}: no KFP v2 pipeline ({type(error).__name__}: {error}); expected the file that "
            "`tfx-rcnn compile` wrote"
        ) from None


def _compiled(path: Path, documents: list[Message]) -> Compiled:
    spec = documents[0]
    platform: Message = {}
    if len(documents) > 1:
        kubernetes = documents[1].get("platforms", {}).get("kubernetes", {})
        platform = kubernetes.get("deploymentSpec", {}).get("executors", {})
    root = str(spec.get("defaultPipelineRoot") or _DEFAULT_ROOT)
    if not root.startswith(_ROOTS):
        raise ConfigError(
            f"{path}: defaultPipelineRoot {root}: KFP stores only below {', '.join(_ROOTS)}"
        )
    tasks = {
        key: _task(path, key, task, spec, platform)
        for key, task in spec["root"]["dag"]["tasks"].items()
    }
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return Compiled(spec["pipelineInfo"]["name"], root, _in_order(path, tasks), parameters)


def _task(path: Path, key: str, task: Message, spec: Message, platform: Message) -> Task:
    component = spec["components"][task["componentRef"]["name"]]
    label = component.get("executorLabel")
    executor = spec["deploymentSpec"]["executors"].get(label, {}) if label else {}
    unplayed = [name for name in ("importer", "resolver") if name in executor]
    unplayed += ["loop"] if {"parameterIterator", "artifactIterator"} & set(task) else []
    unplayed += ["condition"] if task.get("triggerPolicy", {}).get("condition") else []
    unplayed += ["nested pipeline"] if "dag" in component and not unplayed else []
    if unplayed or "container" not in executor:
        what = ", ".join(unplayed) or "no container"
        raise ConfigError(f"{path}: task {key} ({what}) cannot be run here: only containers can")
    return Task(key, task, component, executor["container"], platform.get(label, {}))


def _in_order(path: Path, tasks: dict[str, Task]) -> list[Task]:
    """Returns the tasks such that each comes after those that it needs.

    Raises:
        ConfigError: there is no such order.
    """
    ordered: dict[str, Task] = {}
    while len(ordered) < len(tasks):
        ready = [k for k, t in tasks.items() if k not in ordered and set(t.needs) <= set(ordered)]
        if not ready:
            left = ", ".join(sorted(set(tasks) - set(ordered)))
            raise ConfigError(f"{path}: tasks that need each other, or one that is not: {left}")
        for key in sorted(ready):
            ordered[key] = tasks[key]
    return list(ordered.values())


def run_parameters(compiled: Compiled, given: Mapping[str, str]) -> Message:
    """Returns the values of a run's parameters: those given, else the defaults.

    Args:
        compiled: the pipeline.
        given: text by name; a list or struct as JSON.

    Raises:
        ConfigError: one is unknown, of another type, or missing.
    """
    unknown = sorted(set(given) - set(compiled.parameters))
    if unknown:
        known = ", ".join(sorted(compiled.parameters)) or "none"
        raise ConfigError(
            f"--param {unknown[0]}: no such parameter of the pipeline; it has {known}"
        )
    values: Message = {}
    for name, spec in compiled.parameters.items():
        if name in given:
            values[name] = _value(name, given[name], spec["parameterType"])
        elif "defaultValue" in spec:
            values[name] = spec["defaultValue"]
        elif spec.get("isOptional"):
            values[name] = None
        else:
            raise ConfigError(f"--param {name}=... is missing: the pipeline has no default for it")
    return values


def _value(name: str, text: str, kind: str) -> Any:
    if kind == "STRING":
        return text
    try:
        value = json.loads(text.lower() if kind == "BOOLEAN" else text)
    except json.JSONDecodeError:
        value = None
    wanted = (int, float) if kind == "NUMBER_DOUBLE" else _KINDS.get(kind, object)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise ConfigError(f"--param {name}: expected {kind} as JSON, got {text!r}")
    return value

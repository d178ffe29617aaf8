"""What KFP's driver hands a task: its inputs, and places for its outputs."""

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from ground.errors import RcnnError
from pipeline.kubeflow.player.compiled import Message, Task
from pipeline.kubeflow.player.dialects import Dialect
from pipeline.kubeflow.player.protojson import decimal_text, go_json, plain, without_empty
from pipeline.kubeflow.pod_paths import local_path

LOG_OUTPUT = "executor-logs"
LEGACY_OUTPUT_FILE = "/tmp/kfp_outputs/output_metadata.json"
_NAMES_OF_TYPES = {bool: "bool", int: "number", float: "number", list: "list", dict: "struct"}
_TAKES = {
    "NUMBER_INTEGER": "number",
    "NUMBER_DOUBLE": "number",
    "BOOLEAN": "bool",
    "LIST": "list",
    "STRUCT": "struct",
}


class DriverError(RcnnError):
    """KFP's driver fails this task before its container starts."""


def executor_input(
    task: Task,
    dialect: Dialect,
    run_root: str,
    salt: str,
    parameters: Mapping[str, Any],
    outputs_of: Mapping[str, Message],
    artifact: Callable[[int], Message],
) -> Message:
    """Returns a task's ExecutorInput, in the form of protojson.

    Args:
        task: the task.
        dialect: KFP's.
        run_root: `<pipeline root>/<pipeline>/<run>`.
        salt: salt of the outputs' addresses, KFP's new uuid for each driver.
        parameters: parameters of the run.
        outputs_of: by task, `artifacts` (numbers) and `parameters`.
        artifact: gives the RuntimeArtifact of a number.

    Raises:
        DriverError: an input is missing, or of the wrong type.
    """
    inputs = without_empty(
        {
            "parameterValues": _parameters(task, dialect, parameters, outputs_of),
            "artifacts": _artifacts(task, outputs_of, artifact),
        }
    )
    message: Message = plain({"inputs": inputs, "outputs": _outputs(task, dialect, run_root, salt)})
    return message


def _parameters(
    task: Task,
    dialect: Dialect,
    parameters: Mapping[str, Any],
    outputs_of: Mapping[str, Message],
) -> Message:
    specs = task.component.get("inputDefinitions", {}).get("parameters", {})
    values: Message = {}
    for name, source in task.spec.get("inputs", {}).get("parameters", {}).items():
        value = _resolved(task, name, source, parameters, outputs_of)
        if value is None and dialect.nulls_are_absent and specs.get(name, {}).get("isOptional"):
            continue
        values[name] = value
    for name, spec in specs.items():
        if name in values:
            values[name] = _checked(task, name, values[name], spec["parameterType"])
        elif not spec.get("isOptional") and "defaultValue" not in spec:
            raise DriverError(
                f"{task.key}: neither value nor default value provided for non-optional "
                f"parameter {name!r}"
            )
    return values


def _resolved(
    task: Task,
    name: str,
    source: Message,
    parameters: Mapping[str, Any],
    outputs_of: Mapping[str, Message],
) -> Any:
    if "componentInputParameter" in source:
        wanted = source["componentInputParameter"]
        if wanted not in parameters:
            raise DriverError(f"{task.key}: parent DAG does not have input parameter {wanted}")
        return parameters[wanted]
    if "taskOutputParameter" in source:
        producer = source["taskOutputParameter"]
        outputs = outputs_of[producer["producerTask"]]["parameters"]
        return outputs.get(producer["outputParameterKey"])
    if "constant" in source.get("runtimeValue", {}):
        return source["runtimeValue"]["constant"]
    raise DriverError(f"{task.key}: parameter {name}: {source}: not implemented yet")


def _checked(task: Task, name: str, value: Any, kind: str) -> Any:
    """Returns the value, as text where the component takes text; else its type must be right."""
    if kind == "STRING":
        return text_of(value)
    given = _NAMES_OF_TYPES.get(type(value), "null" if value is None else "string")
    if given != _TAKES.get(kind):
        raise DriverError(
            f"{task.key}: input parameter {name!r} type mismatch: expect {kind}, got {given}"
        )
    return value


def text_of(value: Any) -> str:
    """Returns a parameter as text, as KFP puts it into a string or a command line."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return decimal_text(float(value))
    return go_json(value)


def _artifacts(
    task: Task, outputs_of: Mapping[str, Message], artifact: Callable[[int], Message]
) -> Message:
    found: Message = {}
    for name, source in task.spec.get("inputs", {}).get("artifacts", {}).items():
        producer = source.get("taskOutputArtifact")
        if producer is None:
            raise DriverError(f"{task.key}: artifact {name}: {source}: not implemented yet")
        number = outputs_of[producer["producerTask"]]["artifacts"].get(
            producer["outputArtifactKey"]
        )
        if number is None:
            raise DriverError(
                f"{task.key}: cannot find output artifact key "
                f"{producer['outputArtifactKey']!r} in producer task {producer['producerTask']!r}"
            )
        found[name] = {"artifacts": [artifact(number)]}
    return found


def _outputs(task: Task, dialect: Dialect, run_root: str, salt: str) -> Message:
    definitions = task.component.get("outputDefinitions", {})
    specs = dict(definitions.get("artifacts", {}))
    if dialect.has_log_output:
        specs[LOG_OUTPUT] = {"artifactType": {"schemaTitle": "system.Artifact"}}
    task_root = f"{run_root}/{task.key if dialect.task_named_by_key else task.name}/{salt}"
    artifacts = {}
    for name, spec in specs.items():
        one = {"uri": f"{task_root}/{name}", "type": spec.get("artifactType", {})}
        if dialect.names_outputs:
            one["name"] = name
        if spec.get("metadata"):
            one["metadata"] = spec["metadata"]
        artifacts[name] = {"artifacts": [one]}
    parameters = {
        name: {"outputFile": f"/tmp/kfp/outputs/{name}"}
        for name in definitions.get("parameters", {})
    }
    output_file = LEGACY_OUTPUT_FILE
    if dialect.output_file_in_task_root:
        output_file = posixpath.join(str(local_path(task_root)), "output_metadata.json")
    return without_empty(
        {"parameters": parameters, "artifacts": artifacts, "outputFile": output_file}
    )

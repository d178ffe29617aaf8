"""How KFP fills in a container's command line."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pipeline.kubeflow.player.compiled import Message, Task
from pipeline.kubeflow.player.dialects import Dialect
from pipeline.kubeflow.player.driver import text_of
from pipeline.kubeflow.pod_paths import local_path


def command_line(task: Task, dialect: Dialect, executor_input: Message, root: str) -> list[str]:
    """Returns command and arguments with all placeholders filled in.

    Args:
        task: the task.
        dialect: KFP's.
        executor_input: what `{{$}}` stands for, before the component's defaults are added.
        root: root of the pod; `.path` and `.output_file` placeholders lie in it. (On a cluster it
            is `/`. What `{{$}}` says is as on a cluster.)
    """
    line = [*task.container.get("command", []), *task.container.get("args", [])]
    variables = {v["name"]: str(v.get("value", "")) for v in task.container.get("env", [])}
    if dialect.resolves_parameters_first:
        given = executor_input["inputs"].get("parameterValues", {})
        line = [_replaced(part, _of_parameters(given)) for part in line]
    # The message is a word of the launcher's own command line.
    line = [expanded(part, variables) for part in line]
    executor_input = json.loads(expanded(json.dumps(executor_input), variables))
    message = _with_defaults(task, executor_input)
    values = _placeholders(message, root)
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    return [_replaced(part.replace("{{$}}", text), values) for part in line]


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Returns a word of a container's command as the kubelet changes it.

    >>> expanded("$(HOME) $(NO) $$(HOME) $$ $HOME", {"HOME": "/root"})
    '/root $(NO) $(HOME) $ $HOME'
    """

    def replaced(found: "re.Match[str]") -> str:
        name = found["name"]
        return "$" if name is None else variables.get(name, found[0])

    return re.sub(r"\$(?:\$|\((?P<name>[^()]*)\))", replaced, text)


def _with_defaults(task: Task, executor_input: Message) -> Message:
    """Returns the message with the component's own defaults, which the launcher adds."""
    inputs = dict(executor_input["inputs"])
    values = dict(inputs.get("parameterValues", {}))
    for name, spec in task.component.get("inputDefinitions", {}).get("parameters", {}).items():
        if "defaultValue" in spec:
            values.setdefault(name, spec["defaultValue"])
    if values:
        inputs["parameterValues"] = values
    return {**executor_input, "inputs": inputs}


def _placeholders(message: Message, root: str) -> dict[str, str]:
    inputs, outputs = message["inputs"], message["outputs"]
    found = _of_parameters(inputs.get("parameterValues", {}))
    for side, artifacts in (
        ("inputs", inputs.get("artifacts", {})),
        ("outputs", outputs.get("artifacts", {})),
    ):
        for name, listed in artifacts.items():
            uri = listed["artifacts"][0]["uri"]
            found[f"{{{{$.{side}.artifacts['{name}'].uri}}}}"] = uri
            path = local_path(uri, root)
            if path is not None:
                found[f"{{{{$.{side}.artifacts['{name}'].path}}}}"] = path
    for name, parameter in outputs.get("parameters", {}).items():
        place = root + parameter["outputFile"]
        found[f"{{{{$.outputs.parameters['{name}'].output_file}}}}"] = place
    return found


def _of_parameters(values: dict[str, Any]) -> dict[str, str]:
    return {
        f"{{{{$.inputs.parameters['{name}']}}}}": text_of(value) for name, value in values.items()
    }


def _replaced(text: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
